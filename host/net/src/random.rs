//! Random numbers for one thread.
//!
//! Ids of questions to upstreams must not be guessed, and ids of traces must not meet, so the generator is seeded by the hasher of
//! the standard library, which the system seeds, and its outputs are the hashes of a counter under
//! a secret key (SipHash), not a linear sequence that a few observed ids would give away.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
};

/// Random numbers for one thread.
#[derive(Debug)]
pub(crate) struct Random {
    key: RandomState,
    counter: Cell<u64>,
}

impl Random {
    pub(crate) fn seeded() -> Self {
        Self { key: RandomState::new(), counter: Cell::new(0) }
    }

    pub(crate) fn next(&self) -> u32 {
        (self.next_long() >> 32) as u32
    }

    pub(crate) fn next_long(&self) -> u64 {
        let counter = self.counter.get();
        self.counter.set(counter.wrapping_add(1));
        self.key.hash_one(counter)
    }
}
