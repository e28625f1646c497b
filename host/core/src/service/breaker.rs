//! A circuit breaker: a service of which too much fails is given a rest.
//!
//! **Invariant:** a service without a breaker never comes here. One that is open lets through one
//! request at a time to see whether it is well again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    moment::{Moment, millis},
    policy::Breaker,
};

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gate {
    /// It may.
    Closed,
    /// It may, and what becomes of it decides.
    Trial,
    /// It may not, for so many milliseconds yet.
    Open(u64),
}

/// Whether a trial that began then is under way. One that nothing was heard of is not waited for any longer
/// than the rest itself.
fn is_on(trial: u64, now: Moment, breaker: &Breaker) -> bool {
    trial != 0 && now.as_millis().saturating_sub(trial) < millis(breaker.fallback).max(1)
}

/// How long a trial takes that is under way, as far as anybody can tell.
fn usual_trial(breaker: &Breaker) -> u64 {
    millis(breaker.fallback).clamp(1, 1000)
}

/// What becomes of the requests of a service.
#[derive(Debug, Default)]
pub struct Circuit {
    /// The number of the window, all requests in it, and those that failed: 24, 20 and 20 bits.
    window: AtomicU64,
    /// Until when it is open; 0: it is closed.
    open_until: AtomicU64,
    /// Since when a trial is under way; 0: none is.
    trial: AtomicU64,
}

const COUNT: u64 = (1 << 20) - 1;

impl Circuit {
    /// Whether a request may pass now.
    pub fn gate(&self, now: Moment, breaker: &Breaker) -> Gate {
        let until = self.open_until.load(Relaxed);
        if until == 0 {
            return Gate::Closed;
        }
        if now.as_millis() < until {
            return Gate::Open(until - now.as_millis());
        }
        let trial = self.trial.load(Relaxed);
        let next = now.as_millis().max(1);
        if is_on(trial, now, breaker)
            || self.trial.compare_exchange(trial, next, Relaxed, Relaxed).is_err()
        {
            return Gate::Open(usual_trial(breaker));
        }
        Gate::Trial
    }

    /// For how many milliseconds nothing passes yet; `None`: something may. While a trial is under way,
    /// nothing else does.
    pub fn rests(&self, now: Moment, breaker: &Breaker) -> Option<u64> {
        let until = self.open_until.load(Relaxed);
        let left = until.saturating_sub(now.as_millis());
        if until == 0 || left > 0 {
            return (left > 0).then_some(left);
        }
        is_on(self.trial.load(Relaxed), now, breaker).then(|| usual_trial(breaker))
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.open_until.load(Relaxed) != 0
    }

    /// Notes what became of a request that passed. Answers whether the breaker opened or closed.
    pub fn note(&self, now: Moment, breaker: &Breaker, gate: Gate, failed: bool) -> bool {
        let until = now.after(breaker.fallback).as_millis().max(1);
        match (gate, failed) {
            (Gate::Open(_), _) => false,
            (Gate::Trial, true) => {
                self.open_until.store(until, Relaxed);
                self.trial.store(0, Relaxed);
                true
            }
            (Gate::Trial, false) => {
                self.window.store(0, Relaxed);
                self.open_until.store(0, Relaxed);
                self.trial.store(0, Relaxed);
                true
            }
            (Gate::Closed, failed) => {
                let opens = self.count(now, breaker, failed) && !self.is_open();
                if opens {
                    self.open_until.store(until, Relaxed);
                    self.trial.store(0, Relaxed);
                }
                opens
            }
        }
    }

    /// A request that passed was given up before it could show anything.
    pub fn give_up(&self, gate: Gate) {
        if gate == Gate::Trial {
            self.trial.store(0, Relaxed);
        }
    }

    /// Counts a request. Answers whether too many failed.
    fn count(&self, now: Moment, breaker: &Breaker, failed: bool) -> bool {
        let number = (now.as_millis() / millis(breaker.window).max(1)) & 0xff_ffff;
        let add = |packed: u64| {
            let (all, bad) = match packed >> 40 == number {
                true => (packed >> 20 & COUNT, packed & COUNT),
                false => (0, 0),
            };
            // Half of everything is as good a ratio as everything, and never too large.
            let (all, bad) = if all == COUNT { (all / 2, bad / 2) } else { (all, bad) };
            Some(number << 40 | (all + 1) << 20 | (bad + u64::from(failed)))
        };
        let before = self.window.fetch_update(Relaxed, Relaxed, add);
        let packed = add(before.unwrap_or(0)).unwrap_or(0);
        let (all, bad) = (packed >> 20 & COUNT, packed & COUNT);
        failed
            && all >= u64::from(breaker.min_requests)
            && bad * 100 >= all * u64::from(breaker.error_percent)
    }
}
