//! The examples of RFC 7541, its errors, and what holds for whatever is written.

use super::{fuzzing::Fields, statics};

mod codes;
mod properties;
mod reading;
mod writing;

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
