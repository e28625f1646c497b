//! Reads header blocks.

use std::ops::Range;

use super::{HpackError, huffman, integer::Reader, statics, table::Table};

/// What room for strings is kept from block to block.
const KEPT: usize = 1_024;

/// Room for strings is made in pieces of this many bytes.
const PIECE: usize = 256;

/// Reads the header blocks of one connection, in their order.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// An entry has the index in the static table that its name has, or 0.
    table: Table<u8>,
    /// Strings of the field that is read, where they are not in the block as they are.
    strings: Vec<u8>,
}

/// A header field as it came: nothing is known of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// An index in the static table, 1 to 61, whose name it has; `None` where the name was
    /// written, be it one of those or not.
    pub(crate) known: Option<u8>,
}

/// A string of the field that is read.
#[derive(Clone)]
enum Text<'a> {
    /// In the block or in the static table.
    Plain(&'a [u8]),
    /// In the decoder's strings.
    Copied(Range<usize>),
}

impl<'a> Text<'a> {
    fn bytes(self, strings: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Copied(range) => strings.get(range).unwrap_or_default(),
        }
    }

    /// Where the next copied string begins.
    fn end(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Copied(range) => range.end,
        }
    }
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), strings: Vec::new() }
    }

    /// Reads a whole header block (HEADERS with its CONTINUATIONs), and gives each field to
    /// `sink` in its order. Once that answers false, it is given no more, but the block is still
    /// read to its end, since blocks to come depend on it.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut sink: impl FnMut(Field<'_>) -> bool,
    ) -> Result<(), HpackError> {
        let mut wanted = true;
        let read = self.read(block, &mut |field| wanted = wanted && sink(field));
        if self.strings.capacity() > KEPT {
            self.strings = Vec::new();
        }
        read
    }

    fn read(&mut self, block: &[u8], sink: &mut impl FnMut(Field<'_>)) -> Result<(), HpackError> {
        let mut reader = Reader::new(block);
        let mut begun = false;
        while let Some(first) = reader.byte() {
            if first & 0x80 != 0 {
                let index = reader.number(first, 0x7f)?;
                sink(indexed(&self.table, index)?);
            } else if first & 0x40 != 0 {
                self.added(&mut reader, first, sink)?;
            } else if first & 0x20 != 0 {
                if begun {
                    return Err(HpackError::LateTableSize);
                }
                let size = reader.number(first, 0x1f)?;
                if size > super::TABLE_SIZE {
                    return Err(HpackError::TableSize);
                }
                self.table.set_limit(size);
                continue;
            } else {
                // Whether it may ever be added to a table is for those who send it on.
                self.passing(&mut reader, first, sink)?;
            }
            begun = true;
        }
        Ok(())
    }

    /// A literal that becomes an entry (RFC 7541, 6.2.1).
    fn added(
        &mut self,
        reader: &mut Reader<'_>,
        first: u8,
        sink: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        let (name, known) = match reader.number(first, 0x3f)? {
            0 => (string(reader, &mut self.strings, 0)?, None),
            index => {
                let field = indexed(&self.table, index)?;
                // The entry may have to go for the new one.
                (copied(field.name, &mut self.strings), field.known)
            }
        };
        let value = string(reader, &mut self.strings, name.end())?;
        let (name, value) = (name.bytes(&self.strings), value.bytes(&self.strings));
        sink(Field { name, value, known });
        self.table.insert(name, value, known.unwrap_or(0));
        Ok(())
    }

    /// A literal that stays one (RFC 7541, 6.2.2 and 6.2.3).
    fn passing(
        &mut self,
        reader: &mut Reader<'_>,
        first: u8,
        sink: &mut impl FnMut(Field<'_>),
    ) -> Result<(), HpackError> {
        let (name, known) = match reader.number(first, 0x0f)? {
            0 => (string(reader, &mut self.strings, 0)?, None),
            index => {
                let field = indexed(&self.table, index)?;
                (Text::Plain(field.name), field.known)
            }
        };
        let value = string(reader, &mut self.strings, name.end())?;
        let (name, value) = (name.bytes(&self.strings), value.bytes(&self.strings));
        sink(Field { name, value, known });
        Ok(())
    }
}

#[inline]
fn indexed(table: &Table<u8>, index: usize) -> Result<Field<'_>, HpackError> {
    if let Some((name, value)) = statics::field(index) {
        return Ok(Field { name, value, known: Some(index as u8) });
    }
    let place = index.checked_sub(statics::COUNT + 1).ok_or(HpackError::Index)?;
    let (name, value, known) = table.field(place).ok_or(HpackError::Index)?;
    Ok(Field { name, value, known: (known != 0).then_some(known) })
}

/// Reads a string (RFC 7541, 5.2). If it is to be copied, it begins at `from`.
fn string<'a>(
    reader: &mut Reader<'a>,
    strings: &mut Vec<u8>,
    from: usize,
) -> Result<Text<'a>, HpackError> {
    let first = reader.byte().ok_or(HpackError::Truncated)?;
    let length = reader.number(first, 0x7f)?;
    let bytes = reader.bytes(length)?;
    if first & 0x80 == 0 {
        return Ok(Text::Plain(bytes));
    }
    let end = from + huffman::most(length);
    make_room(strings, end);
    let to = strings.get_mut(from..end).unwrap_or_default();
    let length = huffman::decode(bytes, to).ok_or(HpackError::Huffman)?;
    Ok(Text::Copied(from..from + length))
}

fn copied(text: &[u8], strings: &mut Vec<u8>) -> Text<'static> {
    make_room(strings, text.len());
    if let Some(to) = strings.get_mut(..text.len()) {
        to.copy_from_slice(text);
    }
    Text::Copied(0..text.len())
}

fn make_room(strings: &mut Vec<u8>, length: usize) {
    if strings.len() < length {
        // Not twice as much, as a vector would.
        let length = length.next_multiple_of(PIECE);
        strings.reserve_exact(length - strings.len());
        strings.resize(length, 0);
    }
}

#[cfg(any(test, fuzzing))]
impl Decoder {
    pub(super) fn table(&self) -> &Table<u8> {
        &self.table
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + self.strings.capacity()
    }
}
