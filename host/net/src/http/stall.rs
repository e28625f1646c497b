//! Patience with bodies: how long it may be from one piece to the next, and when all must be over.
//!
//! It is progress that is asked for, not speed: a large body may take all day as long as it moves.
//! (One limit for a whole upload, as Traefik's `readTimeout`, ends what is slow and well.)
//!
//! **Invariant:** a body without limits has no timer.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::body::StreamError;

/// Patience with one body.
#[derive(Debug)]
pub(crate) struct Stall {
    idle: Option<Duration>,
    deadline: Option<Instant>,
    /// Whether the last thing that was asked for has not come yet.
    waits: bool,
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    /// As long as `idle` from piece to piece, and until `deadline` at most; `None` where neither is
    /// limited.
    pub(crate) fn new(idle: Option<Duration>, deadline: Option<Instant>) -> Option<Box<Self>> {
        let next = next(idle, deadline)?;
        Some(Box::new(Self { idle, deadline, waits: false, timer: Box::pin(sleep_until(next)) }))
    }

    /// Looks at what a body gave: where that is nothing yet, it may have been waited for too long.
    pub(crate) fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        piece: Poll<T>,
    ) -> Poll<Result<T, StreamError>> {
        match piece {
            Poll::Ready(piece) => {
                self.waits = false;
                Poll::Ready(Ok(piece))
            }
            Poll::Pending => {
                // Patience begins with the waiting: whoever was not asked has not paused.
                if !std::mem::replace(&mut self.waits, true)
                    && self.idle.is_some()
                    && let Some(next) = next(self.idle, self.deadline)
                {
                    self.timer.as_mut().reset(next);
                }
                self.timer.as_mut().poll(cx).map(|()| Err(self.error()))
            }
        }
    }

    fn error(&self) -> StreamError {
        match (self.idle, self.deadline) {
            (_, Some(deadline)) if Instant::now() >= deadline => StreamError::Late,
            (Some(idle), _) => StreamError::Stalled(idle),
            (None, _) => StreamError::Late,
        }
    }
}

fn next(idle: Option<Duration>, deadline: Option<Instant>) -> Option<Instant> {
    let idle = idle.map(|idle| Instant::now() + idle);
    match (idle, deadline) {
        (Some(idle), Some(deadline)) => Some(idle.min(deadline)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    /// What comes of a body that gives a piece each so many seconds, of which it has so many.
    async fn read(mut stall: Box<Stall>, every: u64, pieces: usize) -> Result<usize, StreamError> {
        for _ in 0..pieces {
            let nothing = std::future::pending::<()>();
            let mut pause = Box::pin(timeout(Duration::from_secs(every), nothing));
            let piece = poll_fn(|cx| {
                let piece = pause.as_mut().poll(cx).map(drop);
                stall.judge(cx, piece)
            });
            piece.await?;
        }
        Ok(pieces)
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_all_day_and_what_does_not_ends() {
        let idle = |seconds| Stall::new(Some(Duration::from_secs(seconds)), None).unwrap();
        assert_eq!(read(idle(10), 9, 10_000).await.unwrap(), 10_000);
        let error = read(idle(10), 11, 3).await.unwrap_err();
        assert_eq!(error.to_string(), "nothing came for 10000 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_moves_too() {
        let until = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
        let stall = Stall::new(Some(Duration::from_secs(10)), until(50)).unwrap();
        assert!(matches!(read(stall, 9, 100).await, Err(StreamError::Late)));
        let stall = Stall::new(None, until(50)).unwrap();
        assert!(matches!(read(stall, 60, 1).await, Err(StreamError::Late)));
        assert!(Stall::new(None, None).is_none());
    }
}
