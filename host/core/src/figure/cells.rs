//! Counters that appear when what they count is first seen: a hash table that only grows.
//!
//! **Invariant:** finding a cell takes no lock and writes nothing; a cell never moves.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Cells by key, in as many chains as there are heads.
#[derive(Debug)]
pub(super) struct Cells<C, const HEADS: usize> {
    heads: [Next<C>; HEADS],
    count: AtomicUsize,
}

type Next<C> = OnceLock<Box<Node<C>>>;

#[derive(Debug)]
struct Node<C> {
    key: u32,
    cell: C,
    next: Next<C>,
}

impl<C, const HEADS: usize> Default for Cells<C, HEADS> {
    fn default() -> Self {
        Self { heads: [const { OnceLock::new() }; HEADS], count: AtomicUsize::new(0) }
    }
}

impl<C, const HEADS: usize> Cells<C, HEADS> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// The cell of a key, if it was ever seen.
    pub(super) fn get(&self, key: u32) -> Option<&C> {
        let mut node = self.head(key).get()?;
        while node.key != key {
            node = node.next.get()?;
        }
        Some(&node.cell)
    }

    /// The cell of a key; it is made if need be.
    pub(super) fn get_or_make(&self, key: u32, make: impl Fn() -> C) -> &C {
        let mut place = self.head(key);
        loop {
            // Another thread may have been first, with another key.
            let node = place.get_or_init(|| {
                self.count.fetch_add(1, Relaxed);
                Box::new(Node { key, cell: make(), next: OnceLock::new() })
            });
            if node.key == key {
                return &node.cell;
            }
            place = &node.next;
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &C)> {
        let chains = self.heads.iter().map(OnceLock::get);
        chains.flat_map(|head| {
            let nodes = std::iter::successors(head, |node| node.next.get());
            nodes.map(|node| (node.key, &node.cell))
        })
    }

    fn head(&self, key: u32) -> &Next<C> {
        // Fibonacci hashing: keys differ in a few bits only, which the product spreads.
        let hash = key.wrapping_mul(0x9e37_79b9) >> 16;
        &self.heads[hash as usize % HEADS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Counter;

    #[test]
    fn every_key_has_one_cell_whoever_comes_first() {
        let cells = Cells::<Counter, 4>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for key in 0..100 {
                        cells.get_or_make(key, Counter::default).increment();
                    }
                });
            }
        });
        assert_eq!(cells.len(), 100);
        assert!(cells.iter().all(|(_, cell)| cell.value() == 4));
        assert_eq!(cells.get(7).map(Counter::value), Some(4));
        assert!(cells.get(100).is_none());
    }
}
