//! The clock that stops guests that run too long: a thread that moves the engine's epoch.
//!
//! **Invariant:** while a guest runs within a limit, the clock ticks. While none does, it stands
//! still, so that a process at rest is at rest.
//!
//! It is a plain thread, not a task: it must run when every worker is stuck in a guest.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use wasmtime::{Engine, EngineWeak};

use crate::error::HostError;

/// What one tick lasts: time limits are whole ticks. While requests call guests it ticks all the
/// time, and wakes a thread each time: with ticks of 1 ms, that thread alone took more than a
/// hundredth of a busy core.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// The clock of an engine.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Ticks since it was started.
    now: AtomicU64,
    /// The tick until which it is needed.
    until: AtomicU64,
    /// Whether it stands still.
    rests: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Clock {
    /// Starts the clock of an engine. Its thread ends with the engine.
    pub(crate) fn start(engine: &Engine) -> Result<Arc<Self>, HostError> {
        let clock = Arc::new(Self {
            now: AtomicU64::new(0),
            until: AtomicU64::new(0),
            rests: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let (engine, its) = (engine.weak(), clock.clone());
        let thread = thread::Builder::new().name("plugin-clock".to_owned());
        let handle = thread.spawn(move || its.tick(&engine)).map_err(HostError::Clock)?;
        clock.thread.get_or_init(|| handle.thread().clone());
        Ok(clock)
    }

    /// Makes sure that it ticks for so long: to be called before a guest runs. Costs two loads
    /// nearly always.
    pub(crate) fn run_for(&self, limit: Duration) {
        let until = self.now.load(Ordering::SeqCst).saturating_add(ticks(limit));
        if self.until.load(Ordering::SeqCst) >= until {
            return;
        }
        self.until.fetch_max(until, Ordering::SeqCst);
        // It notes that it rests before it looks at `until` for the last time: one of us sees the
        // other.
        if self.rests.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn tick(&self, engine: &EngineWeak) {
        let mut due = Due::at(Instant::now());
        loop {
            if self.rest(engine) {
                due = Due::at(Instant::now());
            }
            thread::park_timeout(due.wait(Instant::now()));
            let Some(engine) = engine.upgrade() else { return };
            for _ in 0..due.ticks(Instant::now()) {
                self.now.fetch_add(1, Ordering::SeqCst);
                engine.increment_epoch();
            }
        }
    }

    /// Returns when it is needed, or when its engine is gone. Answers whether it rested.
    fn rest(&self, engine: &EngineWeak) -> bool {
        let mut rested = false;
        let is_needed = || self.now.load(Ordering::SeqCst) < self.until.load(Ordering::SeqCst);
        while !is_needed() {
            rested = true;
            self.rests.store(true, Ordering::SeqCst);
            if !is_needed() {
                thread::park_timeout(REST);
            }
            self.rests.store(false, Ordering::SeqCst);
            if engine.upgrade().is_none() {
                break;
            }
        }
        rested
    }
}

/// When the next tick is due. Each wakes a little late, and on a busy machine much: by itself that would
/// add up, and a limit of two seconds end after nearly three.
#[derive(Debug)]
struct Due(Instant);

impl Due {
    fn at(now: Instant) -> Self {
        Self(now + TICK)
    }

    fn wait(&self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// How many ticks are due. A process that stood still as a whole (a suspended machine) goes on where
    /// it was: its guests did not run meanwhile.
    fn ticks(&mut self, now: Instant) -> u32 {
        let mut due = 0;
        while self.0 <= now && due < MOST_AT_ONCE {
            self.0 += TICK;
            due += 1;
        }
        if self.0 <= now {
            *self = Self::at(now);
        }
        due
    }
}

/// A quarter of a second: whoever is later than that did not wait for a processor.
const MOST_AT_ONCE: u32 = 50;

/// How often a clock that stands still looks whether its engine is still there.
const REST: Duration = Duration::from_secs(60);

/// A limit in ticks, rounded up. The tick that is running is not counted. Asked for with each call:
/// a division of nanoseconds would be one of 128 bits.
pub(crate) fn ticks(limit: Duration) -> u64 {
    const MILLIS: u64 = TICK.as_millis() as u64;
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX / 2).div_ceil(MILLIS) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_do_not_add_up() {
        let begun = Instant::now();
        let mut due = Due::at(begun);
        assert_eq!(due.ticks(begun), 0, "woken too early");
        // Each time it wakes when 1.4 ticks have gone by.
        let ticks: u32 = (1..=100).map(|turn| due.ticks(begun + TICK * turn * 14 / 10)).sum();
        assert_eq!(ticks, 140);
        assert_eq!(due.wait(begun + TICK * 140), TICK);
        let later = begun + Duration::from_secs(3600);
        assert_eq!(due.ticks(later), MOST_AT_ONCE);
        assert_eq!((due.ticks(later), due.wait(later)), (0, TICK));
    }
}
