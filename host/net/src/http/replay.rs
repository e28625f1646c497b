//! Bodies of requests that can be sent more than once: what goes to the first backend is recorded
//! on its way, so that it waits for nobody, and a call that streams both ways is one still.
//!
//! **Invariant:** what is recorded is bounded; a body that turns out to be longer goes on to whoever
//! has it, once, and costs what any other does. At most one reader gets what is still to come.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Bond, Pouring, RequestBody, StreamError, pour_frame};
use crate::h1::{Framing, Outlet};

/// How much of what was recorded is handed on at a time.
const PIECE: usize = 16 * 1024;

/// A reader of a body, from its beginning.
#[derive(Debug)]
pub(crate) struct Replay {
    record: Rc<RefCell<Record>>,
    /// What is still to come; `None`: everything was there when this reader was made.
    source: Option<Rc<Source>>,
    /// When this reader began to read; a later one takes the rest away from it.
    turn: Option<u64>,
    /// How much of what is recorded it has seen.
    seen: usize,
    told_trailers: bool,
}

/// What came of a body.
#[derive(Debug, Default)]
struct Record {
    /// In one piece: small ones would each hold on to the buffer that they came in.
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
    state: State,
    /// Who waits for the state to change.
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// There may be more to come.
    #[default]
    Open,
    /// It is all there.
    Whole,
    /// It was too long, broke off, or was not wanted any more.
    Lost,
}

/// Where the rest comes from.
#[derive(Debug)]
struct Source {
    rest: RefCell<RequestBody>,
    record: Rc<RefCell<Record>>,
    limit: u64,
    framing: Framing,
    size: SizeHint,
    /// The newest turn.
    turn: Cell<u64>,
}

impl Replay {
    /// A body that can be read again as long as no more than so many bytes of it were.
    pub(crate) fn of(body: RequestBody, limit: u64) -> Self {
        let record = Rc::<RefCell<Record>>::default();
        let source = Source {
            framing: body.framing(),
            size: body.size_hint(),
            rest: RefCell::new(body),
            record: record.clone(),
            limit,
            turn: Cell::new(0),
        };
        let source = Some(Rc::new(source));
        Self { record, source, turn: None, seen: 0, told_trailers: false }
    }

    /// The same from its beginning, for when this reader is done with it.
    pub(crate) fn copy(&self) -> Self {
        let (record, source) = (self.record.clone(), self.source.clone());
        Self { record, source, turn: None, seen: 0, told_trailers: false }
    }

    /// Begins to read: what is still to come is for nobody else from now on. An earlier reader may
    /// be with an answer that is being thrown away, longer than the request lasts.
    pub(crate) fn begin(&mut self) {
        if let (Some(source), None) = (&self.source, self.turn) {
            source.turn.set(source.turn.get() + 1);
            self.turn = Some(source.turn.get());
        }
    }

    /// Whether it can be read from its beginning.
    pub(crate) fn is_fresh(&self) -> bool {
        self.seen == 0 && self.state() != State::Lost
    }

    /// Whether it can be read again after so many bytes.
    pub(crate) fn keeps(&self, limit: u64) -> bool {
        self.source.as_ref().is_none_or(|source| source.limit >= limit)
    }

    /// The same, when it has come to its end; `None`: it never did, or is too long.
    pub(crate) fn whole(&self) -> impl Future<Output = Option<Self>> + 'static {
        // Whoever waits must not keep the rest from being dropped.
        let record = self.record.clone();
        poll_fn(move |cx| {
            let mut it = record.borrow_mut();
            match it.state {
                State::Open => {
                    it.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
                State::Lost => Poll::Ready(None),
                State::Whole => {
                    let record = record.clone();
                    let (source, turn) = (None, None);
                    Poll::Ready(Some(Self { record, source, turn, seen: 0, told_trailers: false }))
                }
            }
        })
    }

    /// What ties the rest to whoever waits for the answer; `None`: nothing is to come.
    pub(crate) fn bond(&self) -> Option<Rc<Bond>> {
        self.source.as_ref().map(|source| source.rest.borrow_mut().bond())
    }

    /// Nothing of it is waited for.
    fn is_there(&self) -> bool {
        self.state() == State::Whole
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if let Err(error) = self.take_turn() {
            return Poll::Ready(Some(Err(error)));
        }
        let record = self.record.borrow();
        let piece = record.content.get(self.seen..).unwrap_or_default();
        if let Some(piece) = piece.chunks(PIECE).next() {
            self.seen += piece.len();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(piece)))));
        }
        if record.state == State::Whole {
            let trailers = record.trailers.clone();
            let trailers = trailers.filter(|_| !std::mem::replace(&mut self.told_trailers, true));
            return Poll::Ready(trailers.map(|all| Ok(Frame::trailers(all))));
        }
        drop(record);
        let Some(source) = &self.source else { return Poll::Ready(None) };
        let frame = ready!(source.poll(cx));
        // It has seen what was recorded just now.
        self.seen = self.record.borrow().content.len();
        self.told_trailers = true;
        Poll::Ready(frame)
    }

    /// Pours what has arrived; what is not recorded any more goes as directly as any other body.
    pub(crate) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        if let Some(source) = &self.source
            && self.state() == State::Lost
            && self.turn == Some(source.turn.get())
        {
            return source.rest.borrow_mut().poll_pour(cx, outlet);
        }
        let frame = self.poll(cx);
        pour_frame(frame, cx, outlet, || self.has_ended())
    }

    pub(crate) fn framing(&self) -> Framing {
        let record = self.record.borrow();
        match (record.state, &self.source) {
            (State::Whole, _) | (_, None) => match record.content.len() {
                _ if record.trailers.is_some() => Framing::Chunked,
                0 => Framing::Empty,
                length => Framing::Length(length as u64),
            },
            (State::Open | State::Lost, Some(source)) => source.framing,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        let record = self.record.borrow();
        match (record.state, &self.source) {
            (State::Whole, _) => {
                let is_told = self.told_trailers || record.trailers.is_none();
                self.seen == record.content.len() && is_told
            }
            (State::Open | State::Lost, Some(source)) => {
                self.seen == record.content.len() && source.rest.borrow().is_end_stream()
            }
            (State::Open | State::Lost, None) => true,
        }
    }

    pub(crate) fn size(&self) -> SizeHint {
        let record = self.record.borrow();
        match (record.state, &self.source) {
            (State::Open | State::Lost, Some(source)) => source.size,
            (State::Whole, _) | (_, None) => SizeHint::with_exact(record.content.len() as u64),
        }
    }

    fn state(&self) -> State {
        self.record.borrow().state
    }

    /// Begins to read, if it has not; fails if another has since.
    fn take_turn(&mut self) -> Result<(), StreamError> {
        // Whoever has all of it takes it from nobody.
        if self.source.is_some() && self.turn.is_none() && !self.is_fresh() {
            return Err(StreamError::Superseded);
        }
        self.begin();
        let newest = self.source.as_ref().map(|source| source.turn.get());
        // What is there already may be had by anybody.
        match self.turn == newest || self.is_there() {
            true => Ok(()),
            false => Err(StreamError::Superseded),
        }
    }
}

impl Source {
    /// The next of what is still to come, which is recorded.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let mut rest = self.rest.borrow_mut();
        let frame = ready!(Pin::new(&mut *rest).poll_frame(cx));
        // The reader that asks, and this: whoever else there was has what they need.
        let is_wanted = Rc::strong_count(&self.record) > 2;
        let mut record = self.record.borrow_mut();
        match &frame {
            Some(Ok(_)) if !is_wanted => record.settle(State::Lost),
            None => record.settle(State::Whole),
            Some(Err(_)) => record.settle(State::Lost),
            Some(Ok(frame)) => {
                record.note(frame, self.limit);
                if rest.is_end_stream() {
                    record.settle(State::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.record.borrow_mut().settle(State::Lost);
    }
}

impl Record {
    fn note(&mut self, frame: &Frame<Bytes>, limit: u64) {
        if self.state != State::Open {
            return;
        }
        if let Some(data) = frame.data_ref() {
            if (self.content.len() + data.len()) as u64 > limit {
                return self.settle(State::Lost);
            }
            self.content.extend_from_slice(data);
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.settle(State::Whole);
        }
    }

    /// What is settled stays so.
    fn settle(&mut self, state: State) {
        if self.state != State::Open {
            return;
        }
        self.state = state;
        if state == State::Lost {
            self.content = Vec::new();
        }
        self.waiting.drain(..).for_each(Waker::wake);
    }
}
