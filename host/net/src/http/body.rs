//! The two body types: what is sent to a backend, and what is sent to a client.
//!
//! **Invariant:** bytes are handed on as they came, never copied and never gathered. A connection
//! to a backend goes back to its pool the moment its response is complete.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use portolan_core::service::BackendFigures;

use super::{account::Account, pool::Link, roster::Busy};

/// What is sent to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing; such a request can be sent again.
    Empty,
    /// What the client sends, and how much of it came.
    Client(Incoming, Rc<Cell<u64>>),
}

/// What is sent to a client.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    /// The request is under way until the last byte was handed on.
    busy: Option<Busy>,
    /// What is noted of it, complete when the body is dropped.
    account: Option<Account>,
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

/// A request that a backend works on.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<BackendFigures>);

impl RequestBody {
    /// The body of a request, known to be empty where it is.
    pub(crate) fn of(incoming: Incoming, account: &mut Account) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        Self::Client(incoming, account.request_bytes())
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(incoming, read) => {
                let polled = Pin::new(incoming).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    read.set(read.get() + length);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(incoming, _) => incoming.size_hint(),
        }
    }
}

impl Body {
    /// Bytes that are there already.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { source: Source::Full(bytes), busy: None, account: None }
    }

    /// What a backend sends.
    pub(crate) fn backend(body: BackendBody) -> Self {
        if body.incoming.is_end_stream() && body.incoming.size_hint().exact() == Some(0) {
            // Dropping it gave the connection back.
            return Self::full(Bytes::new());
        }
        Self { source: Source::Backend(body), busy: None, account: None }
    }

    /// The same, with the request under way until the body ends.
    pub(crate) fn until_sent(mut self, busy: Busy, account: Option<Account>) -> Self {
        self.busy = Some(busy);
        self.account = account;
        if self.source.is_end_stream() {
            self.account.iter_mut().for_each(Account::complete);
        }
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { source, account, .. } = &mut *self;
        let polled = source.poll(cx);
        if let (Poll::Ready(frame), Some(account)) = (&polled, account) {
            account.sent(frame.as_ref(), source.is_end_stream());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Backend(body) => body.incoming.size_hint(),
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Backend(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Backend(body) => body.incoming.is_end_stream(),
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

impl InFlight {
    pub(crate) fn new(figures: &Arc<BackendFigures>) -> Self {
        figures.in_flight.increment();
        Self(figures.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.decrement();
    }
}
