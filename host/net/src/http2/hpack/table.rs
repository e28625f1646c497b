//! The table that grows with a connection (RFC 7541, 2.3.2 and 4).
//!
//! Its entries are a ring, and their text is one run of bytes in the order they came: a new entry
//! is written behind the last, and what entries gone have left at the front is dropped when there
//! is no more room.

use std::collections::VecDeque;

use super::TABLE_SIZE;

/// What an entry counts besides its text (RFC 7541, 4.1).
pub(super) const OVERHEAD: usize = 32;
/// The text is given memory in pieces of this many bytes.
const PIECE: usize = 256;

/// One connection's table for one direction. An entry has a `T` besides its text.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// The newest first.
    entries: VecDeque<Entry<T>>,
    text: Vec<u8>,
    /// The place of the first byte of `text`.
    base: u16,
    size: usize,
    limit: usize,
}

/// An entry. Its text begins at a place that is counted on for the life of the connection, so none
/// changes when the text moves; it may begin again at zero.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    start: u16,
    name: u16,
    value: u16,
    tag: T,
}

impl<T> Entry<T> {
    fn size(&self) -> usize {
        usize::from(self.name) + usize::from(self.value) + OVERHEAD
    }
}

impl<T: Copy> Table<T> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), text: Vec::new(), base: 0, size: 0, limit: TABLE_SIZE }
    }

    /// How large it may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Changes how large it may be, up to [`TABLE_SIZE`].
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(TABLE_SIZE);
        self.evict(self.limit);
        if self.text.capacity() > self.limit {
            self.drop_dead();
            self.text.shrink_to(self.limit);
            self.entries.shrink_to(self.limit / OVERHEAD);
        }
    }

    /// The name and the value of an entry; the newest has index 0.
    #[inline]
    pub(super) fn field(&self, index: usize) -> Option<(&[u8], &[u8], T)> {
        let entry = self.entries.get(index)?;
        let start = usize::from(entry.start.wrapping_sub(self.base));
        let name = usize::from(entry.name);
        let text = self.text.get(start..start + name + usize::from(entry.value))?;
        let (name, value) = text.split_at_checked(name)?;
        Some((name, value, entry.tag))
    }

    /// Adds an entry, for which the oldest ones go; one that is larger than the table empties it
    /// and is not added (RFC 7541, 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], tag: T) {
        let length = name.len() + value.len();
        let size = length + OVERHEAD;
        let Some(others) = self.limit.checked_sub(size) else { return self.evict(0) };
        self.evict(others);
        self.make_room(length);
        // No text is longer than the table.
        let start = self.base.wrapping_add(self.text.len() as u16);
        let entry = Entry { start, name: name.len() as u16, value: value.len() as u16, tag };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.entries.push_front(entry);
        self.size += size;
    }

    /// The oldest entries go until the others count no more than this.
    fn evict(&mut self, most: usize) {
        while self.size > most {
            match self.entries.pop_back() {
                Some(entry) => self.size -= entry.size(),
                None => self.size = 0,
            }
        }
    }

    fn make_room(&mut self, length: usize) {
        if self.text.len() + length <= self.text.capacity() {
            return;
        }
        let dropped = self.drop_dead();
        let (needed, capacity) = (self.text.len() + length, self.text.capacity());
        // Where little was dropped, it would soon be the same again.
        if needed > capacity || dropped < capacity / 4 && capacity < self.limit {
            let wanted = (needed + needed / 4).next_multiple_of(PIECE).min(self.limit);
            self.text.reserve_exact(wanted.max(needed) - self.text.len());
        }
    }

    /// Drops the text of entries that are gone, and says how long it was.
    fn drop_dead(&mut self) -> usize {
        let oldest = self.entries.back().map(|entry| entry.start.wrapping_sub(self.base));
        let dead = oldest.map_or(self.text.len(), usize::from).min(self.text.len());
        self.text.drain(..dead);
        self.base = self.base.wrapping_add(dead as u16);
        dead
    }
}

#[cfg(any(test, fuzzing))]
impl<T: Copy> Table<T> {
    /// How large it is.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry<T>>()
    }

    /// All that it holds, the newest first.
    pub(super) fn fields(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..self.entries.len())
            .map(|index| {
                let (name, value, _) = self.field(index).expect("an entry without its text");
                (name.to_vec(), value.to_vec())
            })
            .collect()
    }
}
