//! One request of HTTP/2, from its head to the last byte of its response.
//!
//! **Invariant:** a response that breaks off is reset, and a request that is taken back is let go at once.

use std::{
    cell::Cell,
    error::Error as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_util::future::poll_fn;
use h2::Reason as Code;
use http::{HeaderMap, Method, StatusCode, Version, header::CONTENT_LENGTH};
use portolan_core::{exchange::ResponseHead, limit::Limit, reason::Reason};
use tokio::task;

use super::pace::Pace;
use crate::{
    h1::{Basin as _, Framing, Outlet, PourError, Poured, is_bodiless},
    http::{
        arrived::Arrived,
        body::{Body, Content, StreamError, Streamed},
        connection::Client,
        interim::Interim,
        service,
    },
    http2::{Answer, Over, Request, RequestHead, Responder},
};

/// Begins to answer a request. How many end in the middle is counted: taken back by the client, or, because of
/// a mistake of it, reset by us.
pub(super) fn begin(client: &Rc<Client>, cut: &Rc<Cell<u32>>, request: Request) {
    let Request { head, content, responder } = request;
    let RequestHead { method, uri, headers, fault, .. } = head;
    // What the client asked with, whatever a middleware makes of it.
    let asked = method.clone();
    let interim = Some(Interim::Stream(responder.herald()));
    let arrived = Arrived { method, uri, version: Version::HTTP_2, headers, interim, fault };
    let content = content.map_or(Content::Empty, |it| Content::Stream(Streamed::Request(it)));
    let answering = Box::pin(service::answer(client.clone(), arrived, content));
    let (client, cut) = (client.clone(), cut.clone());
    task::spawn_local(async move {
        if answer(&client, asked, answering, responder).await.is_err() {
            cut.set(cut.get() + 1);
        }
    });
}

/// Answers. An error: the request was over before.
async fn answer(
    client: &Client,
    asked: Method,
    mut answering: Pin<Box<impl Future<Output = (ResponseHead, Body)>>>,
    responder: Responder,
) -> Result<(), Over> {
    let answered = poll_fn(|cx| match responder.poll_over(cx) {
        Poll::Ready(over) => Poll::Ready(Err(over)),
        Poll::Pending => answering.as_mut().poll(cx).map(Ok),
    });
    let (head, body) = answered.await?;
    drop(answering);
    let Some(mut sending) = Sending::begin(client, &asked, responder, head, body) else {
        return Ok(());
    };
    poll_fn(move |cx| sending.poll(cx)).await
}

/// A response on its way.
struct Sending<'a> {
    client: &'a Client,
    responder: Responder,
    body: Body,
    framing: Framing,
    /// How much of its content was handed on.
    sent: u64,
    pace: Pace,
    /// Content that there was no room for, of which so much is gone.
    spilt: Vec<u8>,
    gone: usize,
    /// What comes behind the content, once that is known.
    end: Option<Option<HeaderMap>>,
}

impl<'a> Sending<'a> {
    /// Sends the head; `None`: that is all.
    fn begin(
        client: &'a Client,
        asked: &Method,
        mut responder: Responder,
        head: ResponseHead,
        body: Body,
    ) -> Option<Self> {
        let ResponseHead { status, headers, .. } = head;
        let framing = body.framing();
        let is_bodiless = *asked == Method::HEAD || is_bodiless(status);
        // Lines are never those of a response that says more by its length.
        let has_length = match headers.lines() {
            Some((unread, _)) => unread.has_length,
            None => headers.contains_key(CONTENT_LENGTH),
        };
        let tells_length =
            is_bodiless && status != StatusCode::NO_CONTENT && headers.lines().is_none();
        let length = match framing {
            // RFC 9110, 8.6.
            _ if status == StatusCode::NO_CONTENT => None,
            // It is for the backend to say.
            _ if tells_length && has_length => None,
            Framing::Length(length) => Some(length),
            // A middleware asked with HEAD.
            Framing::Empty if !is_bodiless && has_length => Some(0),
            Framing::Empty | Framing::Chunked | Framing::Close => None,
        };
        let is_end = is_bodiless || framing == Framing::Empty;
        let answer = Answer { status, headers: &headers, length, tells_length };
        responder.head(&answer, || client.edge.date(), is_end);
        client.edge.buffers.maps.give(headers);
        if is_end {
            // Whatever there is of it goes to nobody.
            drop(body.without_content());
            return None;
        }
        let pace = Pace::new(client.limits.timeouts.response_stall);
        let (spilt, gone, end) = (Vec::new(), 0, None);
        Some(Self { client, responder, body, framing, sent: 0, pace, spilt, gone, end })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        loop {
            self.body.poll_upload(cx);
            let is_spilt = self.gone < self.spilt.len();
            if let Some(end) = self.end.take_if(|_| !is_spilt) {
                end.iter().for_each(|trailers| self.responder.trailers(trailers));
                return Poll::Ready(Ok(()));
            }
            let room = match self.responder.poll_room(cx) {
                Poll::Ready(room) => room?,
                Poll::Pending => {
                    ready!(self.pace.poll_over(cx));
                    self.body.failed(Reason::ClientStalled);
                    self.client.door.exceeded(Limit::ResponseStall);
                    self.responder.reset(Code::CANCEL);
                    return Poll::Ready(Err(Over));
                }
            };
            self.pace.step();
            if is_spilt {
                self.send_spilt(room);
            } else if let Err(code) = ready!(self.poll_pour(cx, room))? {
                self.responder.reset(code);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends what there was no room for.
    fn send_spilt(&mut self, room: usize) {
        let rest = self.spilt.get(self.gone..).unwrap_or_default();
        let piece = rest.get(..room).unwrap_or(rest);
        let is_last = piece.len() == rest.len();
        let mut none = Vec::new();
        let mut pouring = self.responder.pour(room, &mut none);
        pouring.take(piece);
        self.gone += piece.len();
        self.responder.poured(pouring, is_last && matches!(self.end, Some(None)));
        if is_last {
            // What a large piece needed is not kept for ever.
            (self.spilt, self.gone) = (Vec::new(), 0);
        }
    }

    /// Sends what has arrived, for which there is so much room. An error: it broke off, and that is to be said of it.
    fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<Result<(), Code>, Over>> {
        let mut pouring = self.responder.pour(room, &mut self.spilt);
        let mut outlet = Outlet::into_basin(&mut pouring);
        let poured = self.body.poll_pour(cx, &mut outlet);
        self.sent += outlet.content;
        let is_whole = !matches!(self.framing, Framing::Length(all) if all != self.sent);
        let is_end = matches!(&poured, Poll::Ready(Ok(Poured::End(None)))) && is_whole;
        self.responder.poured(pouring, is_end);
        Poll::Ready(match poured {
            Poll::Pending => {
                // It may be taken back while the backend is waited for.
                if self.responder.poll_idle(cx).is_ready() {
                    return Poll::Ready(Err(Over));
                }
                return Poll::Pending;
            }
            Poll::Ready(Ok(Poured::More)) => Ok(Ok(())),
            Poll::Ready(Ok(Poured::End(trailers))) if is_whole => {
                self.end = Some(trailers);
                Ok(Ok(()))
            }
            // The client sees that there is something missing.
            Poll::Ready(Ok(Poured::End(_))) => Ok(Err(Code::INTERNAL_ERROR)),
            Poll::Ready(Err(PourError::Source(error))) => Ok(Err(code_of(&error))),
            Poll::Ready(Err(PourError::Sink(_))) => Ok(Err(Code::INTERNAL_ERROR)),
        })
    }
}

/// What is said of a response that broke off: what its backend said, if it spoke HTTP/2 too. What we say of the
/// backend is not for the client, who did nothing wrong.
fn code_of(error: &StreamError) -> Code {
    let StreamError::Http2(error) = error else { return Code::INTERNAL_ERROR };
    let told = error.source().and_then(|it| it.downcast_ref::<h2::Error>());
    let code = told.filter(|it| it.is_remote()).and_then(h2::Error::reason);
    // Nothing is missing from what ends with NO_ERROR (RFC 9113, 8.1).
    code.filter(|code| *code != Code::NO_ERROR).unwrap_or(Code::INTERNAL_ERROR)
}
