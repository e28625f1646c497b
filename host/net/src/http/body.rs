//! The two body types: what is sent to a backend, and what is sent to a client.
//!
//! **Invariant:** bytes are handed on as they came and never gathered. A connection to a backend
//! goes back to its pool the moment its response is complete.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use portolan_core::reason::Reason;

use super::{
    account::Account, claim::InFlight, pool::Link, replay::Replay, roster::Busy, stall::Stall,
};
use crate::h1::{Framing, Line, Outlet, PourError, Poured, WireError};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// Over HTTP/1.
    #[error(transparent)]
    Http1(#[from] WireError),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("nothing came for {} ms", .0.as_millis())]
    Stalled(Duration),
    /// It is not over in time.
    #[error("the whole exchange took too long")]
    Late,
}

impl StreamError {
    /// Whether nothing came for too long.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::Stalled(_) | Self::Http1(WireError::Late))
    }
}

/// What a client sends behind the head of a request.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing.
    Empty,
    /// Over HTTP/1, framed like this.
    Line(Rc<RefCell<Line>>, Framing),
    /// Over HTTP/2.
    Stream(Incoming),
    /// What was read of it already, and the rest.
    Replay(Box<Replay>),
}

/// What is sent to a backend.
#[derive(Debug)]
pub(crate) struct RequestBody {
    content: Content,
    /// How long the client may pause.
    stall: Option<Box<Stall>>,
    /// How much of it came.
    read: Option<Rc<Cell<u64>>>,
}

/// What is sent to a client.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    /// How long the backend may pause.
    stall: Option<Box<Stall>>,
    /// The request is under way until the last byte was handed on.
    busy: Option<Busy>,
    /// What is noted of it, complete when the body is dropped.
    account: Option<Account>,
}

#[derive(Debug)]
enum Source {
    Full(Bytes),
    Link(LinkBody),
    Stream(Incoming, #[expect(dead_code, reason = "lives as long as the body")] InFlight),
}

/// What comes from a backend over a connection of its own.
#[derive(Debug)]
struct LinkBody {
    /// `None` when the response is complete.
    link: Option<Box<Link>>,
    in_flight: Option<InFlight>,
    framing: Framing,
}

impl RequestBody {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self { content: Content::Empty, stall: None, read: None };

    /// The body of a request, known to be empty where it is, whose client may pause for so long.
    pub(crate) fn of(content: Content, account: &mut Account, patience: Duration) -> Self {
        match content {
            Content::Empty => Self::EMPTY,
            Content::Stream(incoming) if incoming.is_end_stream() => Self::EMPTY,
            Content::Stream(incoming) => {
                // Over HTTP/1, the roster looks after it.
                let stall = Stall::new(Some(patience), None);
                let content = Content::Stream(incoming);
                Self { content, stall, read: Some(account.request_bytes()) }
            }
            content => Self { content, stall: None, read: Some(account.request_bytes()) },
        }
    }

    /// One of which something was read already.
    pub(crate) fn replay(kept: Replay) -> Self {
        Self { content: Content::Replay(Box::new(kept)), stall: None, read: None }
    }

    /// The same, with a limit to how long the client may pause.
    pub(crate) fn watched(self, idle: Duration) -> Self {
        match self.content {
            // Nothing is waited for.
            Content::Empty | Content::Replay(_) => self,
            Content::Line(..) | Content::Stream(_) => {
                Self { stall: Stall::new(Some(idle), None), ..self }
            }
        }
    }

    /// The same again; `None` where it can be read only once.
    pub(crate) fn copy(&self) -> Option<Self> {
        match &self.content {
            Content::Empty => Some(Self::EMPTY),
            Content::Replay(kept) => kept.copy().map(Self::replay),
            Content::Line(..) | Content::Stream(_) => None,
        }
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    /// How it is framed on an HTTP/1 connection.
    pub(crate) fn framing(&self) -> Framing {
        match &self.content {
            Content::Empty => Framing::Empty,
            Content::Line(_, framing) => *framing,
            Content::Stream(incoming) => match incoming.size_hint().exact() {
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            },
            Content::Replay(kept) => match kept.size().exact() {
                Some(0) => Framing::Empty,
                Some(length) if !kept.has_trailers() => Framing::Length(length),
                Some(_) | None => Framing::Chunked,
            },
        }
    }

    /// Pours what has arrived of it.
    pub(crate) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        let before = outlet.content;
        let poured = match &mut self.content {
            Content::Empty => return Poll::Ready(Ok(Poured::End(None))),
            Content::Line(line, _) => {
                let mut line = line.borrow_mut();
                say_continue(&mut line, cx)
                    .map_err(|error| PourError::Source(StreamError::Http1(WireError::Io(error))))?;
                line.poll_pour(cx, outlet).map_err(PourError::widen)
            }
            Content::Stream(incoming) => {
                let frame = Pin::new(&mut *incoming).poll_frame(cx).map_err(StreamError::Http2);
                pour_frame(frame, cx, outlet, || incoming.is_end_stream())
            }
            Content::Replay(kept) => {
                let frame = kept.poll(cx);
                pour_frame(frame, cx, outlet, || kept.has_ended())
            }
        };
        self.note(outlet.content - before);
        match &mut self.stall {
            None => poured,
            Some(stall) => watched(stall, cx, poured),
        }
    }

    fn note(&self, length: u64) {
        if let Some(read) = &self.read {
            read.set(read.get() + length);
        }
    }
}

/// The client may send its body now: somebody wants it.
fn say_continue(line: &mut Line, cx: &mut Context<'_>) -> io::Result<()> {
    if std::mem::take(&mut line.awaits_continue) {
        line.write(cx, b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    Ok(())
}

/// Pours a frame; `is_last`: nothing comes behind it.
fn pour_frame(
    frame: Poll<Option<Result<Frame<Bytes>, StreamError>>>,
    cx: &mut Context<'_>,
    outlet: &mut Outlet<'_>,
    is_last: impl FnOnce() -> bool,
) -> Pouring {
    let frame = match ready!(frame) {
        None => return Poll::Ready(Ok(Poured::End(None))),
        Some(Err(error)) => return Poll::Ready(Err(PourError::Source(error))),
        Some(Ok(frame)) => frame,
    };
    Poll::Ready(match frame.into_data() {
        Ok(data) => match outlet.push(cx, &data) {
            Err(error) => Err(PourError::Sink(error)),
            Ok(()) if is_last() => Ok(Poured::End(None)),
            Ok(()) => Ok(Poured::More),
        },
        Err(frame) => Ok(Poured::End(frame.into_trailers().ok())),
    })
}

/// What was poured, or that it was waited for too long.
fn watched(stall: &mut Stall, cx: &mut Context<'_>, poured: Pouring) -> Pouring {
    let judged = ready!(stall.judge(cx, poured));
    Poll::Ready(judged.map_err(PourError::Source).and_then(|poured| poured))
}

/// What pouring comes to.
type Pouring = Poll<Result<Poured, PourError<StreamError>>>;

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let frame = this.content.poll_frame(cx);
        let frame = match &mut this.stall {
            None => ready!(frame),
            Some(stall) => match ready!(stall.judge(cx, frame)) {
                Ok(frame) => frame,
                Err(error) => Some(Err(error)),
            },
        };
        if let Some(Ok(frame)) = &frame {
            this.note(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Line(line, _) => line.borrow().is_read(),
            Content::Stream(incoming) => incoming.is_end_stream(),
            Content::Replay(kept) => kept.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Line(_, framing) => hint(*framing),
            Content::Stream(incoming) => incoming.size_hint(),
            Content::Replay(kept) => kept.size(),
        }
    }
}

impl Content {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Line(line, _) => {
                let mut line = line.borrow_mut();
                say_continue(&mut line, cx).map_err(WireError::Io)?;
                let polled = ready!(poll_bytes_frame(|cx| line.poll_bytes(cx), cx));
                drop(line);
                if !matches!(&polled, Some(Ok(frame)) if frame.is_data()) {
                    *self = Self::Empty;
                }
                Poll::Ready(polled)
            }
            Self::Stream(incoming) => Pin::new(incoming).poll_frame(cx).map_err(StreamError::Http2),
            Self::Replay(kept) => kept.poll(cx),
        }
    }
}

/// What has arrived of an HTTP/1 body, as a frame.
fn poll_bytes_frame(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<(Bytes, Poured), WireError>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
    loop {
        return Poll::Ready(match ready!(poll(cx)) {
            Err(error) => Some(Err(error.into())),
            // Framing alone: more may be there.
            Ok((data, Poured::More)) if data.is_empty() => continue,
            Ok((data, Poured::More | Poured::End(None))) if !data.is_empty() => {
                Some(Ok(Frame::data(data)))
            }
            Ok((_, Poured::End(Some(trailers)))) => Some(Ok(Frame::trailers(trailers))),
            Ok((_, Poured::More | Poured::End(None))) => None,
        });
    }
}

fn hint(framing: Framing) -> SizeHint {
    match framing {
        Framing::Empty => SizeHint::with_exact(0),
        Framing::Length(length) => SizeHint::with_exact(length),
        Framing::Chunked | Framing::Close => SizeHint::default(),
    }
}

impl Body {
    /// Bytes that are there already.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { source: Source::Full(bytes), stall: None, busy: None, account: None }
    }

    /// What a backend sends over a connection of its own.
    pub(crate) fn link(link: Box<Link>, framing: Framing, in_flight: InFlight) -> Self {
        let mut body = LinkBody { link: Some(link), in_flight: Some(in_flight), framing };
        if framing == Framing::Empty && body.link.as_ref().is_some_and(|link| link.is_sent()) {
            body.finish();
        }
        Self { source: Source::Link(body), stall: None, busy: None, account: None }
    }

    /// What a backend sends over a shared connection.
    pub(crate) fn stream(incoming: Incoming, in_flight: InFlight) -> Self {
        if incoming.is_end_stream() && incoming.size_hint().exact() == Some(0) {
            return Self::full(Bytes::new());
        }
        Self { source: Source::Stream(incoming, in_flight), stall: None, busy: None, account: None }
    }

    /// The same, with a limit to how long its source may pause.
    pub(crate) fn watched(mut self, stall: Option<Box<Stall>>) -> Self {
        self.stall = stall;
        self
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

    /// How it is framed on an HTTP/1.1 connection.
    pub(crate) fn framing(&self) -> Framing {
        match &self.source {
            Source::Full(bytes) if bytes.is_empty() => Framing::Empty,
            Source::Full(bytes) => Framing::Length(bytes.len() as u64),
            Source::Link(LinkBody { framing: Framing::Close, .. }) => Framing::Chunked,
            Source::Link(body) => body.framing,
            Source::Stream(incoming, _) => match incoming.size_hint().exact() {
                Some(0) => Framing::Empty,
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            },
        }
    }

    /// Whether the request that it answers is still being sent.
    pub(crate) fn is_uploading(&self) -> bool {
        match &self.source {
            Source::Full(_) => false,
            Source::Link(body) => body.link.as_ref().is_some_and(|link| !link.is_sent()),
            // Its request goes on in a task of its own.
            Source::Stream(..) => true,
        }
    }

    /// Sends on what has arrived of the request meanwhile: a backend may answer before it has
    /// read all of it.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Source::Link(LinkBody { link: Some(link), .. }) = &mut self.source {
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
            Source::Stream(incoming, _) => incoming.size_hint(),
        }
    }
}

impl Source {
    fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        match self {
            Self::Full(bytes) => {
                let pushed = outlet.push(cx, &std::mem::take(bytes));
                Poll::Ready(pushed.map(|()| Poured::End(None)).map_err(PourError::Sink))
            }
            Self::Link(body) => {
                let Some(link) = &mut body.link else {
                    return Poll::Ready(Ok(Poured::End(None)));
                };
                let poured = ready!(link.line.poll_pour(cx, outlet)).map_err(PourError::widen);
                body.note(!matches!(poured, Ok(Poured::More)), poured.is_err());
                Poll::Ready(poured)
            }
            Self::Stream(incoming, _) => {
                let frame = Pin::new(&mut *incoming).poll_frame(cx).map_err(StreamError::Http2);
                pour_frame(frame, cx, outlet, || incoming.is_end_stream())
            }
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Link(body) => body.poll_frame(cx),
            Self::Stream(incoming, _) => {
                Pin::new(incoming).poll_frame(cx).map_err(StreamError::Http2)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Link(body) => body.link.is_none(),
            Self::Stream(incoming, _) => incoming.is_end_stream(),
        }
    }
}

impl LinkBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
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
        self.in_flight = None;
        if let Some(link) = self.link.take() {
            link.release();
        }
    }
}

impl PourError<WireError> {
    fn widen(self) -> PourError<StreamError> {
        match self {
            Self::Source(error) => PourError::Source(error.into()),
            Self::Sink(error) => PourError::Sink(error),
        }
    }
}
