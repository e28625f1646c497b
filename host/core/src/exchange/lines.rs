//! Header lines as they stand in a head, and what can be told of them without a map.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::{memchr, memchr_iter};

/// Header lines, as they stand in the head of a message.
#[derive(Clone)]
pub struct Lines {
    /// The head.
    pub head: Bytes,
    /// Where in it the lines stand that are to be sent on; unused ones are empty.
    pub runs: [(u32, u32); RUNS],
    /// Where the value of its `Host` stands; empty: it has none.
    pub host: (u32, u32),
    /// Whether `Date` is among them.
    pub has_date: bool,
    /// Whether the head has a `Content-Length`, which is not among them.
    pub has_length: bool,
    /// The [traces](trace) of their names.
    pub names: u128,
    /// Makes a map of the head: of those lines, and of a length that goes with them.
    pub read: fn(&Bytes) -> HeaderMap,
}

/// How many runs of lines there may be between others that are not sent on.
pub const RUNS: usize = 3;

/// A header line as it is sent, made once for many messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderLine {
    name: HeaderName,
    value: HeaderValue,
    pub(super) text: Box<[u8]>,
    /// The [trace] of its name; 0: it speaks of the connection, and is no line of a message.
    pub(super) trace: u128,
}

impl HeaderLine {
    /// The line of a header.
    pub fn new(name: HeaderName, value: HeaderValue) -> Self {
        let mut text = Vec::new();
        write_line(&mut text, &name, value.as_bytes());
        let trace = if is_of_connection(&name) { 0 } else { trace(name.as_str().as_bytes()) };
        Self { name, value, text: text.into(), trace }
    }

    /// Its name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// Two bits that stand for a name: where one of them is missing, the name is. Of the names that a
/// message has not, one in thirty seems to be there.
pub const fn trace(name: &[u8]) -> u128 {
    // Names that begin alike often end alike: `…-host`, `…-port`.
    let [first, near, last] = match name {
        [] => [0; 3],
        [only] => [*only; 3],
        [first, last] => [*first, *first, *last],
        [first, .., near, last] => [*first, *near, *last],
    };
    let ends = u32::from_le_bytes([first | 0x20, near | 0x20, last | 0x20, 0]);
    let mixed = ends as u64 | (name.len() as u64) << 24;
    // The golden ratio, as in Fibonacci hashing.
    let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [low, high] = [1_u64 << (hash >> 58), 1_u64 << (hash >> 52 & 63)];
    low as u128 | (high as u128) << 64
}

/// Whether a name with this trace may be among names with those.
pub(super) const fn may_be(names: u128, trace: u128) -> bool {
    names & trace == trace
}

/// Whether a header speaks of the connection or the framing of the message, and not of the
/// message (RFC 9110, 7.6.1): the data plane writes these itself.
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

impl Lines {
    /// The lines that are to be sent on, each with its end.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        self.runs.iter().filter_map(|run| self.at(*run))
    }

    /// The value of `Host`, if there is one.
    pub(super) fn host(&self) -> Option<&[u8]> {
        self.at(self.host).filter(|host| !host.is_empty())
    }

    /// The values of the lines of that name.
    pub(super) fn values<'a, 'n>(
        &'a self,
        name: &'n [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.kept().flat_map(move |run| values(run, name))
    }

    /// A part of the head that shares its memory; `None`: it is no part.
    pub(super) fn slice(&self, part: &[u8]) -> Option<Bytes> {
        let begin = part.as_ptr().addr().checked_sub(self.head.as_ptr().addr())?;
        let end = begin.checked_add(part.len())?;
        (end <= self.head.len()).then(|| self.head.slice(begin..end))
    }

    fn at(&self, (begin, end): (u32, u32)) -> Option<&[u8]> {
        self.head.get(begin as usize..end as usize)
    }
}

/// The values of the lines of that name.
pub(super) fn values<'a, 'n>(
    lines: &'a [u8],
    name: &'n [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    let begins = std::iter::once(0).chain(memchr_iter(b'\n', lines).map(|end| end + 1));
    begins.filter_map(move |begin| {
        let line = lines.get(begin..)?;
        let is_as_long = line.get(name.len()) == Some(&b':');
        if !is_as_long || !line.get(..name.len())?.eq_ignore_ascii_case(name) {
            return None;
        }
        let value = line.get(name.len() + 1..)?;
        Some(value.get(..memchr(b'\n', value)?)?.trim_ascii())
    })
}

/// Writes a header line, with its end.
pub fn write_line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Names and values of lines that were [written](write_line).
pub(super) fn read(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let ends = memchr_iter(b'\n', lines);
    let mut begin = 0;
    ends.filter_map(move |end| {
        let line = lines.get(std::mem::replace(&mut begin, end + 1)..end)?.trim_ascii_end();
        let colon = memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii_start()))
    })
}
