//! Header compression (RFC 7541).
//!
//! Most fields of most messages stand in a table: to read one is then a look into a ring, and to
//! write one is a hash of its text, so a whole block costs some hundreds of instructions.
//!
//! Reading order: `statics` is the table that everybody knows, `table` the one that grows with a
//! connection; `integer` and `huffman` are how numbers and strings are written; `decoder` and
//! `encoder` put these together; `hash` is how the encoder finds what it has written before.
//!
//! **Invariant:** what a connection keeps is bounded: its two tables count 4,096 bytes each, and
//! nothing is allocated before the first entry.

mod decoder;
mod encoder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hash;
mod huffman;
mod integer;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    decoder::{Decoder, Field},
    encoder::Encoder,
};

/// How large a table may be, as RFC 7541, 4.1 counts: what HTTP/2 begins with. We never ask for
/// another size.
const TABLE_SIZE: usize = 4_096;

/// Why a header block has no meaning. The connection ends with it (COMPRESSION_ERROR; RFC 9113,
/// 4.3), since the table is no longer the one that the peer has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HpackError {
    #[error("the header block ends within a field")]
    Truncated,
    #[error("a number in the header block is too large")]
    Number,
    #[error("the header block names an entry that no table has")]
    Index,
    #[error("a string in the header block is not in the Huffman code")]
    Huffman,
    #[error("the header block asks for a larger table than we allow")]
    TableSize,
    #[error("the header block changes the size of the table after its first field")]
    LateTableSize,
}
