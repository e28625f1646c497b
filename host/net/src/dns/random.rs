//! Random numbers for one thread.
//!
//! Ids of questions to upstreams must not be guessed, so the generator is seeded by the hasher of
//! the standard library, which the system seeds, and its outputs are the hashes of a counter under
//! a secret key (SipHash), not a linear sequence that a few observed ids would give away.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
};

/// Random numbers for one thread.
#[derive(Debug)]
pub(super) struct Random {
    key: RandomState,
    counter: Cell<u64>,
}

impl Random {
    pub(super) fn seeded() -> Self {
        Self { key: RandomState::new(), counter: Cell::new(0) }
    }

    pub(super) fn next(&self) -> u32 {
        let counter = self.counter.get();
        self.counter.set(counter.wrapping_add(1));
        (self.key.hash_one(counter) >> 32) as u32
    }
}
