//! Random numbers for guests, from the operating system by way of the TLS library.
//!
//! Bytes are fetched in blocks: a guest that wants one identifier per request does not pay for a
//! system call each time.

use std::fmt;

use rustls::crypto::SecureRandom;

/// A source of random bytes, one for each instance.
pub(crate) struct Entropy {
    source: &'static dyn SecureRandom,
    block: [u8; BLOCK],
    used: usize,
}

/// The system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub(crate) struct NoEntropy;

impl Entropy {
    /// A source; nothing is fetched before it is asked for.
    pub(crate) fn new() -> Self {
        let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Self { source, block: [0; BLOCK], used: BLOCK }
    }

    /// Fills a buffer.
    pub(crate) fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        self.source.fill(buffer).map_err(|_opaque| NoEntropy)
    }

    /// A random number.
    pub(crate) fn next(&mut self) -> Result<u64, NoEntropy> {
        if self.used >= BLOCK {
            self.source.fill(&mut self.block).map_err(|_opaque| NoEntropy)?;
            self.used = 0;
        }
        let taken = self.block.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut::<8>());
        self.used += 8;
        // What was given once is never in memory again.
        taken.map(std::mem::take).map(u64::from_le_bytes).ok_or(NoEntropy)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// Bytes fetched at a time: 64 numbers.
const BLOCK: usize = 512;
