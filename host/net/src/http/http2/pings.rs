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
    /// When something was read, or the system took something that was written: who reads slowly hears of a
    /// question late, and is there.
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Pings {
    /// Asks whoever has said nothing for so long, and waits so long for the answer. `None`: nobody is asked.
    pub(super) fn new(interval: Option<Duration>, patience: Duration) -> Option<Self> {
        let interval = interval?;
        let timer = Box::pin(sleep(interval));
        Some(Self { interval, patience, moved: Instant::now(), timer })
    }

    /// Bytes have gone in or out.
    pub(super) fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// Asks, when it is time. Ready: the client has not answered.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let wait = if connection.is_asked() { self.patience } else { self.interval };
            let mut next = self.moved + wait;
            if next <= now {
                if connection.is_asked() {
                    return Poll::Ready(());
                }
                connection.ask();
                next = now + self.patience;
            }
            self.timer.as_mut().reset(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;
    use crate::http2::{ConnectionLimits, FieldLimits};

    #[tokio::test(start_paused = true)]
    async fn who_takes_what_is_sent_is_there_however_late_it_answers() {
        let head = FieldLimits { bytes: 8192, fields: 10 };
        let mut connection = Connection::new(ConnectionLimits { streams: 1, head });
        let second = Duration::from_secs(1);
        let mut pings = Pings::new(Some(10 * second), 5 * second).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        advance(11 * second).await;
        assert!(pings.poll_gone(&mut cx, &mut connection).is_pending() && connection.is_asked());
        for _ in 0..10 {
            advance(4 * second).await;
            assert!(pings.poll_gone(&mut cx, &mut connection).is_pending());
            pings.moved();
        }
        advance(6 * second).await;
        assert!(pings.poll_gone(&mut cx, &mut connection).is_ready());
    }
}
