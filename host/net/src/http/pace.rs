//! Whether a client of HTTP/2 reads its responses.
//!
//! A client decides how much of a response it is sent: a window that it never opens holds a request, its
//! buffers and its connection to a backend for ever. hyper waits for it in a task for each request, and
//! that task begins here.
//!
//! **Invariant:** a response that the client keeps up with has no timer.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Body as HttpBody, Frame, SizeHint},
    rt::Executor,
};
use portolan_core::reason::Reason;
use tokio::{
    task,
    time::{Instant, Sleep, sleep},
};

use super::body::{Body, StreamError};

/// How one response gets on.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many pieces of it were handed over.
    pieces: Cell<u64>,
    /// Whether the last thing that was asked of it gave one: until the next is asked for, it is
    /// the client who is waited for.
    is_ahead: Cell<bool>,
    /// Whether the client was given up.
    is_over: Cell<bool>,
    /// Whether all of it was handed over, or it broke on its way to us.
    is_done: Cell<bool>,
}

/// A response whose pace is noted.
#[derive(Debug)]
pub(crate) struct Paced {
    body: Body,
    pace: Rc<Pace>,
}

/// Runs hyper's tasks for the requests of a connection, each as long as its client reads.
#[derive(Clone)]
pub(crate) struct Pacer {
    patience: Duration,
    /// Of the request that was taken just now. hyper asks for its answer and then runs it.
    next: Rc<RefCell<Option<Rc<Pace>>>>,
    /// Called for each client that was given up.
    given_up: Rc<dyn Fn()>,
    /// How many requests ended in the middle, since somebody asked.
    cut: Rc<Cell<u32>>,
}

impl Pace {
    fn note(&self, is_piece: bool) {
        self.is_ahead.set(is_piece);
        self.pieces.set(self.pieces.get() + u64::from(is_piece));
    }
}

impl Pacer {
    /// Waits for so long for the next byte to be read; `given_up` learns that it was in vain.
    pub(crate) fn new(patience: Duration, given_up: impl Fn() + 'static) -> Self {
        Self { patience, next: Rc::default(), given_up: Rc::new(given_up), cut: Rc::default() }
    }

    /// Where it is counted how many requests ended in the middle: taken back by the client, or, because
    /// of a mistake of it, reset by us.
    pub(crate) fn cut(&self) -> Rc<Cell<u32>> {
        self.cut.clone()
    }

    /// The pace of the request that is taken now.
    pub(crate) fn begin(&self) -> Rc<Pace> {
        let pace = Rc::<Pace>::default();
        self.next.replace(Some(pace.clone()));
        pace
    }
}

impl<F: Future + 'static> Executor<F> for Pacer {
    fn execute(&self, future: F) {
        let Some(pace) = self.next.take() else {
            drop(task::spawn_local(async { drop(future.await) }));
            return;
        };
        let Self { patience, given_up, cut, .. } = self.clone();
        task::spawn_local(async move {
            let mut future = pin!(future);
            let mut timer = None;
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(_) => {
                    cut.set(cut.get() + u32::from(!pace.is_done.get()));
                    Poll::Ready(())
                }
                Poll::Pending if pace.is_ahead.get() => {
                    ready!(
                        timer.get_or_insert_with(|| Timer::new(&pace, patience)).poll(&pace, cx)
                    );
                    pace.is_over.set(true);
                    given_up();
                    Poll::Ready(())
                }
                Poll::Pending => Poll::Pending,
            })
            .await;
        });
    }
}

/// Patience with one client.
struct Timer {
    patience: Duration,
    sleep: Pin<Box<Sleep>>,
    /// How many pieces there were when it was wound up.
    pieces: u64,
}

impl Timer {
    fn new(pace: &Pace, patience: Duration) -> Self {
        Self { patience, sleep: Box::pin(sleep(patience)), pieces: pace.pieces.get() }
    }

    /// Ready when the client did not take one piece in all that time.
    fn poll(&mut self, pace: &Pace, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.pieces == pace.pieces.get() {
                return Poll::Ready(());
            }
            self.pieces = pace.pieces.get();
            self.sleep.as_mut().reset(Instant::now() + self.patience);
        }
    }
}

impl Paced {
    /// A response, whose pace is noted there.
    pub(crate) fn new(body: Body, pace: Rc<Pace>) -> Self {
        pace.is_done.set(body.is_end_stream());
        Self { body, pace }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if self.pace.is_over.get() {
            self.body.failed(Reason::ClientStalled);
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let is_piece = matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        self.pace.note(is_piece);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.pace.is_done.set(true);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
