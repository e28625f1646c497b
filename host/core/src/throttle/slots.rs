//! When each source has its whole share again: a table of atomics that grows with those who ask, up to
//! a bound.
//!
//! A source has one of a few ways, in the one set that its key leads to. Whose the ways are stands in one
//! word of the set, so a way is given to somebody by one comparison and exchange, and nobody has two. The
//! way of whoever has had its share back for the longest time is given away. Who gets one finds the moment
//! that stands there: mostly it is past and means nothing. Where it is not, since more sources ask than
//! there is room for, the newcomer owes what the one before owed. That is never less than what it owed when
//! it lost its own way, since that was the least of the set and they only grow: so nobody gets around its
//! limit by being forgotten.
//!
//! **Invariant:** whoever is let through was charged where the source was found afterwards. What may be lost
//! is what a source asks in the moment in which it is displaced, as the one that owes the least of a full set:
//! one burst at most.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use super::Key;

const WAYS: usize = 4;

/// So many sets, and so many when they do not suffice: 1,024, 8,192 and 65,536 sources (10, 80 and 640 KiB).
/// The last is as many as Traefik knows.
const LEVELS: [usize; 3] = [256, 2048, 16384];

/// Whoever is displaced more often than this while it is charged has been charged enough.
const MOST_CHARGES: usize = 8;

/// The moments of a few sources, in nanoseconds.
#[derive(Debug, Default)]
struct Set {
    /// Whose they are: 16 bits of the key of each; 0: nobody's. One of 16,384 sources meets another that looks
    /// the same, and shares with that.
    owners: AtomicU64,
    due: [AtomicU64; WAYS],
}

type Sets = Box<[Set]>;

/// When each source has its whole share again.
#[derive(Debug, Default)]
pub(super) struct Slots {
    levels: [OnceLock<Sets>; LEVELS.len()],
    /// The level in use. What is owed in those below is taken along by whoever comes.
    newest: AtomicUsize,
}

/// A place in the table.
struct Place<'a> {
    level: usize,
    set: &'a Set,
    way: usize,
}

impl Slots {
    /// Puts another moment in the place of that of a source, if `charge` gives one. It may be asked more
    /// than once; the last word counts.
    pub(super) fn charge<V>(
        &self,
        key: Key,
        now: u64,
        charge: impl Fn(u64) -> (Option<u64>, V),
    ) -> V {
        let mut charges = 0;
        loop {
            let Place { level, set, way } = self.place(key, now);
            let Some(slot) = set.due.get(way) else { return charge(0).1 };
            let mut due = slot.load(SeqCst);
            let verdict = loop {
                let (new, verdict) = charge(due);
                let Some(new) = new else { break verdict };
                match slot.compare_exchange_weak(due, new, SeqCst, SeqCst) {
                    Ok(_) => break verdict,
                    Err(other) => due = other,
                }
            };
            charges += 1;
            let is_there = set.way_of(key) == Some(way) && self.newest.load(SeqCst) == level;
            if is_there || charges == MOST_CHARGES {
                return verdict;
            }
        }
    }

    /// The place of a source, which it gets if it has none.
    fn place(&self, key: Key, now: u64) -> Place<'_> {
        loop {
            let level = self.newest.load(SeqCst);
            let set = key.set(self.level(level));
            let owners = set.owners.load(SeqCst);
            if let Some(way) = way_of(owners, key.tag()) {
                return Place { level, set, way };
            }
            let (way, due) = set.least();
            if due > now && level + 1 < LEVELS.len() {
                self.level(level + 1);
                self.newest.fetch_max(level + 1, SeqCst);
                continue;
            }
            // Before anybody sees it there. Should another get the way meanwhile, it is mostly the same source.
            if let (Some(slot), Some(owed)) = (set.due.get(way), self.owed_below(level, key)) {
                slot.fetch_max(owed, SeqCst);
            }
            let new = with_owner(owners, way, key.tag());
            if set.owners.compare_exchange(owners, new, SeqCst, SeqCst).is_ok() {
                return Place { level, set, way };
            }
        }
    }

    fn level(&self, level: usize) -> &[Set] {
        let Some(cell) = self.levels.get(level) else { return &[] };
        cell.get().unwrap_or_else(|| made(cell, level))
    }

    /// What a source owes where it was found before the table grew.
    fn owed_below(&self, level: usize, key: Key) -> Option<u64> {
        let below = self.levels.iter().take(level).filter_map(OnceLock::get);
        let owed = below.filter_map(|sets| {
            let set = key.set(sets);
            Some(set.due.get(set.way_of(key)?)?.load(SeqCst))
        });
        owed.max()
    }

    /// How many sources there is room for now.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        LEVELS.get(self.newest.load(SeqCst)).map_or(0, |sets| sets * WAYS)
    }
}

/// Those of a level for which there are none. Two who make them do not wait for each other: one's are dropped.
#[cold]
fn made(cell: &OnceLock<Sets>, level: usize) -> &Sets {
    let count = LEVELS.get(level).copied().unwrap_or_default();
    let sets: Sets = (0..count).map(|_| Set::default()).collect();
    cell.get_or_init(|| sets)
}

impl Set {
    /// The way with the earliest moment, and that.
    fn least(&self) -> (usize, u64) {
        let due = self.due.iter().map(|due| due.load(SeqCst)).enumerate();
        due.min_by_key(|(_, due)| *due).unwrap_or_default()
    }

    fn way_of(&self, key: Key) -> Option<usize> {
        way_of(self.owners.load(SeqCst), key.tag())
    }
}

impl Key {
    fn set(self, sets: &[Set]) -> &Set {
        static NONE: Set =
            Set { owners: AtomicU64::new(0), due: [const { AtomicU64::new(0) }; WAYS] };
        // The numbers of sets are powers of two.
        sets.get(self.0 as usize & sets.len().wrapping_sub(1)).unwrap_or(&NONE)
    }

    /// Bits that no number of a set is made of.
    fn tag(self) -> u16 {
        ((self.0 >> 48) as u16).max(1)
    }
}

fn way_of(owners: u64, tag: u16) -> Option<usize> {
    (0..WAYS).find(|way| (owners >> (way * 16)) as u16 == tag)
}

fn with_owner(owners: u64, way: usize, tag: u16) -> u64 {
    let shift = way * 16;
    owners & !(0xffff << shift) | u64::from(tag) << shift
}
