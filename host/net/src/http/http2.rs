//! A client that speaks HTTP/2: hyper's connection, within the limits of its entrypoint.
//!
//! **Invariant:** a client that costs more than it is worth is told ENHANCE_YOUR_CALM, if it still
//! listens, and costs nobody else anything.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    error::Error as _,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::TokioTimer;
use portolan_core::{exchange::ResponseHead, limit::Limit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task,
};

use super::{
    body::{Body, Content, Streamed},
    connection::Client,
    cork::Cork,
    frames::{Frames, MOST_RESETS, Resets, Sent},
    pace::{Paced, Pacer},
    roster::Notice,
    service,
    wire::Wire,
};
use crate::h1::{Framing, Stream, is_bodiless};

/// What of one response may wait to be written.
const SEND_BUFFER: usize = 128 * 1024;
/// What a client may send of one request before a backend reads it: 10 MiB/s from 100 ms away.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What it may send of all its requests together, which is what it can have of our memory: so many uploads
/// to backends that do not read hold up none that another backend takes.
const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// So many requests that were taken back before anybody saw them may be kept: h2's own default.
const PENDING_RESETS: usize = 20;

/// Serves requests until there are no more.
pub(crate) async fn serve(client: Rc<Client>, stream: Stream, ahead: Bytes) {
    let limits = client.limits.clone();
    let stalled = client.clone();
    let pacer = Pacer::new(limits.timeouts.response_stall, move || {
        stalled.door.exceeded(Limit::ResponseStall);
    });
    let (answering, pace) = (client.clone(), pacer.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, incoming) = request.into_parts();
        let (client, pace) = (answering.clone(), pace.begin());
        // What the client asked with, whatever a middleware makes of it.
        let method = parts.method.clone();
        client.note_request();
        // In a box, since hyper moves it into a task in several steps.
        let content = Content::Stream(Streamed::request(incoming));
        let answer = Box::pin(service::answer(client, parts.into(), content));
        async move { Ok::<_, Infallible>(response(&method, answer.await, pace)) }
    });
    let list = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    let cork = Rc::new(RefCell::new(Cork::new(stream)));
    let resets = Resets::default();
    let counted = (Sent::to_client(resets.clone()), pacer.cut());
    let wire = Guarded::new(cork.clone(), &ahead, client.clone(), counted);
    let mut builder = Builder::new(pacer);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2.max_concurrent_streams)
        // Ours comes first: what is too large is answered and noted. Beyond this, h2 answers.
        .max_header_list_size(list.saturating_mul(2))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // h2's own bound would end the connection before ours does, and names nobody in its log.
        .max_pending_accept_reset_streams(PENDING_RESETS.max(limits.http2.max_resets as usize))
        .max_local_error_reset_streams(MOST_RESETS)
        .keep_alive_interval(limits.http2.ping_interval)
        .keep_alive_timeout(limits.http2.ping_timeout);
    let mut connection = pin!(builder.serve_connection(Wire::new(wire, ahead), service));
    let (mut is_leaving, mut rest) = (false, pin!(None));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = &result {
                    note(&client, error);
                }
                return Poll::Ready(());
            }
            let mut cork = cork.borrow_mut();
            if cork.is_waiting() {
                // Other answers may be on their way: those that the system has already come first.
                if rest.is_none() && client.seat.is_busy() {
                    rest.set(Some(task::yield_now()));
                }
                let rested = rest.as_mut().as_pin_mut().is_none_or(|it| it.poll(cx).is_ready());
                if rested {
                    rest.set(None);
                    if let Poll::Ready(Err(error)) = cork.poll_release(cx) {
                        tracing::debug!(client.address = %client.peer.address, %error, "connection broke");
                        return Poll::Ready(());
                    }
                }
            } else if !client.seat.is_busy() {
                cork.give_back();
            }
            drop(cork);
            if !is_leaving && (client.is_last_request() || resets.are_too_many()) {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            // Leaving loses nothing: the client learns which of its requests were taken.
            match ready!(client.seat.poll_notice(cx)) {
                Notice::Expired(_) if is_leaving => return Poll::Ready(()),
                Notice::Expired(limit) => {
                    limit.into_iter().for_each(|limit| client.door.exceeded(limit));
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                // That is said of HTTP/1.
                Notice::Look => {}
                Notice::Drain => {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    })
    .await;
}

/// Notes why a connection ended.
fn note(client: &Client, error: &hyper::Error) {
    tracing::debug!(client.address = %client.peer.address, %error, "connection ended");
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let ours = cause.filter(|cause| cause.is_go_away() && cause.is_library());
    match ours {
        Some(cause) if cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => {
            client.door.exceeded(Limit::Http2Abuse);
        }
        Some(_) | None if error.is_timeout() => client.door.exceeded(Limit::PingTimeout),
        Some(_) | None => {}
    }
}

fn response(
    asked: &Method,
    (head, mut body): (ResponseHead, Body),
    pace: Rc<super::pace::Pace>,
) -> Response<Paced> {
    let mut headers = head.headers.into_map();
    if *asked == Method::HEAD || is_bodiless(head.status) {
        match body.framing() {
            // RFC 9110, 8.6.
            _ if head.status == StatusCode::NO_CONTENT => _ = headers.remove(CONTENT_LENGTH),
            // Else it is for the backend to say.
            Framing::Length(length) if !headers.contains_key(CONTENT_LENGTH) => {
                headers.insert(CONTENT_LENGTH, length.into());
            }
            _ => {}
        }
        body = body.without_content();
    } else if body.framing() == Framing::Empty && headers.contains_key(CONTENT_LENGTH) {
        // A middleware asked with HEAD.
        headers.insert(CONTENT_LENGTH, 0.into());
    }
    let mut response = Response::new(Paced::new(body, pace));
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

/// A connection whose frames are followed.
struct Guarded {
    cork: Rc<RefCell<Cork<Stream>>>,
    frames: Frames,
    sent: Sent,
    /// How many requests ended in the middle and are not counted yet.
    cut: Rc<Cell<u32>>,
    client: Rc<Client>,
    /// Whether everything that was written is a whole number of frames: hyper flushes only then.
    is_between: bool,
    /// What was read ahead, and was too much already.
    over: Option<Limit>,
}

impl Guarded {
    fn new(
        cork: Rc<RefCell<Cork<Stream>>>,
        ahead: &[u8],
        client: Rc<Client>,
        (sent, cut): (Sent, Rc<Cell<u32>>),
    ) -> Self {
        let mut frames = Frames::new(client.limits.http2);
        let over = frames.arrived(ahead, client.edge.clock.now()).err();
        Self { cork, frames, sent, cut, client, is_between: false, over }
    }

    /// Ends the connection, and says why where that is possible.
    fn give_up(&self, limit: Limit, cx: &mut Context<'_>) -> io::Error {
        self.client.door.exceeded(limit);
        if self.is_between {
            let goodbye = self.frames.goodbye(limit);
            // Who does not read it does not need it.
            let mut cork = self.cork.borrow_mut();
            drop(cork.poll_write(cx, &[IoSlice::new(&goodbye)]));
            drop(cork.poll_release(cx));
        }
        io::Error::other(limit.as_str())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(limit) = this.over.take() {
            return Poll::Ready(Err(this.give_up(limit, cx)));
        }
        let before = buffer.filled().len();
        ready!(this.cork.borrow_mut().poll_read(cx, buffer))?;
        let arrived = buffer.filled().get(before..).unwrap_or_default();
        let now = this.client.edge.clock.now();
        let counted = this.frames.cut(this.cut.take(), now);
        match counted.and_then(|()| this.frames.arrived(arrived, now)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(limit) => Poll::Ready(Err(this.give_up(limit, cx))),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// What waits is let go when the connection has been polled: see [`serve`].
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().is_between = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cork.borrow_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_between = false;
        let length = ready!(this.cork.borrow_mut().poll_write(cx, slices))?;
        this.frames.sent(length);
        this.sent.note(slices, length);
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
