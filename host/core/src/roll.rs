//! A roll: a sorted map of which the next version shares whatever did not change.
//!
//! Ten thousand entries, of which one changes with every snapshot: copying them all, even as
//! pointers, costs more than everything else. A roll is cut into pieces of about a hundred entries;
//! a copy shares the pieces, a change copies one of them, and what is different between two
//! versions is found without looking into the pieces that they share.
//!
//! **Invariant:** pieces are not empty, and keys ascend within and across them.

use std::{borrow::Borrow, cmp::Ordering, fmt, sync::Arc};

/// The most entries of a piece. Copying a piece costs as many increments of a counter, and copying
/// a roll as many as it has pieces.
const LONGEST: usize = 128;
/// Pieces that are made in bulk have room for what comes.
const USUAL: usize = 96;
/// Two neighbours that are together shorter than this become one.
const SHORT: usize = 64;

/// An entry, shared by all versions that have it.
pub type Shared<K, V> = Arc<(K, V)>;

type Piece<K, V> = Arc<Vec<Shared<K, V>>>;

/// A sorted map that is cheap to copy.
pub struct Roll<K, V> {
    pieces: Vec<Piece<K, V>>,
    length: usize,
}

/// What is different about one key between two versions; `None` where it is absent.
#[derive(Debug)]
pub struct Difference<'a, K, V> {
    /// Of the older version.
    pub before: Option<&'a Shared<K, V>>,
    /// Of the newer version.
    pub after: Option<&'a Shared<K, V>>,
}

impl<K: Ord, V> Roll<K, V> {
    /// A roll of these entries. Of two with one key, the later counts.
    pub fn of(entries: Vec<(K, V)>) -> Self {
        // Pointers are sorted: entries may be large.
        let mut entries: Vec<Shared<K, V>> = entries.into_iter().map(Arc::new).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        Self::cut(entries)
    }

    /// What stands under a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let piece = self.pieces.get(self.piece_of(key)?)?;
        let place = piece.binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        piece.get(place).map(|entry| &entry.1)
    }

    /// Whether anything stands under a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Puts a value under a key. Answers whether one stood there.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        let Some(at) = self.piece_of(&key) else {
            let first = vec![Arc::new((key, value))];
            self.length += 1;
            // A key before all others goes into the first piece.
            match self.pieces.first_mut() {
                Some(piece) => drop(Arc::make_mut(piece).splice(0..0, first)),
                None => self.pieces.push(Arc::new(first)),
            }
            self.split(0);
            return false;
        };
        let Some(piece) = self.pieces.get_mut(at) else { return false };
        let found = piece.binary_search_by(|entry| entry.0.cmp(&key));
        let piece = Arc::make_mut(piece);
        match found {
            Ok(place) => {
                if let Some(entry) = piece.get_mut(place) {
                    *entry = Arc::new((key, value));
                }
            }
            Err(place) => {
                piece.insert(place, Arc::new((key, value)));
                self.length += 1;
                self.split(at);
            }
        }
        found.is_ok()
    }

    /// Removes a key. Answers whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let Some(at) = self.piece_of(key) else { return false };
        let Some(piece) = self.pieces.get_mut(at) else { return false };
        let Ok(place) = piece.binary_search_by(|entry| entry.0.borrow().cmp(key)) else {
            return false;
        };
        Arc::make_mut(piece).remove(place);
        self.length -= 1;
        self.join(at);
        true
    }

    /// Changes what stands under a key, if anything does; in place, where no other version has it.
    pub fn change<Q: Ord + ?Sized>(&mut self, key: &Q, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q> + Clone,
        V: Clone,
    {
        let Some(at) = self.piece_of(key) else { return };
        let Some(piece) = self.pieces.get_mut(at) else { return };
        let Ok(place) = piece.binary_search_by(|entry| entry.0.borrow().cmp(key)) else { return };
        if let Some(entry) = Arc::make_mut(piece).get_mut(place) {
            change(&mut Arc::make_mut(entry).1);
        }
    }

    /// Makes many changes at once: `None` removes. Of two with one key, the later counts. Changes
    /// that come sorted cost less.
    pub fn update(&mut self, mut changes: Vec<(K, Option<V>)>) {
        if changes.len() < 16 || changes.len() < self.length / 8 {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(self.insert(key, value)),
                    None => drop(self.remove(&key)),
                }
            }
            return;
        }
        changes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut merged = Vec::with_capacity(self.length + changes.len());
        let mut kept = std::mem::take(&mut self.pieces).into_iter().flat_map(owned).peekable();
        let mut changes = changes.into_iter().peekable();
        while let Some((key, value)) = changes.next() {
            if changes.peek().is_some_and(|(next, _)| *next == key) {
                continue;
            }
            while let Some(entry) = kept.next_if(|entry| entry.0 < key) {
                merged.push(entry);
            }
            kept.next_if(|entry| entry.0 == key);
            merged.extend(value.map(|value| Arc::new((key, value))));
        }
        merged.extend(kept);
        *self = Self::cut(merged);
    }

    /// What is different in a newer version, in the order of the keys. The cost is that of what is
    /// different, and a comparison for each piece that is shared.
    pub fn differences<'a>(&'a self, newer: &'a Self) -> Vec<Difference<'a, K, V>> {
        let (mut old, mut new) = (Cursor::of(&self.pieces), Cursor::of(&newer.pieces));
        let mut found = Vec::new();
        loop {
            if old.skip_shared(&mut new) {
                continue;
            }
            match (old.entry(), new.entry()) {
                (None, None) => return found,
                (Some(before), Some(after)) => match before.0.cmp(&after.0) {
                    Ordering::Equal => {
                        if !Arc::ptr_eq(before, after) {
                            found.push(Difference { before: Some(before), after: Some(after) });
                        }
                        old.step();
                        new.step();
                    }
                    Ordering::Less => {
                        found.push(Difference { before: Some(before), after: None });
                        old.step();
                    }
                    Ordering::Greater => {
                        found.push(Difference { before: None, after: Some(after) });
                        new.step();
                    }
                },
                (before, after) => {
                    found.push(Difference { before, after });
                    old.step();
                    new.step();
                }
            }
        }
    }

    /// Entries that are sorted already, cut into pieces.
    fn cut(entries: Vec<Shared<K, V>>) -> Self {
        let length = entries.len();
        let mut pieces = Vec::with_capacity(length / USUAL + 1);
        let mut entries = entries.into_iter();
        loop {
            let piece: Vec<_> = entries.by_ref().take(USUAL).collect();
            if piece.is_empty() {
                return Self { pieces, length };
            }
            pieces.push(Arc::new(piece));
        }
    }

    /// The piece in which a key is, if it is there: the last one that does not begin behind it.
    fn piece_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let begins_before =
            |piece: &Piece<K, V>| piece.first().is_some_and(|first| first.0.borrow() <= key);
        self.pieces.partition_point(begins_before).checked_sub(1)
    }

    fn split(&mut self, at: usize) {
        if let Some(piece) = self.pieces.get_mut(at)
            && piece.len() > LONGEST
        {
            let rest = Arc::make_mut(piece).split_off(LONGEST / 2);
            self.pieces.insert(at + 1, Arc::new(rest));
        }
    }

    fn join(&mut self, at: usize) {
        let length = |at: usize| self.pieces.get(at).map_or(LONGEST, |piece| piece.len());
        if length(at) == 0 {
            self.pieces.remove(at);
        } else if length(at) + length(at + 1) < SHORT {
            let next = self.pieces.remove(at + 1);
            if let Some(piece) = self.pieces.get_mut(at) {
                Arc::make_mut(piece).extend(next.iter().cloned());
            }
        }
    }
}

impl<K, V> Roll<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.pieces.iter().flat_map(|piece| piece.iter()).map(|entry| (&entry.0, &entry.1))
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// The values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }
}

/// The entries of a piece, without copying it where nobody shares it.
fn owned<K, V>(piece: Piece<K, V>) -> Vec<Shared<K, V>> {
    Arc::unwrap_or_clone(piece)
}

impl<K, V> Default for Roll<K, V> {
    fn default() -> Self {
        Self { pieces: Vec::new(), length: 0 }
    }
}

impl<K, V> Clone for Roll<K, V> {
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), length: self.length }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Roll<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Roll<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::of(entries.into_iter().collect())
    }
}

/// A place in a version.
struct Cursor<'a, K, V> {
    pieces: &'a [Piece<K, V>],
    at: usize,
    place: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn of(pieces: &'a [Piece<K, V>]) -> Self {
        Self { pieces, at: 0, place: 0 }
    }

    fn entry(&self) -> Option<&'a Shared<K, V>> {
        self.pieces.get(self.at)?.get(self.place)
    }

    fn step(&mut self) {
        self.place += 1;
        if self.pieces.get(self.at).is_some_and(|piece| piece.len() <= self.place) {
            (self.at, self.place) = (self.at + 1, 0);
        }
    }

    /// Where both stand at the beginning of the same piece, there is nothing to be seen in it.
    fn skip_shared(&mut self, other: &mut Self) -> bool {
        let is_shared = (self.place, other.place) == (0, 0)
            && match (self.pieces.get(self.at), other.pieces.get(other.at)) {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                _ => false,
            };
        if is_shared {
            self.at += 1;
            other.at += 1;
        }
        is_shared
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::test_util::Dice;

    #[test]
    fn a_roll_is_a_sorted_map_and_knows_what_changed() {
        let mut dice = Dice::new(7);
        let (mut roll, mut map) = (Roll::default(), BTreeMap::new());
        for round in 0..300 {
            let before = (roll.clone(), map.clone());
            let count = [1, 3, 40, 700][dice.throw(4)];
            // Now and then it shrinks to almost nothing.
            let removes = if round % 50 > 40 { 5 } else { 1 };
            let changes: Vec<_> = (0..count)
                .map(|_| (dice.throw(3000), (dice.throw(6) >= removes).then(|| dice.throw(9))))
                .collect();
            for (key, value) in &changes {
                match value {
                    Some(value) => drop(map.insert(*key, *value)),
                    None => drop(map.remove(key)),
                }
            }
            roll.update(changes);
            assert_eq!(roll.len(), map.len());
            assert!(roll.iter().eq(map.iter()), "round {round}");
            assert!(roll.pieces.iter().all(|piece| (1..=LONGEST).contains(&piece.len())));
            let key = dice.throw(3000);
            assert_eq!(roll.get(&key), map.get(&key));
            roll.change(&key, |value| *value += 10);
            map.entry(key).and_modify(|value| *value += 10);
            let mut patched = before.1;
            for Difference { before, after } in before.0.differences(&roll) {
                let [before, after] = [before, after].map(|it| it.map(|it| &**it));
                assert_eq!(before.copied(), before.and_then(|(k, _)| Some((*k, *patched.get(k)?))));
                match (before, after) {
                    (_, Some((key, value))) => drop(patched.insert(*key, *value)),
                    (Some((key, _)), None) => drop(patched.remove(key)),
                    (None, None) => panic!("no difference"),
                }
            }
            assert_eq!(patched, map, "round {round}");
        }
    }

    #[test]
    fn what_is_shared_is_not_looked_at() {
        let first: Roll<_, _> = (0..10_000).map(|number| (number, 0)).collect();
        let mut second = first.clone();
        second.insert(5000, 1);
        second.remove(&7);
        let pieces = first.pieces.iter().zip(&second.pieces);
        assert_eq!(pieces.filter(|(one, two)| !Arc::ptr_eq(one, two)).count(), 2);
        let keys = |found: Vec<Difference<'_, i32, i32>>| -> Vec<i32> {
            found.iter().filter_map(|it| it.before.or(it.after)).map(|it| it.0).collect()
        };
        assert_eq!(keys(first.differences(&second)), [7, 5000]);
        assert_eq!(keys(first.differences(&first)), [0; 0]);
    }
}
