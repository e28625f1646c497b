//! The two body types: what is sent to a backend, and what is sent to a client.
//!
//! **Invariant:** bytes are handed on as they came, never copied and never gathered. A connection
//! to a backend goes back to its pool the moment its response is complete.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::{
    claim::InFlight,
    pool::Link,
    replay::Replay,
    roster::Busy,
    stall::{BodyError, Piece, Stall},
};

/// What is sent to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing; such a request can be sent again.
    Empty,
    /// What the client sends.
    Client(Incoming),
    /// What the client sent, or some of it.
    Replay(Box<Replay>),
    /// What the client sends, with a limit to how long it may pause.
    Watched(Incoming, Box<Stall>),
}

/// What is sent to a client.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    /// How long the backend may pause.
    stall: Option<Box<Stall>>,
    /// The request is under way until the last byte was handed on.
    busy: Option<Busy>,
}

#[derive(Debug)]
enum Source {
    Full(Bytes),
    Backend(BackendBody),
}

/// What comes from a backend.
#[derive(Debug)]
pub(crate) struct BackendBody {
    incoming: Incoming,
    /// Drives the connection; `None` when the connection drives itself (HTTP/2) or is done.
    link: Option<Box<Link>>,
    in_flight: Option<InFlight>,
}

impl RequestBody {
    /// The body of a request, known to be empty where it is.
    pub(crate) fn of(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::Empty } else { Self::Client(incoming) }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Piece<BodyError> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Self::Replay(kept) => kept.poll(cx).map_err(BodyError::from),
            Self::Watched(incoming, stall) => {
                let piece = Pin::new(incoming).poll_frame(cx);
                stall.judge(cx, piece)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(incoming) | Self::Watched(incoming, _) => incoming.is_end_stream(),
            Self::Replay(kept) => kept.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(incoming) | Self::Watched(incoming, _) => incoming.size_hint(),
            Self::Replay(kept) => kept.size(),
        }
    }
}

impl Body {
    /// Bytes that are there already.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { source: Source::Full(bytes), stall: None, busy: None }
    }

    /// What a backend sends.
    pub(crate) fn backend(body: BackendBody) -> Self {
        if body.incoming.is_end_stream() && body.incoming.size_hint().exact() == Some(0) {
            // Dropping it gave the connection back.
            return Self::full(Bytes::new());
        }
        Self { source: Source::Backend(body), stall: None, busy: None }
    }

    /// The same, with a limit to how long its source may pause.
    pub(crate) fn watched(mut self, stall: Option<Box<Stall>>) -> Self {
        self.stall = stall;
        self
    }

    /// The same, with the request under way until the body ends.
    pub(crate) fn until_sent(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Piece<BodyError> {
        let Self { source, stall, .. } = &mut *self;
        match source {
            Source::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Backend(body) => {
                let piece = body.poll(cx);
                match stall {
                    None => piece.map_err(BodyError::from),
                    Some(stall) => stall.judge(cx, piece),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(bytes) => bytes.is_empty(),
            Source::Backend(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Backend(body) => body.incoming.size_hint(),
        }
    }
}

impl BackendBody {
    /// The body of a response that came over a link, which it now drives.
    pub(crate) fn new(incoming: Incoming, link: Option<Box<Link>>, in_flight: InFlight) -> Self {
        let mut body = Self { incoming, link, in_flight: Some(in_flight) };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                // Nothing is there yet: let the connection read, then look again.
                let Some(link) = &mut self.link else { return Poll::Pending };
                link.drive(cx);
                std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx))
            }
            Poll::Ready(frame) => frame,
        };
        match &frame {
            // Nothing comes after trailers, and nobody asks whether something does.
            Some(Ok(frame)) if !self.incoming.is_end_stream() && !frame.is_trailers() => {}
            Some(Ok(_)) | None => self.finish(),
            Some(Err(_)) => drop(self.link.take()),
        }
        Poll::Ready(frame)
    }

    fn finish(&mut self) {
        self.in_flight = None;
        if let Some(link) = self.link.take() {
            link.release();
        }
    }
}
