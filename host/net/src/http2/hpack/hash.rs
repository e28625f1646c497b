//! Hashes of names and values, and lower case, eight bytes at a time.
//!
//! They need not withstand anybody: whoever makes hashes meet makes a chain of the encoder's own
//! table longer, which has 128 entries at most.

/// An odd number without a pattern (the fraction of the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const ONES: u64 = 0x0101_0101_0101_0101;
/// One bit of each byte: its highest.
const HIGH: u64 = 0x80 * ONES;
/// The bit of each byte that a capital letter has not.
const SMALL: u64 = 0x20 * ONES;

/// The hash of a name, which is that of its lower case; and whether it may have capital letters.
pub(super) const fn of_name(name: &[u8]) -> (u64, bool) {
    let (mut hash, mut all, mut rest) = (name.len() as u64, SMALL, name);
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        all &= word;
        hash = mixed(hash, word | SMALL);
        rest = behind;
    }
    if !rest.is_empty() {
        let (word, padding) = last_word(name);
        all &= word | padding;
        hash = mixed(hash, word | SMALL);
    }
    (hash, all != SMALL)
}

/// The hash of a field, from that of its name.
#[inline]
pub(super) fn of_field(name: u64, value: &[u8]) -> u64 {
    let (chunks, rest) = value.as_chunks::<8>();
    let seed = mixed(name, value.len() as u64);
    let hash = chunks.iter().fold(seed, |hash, chunk| mixed(hash, u64::from_le_bytes(*chunk)));
    if rest.is_empty() { hash } else { mixed(hash, last_word(value).0) }
}

/// Writes a name in lower case to the beginning of `to`, which is long enough.
pub(super) fn lower_case<'a>(name: &[u8], to: &'a mut [u8]) -> &'a [u8] {
    let to = to.get_mut(..name.len()).unwrap_or_default();
    let lowered = |chunk: &[u8; 8]| lower(u64::from_le_bytes(*chunk)).to_le_bytes();
    for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(name.as_chunks::<8>().0) {
        *to = lowered(from);
    }
    // The last eight bytes may overlap those before, which changes nothing.
    match (to.last_chunk_mut::<8>(), name.last_chunk::<8>()) {
        (Some(to), Some(from)) => *to = lowered(from),
        _ => {
            for (to, from) in to.iter_mut().zip(name) {
                *to = from.to_ascii_lowercase();
            }
        }
    }
    to
}

const fn mixed(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word) as u128 * FACTOR as u128;
    // The low half of a product knows little of the high bits of its factors.
    (product as u64) ^ (product >> 64) as u64
}

/// The last eight bytes, or all where there are fewer; not empty. Bytes that there are not are
/// zeros, and ones in the second number.
const fn last_word(bytes: &[u8]) -> (u64, u64) {
    if let Some(chunk) = bytes.last_chunk::<8>() {
        return (u64::from_le_bytes(*chunk), 0);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return (u32::from_le_bytes(*low) as u64 | (u32::from_le_bytes(*high) as u64) << 32, 0);
    }
    match bytes {
        [a, b, c] => (*a as u64 | (*b as u64) << 8 | (*c as u64) << 16, u64::MAX << 24),
        [a, b] => (*a as u64 | (*b as u64) << 8, u64::MAX << 16),
        [a] => (*a as u64, u64::MAX << 8),
        _ => (0, u64::MAX),
    }
}

fn lower(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low + (0x80 - u64::from(b'A')) * ONES;
    let behind_z = low + (0x7f - u64::from(b'Z')) * ONES;
    // The highest bit of each byte that is a capital letter.
    let capitals = from_a & !behind_z & !word & HIGH;
    word | capitals >> 2
}
