//! How an upstream is: whether others should be asked first, and how soon it answers.
//!
//! **Invariant:** what an upstream says of one question does not count against it for others: a
//! name that nobody can resolve is refused by every upstream.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

use super::super::forward::Mode;

/// How long an upstream that failed is asked last.
pub(in crate::dns) const REST: Duration = Duration::from_secs(5);
/// How often in a row one is silent before it rests where an order is given: what it is asked first
/// for, nobody else should be asked because of one lost datagram.
const MOST_SILENCES: u32 = 3;
/// How often in a row one refuses before it is taken to refuse everything, where it has answered
/// before.
pub(in crate::dns) const MOST_REFUSALS: u32 = 8;
/// What is expected of an upstream that has not answered yet: that it is worth a try.
const UNKNOWN: Duration = Duration::ZERO;

/// How an upstream is.
#[derive(Debug)]
pub(in crate::dns) struct Health {
    /// When it failed last, if it has not answered since.
    failed: Cell<Option<Instant>>,
    /// When that was last taken for one more silence, or it has spoken since.
    counted: Cell<Option<Instant>>,
    /// When it was last asked beside somebody else, to see whether it answers again.
    tried: Cell<Option<Instant>>,
    /// How often in a row it did not answer in time.
    silences: Cell<u32>,
    /// How often in a row it said that it cannot answer.
    refusals: Cell<u32>,
    expected: Cell<Duration>,
    mode: Mode,
}

impl Health {
    pub(super) fn new(mode: Mode) -> Self {
        let (failed, counted, tried, silences, refusals) = Default::default();
        Self { failed, counted, tried, silences, refusals, expected: Cell::new(UNKNOWN), mode }
    }

    /// Whether it failed so lately that others should be asked first.
    pub(in crate::dns) fn is_resting(&self, now: Instant) -> bool {
        self.is_failing() && self.failed.get().is_some_and(|failed| is_lately(failed, now))
    }

    /// Whether it has rested and nothing is known of it since: one that is not the fastest any more
    /// would hardly be asked again. Answers so once in the time of a rest.
    pub(in crate::dns) fn is_to_be_tried(&self, now: Instant) -> bool {
        let moments = [self.failed.get(), self.tried.get()];
        let is_due = !moments.into_iter().flatten().any(|moment| is_lately(moment, now));
        // In a given order nobody is asked before its turn.
        let is_to_be = self.mode != Mode::Strict && self.is_failing() && is_due;
        if is_to_be {
            self.tried.set(Some(now));
        }
        is_to_be
    }

    /// Whether it failed often enough to rest for a while, and has not answered since.
    fn is_failing(&self) -> bool {
        let (silences, refusals) = match self.mode {
            Mode::Strict => (MOST_SILENCES, u32::MAX),
            // Of one that has never answered nobody knows whether it ever will.
            Mode::Fastest | Mode::Parallel if self.expected.get() == UNKNOWN => (1, 1),
            Mode::Fastest | Mode::Parallel => (1, MOST_REFUSALS),
        };
        self.failed.get().is_some()
            && (self.silences.get() >= silences || self.refusals.get() >= refusals)
    }

    /// How long it takes to answer, as far as is known.
    pub(in crate::dns) fn expected(&self) -> Duration {
        self.expected.get()
    }

    /// It has answered after so long.
    pub(super) fn answered(&self, after: Duration) {
        self.failed.set(None);
        self.counted.set(None);
        self.silences.set(0);
        self.refusals.set(0);
        // An eighth of what is new, as TCP does (RFC 6298, 2).
        let before = self.expected.get();
        let mixed = if before == UNKNOWN { after } else { (before * 7 + after) / 8 };
        self.expected.set(mixed);
    }

    /// It has said that it cannot answer this question.
    pub(super) fn refused(&self) {
        let now = Some(Instant::now());
        self.failed.set(now);
        self.counted.set(now);
        self.silences.set(0);
        self.refusals.update(|refusals| refusals.saturating_add(1));
    }

    /// It has not answered since then. What many wait for at the same time is one silence.
    pub(super) fn silent(&self, since: Instant) {
        let now = Some(Instant::now());
        if self.counted.get().is_none_or(|counted| counted <= since) {
            self.counted.set(now);
            self.silences.update(|silences| silences.saturating_add(1));
        }
        self.failed.set(now);
    }

    /// The same, and another one has answered after so long.
    pub(super) fn slower_than(&self, patience: Duration, since: Instant) {
        self.silent(since);
        self.expected.set(self.expected.get().max(patience));
    }
}

fn is_lately(moment: Instant, now: Instant) -> bool {
    now.saturating_duration_since(moment) < REST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_refuses_one_name_does_not_rest_but_who_is_silent_does() {
        let later = || tokio::time::advance(Duration::from_millis(100));
        let is_resting = |health: &Health| health.is_resting(Instant::now());
        for (mode, silences, refusals) in [(Mode::Fastest, 1, Some(8)), (Mode::Strict, 3, None)] {
            let health = Health::new(mode);
            health.refused();
            assert_eq!(is_resting(&health), mode == Mode::Fastest, "it has never answered");
            health.answered(Duration::from_millis(10));
            for number in 1..=20 {
                health.refused();
                assert_eq!(is_resting(&health), refusals.is_some_and(|most| number >= most));
            }
            health.answered(Duration::from_millis(10));
            for number in 1..=5 {
                // Two wait for the same silence.
                let since = Instant::now();
                later().await;
                health.silent(since);
                health.silent(since);
                assert_eq!(is_resting(&health), number >= silences, "{mode:?} {number}");
            }
            tokio::time::advance(REST).await;
            assert!(!is_resting(&health));
            health.silent(Instant::now());
            assert!(is_resting(&health), "it has not answered since");
            health.answered(Duration::from_millis(10));
            assert!(!is_resting(&health));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_rested_is_tried_once_in_the_time_of_a_rest_until_it_answers() {
        for (mode, is_tried) in [(Mode::Fastest, true), (Mode::Strict, false)] {
            let health = Health::new(mode);
            let is_to_be = || health.is_to_be_tried(Instant::now());
            assert!(!is_to_be());
            (0..3).for_each(|_| health.silent(Instant::now()));
            assert!(!is_to_be(), "it rests");
            for _ in 0..3 {
                tokio::time::advance(REST).await;
                assert_eq!([is_to_be(), is_to_be()], [is_tried, false], "{mode:?}");
            }
            health.answered(Duration::from_millis(10));
            tokio::time::advance(REST).await;
            assert!(!is_to_be());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_all_the_time_is_found_silent_as_soon_as_others() {
        let health = Health::new(Mode::Strict);
        health.answered(Duration::from_millis(10));
        // Ten questions a second, each given up after 400 ms.
        let (every, patience) = (Duration::from_millis(100), Duration::from_millis(400));
        tokio::time::advance(patience).await;
        for _ in 0..13 {
            let since = Instant::now().checked_sub(patience).unwrap();
            health.silent(since);
            tokio::time::advance(every).await;
        }
        assert!(health.is_resting(Instant::now()), "{health:?}");
    }
}
