//! What is written, and what becomes an entry.

use std::collections::HashMap;

use super::{
    super::{
        Decoder, Encoder,
        fuzzing::{Fields, written},
        hash,
    },
    lines,
};

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
