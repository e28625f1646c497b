//! The heads of frames in bytes that pass, however they are cut.

use crate::http2::{FrameHead, HEAD};

/// What stands before the first frame of a client (RFC 9113, 3.4).
pub(super) const PREFACE: u32 = 24;

/// Follows bytes from frame to frame.
#[derive(Debug)]
pub(super) struct Heads {
    /// So many bytes are passed over.
    skip: u32,
    /// What there is of the head of a frame.
    head: [u8; HEAD],
    filled: usize,
}

impl Heads {
    /// The first frame stands behind so many bytes.
    pub(super) fn behind(skip: u32) -> Self {
        Self { skip, head: [0; HEAD], filled: 0 }
    }

    /// The next frame that begins in these bytes, of which what was looked at is cut off.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
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
        let head = FrameHead::read(&self.head)?;
        // Three bytes, so it fits.
        self.skip = head.length as u32;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = vec![b'p'; PREFACE as usize];
        // What looks like the head of another one stands in the first.
        for (kind, payload) in [(0, &[7; 300][..]), (3, &[0; 4]), (4, &[])] {
            let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
            bytes.extend([high, middle, low, kind, 0, 0x80, 0, 0, 1]);
            bytes.extend(payload);
        }
        for size in 1..50 {
            let mut heads = Heads::behind(PREFACE);
            let mut found = Vec::new();
            for mut chunk in bytes.chunks(size) {
                while let Some(head) = heads.next(&mut chunk) {
                    found.push((head.kind, head.length, head.stream));
                }
            }
            assert_eq!(found, [(0, 300, 1), (3, 4, 1), (4, 0, 1)], "{size}");
        }
    }
}
