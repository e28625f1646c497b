//! Whether a client of HTTP/2 that says nothing is still there.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::http2::Connection;

/// When a client is asked.
#[derive(Debug)]
pub(super) struct Pings {
    interval: Duration,
    patience: Duration,
    heard: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Pings {
    /// Asks whoever has said nothing for so long, and waits so long for the answer. `None`: nobody is asked.
    pub(super) fn new(interval: Option<Duration>, patience: Duration) -> Option<Self> {
        let interval = interval?;
        let timer = Box::pin(sleep(interval));
        Some(Self { interval, patience, heard: Instant::now(), timer })
    }

    /// The client has said something.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Asks, when it is time. Ready: the client has not answered.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if connection.is_asked() {
                return Poll::Ready(());
            }
            let (now, next) = (Instant::now(), self.heard + self.interval);
            let next = if next > now {
                next
            } else {
                connection.ask();
                now + self.patience
            };
            self.timer.as_mut().reset(next);
        }
    }
}
