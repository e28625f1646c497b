//! What all workers found out about an upstream: what it was asked, what came of that, and whether
//! it answers.
//!
//! **Invariant:** what is noted of a question is a few additions to atomics: no lock, no allocation.
//! Somebody is told only when an upstream is found not to answer any more, or to answer again.
//!
//! Each worker has a `Health` of its own, by which it chooses whom to ask. This here is for people.
//! Reading order: [`Standing`] (one upstream), `table` (all of them), `watch` (what is said of them).

mod table;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use portolan_core::{
    figure::{Counter, Histogram},
    moment::millis,
};
use tokio::{sync::Notify, time::Instant};

pub use self::{
    table::{KnownUpstream, Standings},
    watch::tend_upstreams,
};
use super::{figures::DnsFigures, upstream::MOST_REFUSALS};

/// So many silences in a row, whoever asked, are no lost datagrams any more.
const MOST_SILENCES: u32 = 3;

/// Why an attempt at an upstream gave nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No answer in time: 3 s, or 400 ms where another one has answered meanwhile.
    Silent,
    /// It cannot be spoken to: the system says so, or its certificate is not good.
    Unreachable,
    /// It has said that it cannot answer: SERVFAIL, REFUSED and the like.
    Refused,
    /// What it said is no answer to the question.
    Unusable,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Unreachable, Self::Refused, Self::Unusable];

    /// The word for it, as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
        }
    }
}

/// What all workers found out about one upstream.
#[derive(Debug)]
pub struct Standing {
    /// Questions that it was asked. Some of them come to nothing that is counted: another one of
    /// those that were asked at the same time was sooner.
    pub asked: Counter,
    /// How long its answers took.
    pub duration: Histogram,
    failures: [Counter; Failure::ALL.len()],
    /// What the moments below are counted from.
    born: Instant,
    /// When it answered last, as a moment; 0: it never did.
    answered: AtomicU64,
    /// How often it has refused since, whoever asked.
    refusals: AtomicU32,
    /// How often in a row it was silent, whoever asked.
    silences: AtomicU32,
    /// Since when it is known not to answer, as a moment; 0: it is not known to.
    lost: AtomicU64,
    /// The place of what was wrong last, while it does not answer.
    failure: AtomicU8,
    /// The same in words.
    fault: ArcSwapOption<String>,
    /// Told when it is lost or found.
    changed: Arc<Notify>,
}

impl Default for Standing {
    fn default() -> Self {
        Self::telling(Arc::default())
    }
}

impl Standing {
    fn telling(changed: Arc<Notify>) -> Self {
        Self {
            asked: Counter::default(),
            duration: Histogram::starting_at(DnsFigures::FIRST),
            failures: Default::default(),
            born: Instant::now(),
            answered: AtomicU64::default(),
            refusals: AtomicU32::default(),
            silences: AtomicU32::default(),
            lost: AtomicU64::default(),
            failure: AtomicU8::default(),
            fault: ArcSwapOption::default(),
            changed,
        }
    }

    /// How often it failed in that way.
    pub fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].value()
    }

    /// When it answered last; `None`: it never did.
    pub fn answered(&self) -> Option<Instant> {
        self.instant(&self.answered)
    }

    /// Since when it is known not to answer. It is asked on, behind others if there are any, and the
    /// first answer ends this.
    pub fn lost(&self) -> Option<Instant> {
        self.instant(&self.lost)
    }

    /// What was wrong, while it does not answer: in which way, and in words.
    pub fn fault(&self) -> Option<(Failure, Arc<String>)> {
        self.lost()?;
        let failure = Failure::ALL.get(usize::from(self.failure.load(Relaxed)))?;
        Some((*failure, self.fault.load_full()?))
    }

    /// It has answered a question that was asked then.
    pub fn answers(&self, begun: Instant) {
        let now = Instant::now();
        let nanos = now.saturating_duration_since(begun).as_nanos();
        self.duration.record(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.answered.store(self.moment(now), Relaxed);
        // Read first: all workers come by here, and what is only read stays in their caches.
        for count in [&self.refusals, &self.silences] {
            if count.load(Relaxed) != 0 {
                count.store(0, Relaxed);
            }
        }
        if self.lost.load(Relaxed) != 0 && self.lost.swap(0, Relaxed) != 0 {
            self.changed.notify_one();
        }
    }

    /// An attempt gave nothing.
    pub fn fails(&self, failure: Failure) {
        self.failures[failure as usize].increment();
        match failure {
            Failure::Refused => {
                self.refusals.fetch_add(1, Relaxed);
                self.silences.store(0, Relaxed);
            }
            Failure::Silent => {
                self.silences.fetch_add(1, Relaxed);
            }
            Failure::Unreachable | Failure::Unusable => (),
        }
    }

    /// A worker asks others first from now on, since what it asked then has failed. For people that
    /// counts only where no other worker has heard from it meanwhile, and of one that is silent where
    /// it was so three times in a row: else it was a lost datagram, or a name that nobody can resolve.
    pub fn rests(&self, failure: Failure, begun: Instant, fault: impl FnOnce() -> String) {
        let is_heard = match failure {
            Failure::Refused => self.refusals.load(Relaxed) < MOST_REFUSALS,
            Failure::Silent if self.silences.load(Relaxed) < MOST_SILENCES => true,
            _ => self.answered.load(Relaxed) > self.moment(begun),
        };
        let is_new = self.lost.load(Relaxed) == 0;
        let is_same = self.failure.load(Relaxed) == failure as u8;
        if (is_new && is_heard) || (!is_new && is_same) {
            return;
        }
        self.failure.store(failure as u8, Relaxed);
        self.fault.store(Some(Arc::new(fault())));
        let now = self.moment(Instant::now());
        // Of several workers that find it at once one is first. What changes may be the reason alone.
        let _first = self.lost.compare_exchange(0, now, Relaxed, Relaxed);
        self.changed.notify_one();
    }

    /// Small enough for an atomic: milliseconds since the beginning, and one.
    fn moment(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.born)).saturating_add(1)
    }

    fn instant(&self, moment: &AtomicU64) -> Option<Instant> {
        let since = moment.load(Relaxed).checked_sub(1)?;
        Some(self.born + Duration::from_millis(since))
    }
}
