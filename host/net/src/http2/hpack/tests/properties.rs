//! What holds for any fields and any blocks.

use super::{
    super::{
        Decoder, Encoder,
        fuzzing::{Fields, header_block, written},
    },
    Random,
};

#[test]
fn whatever_is_written_is_read_the_same_and_tables_stay_in_step() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..200 {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for _ in 0..60 {
            if random.below(if round % 2 == 0 { 8 } else { 1_000 }) == 0 {
                let limit = [0, 100, 500, 2_000, 4_096, 10_000][random.below(6)];
                encoder.set_limit(limit);
            }
            let given: Fields = (0..random.below(12)).map(|_| random.field()).collect();
            written(&mut encoder, &mut decoder, &given);
        }
    }
}

#[test]
fn whatever_block_arrives_is_read_or_refused() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..3_000 {
        let (mut encoder, mut out) = (Encoder::new(), vec![random.below(256) as u8]);
        for _ in 0..3 {
            for _ in 0..random.below(8) {
                let (name, value) = random.field();
                encoder.header(&mut out, &name, &value);
            }
        }
        for _ in 0..random.below(3) {
            let place = random.below(out.len());
            out[place] = random.below(256) as u8;
        }
        header_block(&out);
    }
}

#[test]
fn numbers_of_entries_may_begin_again() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    encoder.set_limit(600);
    // More than a number of 16 bits counts, and text beyond what a place counts.
    for round in 0..70_000_u32 {
        let name = round.to_string().into_bytes();
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for _ in 0..3 {
            encoder.header(&mut out, &name, b"v");
        }
        assert_eq!(out.last().copied(), Some(0x80 | 62));
        let mut count = 0;
        let read = decoder.decode(&out, |field| {
            count += 1;
            field.name == name && field.value == b"v"
        });
        assert_eq!((read, count), (Ok(()), 3));
    }
    assert_eq!(encoder.table().fields(), decoder.table().fields());
}
