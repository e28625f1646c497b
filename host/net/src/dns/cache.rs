//! Answers of upstreams that are remembered.
//!
//! Each worker has its own, so a hit takes no lock; it takes no allocation either. Our own zones
//! are never in here: they are answered before anybody looks.

use quick_cache::{Weighter, unsync};
use tokio::time::Instant;

use super::{
    figures::DnsFigures,
    message::{MAX_UDP, Question},
    stored::Stored,
};
use portolan_core::zone::{MAX_NAME, RecordType};
use std::{rc::Rc, sync::Arc};

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
        let mut bytes = [0; Self::MAX];
        let [high, low] = question.rtype.0.to_be_bytes();
        let dnssec = if question.wants_dnssec() { Self::DNSSEC } else { 0 };
        let is_unchecked = question.flags & super::message::flag::CHECKING_DISABLED != 0;
        let unchecked = if is_unchecked { Self::UNCHECKED } else { 0 };
        let all = name.iter().copied().take(MAX_NAME).chain([high, low, dnssec | unchecked]);
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        Self { bytes, name_length: name.len().min(MAX_NAME) as u8 }
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
    figures: Arc<DnsFigures>,
    /// What this cache has told the gauges.
    told: (u64, u64),
}

#[derive(Clone)]
struct Entry {
    stored: Rc<Stored>,
    since: Instant,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Entry> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &Entry) -> u64 {
        (key.len() + size_of::<Entry>() + entry.stored.bytes()) as u64
    }
}

impl Cache {
    /// A cache that takes that many bytes, about.
    pub(super) fn new(bytes: usize, figures: Arc<DnsFigures>) -> Self {
        // A usual answer takes 300 bytes with everything.
        let entries = unsync::Cache::with_weighter(bytes / 300, bytes as u64, Weight);
        Self { entries, figures, told: (0, 0) }
    }

    /// Writes the answer to a question if there is one that is fresh, and tells its length.
    pub(super) fn answer(
        &self,
        question: &Question<'_>,
        now: Instant,
        limit: usize,
        out: &mut [u8],
    ) -> Option<usize> {
        let key = Key::new(question.name.as_bytes(), question);
        let (stored, age) = self.find(&key, now)?;
        Some(stored.write(question, age, limit, out))
    }

    /// A fresh answer, and its age in seconds.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<(&Rc<Stored>, u32)> {
        let entry = self.entries.get(key.as_bytes())?;
        let age = u32::try_from(now.saturating_duration_since(entry.since).as_secs()).ok()?;
        (age < entry.stored.life).then_some((&entry.stored, age))
    }

    /// Remembers an answer, for as long as it may be.
    pub(super) fn put(&mut self, key: &Key, stored: &Rc<Stored>, now: Instant) {
        if stored.life > 0 {
            self.entries
                .insert(key.as_bytes().into(), Entry { stored: stored.clone(), since: now });
            self.tell();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
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

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes the question of a key as a message for an upstream.
pub(super) fn question_of(key: &Key, id: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(12 + MAX_NAME + 15);
    message.extend_from_slice(&id.to_be_bytes());
    // RD, AD (RFC 6840, 5.7: tell us whether you checked), and CD as the asker has it.
    message.extend_from_slice(&[0x01, if key.is_unchecked() { 0x30 } else { 0x20 }]);
    message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
    message.extend_from_slice(key.name());
    message.extend_from_slice(&key.rtype().0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let [high, low] = (MAX_UDP as u16).to_be_bytes();
    let dnssec = if key.wants_dnssec() { 0x80 } else { 0 };
    message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, dnssec, 0, 0, 0]);
    message
}
