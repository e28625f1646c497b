//! Hashes of names and values, and lower case, eight bytes at a time.
//!
//! They need not withstand anybody: whoever makes hashes meet makes a chain of the encoder's own
//! table longer, which has 128 entries at most.

/// An odd number without a pattern (the fraction of the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// One bit of each byte: its highest.
const HIGH: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The hash of a name as if it was in lower case, and whether it is not.
pub(super) const fn of_name(name: &[u8]) -> (u64, bool) {
    let (mut hash, mut capitals, mut rest) = (name.len() as u64, 0, name);
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        capitals |= capitals_of(word);
        hash = mixed(hash, lower(word));
        rest = behind;
    }
    if !rest.is_empty() {
        let word = last_word(name);
        capitals |= capitals_of(word);
        hash = mixed(hash, lower(word));
    }
    (hash, capitals != 0)
}

/// The hash of a field, from that of its name.
pub(super) fn of_field(name: u64, value: &[u8]) -> u64 {
    let (chunks, rest) = value.as_chunks::<8>();
    let seed = mixed(name, value.len() as u64);
    let hash = chunks.iter().fold(seed, |hash, chunk| mixed(hash, u64::from_le_bytes(*chunk)));
    if rest.is_empty() { hash } else { mixed(hash, last_word(value)) }
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

/// The last eight bytes, or all where there are fewer; not empty.
const fn last_word(bytes: &[u8]) -> u64 {
    if let Some(chunk) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*chunk);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u32::from_le_bytes(*low) as u64 | (u32::from_le_bytes(*high) as u64) << 32;
    }
    match bytes {
        [a, b, c] => *a as u64 | (*b as u64) << 8 | (*c as u64) << 16,
        [a, b] => *a as u64 | (*b as u64) << 8,
        [a] => *a as u64,
        _ => 0,
    }
}

/// The highest bit of each byte that is a capital letter.
const fn capitals_of(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let behind_z = low + (0x7f - b'Z' as u64) * ONES;
    from_a & !behind_z & !word & HIGH
}

const fn lower(word: u64) -> u64 {
    word | capitals_of(word) >> 2
}
