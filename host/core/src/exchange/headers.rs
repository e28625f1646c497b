//! The headers of a response: a map, or the lines of one that nobody has looked at.
//!
//! Most responses pass by as they came. To make a map of their lines, only to write the same lines from
//! it, was a tenth of what a request costs above the system, so they stay text until somebody asks.
//!
//! **Invariant:** the text says what the map says. Whoever may change the map has no text any more.

use std::{
    cell::OnceCell,
    fmt,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memchr_iter;

/// The headers of a response. It is a [`HeaderMap`] to whoever looks.
#[derive(Clone)]
pub struct Headers(Form);

#[derive(Clone)]
enum Form {
    Map(HeaderMap),
    Text(Text),
}

#[derive(Clone)]
struct Text {
    lines: Lines,
    added: Vec<(HeaderName, HeaderValue)>,
    /// What they say together, once somebody has looked.
    map: OnceCell<Box<HeaderMap>>,
}

/// Header lines, as they stand in the head of a message.
#[derive(Clone)]
pub struct Lines {
    /// The head.
    pub head: Bytes,
    /// Where in it the lines stand that are to be sent on; unused ones are empty.
    pub runs: [(u32, u32); RUNS],
    /// Whether `Date` is among them.
    pub has_date: bool,
    /// The [traces](trace) of their names.
    pub names: u64,
    /// Makes a map of the head: of those lines, and of a length that goes with them.
    pub read: fn(&Bytes) -> HeaderMap,
}

/// A bit that stands for a name, and for a sixty-fourth of all others: where it is missing, the name is.
pub fn trace(name: &[u8]) -> u64 {
    let ends = [name.first(), name.last()].map(|byte| u64::from(byte.map_or(0, |it| it | 0x20)));
    1 << ((ends[0] * 5 + ends[1] * 3 + name.len() as u64) & 63)
}

/// How many runs of lines there may be between others that are not sent on.
pub const RUNS: usize = 3;

impl Headers {
    /// Headers that are not to be looked at, it is hoped.
    pub fn unread(lines: Lines) -> Self {
        Self(Form::Text(Text { lines, added: Vec::new(), map: OnceCell::new() }))
    }

    /// The lines as they came, and what was added to them; `None`: they are a map.
    pub fn lines(&self) -> Option<(&Lines, &[(HeaderName, HeaderValue)])> {
        match &self.0 {
            Form::Map(_) => None,
            Form::Text(text) => Some((&text.lines, &text.added)),
        }
    }

    /// The map, if there is one.
    pub fn into_made(self) -> Option<HeaderMap> {
        match self.0 {
            Form::Map(map) => Some(map),
            Form::Text(text) => text.map.into_inner().map(|map| *map),
        }
    }

    /// The map, made if need be.
    pub fn into_map(self) -> HeaderMap {
        match self.0 {
            Form::Map(map) => map,
            Form::Text(mut text) => text.map.take().map_or_else(|| text.map(), |map| *map),
        }
    }

    /// Puts a header in place of all of its name. A map that is full (32,768 lines) stays as it is.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match &mut self.0 {
            Form::Text(text) if !text.has(&name) => text.add(name, value),
            _ => _ = self.try_insert(name, value),
        }
    }

    /// Adds a header to those of its name, likewise.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        match &mut self.0 {
            Form::Text(text) if !is_of_connection(&name) => text.add(name, value),
            _ => _ = self.try_append(name, value),
        }
    }

    /// Takes out all headers of a name.
    pub fn take_out(&mut self, name: &HeaderName) {
        match &self.0 {
            Form::Text(text) if !text.has(name) => {}
            _ => _ = self.remove(name),
        }
    }
}

impl Text {
    /// Whether there is a header of that name, or may be.
    fn has(&self, name: &HeaderName) -> bool {
        is_of_connection(name)
            || self.added.iter().any(|(added, _)| added == name)
            || self.lines.have(name.as_str().as_bytes())
    }

    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.map.take();
        self.added.push((name, value));
    }

    fn map(&self) -> HeaderMap {
        let mut map = (self.lines.read)(&self.lines.head);
        for (name, value) in &self.added {
            _ = map.try_append(name, value.clone());
        }
        map
    }
}

/// Whether a header speaks of the connection or the framing of the message, and not of the
/// message (RFC 9110, 7.6.1): the data plane writes these itself.
pub fn is_of_connection(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Whether a line of that name is among them.
fn has_line(lines: &[u8], name: &[u8]) -> bool {
    let is_named = |begin: usize| {
        let line = lines.get(begin..).unwrap_or_default();
        let is_as_long = line.get(name.len()) == Some(&b':');
        is_as_long && line.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
    };
    is_named(0) || memchr_iter(b'\n', lines).any(|end| is_named(end + 1))
}

impl Lines {
    /// Whether one of them has this name.
    fn have(&self, name: &[u8]) -> bool {
        self.names & trace(name) != 0 && self.kept().any(|run| has_line(run, name))
    }

    /// The lines that are to be sent on, each with its end.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        let run = |(begin, end): &(u32, u32)| self.head.get(*begin as usize..*end as usize);
        self.runs.iter().filter_map(run)
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        Self(Form::Map(map))
    }
}

impl Default for Headers {
    fn default() -> Self {
        HeaderMap::new().into()
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        match &self.0 {
            Form::Map(map) => map,
            Form::Text(text) => text.map.get_or_init(|| Box::new(text.map())),
        }
    }
}

impl DerefMut for Headers {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        if let Form::Text(_) = self.0 {
            *self = std::mem::take(self).into_map().into();
        }
        match &mut self.0 {
            Form::Map(map) => map,
            Form::Text(_) => unreachable!("it was made a map"),
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread() -> Headers {
        let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\n\r\n");
        let read = |_: &Bytes| {
            [("a", "1"), ("b", "2")]
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .into_iter()
                .collect()
        };
        let runs = [(17, 23), (23, 29), (0, 0)];
        let names = trace(b"a") | trace(b"b");
        Headers::unread(Lines { head, runs, has_date: false, names, read })
    }

    #[test]
    fn lines_are_read_by_who_asks_and_forgotten_by_who_changes_them() {
        let mut headers = unread();
        assert_eq!(
            headers.lines().unwrap().0.kept().collect::<Vec<_>>(),
            [b"a: 1\r\n".as_slice(), b"b: 2\r\n", b"",]
        );
        assert!(headers.clone().into_made().is_none());
        assert_eq!(headers["a"], "1");
        assert!(headers.lines().is_some() && headers.clone().into_made().is_some());
        headers.insert("b", HeaderValue::from_static("3"));
        assert!(headers.lines().is_none());
        assert_eq!((&headers["a"], &headers["b"]), (&"1".parse().unwrap(), &"3".parse().unwrap()));
        assert_eq!(unread().into_map().len(), 2);
    }

    #[test]
    fn a_name_leaves_its_trace_however_it_is_spelled() {
        for (name, other) in [("Date", "date"), ("X-A", "x-a"), ("ETag", "etag")] {
            assert_eq!(trace(name.as_bytes()), trace(other.as_bytes()));
        }
        assert_ne!(trace(b"x-response-0"), trace(b"date"));
        assert_ne!(trace(b""), 0);
    }

    #[test]
    fn what_is_new_stands_behind_the_lines_and_what_is_not_makes_a_map() {
        let value = HeaderValue::from_static;
        let name = HeaderName::from_static;
        let mut headers = unread();
        headers.set(name("c"), value("3"));
        headers.add(name("a"), value("4"));
        headers.take_out(&name("d"));
        headers.take_out(&name("ab"));
        assert_eq!(headers.lines().unwrap().1.len(), 2);
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        all.sort_unstable();
        assert_eq!(all, [("a", "1"), ("a", "4"), ("b", "2"), ("c", "3")]);
        // Looked at, and then changed once more.
        headers.add(name("e"), value("5"));
        assert_eq!((headers.len(), headers.lines().is_some()), (5, true));
        headers.set(name("c"), value("6"));
        assert!(headers.lines().is_none());
        assert_eq!((headers.get_all("c").iter().count(), &headers["c"]), (1, &value("6")));
        let mut headers = unread();
        headers.take_out(&name("b"));
        assert_eq!((headers.len(), headers.lines().is_none()), (1, true));
        let mut headers = unread();
        headers.set(name("b"), value("7"));
        assert_eq!((headers.len(), &headers["b"]), (2, &value("7")));
        // A length stands in no line, and may be one of them nevertheless.
        let mut headers = unread();
        headers.set(header::CONTENT_LENGTH, value("8"));
        assert!(headers.lines().is_none());
    }
}
