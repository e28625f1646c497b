//! Answers of upstreams that are remembered.
//!
//! Each worker has its own, so a hit takes no lock; it takes no allocation either. Our own zones
//! are never in here: they are answered before anybody looks.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use hashbrown::HashMap;
use portolan_core::zone::{MAX_NAME, RecordType, parent};
use quick_cache::{Weighter, unsync};
use tokio::time::Instant;

use super::{
    figures::DnsFigures,
    forward::CacheConfig,
    message::{Question, Rcode},
    stored::{Age, Stored},
};

/// What is asked of an upstream: name in lower case, type, and what changes its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    bytes: [u8; Self::MAX],
    name_length: u8,
}

impl Key {
    const MAX: usize = MAX_NAME + 3;
    const DNSSEC: u8 = 1;
    const UNCHECKED: u8 = 2;

    /// The key of a name with the type and the wishes of a question.
    pub(super) fn new(name: &[u8], question: &Question<'_>) -> Self {
        let dnssec = if question.wants_dnssec() { Self::DNSSEC } else { 0 };
        let is_unchecked = question.flags & super::message::flag::CHECKING_DISABLED != 0;
        let unchecked = if is_unchecked { Self::UNCHECKED } else { 0 };
        Self::of(name, question.rtype, dnssec | unchecked)
    }

    fn of(name: &[u8], rtype: RecordType, wishes: u8) -> Self {
        let mut bytes = [0; Self::MAX];
        let [high, low] = rtype.0.to_be_bytes();
        let all = name.iter().copied().take(MAX_NAME).chain([high, low, wishes]);
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        Self { bytes, name_length: name.len().min(MAX_NAME) as u8 }
    }

    /// The key of a name in lower case, for nobody in particular.
    pub(super) fn plain(name: &[u8], rtype: RecordType) -> Self {
        Self::of(name, rtype, 0)
    }

    /// The same question for another name in lower case.
    pub(super) fn with_name(&self, name: &[u8]) -> Self {
        Self::of(name, self.rtype(), self.wishes())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.name_length) + 3).unwrap_or_default()
    }

    /// In lower case and wire form.
    pub(super) fn name(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.name_length)).unwrap_or_default()
    }

    pub(super) fn rtype(&self) -> RecordType {
        let at = usize::from(self.name_length);
        RecordType(super::message::number(&self.bytes, at).unwrap_or_default())
    }

    pub(super) fn wants_dnssec(&self) -> bool {
        self.wishes() & Self::DNSSEC != 0
    }

    pub(super) fn is_unchecked(&self) -> bool {
        self.wishes() & Self::UNCHECKED != 0
    }

    fn wishes(&self) -> u8 {
        self.bytes.get(usize::from(self.name_length) + 2).copied().unwrap_or_default()
    }
}

/// Answers that are remembered.
pub(super) struct Cache {
    entries: unsync::Cache<Box<[u8]>, Entry, Weight>,
    /// Questions that nobody answered, and until when they are not asked again (RFC 9520).
    failures: HashMap<Box<[u8]>, Instant>,
    config: CacheConfig,
    figures: Arc<DnsFigures>,
    /// What this cache has told the gauges.
    told: (u64, u64),
}

#[derive(Clone)]
struct Entry {
    stored: Rc<Stored>,
    since: Instant,
    hits: Cell<u32>,
    /// Until when it serves at once though it is too old.
    overdue: Cell<Option<Instant>>,
}

/// An answer that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Written {
    pub(super) length: usize,
    /// It is asked for so often that it is to be asked anew before it is forgotten.
    pub(super) is_hot: bool,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Entry> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Entry) -> u64 {
        (key.len() + size_of::<Entry>() + entry.stored.bytes()) as u64
    }
}

/// How long a question that nobody answered is not asked again.
const FAILURE: Duration = Duration::from_secs(2);
/// How long nobody waits for what could not be told in time, while there is an old answer: the recheck
/// timer of RFC 8767, 5.
const RECHECK: Duration = Duration::from_secs(30);
/// How many such questions are remembered.
const MOST_FAILURES: usize = 4096;
/// How often something is asked for before it is worth to be asked anew unasked.
const HOT: u32 = 3;
/// The last part of its life in which that is done: a tenth.
const LAST: u32 = 10;

impl Cache {
    /// An empty cache.
    pub(super) fn new(config: CacheConfig, figures: Arc<DnsFigures>) -> Self {
        // A usual answer takes 300 bytes with everything.
        let size = config.bytes;
        let entries = unsync::Cache::with_weighter(size / 300, size as u64, Weight);
        Self { entries, failures: HashMap::new(), config, figures, told: (0, 0) }
    }

    /// Writes the answer to a question if there is one that is fresh; `way`: see [`Stored::write`].
    pub(super) fn answer(
        &self,
        question: &Question<'_>,
        now: Instant,
        way: (usize, u32),
        out: &mut [u8],
    ) -> Option<Written> {
        let key = Key::new(question.name.as_bytes(), question);
        let (entry, age) = self.fresh(&key, now)?;
        let length = entry.stored.write(question, Age::Fresh(age), way, out);
        let hits = entry.hits.get().saturating_add(1);
        let life = entry.stored.life;
        let is_ending = age >= life - life / LAST && life >= LAST;
        // Once: the count begins anew with what comes.
        let is_hot = self.config.prefetch && is_ending && (HOT..u32::MAX).contains(&hits);
        entry.hits.set(if is_hot { u32::MAX } else { hits });
        Some(Written { length, is_hot })
    }

    /// A fresh answer, and its age.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<(&Rc<Stored>, Age)> {
        self.fresh(key, now).map(|(entry, age)| (&entry.stored, Age::Fresh(age)))
    }

    /// An answer that is too old, but may serve when there is no other. That there is no such name
    /// is not said any longer than it may be.
    pub(super) fn find_stale(&self, key: &Key, now: Instant) -> Option<Rc<Stored>> {
        let entry = self.entries.get(key.as_bytes())?;
        let age = entry.age(now)?;
        let may = self.config.stale > 0
            && entry.stored.rcode() == Rcode::NO_ERROR
            && age < entry.stored.life.saturating_add(self.config.stale);
        may.then(|| entry.stored.clone())
    }

    fn fresh(&self, key: &Key, now: Instant) -> Option<(&Entry, u32)> {
        let entry = self.entries.get(key.as_bytes())?;
        let age = entry.age(now)?;
        (age < entry.stored.life).then_some((entry, age))
    }

    /// Remembers an answer, for as long as it may be.
    pub(super) fn put(&mut self, key: &Key, stored: &Rc<Stored>, now: Instant) {
        self.failures.remove(key.as_bytes());
        if stored.life > 0 {
            let entry = Entry {
                stored: stored.clone(),
                since: now,
                hits: Cell::new(0),
                overdue: Cell::new(None),
            };
            self.entries.insert(key.as_bytes().into(), entry);
        } else {
            // What is true now may not be kept, and what was true before is true no longer.
            self.entries.remove(key.as_bytes());
        }
        self.tell();
    }

    /// Remembers that nobody answers a question.
    pub(super) fn put_failure(&mut self, key: &Key, now: Instant) {
        self.overdue(key, now);
        if self.failures.len() >= MOST_FAILURES {
            self.failures.retain(|_, until| now < *until);
        }
        if self.failures.len() < MOST_FAILURES {
            self.failures.insert(key.as_bytes().into(), now + FAILURE);
        }
    }

    /// Whether nobody answered a question a moment ago.
    pub(super) fn has_failed(&self, key: &Key, now: Instant) -> bool {
        self.failures.get(key.as_bytes()).is_some_and(|until| now < *until)
    }

    /// Nobody could tell in time what an answer is now. While that is so it serves at once when it is too
    /// old, until there is a new one.
    pub(super) fn overdue(&self, key: &Key, now: Instant) {
        if let Some(entry) = self.entries.peek(key.as_bytes()) {
            entry.overdue.set(Some(now + RECHECK));
        }
    }

    /// Whether an answer that is too old serves at once, and is asked for anew beside that.
    pub(super) fn is_overdue(&self, key: &Key, now: Instant) -> bool {
        let entry = self.entries.peek(key.as_bytes());
        entry.and_then(|it| it.overdue.get()).is_some_and(|until| now < until)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.failures.clear();
        self.tell();
    }

    /// Forgets a name in lower case and all below it.
    pub(super) fn forget(&mut self, name: &[u8]) {
        let is_below = |key: &[u8]| {
            let own = key.get(..key.len().saturating_sub(3)).unwrap_or_default();
            std::iter::successors(Some(own), |name| parent(name)).any(|suffix| suffix == name)
        };
        self.entries.retain(|key, _| !is_below(key));
        self.failures.retain(|key, _| !is_below(key));
        self.tell();
    }

    /// Forgets what another block list may make another answer of.
    pub(super) fn forget_followed(&mut self) {
        self.entries.retain(|_, entry| !entry.stored.depends_on_lists());
        self.tell();
    }

    /// Several caches share the gauges, so each adds and takes away its own part.
    fn tell(&mut self) {
        let now = (self.entries.len() as u64, self.entries.weight());
        self.figures.cache_entries.add(now.0);
        self.figures.cache_entries.subtract(self.told.0);
        self.figures.cache_bytes.add(now.1);
        self.figures.cache_bytes.subtract(self.told.1);
        self.told = now;
    }
}

impl Entry {
    /// In seconds.
    fn age(&self, now: Instant) -> Option<u32> {
        u32::try_from(now.saturating_duration_since(self.since).as_secs()).ok()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}
