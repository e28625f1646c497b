//! The examples of RFC 7541, its errors, and what holds for whatever is written.

use std::collections::HashMap;

use super::{
    Decoder, Encoder, HpackError,
    fuzzing::{Fields, fields, header_block, written},
    hash, huffman, statics,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// `name: value` in each line, as in the RFC.
fn lines(fields: &Fields) -> Vec<String> {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    fields.iter().map(line).collect()
}

/// Blocks in hexadecimal, what they say, and what the table is after each.
#[track_caller]
fn example(decoder: &mut Decoder, blocks: &[(&str, &[&str], &[&str], usize)]) {
    for (hex, said, table, size) in blocks {
        let read = fields(decoder, &bytes(hex)).expect(hex);
        assert_eq!(lines(&read), *said);
        assert_eq!(lines(&decoder.table().fields()), *table);
        assert_eq!(decoder.table().size(), *size);
    }
}

/// A decoder whose table may be so large.
fn decoder_of(size: usize) -> Decoder {
    let (mut decoder, mut block) = (Decoder::new(), Vec::new());
    super::integer::write(&mut block, 0x20, 0x1f, size);
    assert_eq!(decoder.decode(&block, |_| true), Ok(()));
    decoder
}

#[test]
fn each_representation_is_read() {
    for (hex, said, table, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            &["custom-key: custom-header"][..],
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", &[], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", &[], 0),
        ("82", ":method: GET", &[], 0),
    ] {
        example(&mut Decoder::new(), &[(hex, &[said], table, size)]);
    }
}

#[test]
fn requests_of_the_rfc_are_read() {
    let first = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
    let second = [&first[..], &["cache-control: no-cache"]].concat();
    let third = [
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ];
    let table =
        ["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"];
    for [one, two, three] in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::new();
        example(
            &mut decoder,
            &[
                (one, &first, &table[2..], 57),
                (two, &second, &table[1..], 110),
                (three, &third, &table, 164),
            ],
        );
    }
}

#[test]
fn responses_of_the_rfc_are_read_and_old_entries_go() {
    const DATE: &str = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    const LATER: &str = "date: Mon, 21 Oct 2013 20:13:22 GMT";
    const PLACE: &str = "location: https://www.example.com";
    const PRIVATE: &str = "cache-control: private";
    const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    for [one, two, three] in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
             6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
             54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
             5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
             3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = decoder_of(256);
        example(
            &mut decoder,
            &[
                (
                    one,
                    &[":status: 302", PRIVATE, DATE, PLACE],
                    &[PLACE, DATE, PRIVATE, ":status: 302"],
                    222,
                ),
                (
                    two,
                    &[":status: 307", PRIVATE, DATE, PLACE],
                    &[":status: 307", PLACE, DATE, PRIVATE],
                    222,
                ),
                (
                    three,
                    &[":status: 200", PRIVATE, LATER, PLACE, "content-encoding: gzip", COOKIE],
                    &[COOKIE, "content-encoding: gzip", LATER],
                    215,
                ),
            ],
        );
    }
}

#[test]
fn a_field_says_which_known_name_it_has() {
    let mut decoder = Decoder::new();
    // :path with another value, added; the same name written; the entry; a name of that entry.
    let block = bytes("4401 2a 4004 6461 7465 0131 bf be 7f 00 0132");
    let mut known = Vec::new();
    let read = decoder.decode(&block, |field| {
        known.push((field.name.to_vec(), field.value.to_vec(), field.known));
        true
    });
    assert_eq!(read, Ok(()));
    let (path, date) = (b":path".to_vec(), b"date".to_vec());
    assert_eq!(
        known,
        [
            (path.clone(), b"*".to_vec(), Some(4)),
            (date.clone(), b"1".to_vec(), None),
            (path.clone(), b"*".to_vec(), Some(4)),
            (date, b"1".to_vec(), None),
            (path, b"2".to_vec(), Some(4)),
        ]
    );
}

#[test]
fn whoever_wants_no_more_is_given_no_more_but_the_table_goes_on() {
    let (mut decoder, mut count) = (Decoder::new(), 0);
    let block = bytes("4001 6101 31 4001 6201 32 82");
    let read = decoder.decode(&block, |_| {
        count += 1;
        false
    });
    assert_eq!((read, count), (Ok(()), 1));
    assert_eq!(lines(&decoder.table().fields()), ["b: 2", "a: 1"]);
}

#[test]
fn an_entry_may_take_its_name_from_one_that_goes_for_it() {
    let mut decoder = decoder_of(34 + 33);
    example(
        &mut decoder,
        &[
            ("4002 6162 00", &["ab: "], &["ab: "], 34),
            // With this value both are too large.
            ("7e02 3132", &["ab: 12"], &["ab: 12"], 36),
            // And this one is larger than the table.
            (
                "7e24 3132 3334 3132 3334 3132 3334 3132 3334 3132 3334 3132 3334 3132 3334 3132 3334
                 3132 3334",
                &["ab: 123412341234123412341234123412341234"],
                &[],
                0,
            ),
        ],
    );
}

#[test]
fn nonsense_is_refused() {
    use HpackError::{Huffman, Index, LateTableSize, Number, TableSize, Truncated};
    for (hex, error) in [
        ("40", Truncated),
        ("4001", Truncated),
        ("4001 61", Truncated),
        ("4001 6102 31", Truncated),
        ("ff", Truncated),
        ("ffff", Truncated),
        ("0085", Truncated),
        ("ff80 8080 8000", Number),
        ("ffff ffff ff7f", Number),
        ("007f ffff ffff 7f", Number),
        ("80", Index),
        ("be", Index),
        ("7e00", Index),
        ("0f2f 00", Index),
        ("ff80 ffff 7f", Index),
        // END alone, behind a letter, and before some; padding with zeros, and with more than seven
        // bits.
        ("0081 ff00", Huffman),
        ("0084 ffff ffff 00", Huffman),
        ("0085 1fff ffff ff00", Huffman),
        ("008a ffff fffc 6318 c631 8c63 00", Huffman),
        ("0081 1800", Huffman),
        ("0082 1fff 00", Huffman),
        ("0083 1fff ff00", Huffman),
        // The first half of a long code.
        ("0082 fff8 00", Huffman),
        ("3fe2 1f", TableSize),
        ("82 20", LateTableSize),
        ("20 82 3f00", LateTableSize),
    ] {
        let refused = Decoder::new().decode(&bytes(hex), |_| true);
        assert_eq!(refused, Err(error), "{hex}");
    }
    assert_eq!(Decoder::new().decode(&bytes("20 3fe1 1f 82"), |_| true), Ok(()));
    assert_eq!(Decoder::new().decode(&[], |_| true), Ok(()));
}

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

/// One block with this field.
fn block(encoder: &mut Encoder, name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder.header(&mut out, name.as_bytes(), value.as_bytes());
    out
}

#[test]
fn what_comes_twice_is_an_entry() {
    let mut encoder = Encoder::new();
    assert_eq!(encoder.memory(), 0);
    let first = block(&mut encoder, "Server", "a");
    // A literal with the 54th name.
    assert_eq!(first, [0x0f, 39, 1, b'a']);
    assert_eq!(encoder.memory(), 0, "there is none yet");
    assert_eq!(block(&mut encoder, "server", "a"), [0x40 | 54, 1, b'a']);
    assert_eq!(block(&mut encoder, "SERVER", "a"), [0x80 | 62]);
    assert_eq!(block(&mut encoder, "server", "b"), [0x0f, 39, 1, b'b']);
    // In the static table as it is.
    assert_eq!(block(&mut encoder, "Accept-Encoding", "gzip, deflate"), [0x80 | 16]);
    assert_eq!(block(&mut encoder, "cache-control", ""), [0x80 | 24]);
    assert_eq!(block(&mut encoder, ":path", "/index.html"), [0x80 | 5]);
}

#[test]
fn what_differs_each_time_pushes_nothing_out() {
    let mut encoder = Encoder::new();
    for round in 0..1_000 {
        let length = block(&mut encoder, "server", "portolan").len();
        assert!(round < 2 || length == 1, "{round}");
        block(&mut encoder, "x-request-id", &format!("id-{round}"));
        block(&mut encoder, "content-length", &format!("{}", round % 7));
    }
    assert_eq!(lines(&encoder.table().fields()), ["server: portolan"]);
}

#[test]
fn a_few_that_alternate_are_all_found() {
    let mut encoder = Encoder::new();
    for round in 0..30 {
        for number in 0..30 {
            let length = block(&mut encoder, &format!("x-{number}"), "same").len();
            assert!(round < 29 || length == 1, "{number}");
        }
    }
}

/// What an entry of a field without a known name is found by, and which chain it is in.
fn mark(name: &[u8], value: &[u8]) -> (u32, u32) {
    let mark = hash::of_field(hash::of_name(name).0, value) as u32 >> 8;
    (mark, mark % 64)
}

#[test]
fn fields_that_look_the_same_are_told_apart() {
    let mut seen = HashMap::new();
    let (one, other) = (0..)
        .map(|number: u32| number.to_string())
        .find_map(|value| {
            let before = seen.insert(mark(b"x", value.as_bytes()), value.clone());
            before.map(|before| (before, value))
        })
        .unwrap();
    let mut encoder = Encoder::new();
    for _ in 0..2 {
        block(&mut encoder, "x", &one);
    }
    assert_eq!(block(&mut encoder, "x", &one), [0x80 | 62]);
    assert_ne!(block(&mut encoder, "x", &other), [0x80 | 62]);
}

#[test]
fn secrets_are_never_entries() {
    let mut encoder = Encoder::new();
    for name in ["Set-Cookie", "cookie", "authorization", "proxy-authorization"] {
        for _ in 0..3 {
            let out = block(&mut encoder, name, "a");
            assert_eq!(out.first().unwrap() & 0xf0, 0x10, "{name}");
        }
    }
    assert_eq!(encoder.memory(), 0);
}

#[test]
fn a_large_field_is_no_entry() {
    let mut encoder = Encoder::new();
    for (length, is_entry) in [(991, true), (992, false), (20_000, false)] {
        let value = "v".repeat(length);
        let lengths = [0; 3].map(|_| block(&mut encoder, "a", &value).len());
        assert_eq!(lengths[2] == 1, is_entry, "{length}");
    }
    let name = "N".repeat(65);
    for _ in 0..3 {
        let given = vec![(name.clone().into_bytes(), b"v".to_vec())];
        assert!(written(&mut Encoder::new(), &mut Decoder::new(), &given).len() > 60);
    }
}

#[test]
fn a_status_is_one_byte_or_its_digits() {
    let mut encoder = Encoder::new();
    let mut status = |status| {
        let mut out = Vec::new();
        encoder.status(&mut out, status);
        out
    };
    for (number, index) in
        [(200, 8), (204, 9), (206, 10), (304, 11), (400, 12), (404, 13), (500, 14)]
    {
        assert_eq!(status(number), [0x80 | index]);
    }
    assert_eq!(status(302), [0x08, 0x82, 0x64, 0x02]);
    assert_eq!(status(302), [0x48, 0x82, 0x64, 0x02]);
    assert_eq!(status(302), [0x80 | 62]);
}

#[test]
fn a_limit_is_announced_once_with_the_smallest_before_it() {
    let mut encoder = Encoder::new();
    let mut begun = |limits: &[u32]| {
        limits.iter().for_each(|limit| encoder.set_limit(*limit));
        let mut out = Vec::new();
        encoder.begin(&mut out);
        out
    };
    assert_eq!(begun(&[]), Vec::<u8>::new());
    assert_eq!(begun(&[65_536]), Vec::<u8>::new());
    assert_eq!(begun(&[4_096, 4_096]), Vec::<u8>::new());
    assert_eq!(begun(&[0]), [0x20]);
    assert_eq!(begun(&[]), Vec::<u8>::new());
    assert_eq!(begun(&[30]), [0x3e]);
    assert_eq!(begun(&[20, 40]), [0x34, 0x3f, 9]);
    assert_eq!(begun(&[0, 40]), [0x20, 0x3f, 9]);
    assert_eq!(begun(&[100, u32::MAX]), [0x3f, 0xe1, 0x1f]);
}

#[test]
fn a_smaller_table_gives_its_memory_back() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let given: Fields = (0..40).map(|it| (format!("name-{it}").into(), "v".into())).collect();
    for _ in 0..30 {
        written(&mut encoder, &mut decoder, &given);
    }
    assert!(encoder.memory() > 1_000 && decoder.memory() > 700);
    encoder.set_limit(0);
    written(&mut encoder, &mut decoder, &given);
    assert_eq!(encoder.memory(), 128);
    assert!(decoder.memory() <= 1_024, "strings");
}

#[test]
fn room_for_large_strings_is_given_back() {
    let mut decoder = Decoder::new();
    for (length, kept) in [(100, 256), (300, 512), (5_000, 0)] {
        let (mut block, text) = (bytes("0001 61"), "e".repeat(length));
        super::integer::write(&mut block, 0x80, 0x7f, huffman::length(text.as_bytes()));
        huffman::encode(text.as_bytes(), &mut block);
        let read = fields(&mut decoder, &block).unwrap();
        assert_eq!(read, [(b"a".to_vec(), text.into_bytes())]);
        assert_eq!(decoder.memory(), kept, "{length}");
    }
}

#[test]
fn a_chain_that_leads_to_a_number_that_came_again_ends() {
    let (_, chain) = mark(b"x", b"0");
    let (same, others): (Vec<_>, Vec<_>) = (0..70_000_u32)
        .map(|number| number.to_string())
        .partition(|value| mark(b"x", value.as_bytes()).1 == chain);
    let mut encoder = Encoder::new();
    encoder.set_limit(200);
    // Added when it comes for the second time, an entry when it comes for the third.
    let mut add = |value: &str| [0; 3].map(|_| block(&mut encoder, "x", value).len())[2];
    add(&same[0]);
    others.iter().cycle().take(65_535).for_each(|value| assert_eq!(add(value), 1));
    // Its number is that of the first, which it leads to.
    assert_eq!(add(&same[1]), 1);
    assert_eq!(add(&same[2]), 1);
}

/// A generator that gives the same every time (xorshift, after Marsaglia).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// One of a few, so that fields come again, some rarely.
    fn text(&mut self, longest: usize) -> Vec<u8> {
        let kind = self.below(12) * self.below(12);
        (0..kind * longest / 121).map(|place| (kind * 7 + place * 31) as u8).collect()
    }

    fn field(&mut self) -> (Vec<u8>, Vec<u8>) {
        let name = match self.below(3) {
            0 => statics::field(1 + self.below(61)).unwrap().0.to_vec(),
            _ => self.text(80),
        };
        (name, self.text(400))
    }
}

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
