//! Numbers, moments and texts, as they are safe in a line.
//!
//! **Invariant:** what clients and backends send cannot end a line, end a quotation, or reach a
//! terminal as a control character.

use std::{io::Write as _, time::SystemTime};

use http::Version;
use time::{OffsetDateTime, UtcOffset};

/// A number.
pub(super) fn number(out: &mut Vec<u8>, number: impl Into<u128>) {
    // A vector takes everything.
    drop(write!(out, "{}", number.into()));
}

/// How many times as large one number is as the other, as Go writes it.
pub(super) fn ratio(out: &mut Vec<u8>, whole: u64, part: u64) {
    // Sizes are far below what cannot be told apart.
    drop(write!(out, "{}", whole as f64 / part as f64));
}

/// Text for the common format: what could break it is written as `\xHH` (as Apache does), byte by byte, and
/// so is what is no UTF-8.
pub(super) fn plain(out: &mut Vec<u8>, text: &[u8]) {
    escaped(out, text, &[]);
}

/// The same, where blanks and brackets stand between fields.
pub(super) fn word(out: &mut Vec<u8>, text: &[u8]) {
    escaped(out, text, b" []");
}

fn escaped(out: &mut Vec<u8>, text: &[u8], also: &[u8]) {
    // A vector takes everything.
    let hex = |out: &mut Vec<u8>, byte: &u8| drop(write!(out, "\\x{byte:02x}"));
    for chunk in text.utf8_chunks() {
        for it in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let bytes = it.encode_utf8(&mut buffer).as_bytes();
            match it {
                '"' | '\\' => out.extend([b'\\', bytes[0]]),
                _ if it.is_control() || also.contains(&bytes[0]) => {
                    bytes.iter().for_each(|byte| hex(out, byte));
                }
                _ => out.extend(bytes),
            }
        }
        chunk.invalid().iter().for_each(|byte| hex(out, byte));
    }
}

/// Text within the quotes of a JSON string. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn json(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        // What needs no escape, which is nearly all there is, is copied as a whole.
        while let Some((plain, it, after)) = to_escape(rest) {
            out.extend_from_slice(plain.as_bytes());
            match it {
                '"' => out.extend(b"\\\""),
                '\\' => out.extend(b"\\\\"),
                '\n' => out.extend(b"\\n"),
                '\t' => out.extend(b"\\t"),
                '\r' => out.extend(b"\\r"),
                _ => drop(write!(out, "\\u{:04x}", u32::from(it))),
            }
            rest = after;
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend("\u{fffd}".as_bytes());
        }
    }
}

/// The first character that cannot stand in a JSON string or a line as it is, with what is before and
/// behind it: quotes, backslashes, and control characters. Those above ASCII too (U+0080 to U+009F, in
/// UTF-8 0xc2 and the number): terminals obey U+009B as they do ESC [.
fn to_escape(text: &str) -> Option<(&str, char, &str)> {
    let bytes = text.as_bytes();
    let is_one = |(place, byte): (usize, &u8)| match *byte {
        0..0x20 | b'"' | b'\\' | 0x7f => true,
        0xc2 => bytes.get(place + 1).is_some_and(|next| *next < 0xa0),
        _ => false,
    };
    let place = bytes.iter().enumerate().position(is_one)?;
    let (plain, behind) = text.split_at_checked(place)?;
    let it = behind.chars().next()?;
    Some((plain, it, behind.get(it.len_utf8()..)?))
}

/// `2026-11-25T22:39:42.123456789Z`, the fraction without zeros at its end (Go's RFC3339Nano); elsewhere
/// than in UTC with the offset in place of the `Z`.
pub(super) fn rfc3339(
    out: &mut Vec<u8>,
    moment: SystemTime,
    offset: UtcOffset,
    with_fraction: bool,
) {
    let at = OffsetDateTime::from(moment).to_offset(offset);
    let (date, time) = (at.date(), at.time());
    drop(write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ));
    if with_fraction && time.nanosecond() > 0 {
        let start = out.len();
        drop(write!(out, ".{:09}", time.nanosecond()));
        let zeros = out.iter().skip(start).rev().take_while(|byte| **byte == b'0').count();
        out.truncate(out.len() - zeros);
    }
    match offset.is_utc() {
        true => out.push(b'Z'),
        false => ahead(out, offset, ":"),
    }
}

/// `+0130`, with something between hours and minutes.
fn ahead(out: &mut Vec<u8>, offset: UtcOffset, between: &str) {
    let sign = if offset.is_negative() { '-' } else { '+' };
    let minutes = offset.whole_minutes().unsigned_abs();
    drop(write!(out, "{sign}{:02}{between}{:02}", minutes / 60, minutes % 60));
}

/// `25/Nov/2026:22:39:42 +0000`.
pub(super) fn common_time(out: &mut Vec<u8>, moment: SystemTime, offset: UtcOffset) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = OffsetDateTime::from(moment).to_offset(offset);
    let (date, time) = (at.date(), at.time());
    drop(write!(
        out,
        "{:02}/{}/{:04}:{:02}:{:02}:{:02} ",
        date.day(),
        MONTHS[usize::from(u8::from(date.month())) - 1],
        date.year(),
        time.hour(),
        time.minute(),
        time.second(),
    ));
    ahead(out, offset, "");
}

/// As the request line has it.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Host and port of an authority; `-` where it has no port.
pub(super) fn split(authority: &str) -> (&str, &str) {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority.rfind(':').filter(|colon| *colon >= end_of_host) {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(colon).unwrap_or((authority, ""));
            (host.trim_matches(['[', ']']), port.trim_start_matches(':'))
        }
        None => (authority, "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_of_a_json_string_is_escaped_or_stands_as_it_is() {
        let written = |text: &str| {
            let mut out = Vec::new();
            json(&mut out, text.as_bytes());
            String::from_utf8(out).unwrap()
        };
        for it in ('\0'..='\u{17ff}').chain(['\u{2028}', '\u{ffff}', '\u{1f6a2}']) {
            for text in [it.to_string(), format!("{it}{it}"), format!("plain é{it}é plain")] {
                let line = written(&text);
                let read: String = serde_json::from_str(&format!("\"{line}\"")).unwrap();
                assert_eq!(read, text);
                assert!(!line.contains(char::is_control), "{line:?}");
            }
            let is_escaped = it.is_control() || matches!(it, '"' | '\\');
            assert_eq!(written(&it.to_string()) != it.to_string(), is_escaped, "{it:?}");
        }
        let mut out = Vec::new();
        json(&mut out, b"a\xff\"\xc2");
        assert_eq!(out, "a\u{fffd}\\\"\u{fffd}".as_bytes());
    }
}
