//! The heads of frames in bytes that pass, however they are cut.

/// What stands before the first frame of a client (RFC 9113, 3.4).
pub(super) const PREFACE: u32 = 24;
/// What stands before each payload: length, kind, flags, stream (RFC 9113, 4.1).
pub(super) const HEAD: usize = 9;

/// Follows bytes from frame to frame.
#[derive(Debug)]
pub(super) struct Heads {
    /// So many bytes are passed over.
    skip: u32,
    /// What there is of the head of a frame.
    head: [u8; HEAD],
    filled: usize,
}

/// The head of a frame.
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Heads {
    /// The first frame stands behind so many bytes.
    pub(super) fn behind(skip: u32) -> Self {
        Self { skip, head: [0; HEAD], filled: 0 }
    }

    /// The next frame that begins in these bytes, of which what was looked at is cut off.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = bytes.len().min(self.skip as usize);
        // No more than `skip`, so it fits.
        self.skip -= skipped as u32;
        let rest = bytes.get(skipped..).unwrap_or_default();
        let taken = rest.len().min(HEAD - self.filled);
        let (piece, rest) = rest.split_at(taken);
        for (place, byte) in self.head.iter_mut().skip(self.filled).zip(piece) {
            *place = *byte;
        }
        *bytes = rest;
        self.filled += taken;
        if self.filled < HEAD {
            return None;
        }
        self.filled = 0;
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length;
        // The highest bit means nothing.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some(Head { length, kind, flags, stream })
    }
}
