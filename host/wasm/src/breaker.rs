//! Leaves a plugin alone for a while when it fails again and again.
//!
//! **Invariant:** while all is well a call costs one load. A few requests that a plugin cannot
//! stand do not shut it off for the many that it serves well.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portolan_core::figure::Counter;

/// The breaker of one binding.
#[derive(Debug)]
pub(crate) struct Breaker {
    start: Instant,
    /// When it lets a call through again, in milliseconds since `start`; 0: it is closed.
    until: AtomicU64,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// When calls failed, and how many had been made by then.
    failures: VecDeque<(Instant, u64)>,
    /// How long it was open last.
    pause: Duration,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admission {
    /// As any other.
    Open,
    /// To see whether all is well again.
    Probe,
    /// Not now.
    Refused,
}

impl Breaker {
    /// A breaker that lets everything through.
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, until: AtomicU64::new(0), past: Mutex::default() }
    }

    /// Whether a call may be made. `now` is asked for only after failures.
    pub(crate) fn admit(&self, now: impl FnOnce() -> Instant) -> Admission {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return Admission::Open;
        }
        let now = self.millis(now());
        if now < until {
            return Admission::Refused;
        }
        // Whoever moves the time makes the probe; the others wait for its outcome.
        let next = now + millis(MAX_PROBE);
        let moved = self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() { Admission::Probe } else { Admission::Refused }
    }

    /// A call went well.
    pub(crate) fn succeeded(&self, admission: Admission) {
        if admission == Admission::Probe {
            *self.past.lock().unwrap_or_else(PoisonError::into_inner) = Past::default();
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// A call failed. `calls` is the plugin's counter.
    pub(crate) fn failed(&self, admission: Admission, now: Instant, calls: &Counter) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.failures.push_back((now, calls.value()));
        while past.failures.len() > FAILURES {
            past.failures.pop_front();
        }
        let is_bad = past.failures.front().is_some_and(|(at, before)| {
            past.failures.len() == FAILURES
                && now.duration_since(*at) <= WINDOW
                && calls.value().saturating_sub(*before) <= FEW_CALLS
        });
        if is_bad || admission == Admission::Probe {
            past.pause = (past.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
            past.failures.clear();
            self.until.store(self.millis(now) + millis(past.pause), Ordering::Relaxed);
        }
    }

    /// At least 1: 0 means that it is closed.
    fn millis(&self, at: Instant) -> u64 {
        millis(at.duration_since(self.start)).max(1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// So many failures in so long a time, of at most so many calls.
const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const FEW_CALLS: u64 = 1000;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A probe that has not come back after this is given up.
const MAX_PROBE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker, times: usize, now: Instant, calls: &Counter) {
        for _ in 0..times {
            calls.increment();
            breaker.failed(Admission::Open, now, calls);
        }
    }

    #[test]
    fn five_failures_open_it_and_one_probe_closes_it() {
        let (now, calls) = (Instant::now(), Counter::default());
        let breaker = Breaker::new(now);
        fail(&breaker, 4, now, &calls);
        assert_eq!(breaker.admit(|| now), Admission::Open);
        fail(&breaker, 1, now, &calls);
        assert_eq!(breaker.admit(|| now), Admission::Refused);
        let later = now + SECOND + SECOND / 10;
        assert_eq!(breaker.admit(|| later), Admission::Probe);
        assert_eq!(breaker.admit(|| later), Admission::Refused, "one probe at a time");
        breaker.succeeded(Admission::Probe);
        assert_eq!(breaker.admit(|| later), Admission::Open);
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let (mut now, calls) = (Instant::now(), Counter::default());
        let breaker = Breaker::new(now);
        fail(&breaker, 5, now, &calls);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.admit(|| now + SECOND * seconds - SECOND / 2), Admission::Refused);
            now += SECOND * seconds + SECOND / 10;
            assert_eq!(breaker.admit(|| now), Admission::Probe, "after {seconds} s");
            breaker.failed(Admission::Probe, now, &calls);
        }
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let (now, calls) = (Instant::now(), Counter::default());
        let breaker = Breaker::new(now);
        for place in 0..20 {
            fail(&breaker, 1, now + SECOND * 3 * place, &calls);
        }
        assert_eq!(breaker.admit(|| now + SECOND * 60), Admission::Open);
    }

    #[test]
    fn a_few_bad_requests_among_many_good_ones_do_not_open_it() {
        let (now, calls) = (Instant::now(), Counter::default());
        let breaker = Breaker::new(now);
        for _ in 0..20 {
            calls.add(1000);
            fail(&breaker, 1, now, &calls);
        }
        assert_eq!(breaker.admit(|| now), Admission::Open);
    }
}
