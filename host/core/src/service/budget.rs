//! How often requests may be sent again: a share of all requests, and a few per second besides.
//!
//! **Invariant:** a request that is sent once costs nothing here: requests are counted anyway, and
//! looked at when one is to be sent again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{moment::Moment, policy::Retry};

/// The time that is looked at, in milliseconds.
const WINDOW: u64 = 10_000;

/// What may be sent again in the current window.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the window began; 0: there was none.
    began: AtomicU64,
    /// Requests at that time.
    requests: AtomicU64,
    spent: AtomicU64,
}

impl Budget {
    /// Takes one from the budget, if it is not used up. `requests` is how many there were ever.
    pub fn take(&self, now: Moment, requests: u64, retry: &Retry) -> bool {
        let began = self.began.load(Relaxed);
        let mut passed = now.as_millis().saturating_sub(began);
        if began == 0 || passed > WINDOW {
            let next = now.as_millis().max(1);
            // Of several threads that notice, one begins the window.
            if self.began.compare_exchange(began, next, Relaxed, Relaxed).is_ok() {
                self.requests.store(requests, Relaxed);
                self.spent.store(0, Relaxed);
            }
            passed = 0;
        }
        let seen = requests.saturating_sub(self.requests.load(Relaxed));
        let seconds = passed / 1000 + 1;
        let allowed = seen.saturating_mul(u64::from(retry.budget_percent)) / 100
            + seconds * u64::from(retry.budget_min);
        let take = |spent| (spent < allowed).then_some(spent + 1);
        self.spent.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}
