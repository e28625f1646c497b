//! How a backend stands just now, as probes and requests found out.
//!
//! **Invariant:** reading takes no lock. One that was left alone is tried by one request at a time until
//! that goes well, and what began before it was left alone says nothing of it. It belongs to the endpoint, not to a snapshot: a change of
//! configuration or catalog forgets nothing that was found out.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::{
    moment::{Moment, millis},
    policy::Passive,
};

/// What probes found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Probed {
    /// Nothing yet, or nobody probes: it is used.
    #[default]
    Unknown,
    /// It is well.
    Up,
    /// It is not: nothing is sent there.
    Down,
}

/// Whether a request may go to a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Nothing speaks against it.
    Free,
    /// It is the one that tries whether the backend is well again. Unless it succeeds or fails, it is to
    /// be given up with this number.
    Trial(u64),
    /// Requests failed, and none or another one tries now.
    Refused,
}

/// After this long a trial is not waited for any longer, and another one begins beside it: it may be a
/// request that takes its time.
const TRIAL: u64 = 10_000;
/// A full share of the traffic, for [`Standing::share`].
pub const FULL: u64 = 256;
/// After this long without an answer half of what was known of its speed is forgotten.
const HALF_LIFE: u64 = 10_000;

/// How a backend stands.
#[derive(Debug, Default)]
pub struct Standing {
    probed: AtomicU8,
    /// Why it is down, for people: written by the prober, read by the API.
    reason: Mutex<Option<Arc<str>>>,
    /// Milliseconds of a [`Moment`]; 0: it was never left alone.
    ejected_until: AtomicU64,
    /// How often in a row it was left alone.
    ejections: AtomicU32,
    /// When the trial under way began; 0: there is none.
    trial: AtomicU64,
    failures: AtomicU32,
    failing_since: AtomicU64,
    /// Whether the last connection to it could not be made.
    is_unreached: AtomicBool,
    /// When it began to take requests; 0: not yet.
    began: AtomicU64,
    /// Nanoseconds that it takes to answer, on the average; 0: not known.
    latency: AtomicU64,
    latency_at: AtomicU64,
}

impl Standing {
    /// What probes found.
    pub fn probed(&self) -> Probed {
        match self.probed.load(Relaxed) {
            1 => Probed::Up,
            2 => Probed::Down,
            _ => Probed::Unknown,
        }
    }

    /// Why it is down, or what the last probe that failed complained of.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what probes found. Answers whether that is new.
    pub fn probe(&self, probed: Probed, reason: Option<Arc<str>>) -> bool {
        let number = match probed {
            Probed::Unknown => 0,
            Probed::Up => 1,
            Probed::Down => 2,
        };
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        let before = self.probed.swap(number, Relaxed);
        if before == 2 && number != 2 {
            self.begin_again();
        }
        before != number
    }

    /// It comes back: its share grows from the beginning.
    pub fn begin_again(&self) {
        self.began.store(0, Relaxed);
    }

    /// Whether it is left alone, because requests failed.
    pub fn is_ejected(&self, now: Moment) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && now.as_millis() < until
    }

    /// Whether it gets no requests: it is left alone, or one is trying whether it is well again.
    pub fn is_avoided(&self, now: Moment) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && (now.as_millis() < until || self.is_on_trial(now))
    }

    /// Whether it gets no requests because no connection to it can be made.
    pub fn is_unreachable(&self, now: Moment) -> bool {
        self.is_unreached.load(Relaxed) && self.is_avoided(now)
    }

    /// Notes whether a connection to it could be made.
    pub fn dialed(&self, is_reached: bool) {
        if self.is_unreached.load(Relaxed) == is_reached {
            self.is_unreached.store(!is_reached, Relaxed);
        }
    }

    /// Whether one request tries if it is well again, and all others leave it out.
    pub fn is_on_trial(&self, now: Moment) -> bool {
        let trial = self.trial.load(Relaxed);
        trial != 0
            && now.as_millis().saturating_sub(trial) < TRIAL
            && self.ejections.load(Relaxed) != 0
    }

    /// Asks for one request to be let through.
    pub fn admit(&self, now: Moment) -> Admission {
        if self.ejections.load(Relaxed) == 0 {
            return Admission::Free;
        }
        let trial = self.trial.load(Relaxed);
        let own = now.as_millis().max(1);
        if self.is_avoided(now)
            || self.trial.compare_exchange(trial, own, Relaxed, Relaxed).is_err()
        {
            return Admission::Refused;
        }
        Admission::Trial(own)
    }

    /// A trial came to nothing: its client left, or it was not about the backend. The next may try.
    pub fn give_up_trial(&self, trial: u64) {
        // Whatever else it became meanwhile stays.
        let _changed = self.trial.compare_exchange(trial, 0, Relaxed, Relaxed);
    }

    /// For how many milliseconds it is left alone yet.
    pub fn ejected_for(&self, now: Moment) -> u64 {
        self.ejected_until.load(Relaxed).saturating_sub(now.as_millis())
    }

    /// Whether there is a failure that a request which goes well makes forgotten.
    pub fn has_failed(&self) -> bool {
        self.failures.load(Relaxed) != 0 || self.ejections.load(Relaxed) != 0
    }

    /// A request went well.
    pub fn succeeded(&self, now: Moment) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        // Answers to what was sent before it was left alone do not end that.
        if self.ejections.load(Relaxed) != 0 && !self.is_ejected(now) {
            self.ejections.store(0, Relaxed);
            self.trial.store(0, Relaxed);
        }
    }

    /// A request failed that was sent at a moment (`begun`). Answers for how many milliseconds it is
    /// left alone from now on.
    pub fn failed(&self, begun: Moment, now: Moment, passive: &Passive) -> Option<u64> {
        // What was sent before it was left alone, or all the same, tells nothing new.
        if !passive.enabled || begun.as_millis() < self.ejected_until.load(Relaxed) {
            return None;
        }
        let since = self.failing_since.load(Relaxed);
        let window = millis(passive.failure_window);
        if self.failures.load(Relaxed) == 0 || now.as_millis().saturating_sub(since) > window {
            self.failures.store(0, Relaxed);
            self.failing_since.store(now.as_millis(), Relaxed);
        }
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        let ejections = self.ejections.load(Relaxed);
        // One that was left alone already has to show that it is well again.
        if ejections == 0 && failures < passive.max_failed_attempts.max(1) {
            return None;
        }
        self.failures.store(0, Relaxed);
        self.ejections.store(ejections.saturating_add(1), Relaxed);
        let base = millis(passive.ejection).max(1);
        let longer = base.saturating_mul(1_u64.checked_shl(ejections.min(32)).unwrap_or(u64::MAX));
        let time = longer.min(millis(passive.max_ejection).max(base));
        self.ejected_until.store(now.as_millis().saturating_add(time), Relaxed);
        self.trial.store(0, Relaxed);
        self.begin_again();
        Some(time)
    }

    /// The share of its traffic that it takes now, of [`FULL`], when it takes so many milliseconds
    /// to come to all of it. The first to ask starts it.
    pub fn share(&self, now: Moment, slow_start: u64) -> u64 {
        let mut began = self.began.load(Relaxed);
        if began == 0 {
            let first = self.began.compare_exchange(0, now.as_millis().max(1), Relaxed, Relaxed);
            began = first.map_or_else(|other| other, |_| now.as_millis().max(1));
        }
        let passed = now.as_millis().saturating_sub(began);
        if passed >= slow_start {
            return FULL;
        }
        // From a tenth up, so that it is seen to be well at all.
        (passed * FULL / slow_start.max(1)).max(FULL / 10)
    }

    /// An answer took so many nanoseconds.
    pub fn answered(&self, now: Moment, nanos: u64) {
        let known = self.latency.load(Relaxed);
        let next = match known {
            0 => nanos,
            // A moving average; two answers at once may lose one, which matters to nobody.
            _ => known - known / 8 + nanos / 8,
        };
        self.latency.store(next.max(1), Relaxed);
        self.latency_at.store(now.as_millis(), Relaxed);
    }

    /// Nanoseconds that it takes to answer. What is known fades when there are no answers: one
    /// that was slow must be asked again some time.
    pub fn latency(&self, now: Moment) -> Option<u64> {
        let known = self.latency.load(Relaxed);
        let passed = now.as_millis().saturating_sub(self.latency_at.load(Relaxed));
        (known != 0).then(|| (known >> (passed / HALF_LIFE).min(63)).max(1))
    }
}
