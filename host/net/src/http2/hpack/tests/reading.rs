//! What blocks say: the examples of RFC 7541, Appendix C, and what is refused.

use super::{
    super::{Decoder, HpackError, fuzzing::fields, huffman, integer},
    bytes, lines,
};

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
    integer::write(&mut block, 0x20, 0x1f, size);
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
fn room_for_large_strings_is_given_back() {
    let mut decoder = Decoder::new();
    for (length, kept) in [(100, 256), (300, 512), (5_000, 0)] {
        let (mut block, text) = (bytes("0001 61"), "e".repeat(length));
        integer::write(&mut block, 0x80, 0x7f, huffman::length(text.as_bytes()));
        huffman::encode(text.as_bytes(), &mut block);
        let read = fields(&mut decoder, &block).unwrap();
        assert_eq!(read, [(b"a".to_vec(), text.into_bytes())]);
        assert_eq!(decoder.memory(), kept, "{length}");
    }
}
