//! Durations and sizes, as people write them: `"1m30s"`, `"64KiB"`.

use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ByteSize(pub(crate) u64);

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `500ms`, `5s`, `1m30s`, `2h`, `1d`: whole numbers, each with its unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    sum(text, &DURATIONS).map(Duration::from_millis)
}

/// Reads `64KiB`, `1MB`: a whole number with its unit.
pub(super) fn parse_size(text: &str) -> Option<ByteSize> {
    sum(text, &SIZES).map(ByteSize)
}

/// The sum of `<number><unit>` parts, or nothing if one does not fit or the text is empty.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_the_sum_of_its_parts() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1h 1s", Some(3_601_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 fortnights", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_size_has_a_binary_or_a_decimal_unit() {
        for (text, bytes) in [
            ("64KiB", Some(65_536)),
            ("1 MiB", Some(1_048_576)),
            ("2MB", Some(2_000_000)),
            ("7B", Some(7)),
            ("64K", None),
            ("64kib", None),
            ("lots", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_size(text), bytes.map(ByteSize), "{text:?}");
        }
    }
}
