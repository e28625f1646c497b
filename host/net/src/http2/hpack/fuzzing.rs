//! What must hold for any bytes that somebody sends as a header block.

use super::{Decoder, Encoder, TABLE_SIZE};

/// So many bytes of fields are looked at.
const MOST: usize = 32_768;

pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Any blocks are refused or read, within bounds of memory; and the fields of those that are read
/// are the same once they were written, by a table as large as the first byte says. That byte also
/// says how long the blocks are.
pub fn header_block(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let limit = [0, 31, 64, 200, 300, 1_000, 4_095, 65_536][usize::from(choice >> 5)];
    let (mut decoder, mut encoder, mut reader) = (Decoder::new(), Encoder::new(), Decoder::new());
    encoder.set_limit(limit);
    for block in rest.chunks(1 + usize::from(choice & 0x1f) * 16) {
        let Some(fields) = fields(&mut decoder, block) else { return };
        // What came twice is added, what came three times is an entry.
        for _ in 0..3 {
            written(&mut encoder, &mut reader, &fields);
        }
    }
}

/// The fields of a block, or as many as are looked at; `None`: it is refused.
pub(super) fn fields(decoder: &mut Decoder, block: &[u8]) -> Option<Fields> {
    let (mut fields, mut length, mut ended) = (Fields::new(), 0, false);
    let read = decoder.decode(block, |field| {
        assert!(!ended, "it is given what it does not want");
        if let Some(known) = field.known {
            let (name, _) = super::statics::field(usize::from(known)).expect("no such index");
            assert_eq!(name, field.name);
        }
        fields.push((field.name.to_vec(), field.value.to_vec()));
        length += field.name.len() + field.value.len() + 32;
        ended = length > MOST;
        !ended
    });
    let entries = decoder.table().fields();
    let sizes: usize = entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert_eq!(decoder.table().size(), sizes);
    assert!(sizes <= decoder.table().limit() && decoder.table().limit() <= TABLE_SIZE);
    // Text, 128 entries, strings.
    assert!(decoder.memory() <= TABLE_SIZE + 1_024 + 1_024, "{}", decoder.memory());
    read.is_ok().then_some(fields)
}

/// What is written is read as it was, its names in lower case, and both tables are the same.
pub(super) fn written(encoder: &mut Encoder, reader: &mut Decoder, given: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for (name, value) in given {
        encoder.header(&mut block, name, value);
    }
    let read = fields(reader, &block).expect("what was written is no block");
    let lower = |(name, value): &(Vec<u8>, Vec<u8>)| (name.to_ascii_lowercase(), value.clone());
    assert_eq!(read, given.iter().map(lower).collect::<Fields>());
    assert_eq!(encoder.table().fields(), reader.table().fields());
    assert_eq!(encoder.table().limit(), reader.table().limit());
    // Text, 128 entries, chains.
    assert!(encoder.memory() <= TABLE_SIZE + 2_048 + 128, "{}", encoder.memory());
    block
}
