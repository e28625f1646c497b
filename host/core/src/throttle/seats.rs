//! How many requests of each source are under way: a table of atomics that grows with those who are there.
//!
//! A source has a way of its own while it has requests under way, in one of the sets that its key leads to (one
//! in each level). Owner and number are one word, so a way that is let go and taken at one moment has one
//! owner. That nobody has two ways is seen to afterwards: whoever has taken a place looks whether another way
//! is its source's too, and if so gives it back and begins again. Of two who come at once each sees the other,
//! or one sees the other.
//!
//! **Invariant:** of a source there are never more requests that hold a place than were allowed, and each gives
//! it back once, when it is dropped.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use super::Key;

const WAYS: usize = 8;

/// So many sets, and so many beside them when they do not suffice: of 512, 4,096 and 65,536 sources (4, 32 and
/// 512 KiB).
const LEVELS: [usize; 3] = [64, 512, 8192];

/// Low bits of a way: how many requests there are. The others are of the key, and mean nothing where there
/// are none.
const COUNT: u64 = (1 << 24) - 1;

/// Who meets others of its source this often, that come and go at the very same moment, is refused.
const MOST_TRIES: usize = 64;

/// The sources of a set.
#[derive(Debug, Default)]
struct Set([AtomicU64; WAYS]);

type Sets = Box<[Set]>;

/// How many requests of each source are under way.
#[derive(Debug, Default)]
pub(super) struct Seats {
    levels: [OnceLock<Sets>; LEVELS.len()],
}

/// A request's place, given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    seats: Arc<Seats>,
    level: usize,
    set: usize,
    way: usize,
}

/// What a look at the ways of a source found.
enum Found {
    /// One that is its own, and what stands there.
    Own(Spot, u64),
    /// One that is nobody's.
    Free(Spot, u64),
    /// None.
    Full,
}

/// The place of a way.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Spot {
    level: usize,
    way: usize,
}

impl Seats {
    /// A place for a request of a source, of which there may be so many; `None`: there are.
    pub(super) fn take(self: &Arc<Self>, key: Key, amount: u64) -> Option<Held> {
        for _ in 0..MOST_TRIES {
            let (spot, seen) = match self.find(key) {
                Found::Own(_, seen) if seen & COUNT >= amount.min(COUNT) => return None,
                Found::Own(spot, seen) | Found::Free(spot, seen) => (spot, seen),
                // More sources than anybody has requests for at once, or as good as that.
                Found::Full => return None,
            };
            let Spot { level, way } = spot;
            let cell = self.cell(level, set_of(key, level), way)?;
            let new = key.owner() | ((seen & COUNT) + 1);
            if cell.compare_exchange(seen, new, SeqCst, SeqCst).is_err() {
                continue;
            }
            let held = Held { seats: self.clone(), level, set: set_of(key, level), way };
            if self.is_only(key, spot) {
                return Some(held);
            }
        }
        None
    }

    /// The way of a source, or one that it can have.
    fn find(&self, key: Key) -> Found {
        let mut free = None;
        for level in 0..LEVELS.len() {
            // All that a source can have are above those that were never needed.
            if free.is_some() && self.levels.get(level).is_none_or(|sets| sets.get().is_none()) {
                break;
            }
            let Some(Set(ways)) = self.sets(level).get(set_of(key, level)) else { break };
            for (way, cell) in ways.iter().enumerate() {
                let seen = cell.load(SeqCst);
                if is_of(seen, key) {
                    return Found::Own(Spot { level, way }, seen);
                }
                if seen & COUNT == 0 && free.is_none() {
                    free = Some((Spot { level, way }, seen));
                }
            }
        }
        free.map_or(Found::Full, |(spot, seen)| Found::Free(spot, seen))
    }

    /// Whether no other way is that of this source.
    fn is_only(&self, key: Key, own: Spot) -> bool {
        (0..LEVELS.len()).all(|level| {
            let sets = self.levels.get(level).and_then(OnceLock::get);
            let ways = sets.and_then(|sets| sets.get(set_of(key, level)));
            ways.into_iter()
                .flat_map(|Set(ways)| ways)
                .enumerate()
                .all(|(way, cell)| own == Spot { level, way } || !is_of(cell.load(SeqCst), key))
        })
    }

    fn cell(&self, level: usize, set: usize, way: usize) -> Option<&AtomicU64> {
        self.levels.get(level)?.get()?.get(set)?.0.get(way)
    }

    fn sets(&self, level: usize) -> &[Set] {
        let Some(cell) = self.levels.get(level) else { return &[] };
        cell.get().unwrap_or_else(|| made(cell, level))
    }

    /// How many requests hold a place.
    #[cfg(test)]
    pub(super) fn all(&self) -> u64 {
        let sets = self.levels.iter().filter_map(OnceLock::get).flatten();
        sets.flat_map(|Set(ways)| ways).map(|cell| cell.load(SeqCst) & COUNT).sum()
    }
}

/// Those of a level for which there are none. Two who make them do not wait for each other: one's are dropped.
#[cold]
fn made(cell: &OnceLock<Sets>, level: usize) -> &Sets {
    let count = LEVELS.get(level).copied().unwrap_or_default();
    let sets: Sets = (0..count).map(|_| Set::default()).collect();
    cell.get_or_init(|| sets)
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(cell) = self.seats.cell(self.level, self.set, self.way) {
            cell.fetch_sub(1, SeqCst);
        }
    }
}

impl Key {
    /// Bits that no number of a set is made of.
    fn owner(self) -> u64 {
        self.0 & !COUNT
    }
}

/// Whether a way is that of a source.
fn is_of(seen: u64, key: Key) -> bool {
    seen & COUNT > 0 && seen & !COUNT == key.owner()
}

/// The set of a source in a level; the numbers of sets are powers of two.
fn set_of(key: Key, level: usize) -> usize {
    key.0 as usize & LEVELS.get(level).map_or(0, |count| count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_its_source_in_two_ways_gives_its_place_back() {
        let (seats, key) = (Arc::new(Seats::default()), Key(7 << 32));
        let other = seats.take(Key(9 << 32), 1);
        let first = seats.take(key, 2).expect("a place");
        drop(other);
        // Another of the same source has taken the way that was let go, and not yet looked about.
        let way = seats.cell(0, 0, 0).expect("a way");
        way.store(key.owner() | 1, SeqCst);
        assert!(seats.take(key, 2).is_none());
        assert_eq!(seats.all(), 2);
        way.fetch_sub(1, SeqCst);
        let second = seats.take(key, 2).expect("a place");
        assert!(seats.take(key, 2).is_none());
        drop((first, second));
        assert_eq!(seats.all(), 0);
    }
}
