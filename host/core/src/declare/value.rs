//! Values with a meaning: durations, sizes, sets of status codes, words, names of headers.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{Flaw, reader::Reader};
use crate::{
    name::{fold, nearest},
    policy::{StatusRange, Statuses},
};

impl Reader<'_> {
    /// `"10s"`, `"1m30s"`, or a number of seconds, as Traefik reads it.
    pub(super) fn duration(&self, flaws: &mut Vec<Flaw>) -> Option<Duration> {
        let read = match self.value {
            Value::Number(number) => number.as_f64().and_then(seconds),
            Value::String(text) => duration(text.trim()),
            _ => None,
        };
        self.or_wrong(read, "a duration such as `\"10s\"`", flaws)
    }

    /// A duration that is written with its unit: `500ms`, `2s`, `1m30s`; a bare number is of seconds
    /// (Traefik's rule) only in a tag, where all is text.
    pub(super) fn written_duration(&self, flaws: &mut Vec<Flaw>) -> Option<Duration> {
        let read = self.value.as_str().and_then(|text| duration(text.trim()));
        self.or_wrong(read, "a duration such as `500ms` or `2s`", flaws)
    }

    /// The same as [`Self::duration`], where 0 means that there is none.
    pub(super) fn limit(&self, flaws: &mut Vec<Flaw>) -> Option<Duration> {
        self.duration(flaws).filter(|duration| !duration.is_zero())
    }

    /// The same, where 0 would mean to do something all the time.
    pub(super) fn period(&self, flaws: &mut Vec<Flaw>) -> Option<Duration> {
        let duration = self.duration(flaws)?;
        if duration.is_zero() {
            self.flaw(flaws, "this takes some time: it may not be 0".to_owned());
            return None;
        }
        Some(duration)
    }

    /// A number of bytes: `65536`, `"64KiB"`.
    pub(super) fn bytes(&self, flaws: &mut Vec<Flaw>) -> Option<u64> {
        let read = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => size(text.trim()),
            _ => None,
        };
        self.or_wrong(read, "a size such as `\"64KiB\"`", flaws)
    }

    /// A number of bytes that are kept of a body; Traefik's `-1`, no bound at all, is the usual one.
    pub(super) fn kept_bytes(&self, flaws: &mut Vec<Flaw>, usual: u64) -> u64 {
        let is_unbounded = match self.value {
            Value::Number(number) => number.as_i64() == Some(-1),
            Value::String(text) => text.trim() == "-1",
            _ => false,
        };
        if is_unbounded {
            self.doubt(flaws, format!("there is a bound: {usual} bytes, unless it is said here"));
            return usual;
        }
        self.bytes(flaws).unwrap_or(usual)
    }

    /// From 0 to 100: `20` or `"20%"`.
    pub(super) fn percent(&self, flaws: &mut Vec<Flaw>) -> Option<u8> {
        let read = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().trim_end_matches('%').trim_end().parse().ok(),
            _ => None,
        };
        let read = read.filter(|percent| *percent <= 100).and_then(|it| u8::try_from(it).ok());
        self.or_wrong(read, "percent, from 0 to 100", flaws)
    }

    /// `500-599,429`, as text or as a list.
    pub(super) fn statuses(&self, flaws: &mut Vec<Flaw>) -> Statuses {
        let mut statuses = Statuses::default();
        for text in self.list(flaws) {
            let (from, to) = text.split_once('-').unwrap_or((&text, &text));
            let code = |text: &str| text.trim().parse().ok().filter(|it| (100..600).contains(it));
            match (code(from), code(to)) {
                (Some(from), Some(to)) if from <= to => {
                    statuses.0.push(StatusRange { from, to });
                }
                _ => self.flaw(flaws, format!("`{text}` is not a status, nor a range of them")),
            }
        }
        statuses
    }

    /// One of a few words, in any spelling.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], flaws: &mut Vec<Flaw>) -> Option<T> {
        let text = self.text(flaws)?;
        let folded = fold(&text);
        if let Some((_, meaning)) = words.iter().find(|(word, _)| fold(word) == folded) {
            return Some(*meaning);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let meant = nearest(&text, words.iter().map(|(word, _)| *word));
        let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
        let message = format!("expected {}, found `{text}`", known.join(", "));
        self.flaw_with(flaws, message, hint);
        None
    }

    /// The name of a header.
    pub(super) fn header_name(&self, flaws: &mut Vec<Flaw>) -> Option<HeaderName> {
        let text = self.text(flaws)?;
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        if name.is_none() {
            self.flaw(flaws, format!("`{text}` is not the name of a header"));
        }
        name
    }

    /// A table of headers.
    pub(super) fn headers(&self, flaws: &mut Vec<Flaw>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, value) in self.entries(flaws) {
            let Some(text) = value.text(flaws) else { continue };
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&text)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => value.flaw(flaws, format!("`{name}: {text}` is not a header")),
            }
        }
        headers
    }

    /// Whether it is switched off: `false` in the place of a table, or in a tag any word but `true`.
    pub(super) fn is_off(&self) -> bool {
        match self.value {
            Value::Bool(value) => !value,
            Value::String(text) => !text.is_empty() && !text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    fn or_wrong<T>(&self, read: Option<T>, expected: &str, flaws: &mut Vec<Flaw>) -> Option<T> {
        if read.is_none() {
            self.wrong::<T>(flaws, expected, self.value);
        }
        read
    }
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// As Go reads it: `1h30m`, `1.5s`, `300ms`; a bare number is seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<u64>() {
        return Some(Duration::from_secs(number));
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at_checked(digits)?;
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let (unit, next) = unit.split_at_checked(end)?;
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum = sum.checked_add(seconds(number.parse::<f64>().ok()? * scale)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(sum)
}

fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "kib" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_and_bare_numbers_are_seconds() {
        let millis = |text| duration(text).map(|duration| duration.as_millis());
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("10", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1500)),
            ("300ms", Some(300)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("10x", None),
            ("-1s", None),
            ("1s2", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("64KiB", Some(65_536)),
            ("1 MiB", Some(1 << 20)),
            ("5", Some(5)),
            ("2kb", Some(2000)),
            ("-1", None),
            ("x", None),
            ("1XB", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
