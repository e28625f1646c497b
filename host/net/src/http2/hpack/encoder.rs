//! Writes header blocks.
//!
//! What is added to the table is what came twice: ids, entity tags and the like pass by, where
//! they would push out what each message has. A date is added like the rest, since on a busy
//! connection it comes many times before it changes.

use super::{
    TABLE_SIZE, hash, huffman, integer, statics,
    table::{OVERHEAD, Table},
};

/// A name that is longer is never looked for.
const LONGEST_NAME: usize = 64;
/// Chains of entries, each of those whose marks end in the same bits of the hash.
const CHAINS: usize = 64;
/// Sets of four of fields that came once.
const SETS: usize = 16;

/// Beginnings of fields (RFC 7541, 6), and which bits of them are the index.
const INDEXED: (u8, u8) = (0x80, 0x7f);
const ADDED: (u8, u8) = (0x40, 0x3f);
const PASSING: (u8, u8) = (0x00, 0x0f);
const SECRET: (u8, u8) = (0x10, 0x0f);
const TABLE_LIMIT: (u8, u8) = (0x20, 0x1f);

/// Writes the header blocks of one connection, in their order.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table<Link>,
    /// How many entries there have been; it may begin again at zero.
    added: u16,
    /// The newest entry of each chain, by how many there were before it. Empty before the first.
    chains: Vec<u16>,
    /// Of fields that came and were not added, the hashes of four in each number.
    once: [u64; SETS],
    /// Chooses which of four has to go. A turn by turn would never let five that come turn by turn
    /// meet themselves.
    dice: u32,
    /// The smallest limit since the last block, where it was changed.
    smallest: Option<usize>,
    /// The limit that the peer knows of.
    announced: usize,
}

/// What an entry has to be found by.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// The index of its name in the static table, or 0, in the low byte; of its hash, the rest.
    mark: u32,
    /// The next older one of its chain, which may be gone.
    older: u16,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(),
            added: 0,
            chains: Vec::new(),
            once: [0; SETS],
            dice: 0,
            smallest: None,
            announced: TABLE_SIZE,
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE. The table is never larger than 4,096 bytes; a
    /// smaller one is announced at the beginning of the next block (RFC 7541, 4.2).
    pub(crate) fn set_limit(&mut self, bytes: u32) {
        let limit = (bytes as usize).min(TABLE_SIZE);
        self.table.set_limit(limit);
        self.smallest = Some(self.smallest.map_or(limit, |smallest| smallest.min(limit)));
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(smallest) = self.smallest.take() else { return };
        let limit = self.table.limit();
        if smallest < limit && smallest < self.announced {
            write(out, TABLE_LIMIT, smallest);
            write(out, TABLE_LIMIT, limit);
        } else if limit != self.announced {
            write(out, TABLE_LIMIT, limit);
        }
        self.announced = limit;
    }

    /// The status of a response, of three digits.
    pub(crate) fn status(&mut self, out: &mut Vec<u8>, status: u16) {
        const NAME: &[u8] = b":status";
        const HASH: u64 = hash::of_name(NAME).0;
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |unit| b'0' + (status / unit % 10) as u8;
                let value = [digit(100), digit(10), digit(1)];
                return self.field(out, HASH, Some(statics::STATUS), NAME, &value);
            }
        };
        write(out, INDEXED, index);
    }

    /// A field. Its name is written in lower case.
    pub(crate) fn header(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        if name.len() > LONGEST_NAME {
            return long_named(out, name, value);
        }
        let (hash, has_capitals) = hash::of_name(name);
        if has_capitals {
            return self.capital(out, hash, name, value);
        }
        self.field(out, hash, statics::find(hash, name), name, value);
    }

    #[inline(never)]
    fn capital(&mut self, out: &mut Vec<u8>, hash: u64, name: &[u8], value: &[u8]) {
        let mut lower = [0; LONGEST_NAME];
        let name = hash::lower_case(name, &mut lower);
        self.field(out, hash, statics::find(hash, name), name, value);
    }

    /// A field whose name has this hash, and this index in the static table.
    #[inline]
    fn field(
        &mut self,
        out: &mut Vec<u8>,
        hash: u64,
        known: Option<u8>,
        name: &[u8],
        value: &[u8],
    ) {
        if let Some(first) = known {
            if let Some(index) = statics::find_value(first, value) {
                return write(out, INDEXED, index);
            }
            match first {
                // authorization, cookie, proxy-authorization, set-cookie: whoever makes us send
                // values of his own must not learn by their length that he has guessed one, here
                // or where it is sent on (RFC 7541, 7.1.3).
                23 | 32 | 49 | 55 => return literal(out, SECRET, known, name, value),
                // age, content-length, content-range, location: another each time, or so short
                // that an entry saves nothing.
                21 | 28 | 30 | 46 => return literal(out, PASSING, known, name, value),
                _ => {}
            }
        }
        // A large one would push out too many others.
        if name.len() + value.len() + OVERHEAD > self.table.limit() / 4 {
            return literal(out, PASSING, known, name, value);
        }
        let hash = hash::of_field(hash, value);
        let mark = hash as u32 & !0xff | u32::from(known.unwrap_or(0));
        if let Some(index) = self.find(mark, name, value) {
            return write(out, INDEXED, statics::COUNT + 1 + index);
        }
        if self.came_before(hash) {
            literal(out, ADDED, known, name, value);
            self.insert(mark, name, value);
        } else {
            literal(out, PASSING, known, name, value);
        }
    }

    /// Where in the table a field is; the newest has index 0.
    #[inline]
    fn find(&self, mark: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let mut number = *self.chains.get(chain(mark))?;
        let mut newest = 0;
        loop {
            let index = usize::from(self.added.wrapping_sub(number).wrapping_sub(1));
            // Behind one that is gone there are none but older ones. A number so old that it has
            // come again may lead into another chain, but never back.
            if index < newest {
                return None;
            }
            let (its_name, its_value, link) = self.table.field(index)?;
            // With a known name in its mark, it has that name.
            if link.mark == mark && its_value == value && (mark & 0xff != 0 || its_name == name) {
                return Some(index);
            }
            number = link.older;
            newest = index + 1;
        }
    }

    fn insert(&mut self, mark: u32, name: &[u8], value: &[u8]) {
        if self.chains.is_empty() {
            // One that has never been.
            self.chains = vec![u16::MAX; CHAINS];
        }
        let Some(newest) = self.chains.get_mut(chain(mark)) else { return };
        let older = std::mem::replace(newest, self.added);
        self.added = self.added.wrapping_add(1);
        self.table.insert(name, value, Link { mark, older });
    }

    /// Whether a field with this hash came not long ago; from now on it did.
    fn came_before(&mut self, hash: u64) -> bool {
        const ONES: u64 = 0x0001_0001_0001_0001;
        const HIGH: u64 = 0x8000_8000_8000_8000;
        // Not 0, which is a place that was never used.
        let short = hash >> 48 | 1;
        let Some(set) = self.once.get_mut((hash >> 32) as usize % SETS) else { return false };
        // A place where both are the same is 0, and borrows.
        let differences = *set ^ (short * ONES);
        if differences.wrapping_sub(ONES) & !differences & HIGH != 0 {
            return true;
        }
        // A linear sequence (Knuth and Lewis), whose high bits are good enough.
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let place = (self.dice >> 30) * 16;
        *set = *set & !(0xffff << place) | short << place;
        false
    }
}

fn chain(mark: u32) -> usize {
    (mark >> 8) as usize % CHAINS
}

#[inline]
fn write(out: &mut Vec<u8>, (kind, mask): (u8, u8), number: usize) {
    integer::write(out, kind, mask, number);
}

#[inline(never)]
fn literal(out: &mut Vec<u8>, kind: (u8, u8), known: Option<u8>, name: &[u8], value: &[u8]) {
    write(out, kind, known.map_or(0, usize::from));
    if known.is_none() {
        string(out, name);
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    let short = huffman::length(text);
    if short < text.len() {
        integer::write(out, 0x80, 0x7f, short);
        huffman::encode(text, out);
    } else {
        integer::write(out, 0, 0x7f, text.len());
        out.extend_from_slice(text);
    }
}

#[cold]
fn long_named(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write(out, PASSING, 0);
    integer::write(out, 0, 0x7f, name.len());
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    string(out, value);
}

#[cfg(any(test, fuzzing))]
impl Encoder {
    pub(super) fn table(&self) -> &Table<impl Copy + use<>> {
        &self.table
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + self.chains.capacity() * size_of::<u16>()
    }
}
