//! The Huffman code for strings (RFC 7541, Appendix B).
//!
//! It is canonical: among codes of one length, those of larger symbols are larger, and longer
//! codes come behind shorter ones. So lengths say it all, and the rest is made of them when we are
//! compiled. Reading is one look for the first ten bits, which is a whole code of all that is
//! usual; a longer one is found by the first code of each length.

/// The symbol that ends a string and stands in none.
const END: usize = 256;
const SYMBOLS: usize = END + 1;
const LONGEST: usize = 30;
/// No symbol has fewer bits.
const SHORTEST: usize = 5;
/// A look finds codes of up to so many bits.
const LOOK: u32 = 10;
/// So many of those are read without a look at what is left.
const AT_ONCE: usize = 5;

/// How many bits each symbol has.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// A symbol in the code: the lowest `length` bits of `bits`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Code {
    pub(super) bits: u32,
    pub(super) length: u8,
}

/// By symbol, END left out, which is never written.
static CODES: [Code; END] = codes();
/// What a look finds: the symbol in the low byte, its length in the high one; or 0.
static LOOKS: [u16; 1 << LOOK] = looks();
/// For codes that a look does not find, in the order of their lengths.
static LONG: [Length; LONGEST - LOOK as usize] = long();
/// All symbols in the order of their codes.
static ORDERED: [u16; SYMBOLS] = ordered();

/// The codes of one length.
#[derive(Clone, Copy)]
struct Length {
    bits: u32,
    /// The first of them, its bits the highest of 32.
    first: u32,
    /// How many codes are shorter.
    shorter: u32,
    /// What lies behind the last of them.
    behind: u64,
}

/// How many codes have each length.
const fn counts() -> [u32; LONGEST + 1] {
    let (mut counts, mut symbol) = ([0; LONGEST + 1], 0);
    while symbol < SYMBOLS {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
}

/// The first code of each length, and that behind the last one.
const fn firsts() -> [u32; LONGEST + 1] {
    let (counts, mut firsts, mut length) = (counts(), [0; LONGEST + 1], 1);
    while length <= LONGEST {
        firsts[length] = (firsts[length - 1] + counts[length - 1]) << 1;
        length += 1;
    }
    firsts
}

const fn codes() -> [Code; END] {
    let (mut next, mut codes, mut symbol) = (firsts(), [Code { bits: 0, length: 0 }; END], 0);
    while symbol < END {
        let length = LENGTHS[symbol];
        codes[symbol] = Code { bits: next[length as usize], length };
        next[length as usize] += 1;
        symbol += 1;
    }
    codes
}

const fn looks() -> [u16; 1 << LOOK] {
    let (codes, mut looks, mut symbol) = (codes(), [0; 1 << LOOK], 0);
    while symbol < END {
        let Code { bits, length } = codes[symbol];
        if length as u32 <= LOOK {
            let spare = LOOK - length as u32;
            let mut at = (bits << spare) as usize;
            while at < ((bits + 1) << spare) as usize {
                looks[at] = (length as u16) << 8 | symbol as u16;
                at += 1;
            }
        }
        symbol += 1;
    }
    looks
}

const fn long() -> [Length; LONGEST - LOOK as usize] {
    let (counts, firsts) = (counts(), firsts());
    let mut long = [Length { bits: 0, first: 0, shorter: 0, behind: 0 }; LONGEST - LOOK as usize];
    let (mut shorter, mut length) = (0, 0);
    while length <= LONGEST {
        if length > LOOK as usize {
            let (bits, spare) = (length as u32, 32 - length as u32);
            let (first, behind) = (firsts[length], firsts[length] + counts[length]);
            long[length - LOOK as usize - 1] =
                Length { bits, first: first << spare, shorter, behind: (behind as u64) << spare };
        }
        shorter += counts[length];
        length += 1;
    }
    long
}

const fn ordered() -> [u16; SYMBOLS] {
    let (mut ordered, mut count, mut length) = ([0; SYMBOLS], 0, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                ordered[count] = symbol as u16;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    ordered
}

/// The code of a byte.
#[inline]
pub(super) fn code(byte: u8) -> Code {
    CODES[usize::from(byte)]
}

/// How many bytes a text is in the code.
pub(super) fn length(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(code(*byte).length)).sum();
    bits.div_ceil(8)
}

/// Writes a text in the code.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    // The lowest `pending` bits are not written yet: fewer than 32 before a byte, so below 62.
    let (mut word, mut pending) = (0_u64, 0);
    for byte in text {
        let Code { bits, length } = code(*byte);
        word = word << length | u64::from(bits);
        pending += u32::from(length);
        if pending >= 32 {
            pending -= 32;
            out.extend_from_slice(&((word >> pending) as u32).to_be_bytes());
        }
    }
    // What is left of the last byte is ones, the beginning of END (RFC 7541, 5.2).
    let last = ((word << (32 - pending)) as u32 | u32::MAX.unbounded_shr(pending)).to_be_bytes();
    out.extend_from_slice(last.get(..pending.div_ceil(8) as usize).unwrap_or_default());
}

/// How many bytes a text may have that is so many in the code.
pub(super) fn most(length: usize) -> usize {
    length * 8 / SHORTEST
}

/// Reads a text to the beginning of `to`, which has room for [`most`] of it, and says how long it
/// is; `None` when it is not in the code.
pub(super) fn decode(text: &[u8], to: &mut [u8]) -> Option<usize> {
    // The highest `bits` bits of `word` are those to be read next. Those below are what follows,
    // so it does no harm to put it there again, or zeros at the end.
    let (mut word, mut bits, mut rest, mut length) = (0_u64, 0_u32, text, 0);
    loop {
        word |= rest
            .first_chunk()
            .map_or_else(|| highest(text, rest.len()), |chunk| u64::from_be_bytes(*chunk))
            >> bits;
        let taken = rest.len().min(((63 - bits) / 8) as usize);
        rest = rest.get(taken..)?;
        bits += taken as u32 * 8;
        if bits < AT_ONCE as u32 * LOOK {
            break;
        }
        // There is room for twice as many.
        let slots = to.get_mut(length..)?.first_chunk_mut::<AT_ONCE>()?;
        let mut found = look(word);
        if found == 0 {
            let (symbol, used) = long_symbol(word);
            slots[0] = u8::try_from(symbol).ok()?;
            (word, bits, length) = (word << used, bits - used, length + 1);
            continue;
        }
        for slot in slots {
            let used = u32::from(found >> 8);
            *slot = found as u8;
            (word, bits, length) = (word << used, bits - used, length + 1);
            found = look(word);
            if found == 0 {
                break;
            }
        }
    }
    loop {
        let (symbol, used) = match look(word) {
            0 => long_symbol(word),
            found => (found & 0xff, u32::from(found >> 8)),
        };
        if used > bits {
            // What may be left is less than a byte, of ones.
            return (bits < 8 && word == !(u64::MAX >> bits)).then_some(length);
        }
        *to.get_mut(length)? = u8::try_from(symbol).ok()?;
        (word, bits, length) = (word << used, bits - used, length + 1);
    }
}

#[inline]
fn look(word: u64) -> u16 {
    LOOKS[(word >> (64 - LOOK)) as usize]
}

/// The last bytes of a text, fewer than eight, in the highest bits, and zeros below.
fn highest(text: &[u8], count: usize) -> u64 {
    let word = match text.last_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    word.unbounded_shl(64 - count as u32 * 8)
}

/// The symbol whose code, longer than a look finds, the highest bits are, and how many of them.
#[cold]
fn long_symbol(word: u64) -> (u16, u32) {
    let word = (word >> 32) as u32;
    // The last length has END as its last code, behind which there is nothing.
    let length = LONG.iter().find(|length| u64::from(word) < length.behind);
    let found = length.and_then(|length| {
        let place = length.shorter + ((word - length.first) >> (32 - length.bits));
        Some((*ORDERED.get(place as usize)?, length.bits))
    });
    found.unwrap_or((END as u16, LONGEST as u32))
}
