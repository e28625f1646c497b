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
use http::HeaderMap;

/// The headers of a response. It is a [`HeaderMap`] to whoever looks.
#[derive(Clone)]
pub struct Headers(Form);

#[derive(Clone)]
enum Form {
    Map(HeaderMap),
    Text(Lines, OnceCell<Box<HeaderMap>>),
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
    /// Makes a map of the head: of those lines, and of a length that goes with them.
    pub read: fn(&Bytes) -> HeaderMap,
}

/// How many runs of lines there may be between others that are not sent on.
pub const RUNS: usize = 3;

impl Headers {
    /// Headers that are not to be looked at, it is hoped.
    pub fn unread(lines: Lines) -> Self {
        Self(Form::Text(lines, OnceCell::new()))
    }

    /// The lines, if they are still as they came.
    pub fn lines(&self) -> Option<&Lines> {
        match &self.0 {
            Form::Map(_) => None,
            Form::Text(lines, _) => Some(lines),
        }
    }

    /// The map, if there is one.
    pub fn into_made(self) -> Option<HeaderMap> {
        match self.0 {
            Form::Map(map) => Some(map),
            Form::Text(_, map) => map.into_inner().map(|map| *map),
        }
    }

    /// The map, made if need be.
    pub fn into_map(self) -> HeaderMap {
        match self.0 {
            Form::Map(map) => map,
            Form::Text(lines, map) => map.into_inner().map_or_else(|| lines.map(), |map| *map),
        }
    }
}

impl Lines {
    /// The lines that are to be sent on, each with its end.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        let run = |(begin, end): &(u32, u32)| self.head.get(*begin as usize..*end as usize);
        self.runs.iter().filter_map(run)
    }

    fn map(&self) -> HeaderMap {
        (self.read)(&self.head)
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
            Form::Text(lines, map) => map.get_or_init(|| Box::new(lines.map())),
        }
    }
}

impl DerefMut for Headers {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        if let Form::Text(..) = self.0 {
            *self = std::mem::take(self).into_map().into();
        }
        match &mut self.0 {
            Form::Map(map) => map,
            Form::Text(..) => unreachable!("it was made a map"),
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
    use http::HeaderValue;

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
        Headers::unread(Lines { head, runs, has_date: false, read })
    }

    #[test]
    fn lines_are_read_by_who_asks_and_forgotten_by_who_changes_them() {
        let mut headers = unread();
        assert_eq!(
            headers.lines().unwrap().kept().collect::<Vec<_>>(),
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
}
