//! Header lines as they stand in a head, and what can be told of them without a map.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::{memchr, memchr_iter};

use super::names::Names;

/// Header lines, as they stand in the head of a message.
#[derive(Clone)]
pub struct Lines {
    /// The head.
    pub head: Bytes,
    /// Where in it the lines stand that are to be sent on; unused ones are empty.
    pub runs: [(u32, u32); RUNS],
    /// Where the value of its `Host` stands; empty: it has none.
    pub host: (u32, u32),
    /// Where the value of its first `Accept` stands, which is asked for with each request; (0, 0): that is
    /// not known.
    pub accept: (u32, u32),
    /// Whether `Date` is among them.
    pub has_date: bool,
    /// Whether the head has a `Content-Length`, which is not among them.
    pub has_length: bool,
    /// Their names.
    pub names: Names,
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
    /// Its name, as the names of a message have it; none: it speaks of the connection, and is no line of
    /// a message.
    pub(super) names: Names,
}

impl HeaderLine {
    /// The line of a header.
    pub fn new(name: HeaderName, value: HeaderValue) -> Self {
        let mut text = Vec::new();
        write_line(&mut text, &name, value.as_bytes());
        let of_message = !is_of_connection(&name);
        let names = if of_message { Names::of(name.as_str().as_bytes()) } else { Names::NONE };
        Self { name, value, text: text.into(), names }
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

    /// The value of its first `Accept`, if it is known where that stands.
    pub(super) fn accept(&self) -> Option<&[u8]> {
        if self.accept == (0, 0) { None } else { self.at(self.accept) }
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
