//! Counters and histograms that the hot paths write and the exporter reads.
//!
//! **Invariant:** recording is a relaxed atomic addition: no lock, and no allocation but for what is
//! seen for the first time.
//!
//! Reading order: `label` (what requests are told apart by), `cells` (counters that appear when they
//! are first needed), `combination` and `combined` (what headers say, where that is counted too),
//! `traffic` (requests and their outcomes).

mod label;
mod cells;
mod combination;
mod combined;
mod traffic;

pub use self::{
    combination::{Combination, Combinations, HeaderLabel, HeaderLabels, OTHER},
    label::{AnswerKey, Encryption, MethodLabel, ProtocolLabel},
    traffic::{Answer, AnswerReading, Buckets, TrafficFigures, TrafficShard},
};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One fewer.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// That many more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// That many fewer.
    pub fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Relaxed);
    }

    /// One more, if that makes no more than `limit`. Answers whether it does not.
    pub fn increment_within(&self, limit: u64) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |now| (now < limit).then_some(now + 1)).is_ok()
    }

    /// How many now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram of durations with buckets that double.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bound of the first bucket, in nanoseconds; each next one is the double.
    first: u64,
    buckets: [AtomicU64; Self::BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// How many buckets there are; the last one takes everything.
    pub const BUCKETS: usize = 20;

    /// A histogram whose first bucket ends at `first` nanoseconds.
    pub fn starting_at(first: u64) -> Self {
        let first = first.max(1);
        Self { first, buckets: Default::default(), sum: AtomicU64::new(0) }
    }

    /// What histograms that start alike have recorded together.
    pub fn merged<'h>(first: u64, parts: impl IntoIterator<Item = &'h Self>) -> Self {
        let sum = Self::starting_at(first);
        for part in parts {
            for (into, from) in sum.buckets.iter().zip(&part.buckets) {
                into.fetch_add(from.load(Relaxed), Relaxed);
            }
            sum.sum.fetch_add(part.sum(), Relaxed);
        }
        sum
    }

    /// Records a duration in nanoseconds.
    pub fn record(&self, nanos: u64) {
        self.record_many(nanos, 1);
    }

    /// Records that something took so many nanoseconds, so many times.
    pub fn record_many(&self, nanos: u64, count: u64) {
        let ratio = nanos.saturating_sub(1) / self.first;
        let place = (u64::BITS - ratio.leading_zeros()) as usize;
        self.buckets[place.min(Self::BUCKETS - 1)].fetch_add(count, Relaxed);
        self.sum.fetch_add(nanos.saturating_mul(count), Relaxed);
    }

    /// Upper bound in nanoseconds and count of each bucket; the last bound is `u64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(place, count)| {
            let last = place == Self::BUCKETS - 1;
            let bound = if last { u64::MAX } else { self.first << place };
            (bound, count.load(Relaxed))
        })
    }

    /// The longest bound but that of the last bucket, in nanoseconds.
    pub fn longest(&self) -> u64 {
        self.first << (Self::BUCKETS - 2)
    }

    /// The sum of everything recorded, in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The bound under which the given share of the recorded durations lies; 0 when empty.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if wanted > 0 && seen >= wanted {
                return bound;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        for (nanos, bound) in [
            (0, 100),
            (1, 100),
            (100, 100),
            (101, 200),
            (200, 200),
            (201, 400),
            (100 << 18, 100 << 18),
            ((100 << 18) + 1, u64::MAX),
            (u64::MAX, u64::MAX),
        ] {
            let histogram = Histogram::starting_at(100);
            histogram.record(nanos);
            let filled = histogram.buckets().find(|(_, count)| *count > 0);
            assert_eq!(filled, Some((bound, 1)), "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let histogram = Histogram::starting_at(100);
        assert_eq!(histogram.quantile(0.5), 0);
        for nanos in [10, 20, 150, 1000] {
            histogram.record(nanos);
        }
        let quantiles = [0.0, 0.5, 0.75, 0.99].map(|share| histogram.quantile(share));
        assert_eq!(quantiles, [0, 100, 200, 1600]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 1180));
    }

    #[test]
    fn histograms_of_many_threads_are_read_as_one() {
        let parts = [Histogram::starting_at(100), Histogram::starting_at(100)];
        parts[0].record(10);
        parts[1].record(150);
        let merged = Histogram::merged(100, &parts);
        assert_eq!((merged.count(), merged.sum(), merged.quantile(1.0)), (2, 160, 200));
    }
}
