//! The Huffman code, the static table, and hashes of names.

use super::{
    super::{hash, huffman, statics},
    Random,
};

#[test]
fn the_code_is_a_whole_tree() {
    // Kraft's sum with END, of 30 bits, is 1, and no code is the beginning of another.
    let codes: Vec<_> = (0..=255).map(huffman::code).collect();
    let sum: u64 = codes.iter().map(|code| 1_u64 << (30 - code.length)).sum();
    assert_eq!(sum + 1, 1 << 30);
    for (place, code) in codes.iter().enumerate() {
        for other in codes.iter().skip(place + 1) {
            let common = code.length.min(other.length);
            assert_ne!(code.bits >> (code.length - common), other.bits >> (other.length - common));
        }
    }
    // Some of Appendix B.
    for (byte, bits, length) in [
        (0, 0x1ff8, 13),
        (b'\n', 0x3fff_fffc, 30),
        (b'!', 0x3f8, 10),
        (b'0', 0, 5),
        (b'A', 0x21, 6),
        (b'X', 0xfc, 8),
        (b'\\', 0x7_fff0, 19),
        (b'z', 0x7b, 7),
        (b'~', 0x1ffd, 13),
        (128, 0xf_ffe6, 20),
        (192, 0x3ff_ffe0, 26),
        (226, 0xf_ffed, 20),
        (255, 0x3ff_ffee, 26),
    ] {
        assert_eq!(huffman::code(byte), huffman::Code { bits, length }, "{byte}");
    }
}

#[test]
fn every_string_is_read_as_it_was_written() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..70_000_usize {
        // All pairs, and then longer ones.
        let text = match u16::try_from(round) {
            Ok(pair) => pair.to_be_bytes().to_vec(),
            Err(_) => (0..random.below(40)).map(|_| random.below(256) as u8).collect(),
        };
        let mut code = Vec::new();
        huffman::encode(&text, &mut code);
        assert_eq!(code.len(), huffman::length(&text));
        let mut read = vec![0; huffman::most(code.len())];
        let length = huffman::decode(&code, &mut read).unwrap();
        assert_eq!(read.get(..length), Some(&text[..]));
    }
}

#[test]
fn known_names_are_found_in_any_case() {
    let mut seen = 0;
    for index in 1..=statics::COUNT {
        let (name, value) = statics::field(index).unwrap();
        let (hash, has_capitals) = hash::of_name(name);
        assert!(!has_capitals);
        let first = statics::find(hash, name).unwrap();
        assert_eq!(statics::field(first.into()).unwrap().0, name);
        assert_eq!(statics::find_value(first, value), Some(index));
        assert_eq!(statics::find_value(first, b"other"), None);
        let upper = name.to_ascii_uppercase();
        assert_eq!(hash::of_name(&upper), (hash, true));
        assert_eq!(hash::lower_case(&upper, &mut [0; 64]), name);
        seen += usize::from(usize::from(first) == index);
    }
    assert_eq!(seen, 52);
    for other in ["", "a", "x-request-id", "content-typf", ":statu", "dates"] {
        assert_eq!(statics::find(hash::of_name(other.as_bytes()).0, other.as_bytes()), None);
    }
    assert_eq!((statics::field(0), statics::field(62)), (None, None));
}

#[test]
fn only_capitals_are_put_in_lower_case() {
    let all: Vec<u8> = (0..=255).collect();
    for length in 0..40 {
        for part in all.chunks(length.max(1)) {
            let (_, has_capitals) = hash::of_name(part);
            assert!(has_capitals || !part.iter().any(u8::is_ascii_uppercase));
            assert_eq!(hash::lower_case(part, &mut [0; 64]), part.to_ascii_lowercase());
        }
    }
}
