//! Whether a client of HTTP/2 reads its responses.
//!
//! A client decides how much of a response it is sent: a window that it never opens holds a request, its
//! buffers and its connection to a backend for ever.
//!
//! **Invariant:** a response that the client keeps up with has no timer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Patience with one client.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    /// How often it made room.
    steps: u64,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// How often it had made room when this was wound up.
    steps: u64,
}

impl Pace {
    /// Waits so long for room.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, steps: 0, timer: None }
    }

    /// There is room.
    pub(super) fn step(&mut self) {
        self.steps += 1;
    }

    /// There is none. Ready: there was none for all that time.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Timer {
            sleep: Box::pin(sleep(self.patience)),
            steps: self.steps,
        });
        loop {
            ready!(timer.sleep.as_mut().poll(cx));
            if timer.steps == self.steps {
                return Poll::Ready(());
            }
            timer.steps = self.steps;
            timer.sleep.as_mut().reset(Instant::now() + self.patience);
        }
    }
}
