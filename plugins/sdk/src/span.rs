//! Spans of time, as configurations write them.

use schemars::JsonSchema;
use serde::Deserialize;

/// A span of time as Traefik takes it: a number of seconds, or Go's way of writing durations (`1m30s`,
/// `100ms`, `1.5h`).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum Span {
    /// Seconds.
    Seconds(u64),
    /// A duration, or seconds as text.
    Text(String),
}

impl Span {
    /// Nanoseconds. `None`: it is not written like a span, is negative, or is longer than 584 years.
    pub fn nanos(&self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => seconds.checked_mul(SECOND),
            Self::Text(text) => match text.trim().parse::<u64>() {
                Ok(seconds) => seconds.checked_mul(SECOND),
                Err(_) => duration(text.trim()),
            },
        }
    }
}

const SECOND: u64 = 1_000_000_000;

/// Go's way: numbers, each with its unit, one behind the other.
fn duration(text: &str) -> Option<u64> {
    let (mut rest, mut nanos) = (text, 0_u64);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let is_digit = |letter: char| letter.is_ascii_digit() || letter == '.';
        let (number, behind) = rest.split_at_checked(rest.find(|letter| !is_digit(letter))?)?;
        let end = behind.find(is_digit).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end)?;
        nanos = nanos.checked_add(part(number, unit)?)?;
        rest = behind;
    }
    Some(nanos)
}

fn part(number: &str, unit: &str) -> Option<u64> {
    let unit = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_traefik_reads_them() {
        for (text, nanos) in [
            ("1", Some(SECOND)),
            (" 10s ", Some(10 * SECOND)),
            ("1m30s", Some(90 * SECOND)),
            ("1.5h", Some(5400 * SECOND)),
            (".5s", Some(SECOND / 2)),
            ("100ms", Some(100_000_000)),
            ("3µs", Some(3000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("1d", None),
            ("-1s", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("1s2", None),
            ("10000000h", None),
        ] {
            assert_eq!(Span::Text(text.to_owned()).nanos(), nanos, "{text}");
        }
        assert_eq!(Span::Seconds(60).nanos(), Some(60 * SECOND));
        assert_eq!(Span::Seconds(u64::MAX).nanos(), None);
    }
}
