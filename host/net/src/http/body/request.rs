//! What a client sends, and what of it goes to a backend.

use std::{
    cell::{Cell, RefCell},
    future::{Future, ready},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{self, Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    Pouring, Progress, StreamError, Streamed, hint, poll_bytes_frame, pour_frame, watched,
};
use crate::{
    h1::{Framing, Line, Outlet, PourError, Poured, WireError},
    http::{account::Account, replay::Replay, stall::Stall},
};

/// What a client sends behind the head of a request.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing.
    Empty,
    /// Over HTTP/1, framed like this.
    Line(Turn, Framing),
    /// Over HTTP/2.
    Stream(Streamed),
    /// Recorded on its way.
    Replay(Box<Replay>),
}

/// The body of one request of a connection. Who still holds it when the next one comes reads nothing of
/// that, and keeps no connection that is over.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Weak<RefCell<Line>>,
    number: u32,
}

impl Turn {
    /// Of the request whose head was read last.
    pub(crate) fn of(line: &Rc<RefCell<Line>>) -> Self {
        Self { line: Rc::downgrade(line), number: line.borrow().turn() }
    }

    /// Does something with the connection, while it is at that body.
    fn with<T>(&self, act: impl FnOnce(&mut Line) -> T) -> Result<T, StreamError> {
        let line = self.line.upgrade();
        let mut line = line.as_ref().map(|line| line.borrow_mut());
        match &mut line {
            Some(line) if line.turn() == self.number => Ok(act(line)),
            Some(_) | None => Err(StreamError::Http1(WireError::Cut)),
        }
    }
}

/// What is sent to a backend.
#[derive(Debug)]
pub(crate) struct RequestBody {
    content: Content,
    /// How long the client may pause.
    stall: Option<Box<Stall>>,
    /// How much of it came.
    read: Option<Rc<Cell<u64>>>,
    /// How it gets on, where somebody wants to know.
    progress: Option<Progress>,
    /// What is between whoever sends it and whoever waits for the answer, where these are two.
    bond: Option<Rc<Bond>>,
}

/// What whoever waits for an answer and whoever sends the body of the request tell each other: over
/// HTTP/2 that goes on in a task of its own.
#[derive(Debug, Default)]
pub(crate) struct Bond {
    is_answered: Cell<bool>,
    broken: RefCell<Option<StreamError>>,
}

impl Bond {
    /// The answer has begun: from now on the client may be silent, as one is who listens to a stream.
    pub(crate) fn note_answer(&self) {
        self.is_answered.set(true);
    }

    /// Why the body broke off, if it did.
    pub(crate) fn broken(&self) -> Option<StreamError> {
        self.broken.take()
    }
}

impl RequestBody {
    /// Nothing.
    pub(crate) const EMPTY: Self =
        Self { content: Content::Empty, stall: None, read: None, progress: None, bond: None };

    /// The body of a request, known to be empty where it is, whose client may pause for so long.
    pub(crate) fn of(content: Content, account: &mut Account, patience: Duration) -> Self {
        match content {
            Content::Empty => Self::EMPTY,
            Content::Stream(streamed) if streamed.is_end() => Self::EMPTY,
            Content::Stream(streamed) => {
                // Over HTTP/1, the roster looks after it.
                let stall = Stall::new(Some(patience), None);
                let content = Content::Stream(streamed);
                let read = Some(account.request_bytes());
                Self { content, stall, read, ..Self::EMPTY }
            }
            // It was counted when it came.
            Content::Replay(_) => Self { content, ..Self::EMPTY },
            content @ Content::Line(..) => {
                let read = Some(account.request_bytes());
                Self { content, read, ..Self::EMPTY }
            }
        }
    }

    /// The same, and it is counted how much of it is read.
    pub(crate) fn counted(self, read: Rc<Cell<u64>>) -> Self {
        Self { read: Some(read), ..self }
    }

    /// The same, which can be read again as long as no more than so many bytes of it were.
    pub(crate) fn recorded(self, limit: u64) -> Self {
        match &self.content {
            Content::Empty => self,
            Content::Replay(replay) if replay.keeps(limit) => self,
            Content::Line(..) | Content::Stream(_) | Content::Replay(_) => {
                let progress = self.progress.clone();
                Self { progress, ..Self::replay(Replay::of(self, limit)) }
            }
        }
    }

    /// What is left to be read, for whoever comes next.
    pub(crate) fn into_content(self) -> Content {
        self.content
    }

    fn replay(replay: Replay) -> Self {
        let content = Content::Replay(Box::new(replay));
        Self { content, ..Self::EMPTY }
    }

    /// The same, with a limit to how long the client may pause.
    pub(crate) fn watched(self, idle: Duration) -> Self {
        match self.content {
            // Nothing is waited for.
            Content::Empty => self,
            Content::Line(..) | Content::Stream(_) | Content::Replay(_) => {
                Self { stall: Stall::new(Some(idle), None), ..self }
            }
        }
    }

    /// How it gets on from now on, if anybody asked to know.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }

    /// The same, and it is noted how it gets on; `None`: there is nothing to send.
    pub(crate) fn timed(&mut self) -> Option<Progress> {
        match &self.content {
            Content::Empty => None,
            Content::Line(..) | Content::Stream(_) | Content::Replay(_) => {
                Some(self.progress.get_or_insert_with(Progress::begun).clone())
            }
        }
    }

    /// Ties it to whoever waits for the answer to a request that begins now.
    pub(crate) fn bond(&mut self) -> Rc<Bond> {
        let bond = match &self.content {
            Content::Replay(replay) => replay.bond(),
            Content::Empty | Content::Line(..) | Content::Stream(_) => self.bond.take(),
        };
        let bond = bond.unwrap_or_default();
        bond.is_answered.set(false);
        bond.broken.take();
        self.bond = Some(bond.clone());
        bond
    }

    /// How long the client may pause now.
    fn patience(&mut self) -> Option<&mut Stall> {
        let is_answered = self.bond.as_ref().is_some_and(|bond| bond.is_answered.get());
        self.stall.as_deref_mut().filter(|_| !is_answered)
    }

    /// The same again; `None` where it is not recorded.
    pub(crate) fn copy(&self) -> Option<Self> {
        match &self.content {
            Content::Empty => Some(Self::EMPTY),
            Content::Replay(replay) => {
                Some(Self { progress: self.progress.clone(), ..Self::replay(replay.copy()) })
            }
            Content::Line(..) | Content::Stream(_) => None,
        }
    }

    /// Takes what is still to come away from whoever had it before.
    pub(crate) fn begin(&mut self) {
        if let Content::Replay(replay) = &mut self.content {
            replay.begin();
        }
    }

    /// Whether all of it is to be had: nothing was read yet, or what was is recorded.
    pub(crate) fn is_fresh(&self) -> bool {
        match &self.content {
            Content::Empty | Content::Line(..) | Content::Stream(_) => true,
            Content::Replay(replay) => replay.is_fresh(),
        }
    }

    /// The same again, once all of it has come; `None`: it never did, is too long, or is not
    /// recorded.
    pub(crate) fn whole(&self) -> impl Future<Output = Option<Self>> + 'static {
        match &self.content {
            Content::Empty => Either::Left(ready(Some(Self::EMPTY))),
            Content::Line(..) | Content::Stream(_) => Either::Left(ready(None)),
            Content::Replay(replay) => {
                let whole = replay.whole();
                Either::Right(async move { whole.await.map(Self::replay) })
            }
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
            Content::Stream(streamed) => match streamed.size().exact() {
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            },
            Content::Replay(replay) => replay.framing(),
        }
    }

    /// Pours what has arrived of it.
    pub(crate) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        let before = outlet.content;
        let poured = match &mut self.content {
            Content::Empty => return Poll::Ready(Ok(Poured::End(None))),
            Content::Line(turn, _) => {
                let poured = turn.with(|line| {
                    say_continue(line, cx)
                        .map_err(|error| PourError::Source(WireError::Io(error)))?;
                    line.poll_pour(cx, outlet)
                });
                poured.map_err(PourError::Source)?.map_err(PourError::widen)
            }
            Content::Stream(streamed) => {
                let frame = streamed.poll_frame(cx);
                pour_frame(frame, cx, outlet, || streamed.is_end())
            }
            Content::Replay(replay) => replay.poll_pour(cx, outlet),
        };
        self.note(outlet.content - before);
        if let Some(progress) = &self.progress {
            match &poured {
                Poll::Pending => progress.starved(),
                Poll::Ready(Ok(Poured::More)) => progress.taken(),
                Poll::Ready(Ok(Poured::End(_))) => progress.ended(),
                Poll::Ready(Err(_)) => {}
            }
        }
        match self.patience() {
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

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let frame = this.content.poll_frame(cx);
        if let (Some(progress), Poll::Pending) = (&this.progress, &frame) {
            progress.starved();
        }
        let mut frame = match this.patience() {
            None => task::ready!(frame),
            Some(stall) => match task::ready!(stall.judge(cx, frame)) {
                Ok(frame) => frame,
                Err(error) => Some(Err(error)),
            },
        };
        if let (Some(bond), Some(Err(error))) = (&this.bond, &mut frame) {
            // Who reads this only ends the stream with it; who waits for the answer has to know.
            let told = StreamError::Cut(h2::Reason::CANCEL.into());
            bond.broken.replace(Some(std::mem::replace(error, told)));
        }
        if let Some(Ok(frame)) = &frame {
            this.note(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        if let Some(progress) = &this.progress {
            // The next one is asked for when there is room for it.
            match frame.is_none() || this.is_end_stream() {
                true => progress.ended(),
                false => progress.taken(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Line(turn, _) => turn.with(|line| line.is_read()).unwrap_or(false),
            Content::Stream(streamed) => streamed.is_end(),
            Content::Replay(replay) => replay.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Line(_, framing) => hint(*framing),
            Content::Stream(streamed) => streamed.size(),
            Content::Replay(replay) => replay.size(),
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
            Self::Line(turn, _) => {
                let polled = turn.with(|line| {
                    say_continue(line, cx).map_err(WireError::Io)?;
                    poll_bytes_frame(|cx| line.poll_bytes(cx), cx).map(Ok::<_, WireError>)
                })?;
                let polled = task::ready!(polled)?;
                if !matches!(&polled, Some(Ok(frame)) if frame.is_data()) {
                    *self = Self::Empty;
                }
                Poll::Ready(polled)
            }
            Self::Stream(streamed) => streamed.poll_frame(cx),
            Self::Replay(replay) => replay.poll(cx),
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
