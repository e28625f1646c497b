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
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let since = instant.saturating_duration_since(*FIRST.get_or_init(|| instant));
        // Far enough from 0 that whatever was "a while ago" is after the beginning.
        Self::from_millis(millis(since) + 1_000_000)
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

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
