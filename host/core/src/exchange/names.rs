//! Which names a message's lines have, told without a look at the lines.

use std::ops::BitOrAssign;

/// The names of lines, as a Bloom filter: what it does not have is not there, what it seems to have may be.
///
/// Four bits stand for a name, one in each word. Of the names that a message has not, one in two thousand
/// seems to be there with ten lines, and one in fifty with thirty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Names([u64; 4]);

impl Names {
    /// No name.
    pub const NONE: Self = Self([0; 4]);

    /// One name, however it is spelled.
    pub const fn of(name: &[u8]) -> Self {
        // Names that begin alike often end alike: `…-host`, `…-port`.
        let [first, near, last] = match name {
            [] => [0; 3],
            [only] => [*only; 3],
            [first, last] => [*first, *first, *last],
            [first, .., near, last] => [*first, *near, *last],
        };
        let ends = u32::from_le_bytes([first | 0x20, near | 0x20, last | 0x20, 0]);
        let mixed = ends as u64 | (name.len() as u64) << 24;
        // The golden ratio, as in Fibonacci hashing: the upper bits are the mixed ones.
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self([
            1 << (hash >> 58),
            1 << (hash >> 52 & 63),
            1 << (hash >> 46 & 63),
            1 << (hash >> 40 & 63),
        ])
    }

    /// These and others.
    pub const fn and(self, others: Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, others);
        Self([a | e, b | f, c | g, d | h])
    }

    /// Whether all of the others may be among these.
    pub(super) fn may_have(&self, others: &Self) -> bool {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, others);
        ((e & !a) | (f & !b) | (g & !c) | (h & !d)) == 0
    }
}

impl BitOrAssign for Names {
    fn bitor_assign(&mut self, others: Self) {
        *self = self.and(others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_spelled() {
        for (name, other) in [("Date", "date"), ("X-A", "x-a"), ("ETag", "etag")] {
            assert_eq!(Names::of(name.as_bytes()), Names::of(other.as_bytes()));
        }
        assert_ne!(Names::of(b"x-response-0"), Names::of(b"date"));
        assert_ne!(Names::of(b""), Names::NONE);
    }

    #[test]
    fn few_names_seem_to_be_there_that_are_not() {
        // What a browser sends, and what a proxy adds.
        let there = "host connection cache-control sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform \
            upgrade-insecure-requests user-agent accept sec-fetch-site sec-fetch-mode sec-fetch-user \
            sec-fetch-dest accept-encoding accept-language cookie x-forwarded-for x-forwarded-host \
            x-forwarded-port x-forwarded-proto x-forwarded-server x-real-ip";
        let mut names = Names::NONE;
        there.split(' ').for_each(|name| names |= Names::of(name.as_bytes()));
        assert!(there.split(' ').all(|name| names.may_have(&Names::of(name.as_bytes()))));
        let others = (0..1000).map(|number| format!("x-{number}-{}", number * 7 % 26));
        let seem = others.filter(|name| names.may_have(&Names::of(name.as_bytes()))).count();
        assert!(seem < 30, "{seem} of a thousand");
    }
}
