//! What comes from a backend, or from us, and goes to a client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use portolan_core::reason::Reason;
use tokio::time::Instant;

use super::{
    Pouring, Rest, StreamError, Streamed, coded::Coded, hint, poll_bytes_frame, pour_frame, watched,
};
use crate::{
    h1::{Framing, Outlet, PourError, Poured},
    http::{
        account::Account, claim::InFlight, pool::Link, roster::Busy, shared::Place, stall::Stall,
    },
};

/// What is sent to a client.
#[derive(Debug)]
pub(crate) struct Body {
    pub(super) source: Source,
    /// How long the backend may pause.
    stall: Option<Box<Stall>>,
    /// The request is under way until the last byte was handed on.
    busy: Option<Busy>,
    /// What is noted of it, complete when the body is dropped.
    account: Option<Box<Account>>,
}

#[derive(Debug)]
pub(super) enum Source {
    Full(Bytes),
    Link(LinkBody),
    Stream(Streamed, #[expect(dead_code, reason = "live as long as the body")] (InFlight, Place)),
    /// One of the others, on its way through an encoder.
    Coded(Box<Coded>),
}

/// What comes from a backend over a connection of its own.
#[derive(Debug)]
pub(super) struct LinkBody {
    /// `None` when the response is complete, and there is nothing left of the request.
    link: Option<Box<Link>>,
    in_flight: Option<InFlight>,
    framing: Framing,
    /// Whether the response is complete.
    is_over: bool,
    /// Whether the rest of the request is asked for then.
    is_rest_wanted: bool,
}

impl Body {
    /// Bytes that are there already.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { source: Source::Full(bytes), stall: None, busy: None, account: None }
    }

    /// What a backend sends over a connection of its own.
    pub(crate) fn link(link: Box<Link>, framing: Framing, in_flight: InFlight) -> Self {
        let mut body = LinkBody {
            link: Some(link),
            in_flight: Some(in_flight),
            framing,
            is_over: false,
            is_rest_wanted: false,
        };
        if framing == Framing::Empty && body.link.as_ref().is_some_and(|link| link.is_sent()) {
            body.finish();
        }
        Self { source: Source::Link(body), stall: None, busy: None, account: None }
    }

    /// What a backend sends over a shared connection.
    pub(crate) fn stream(incoming: Incoming, in_flight: InFlight, place: Place) -> Self {
        let streamed = Streamed::Response(incoming);
        if streamed.is_end() && streamed.size().exact() == Some(0) {
            return Self::full(Bytes::new());
        }
        let source = Source::Stream(streamed, (in_flight, place));
        Self { source, stall: None, busy: None, account: None }
    }

    /// The same, with a limit to how long its source may pause, and when all must be over.
    pub(crate) fn watched(mut self, stall: Option<Box<Stall>>, deadline: Option<Instant>) -> Self {
        self.stall = stall;
        if let Some(LinkBody { link: Some(link), .. }) = self.source.link_body() {
            link.limits.deadline = deadline;
        }
        self
    }

    /// Whoever sends it sees to the rest of the request, too.
    pub(crate) fn want_rest(&mut self) {
        if let Some(body) = self.source.link_body() {
            body.is_rest_wanted = true;
        }
    }

    /// What is left of the request, when the response is complete.
    pub(crate) fn rest(&mut self) -> Option<Box<Rest>> {
        self.source.link_body().filter(|body| body.is_over)?.rest().map(Box::new)
    }

    /// The same, with the request under way until the body ends.
    pub(crate) fn until_sent(mut self, busy: Busy, account: Option<Box<Account>>) -> Self {
        self.busy = Some(busy);
        self.account = account;
        if self.source.is_end_stream() {
            self.account.iter_mut().for_each(|account| account.complete());
        }
        self
    }

    /// The end of a response that has no content, whatever was to be in it (RFC 9110, 9.3.2 and 15).
    pub(crate) fn without_content(mut self) -> Self {
        if !self.source.is_end_stream() {
            if let Some(body) = self.source.link_body() {
                body.leave();
            }
            self.source = Source::Full(Bytes::new());
            self.account.iter_mut().for_each(|account| account.complete());
        }
        self
    }

    /// How it is framed on an HTTP/1.1 connection.
    pub(crate) fn framing(&self) -> Framing {
        self.source.framing()
    }

    /// Whether the request that it answers is still being sent.
    pub(crate) fn is_uploading(&self) -> bool {
        self.source.is_uploading()
    }

    /// Sends on what has arrived of the request meanwhile: a backend may answer before it has
    /// read all of it.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(LinkBody { link: Some(link), .. }) = self.source.link_body() {
            link.poll_upload(cx);
        }
    }

    /// Notes why it does not reach the client.
    pub(crate) fn failed(&mut self, reason: Reason) {
        if let Some(account) = &mut self.account {
            account.failed(reason);
        }
    }

    /// Pours what has arrived of it.
    pub(crate) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        let before = outlet.content;
        let mut poured = self.source.poll_pour(cx, outlet);
        if let Some(stall) = &mut self.stall {
            poured = watched(stall, cx, poured);
        }
        if let Some(account) = &mut self.account {
            account.sent(outlet.content - before);
            if let Source::Coded(coded) = &self.source {
                account.origin_sent(coded.taken());
            }
            match &poured {
                Poll::Ready(Ok(Poured::End(trailers))) => account.ended(trailers.as_ref()),
                Poll::Ready(Err(PourError::Source(_))) => account.failed(Reason::ResponseBroken),
                Poll::Ready(Ok(Poured::More) | Err(PourError::Sink(_))) | Poll::Pending => {}
            }
        }
        poured
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Self { source, stall, account, .. } = &mut *self;
        let frame = source.poll_frame(cx);
        let frame = match stall {
            None => ready!(frame),
            Some(stall) => match ready!(stall.judge(cx, frame)) {
                Ok(frame) => frame,
                Err(error) => Some(Err(error)),
            },
        };
        if let Some(account) = account {
            match &frame {
                Some(Ok(frame)) => {
                    account.sent(frame.data_ref().map_or(0, Bytes::len) as u64);
                    if let Source::Coded(coded) = source {
                        account.origin_sent(coded.taken());
                    }
                    if frame.is_trailers() || source.is_end_stream() {
                        account.ended(frame.trailers_ref());
                    }
                }
                Some(Err(_)) => account.failed(Reason::ResponseBroken),
                None => account.ended(None),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Link(body) => hint(body.framing),
            Source::Stream(streamed, _) => streamed.size(),
            Source::Coded(coded) => hint(coded.framing()),
        }
    }
}

impl Source {
    /// What comes over a connection of its own, if it does.
    fn link_body(&mut self) -> Option<&mut LinkBody> {
        match self {
            Self::Link(body) => Some(body),
            Self::Coded(coded) => coded.source.link_body(),
            Self::Full(_) | Self::Stream(..) => None,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Framing::Empty,
            Self::Full(bytes) => Framing::Length(bytes.len() as u64),
            Self::Link(LinkBody { framing: Framing::Close, .. }) => Framing::Chunked,
            Self::Link(body) => body.framing,
            // Whatever length was announced: `HEAD` may be what a middleware made of the request.
            Self::Stream(streamed, _) if streamed.is_end() => Framing::Empty,
            Self::Stream(streamed, _) => match streamed.size().exact() {
                Some(0) => Framing::Empty,
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            },
            Self::Coded(coded) => coded.framing(),
        }
    }

    fn is_uploading(&self) -> bool {
        match self {
            Self::Full(_) => false,
            Self::Link(body) => body.link.as_ref().is_some_and(|link| !link.is_sent()),
            // Its request goes on in a task of its own.
            Self::Stream(..) => true,
            Self::Coded(coded) => coded.source.is_uploading(),
        }
    }

    pub(super) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        match self {
            Self::Full(bytes) => {
                let pushed = outlet.push(cx, &std::mem::take(bytes));
                Poll::Ready(pushed.map(|()| Poured::End(None)).map_err(PourError::Sink))
            }
            Self::Link(body) => {
                let Some(link) = body.link.as_mut().filter(|_| !body.is_over) else {
                    return Poll::Ready(Ok(Poured::End(None)));
                };
                let poured = ready!(link.line.poll_pour(cx, outlet)).map_err(PourError::widen);
                body.note(!matches!(poured, Ok(Poured::More)), poured.is_err());
                Poll::Ready(poured)
            }
            Self::Stream(streamed, _) => {
                let frame = streamed.poll_frame(cx);
                pour_frame(frame, cx, outlet, || streamed.is_end())
            }
            Self::Coded(coded) => coded.poll_pour(cx, outlet),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Link(body) => body.poll_frame(cx),
            Self::Stream(streamed, _) => streamed.poll_frame(cx),
            Self::Coded(coded) => coded.poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Link(body) => body.is_over || body.link.is_none(),
            Self::Stream(streamed, _) => streamed.is_end(),
            Self::Coded(coded) => coded.is_end(),
        }
    }
}

impl LinkBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Some(link) = self.link.as_mut().filter(|_| !self.is_over) else {
            return Poll::Ready(None);
        };
        link.poll_upload(cx);
        let frame = ready!(poll_bytes_frame(|cx| link.line.poll_bytes(cx), cx));
        let is_read = link.line.is_read();
        self.note(is_read || frame.is_none(), matches!(frame, Some(Err(_))));
        Poll::Ready(frame)
    }

    fn note(&mut self, is_over: bool, is_broken: bool) {
        if is_broken {
            self.link = None;
        }
        if is_over {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.is_over = true;
        if self.link.as_ref().is_some_and(|link| link.goes_on()) {
            if !self.is_rest_wanted {
                self.rest().into_iter().for_each(Rest::go_on);
            }
            return;
        }
        self.in_flight = None;
        if let Some(link) = self.link.take() {
            link.release();
        }
    }

    /// Nobody asks for more of the response, which may be complete all the same.
    fn leave(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.line.is_read()) {
            self.finish();
        }
    }

    /// The request goes on by itself.
    fn rest(&mut self) -> Option<Rest> {
        let link = self.link.take()?;
        Some(Rest::new(link, self.in_flight.take()))
    }
}
