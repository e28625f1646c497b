//! Numbers, and the bytes of a block in their order (RFC 7541, 5.1).

use super::HpackError;

/// How many bytes of seven bits may follow the prefix of a number. No length and no index that
/// has a meaning is as large.
const MOST_BYTES: u32 = 4;

/// What is left of a block.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The number whose first byte, just read, has it in the bits of `mask`.
    #[inline]
    pub(super) fn number(&mut self, first: u8, mask: u8) -> Result<usize, HpackError> {
        let prefix = first & mask;
        if prefix < mask { Ok(usize::from(prefix)) } else { self.long_number(mask) }
    }

    #[cold]
    fn long_number(&mut self, mask: u8) -> Result<usize, HpackError> {
        let mut number = usize::from(mask);
        for place in 0..MOST_BYTES {
            let byte = self.byte().ok_or(HpackError::Truncated)?;
            number += usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(HpackError::Number)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], HpackError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(HpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Writes a number into the bits of `mask` of a byte whose other bits are `kind`, and what follows.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, kind: u8, mask: u8, number: usize) {
    if number < usize::from(mask) {
        out.push(kind | number as u8);
    } else {
        write_long(out, kind, mask, number - usize::from(mask));
    }
}

#[cold]
fn write_long(out: &mut Vec<u8>, kind: u8, mask: u8, mut rest: usize) {
    out.push(kind | mask);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
