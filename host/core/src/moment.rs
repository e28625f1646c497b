//! Moments, small enough for an atomic.
//!
//! Whoever has a clock passes the moment in: nothing here reads one.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Milliseconds since the first moment that was ever asked for; it never goes back.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(u64);

impl Moment {
    /// The moment of an instant. Instants are opaque, so they are counted from the first one seen;
    /// that one is shared by all threads, since they compare what they note.
    pub fn of(instant: Instant) -> Self {
        // Far enough from 0 that whatever was "a while ago" is after the beginning.
        Self::from_millis(millis(since_first(instant)) + 1_000_000)
    }

    /// That many milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds since another moment; 0 if that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// That much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

/// Nanoseconds since the same first moment, for what there may be thousands of in a second.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fine(u64);

impl Fine {
    /// The moment of an instant.
    pub fn of(instant: Instant) -> Self {
        Self(nanos(since_first(instant)))
    }

    /// That many nanoseconds after the beginning.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the beginning.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

fn since_first(instant: Instant) -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    instant.saturating_duration_since(*FIRST.get_or_init(|| instant))
}

/// A duration in nanoseconds; one that is longer than 584 years is that.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
