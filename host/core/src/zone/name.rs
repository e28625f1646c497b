//! Domain names in wire form: length-prefixed labels, closed by the root label.
//!
//! **Invariant:** a [`Name`] is at most 255 bytes long and none of its labels is longer than 63
//! (RFC 1035, 2.3.4). The free functions take any bytes and stop at the first that make no sense.

use std::{borrow::Borrow, fmt, net::IpAddr, sync::Arc};

/// The longest name in wire form, the root label included.
pub const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;

/// A domain name in wire form, as its author spelled it. A copy shares it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Arc<[u8]>);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or nothing at all.
    #[error("a label is empty")]
    EmptyLabel,
    /// More than 63 bytes between two dots.
    #[error("a label is longer than 63 bytes")]
    LongLabel,
    /// More than 255 bytes.
    #[error("the name is longer than 255 bytes")]
    LongName,
    /// A backslash that is not followed by a character or three digits.
    #[error("a backslash must be followed by a character or by three digits up to 255")]
    Escape,
}

impl Name {
    /// Reads the text of a name; a dot at its end changes nothing. `.` is the root.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self([0].into()));
        }
        let mut wire = Wire::new();
        // One byte more shows that it is too long.
        let mut label = [0; MAX_LABEL + 1];
        let mut length = 0;
        let mut bytes = text.bytes();
        let mut open = true;
        while let Some(byte) = bytes.next() {
            open = true;
            let byte = match byte {
                b'.' => {
                    wire.push(label.get(..length).unwrap_or(&label))?;
                    length = 0;
                    open = false;
                    continue;
                }
                b'\\' => unescape(&mut bytes)?,
                other => other,
            };
            if let Some(free) = label.get_mut(length) {
                *free = byte;
            }
            length += 1;
        }
        if open {
            wire.push(label.get(..length).unwrap_or(&label))?;
        }
        wire.close()
    }

    /// Puts labels before a name. A label may hold any byte, also a dot.
    pub fn below<'a>(
        origin: &Self,
        labels_before: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, NameError> {
        let mut wire = Wire::new();
        labels_before.into_iter().try_for_each(|label| wire.push(label))?;
        labels(&origin.0).try_for_each(|label| wire.push(label))?;
        wire.close()
    }

    /// The name under which an address is looked up: `7.0.0.10.in-addr.arpa`, `….ip6.arpa`.
    pub fn reverse(address: IpAddr) -> Self {
        let mut wire = Wire::new();
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets().iter().rev() {
                    let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|it| b'0' + it);
                    let zeros = usize::from(*octet < 100) + usize::from(*octet < 10);
                    wire.add(&[3 - zeros as u8]);
                    wire.add(digits.get(zeros..).unwrap_or_default());
                }
                wire.add(b"\x07in-addr\x04arpa\0");
            }
            IpAddr::V6(address) => {
                for octet in address.octets().iter().rev() {
                    wire.add(&[1, hex(octet & 15), 1, hex(octet >> 4)]);
                }
                wire.add(b"\x03ip6\x04arpa\0");
            }
        }
        Self(wire.as_bytes().into())
    }

    /// Takes over what was a name already, or the end of one.
    pub(super) fn of_wire(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// The names above it, the nearest first, down to the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(parent(&self.0), |name| parent(name))
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The form in which names are compared (RFC 4343).
    #[must_use]
    pub fn to_lower(&self) -> Self {
        // Lengths are at most 63, below the letters, so the whole can be lowered at once.
        // All are looked at, which is faster than to stop at the first.
        match self.0.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase()) {
            true => Self(self.0.to_ascii_lowercase().into()),
            false => self.clone(),
        }
    }

    /// Whether it is the given name, or lies below it. Both must be in lower case.
    pub fn is_within(&self, origin: &Self) -> bool {
        self == origin || self.ancestors().any(|name| name == origin.as_bytes())
    }
}

/// So that a map of names can be asked for bytes.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(&self.0).fmt(f)
    }
}

/// Prints a name in wire form as text, without the dot at its end.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for label in labels(self.0) {
            if !first {
                f.write_str(".")?;
            }
            first = false;
            for byte in label {
                match byte {
                    b'.' | b'\\' | b'"' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
        }
        if first { f.write_str(".") } else { Ok(()) }
    }
}

/// The labels of a name in wire form, the root label left out.
pub fn labels(wire: &[u8]) -> Labels<'_> {
    Labels(wire)
}

/// Iterates over the labels of a name.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.0.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(label)
    }
}

/// The name without its first label; `None` for the root.
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = wire.split_first()?;
    if length == 0 { None } else { rest.get(usize::from(length)..).filter(|rest| !rest.is_empty()) }
}

/// Writes a digit of `.addr` names and of reverse names.
pub(super) fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// A name being put together: nothing is allocated until it is complete.
struct Wire {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Wire {
    fn new() -> Self {
        Self { bytes: [0; MAX_NAME], length: 0 }
    }

    /// Answers whether there was room.
    fn add(&mut self, bytes: &[u8]) -> bool {
        let end = self.length + bytes.len();
        let free = self.bytes.get_mut(self.length..end);
        let fits = free.is_some();
        if let Some(free) = free {
            free.copy_from_slice(bytes);
            self.length = end;
        }
        fits
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, label: &[u8]) -> Result<(), NameError> {
        match label.len() {
            0 => return Err(NameError::EmptyLabel),
            1..=MAX_LABEL => (),
            _ => return Err(NameError::LongLabel),
        }
        let fits = self.add(&[label.len() as u8]) && self.add(label) && self.length < MAX_NAME;
        if fits { Ok(()) } else { Err(NameError::LongName) }
    }

    fn close(mut self) -> Result<Name, NameError> {
        match self.add(&[0]) {
            true => Ok(Name(self.as_bytes().into())),
            false => Err(NameError::LongName),
        }
    }
}

/// The byte that an escape stands for: `\.` or `\046` (RFC 1035, 5.1).
pub(super) fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok().ok_or(NameError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round_trip(text: &str, expected: Result<&str, NameError>) {
        let parsed = Name::parse(text).map(|name| name.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn names_are_read_and_written() {
        round_trip("a.b", Ok("a.b"));
        round_trip("A.b.", Ok("A.b"));
        round_trip(".", Ok("."));
        round_trip(r"a\.b.c", Ok(r"a\.b.c"));
        round_trip(r"a\032b.c", Ok(r"a\032b.c"));
        round_trip("grün", Ok(r"gr\195\188n"));
        round_trip("", Err(NameError::EmptyLabel));
        round_trip("a..b", Err(NameError::EmptyLabel));
        round_trip(".a", Err(NameError::EmptyLabel));
        round_trip(r"a\25", Err(NameError::Escape));
        round_trip(r"a\256", Err(NameError::Escape));
        round_trip(&"x".repeat(64), Err(NameError::LongLabel));
        round_trip(&"x.".repeat(128), Err(NameError::LongName));
    }

    #[test]
    fn the_longest_name_is_255_bytes() {
        assert_eq!(Name::parse(&"x.".repeat(127)).unwrap().as_bytes().len(), MAX_NAME);
    }

    #[test]
    fn addresses_have_reverse_names() {
        let of = |address: &str| Name::reverse(address.parse().unwrap()).to_string();
        assert_eq!(of("10.0.0.7"), "7.0.0.10.in-addr.arpa");
        assert!(of("fd00::1").starts_with("1.0.0.0.0.0"));
        assert!(of("fd00::1").ends_with("0.0.d.f.ip6.arpa"));
    }

    #[test]
    fn a_name_lies_within_whole_labels_only() {
        let within = |name: &str, origin: &str| {
            Name::parse(name).unwrap().is_within(&Name::parse(origin).unwrap())
        };
        assert!(within("a.consul", "consul"));
        assert!(within("consul", "consul"));
        assert!(!within("notconsul", "consul"));
        assert!(!within("consul", "a.consul"));
    }
}
