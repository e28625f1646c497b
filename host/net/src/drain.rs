//! How the data plane ends: a signal to stop, and the moment by which all work must be over.
//!
//! **Invariant:** the signal is given once and never taken back.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// Gives the signal to stop.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Option<Instant>>);

/// Knows whether to stop, and by when.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Instant>>);

/// A signal, and the one who gives it.
pub fn signal() -> (Trigger, Stop) {
    let (sender, receiver) = watch::channel(None);
    (Trigger(sender), Stop(receiver))
}

impl Trigger {
    /// Stop now: whatever is open may go on for `limit`. A second call changes nothing.
    pub fn pull(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.0.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(deadline);
            first
        });
    }
}

impl Stop {
    /// Waits for the signal; answers the moment by which all work must be over.
    pub async fn requested(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await {
            Ok(stop) => stop.unwrap_or_else(Instant::now),
            // Nobody is left who could give it: that is a signal too.
            Err(_closed) => Instant::now(),
        }
    }

    /// Whether the signal was given.
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_limit_holds() {
        let (trigger, mut stop) = signal();
        assert!(!stop.is_requested());
        let begin = Instant::now();
        trigger.pull(Duration::from_secs(3));
        trigger.pull(Duration::from_secs(30));
        assert!(stop.is_requested());
        assert_eq!(stop.requested().await, begin + Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_lost_trigger_is_a_signal() {
        let (trigger, mut stop) = signal();
        drop(trigger);
        stop.requested().await;
    }
}
