//! The headers of a message: a map, or the lines of one that nobody has looked at.
//!
//! Most messages pass by as they came. To make a map of their lines, only to write the same lines from
//! it, was a fifth of what a request costs above the system, so they stay text until somebody asks for
//! more than the text can tell, or changes it.
//!
//! **Invariant:** the text says what the map says. Whoever may change the map has no text any more.

use std::{
    cell::OnceCell,
    fmt,
    ops::{Deref, DerefMut},
    sync::LazyLock,
};

use bytes::Bytes;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, HOST, VARY},
};

use super::{
    lines::{self, HeaderLine, Lines, is_of_connection, write_line},
    names::Names,
};

/// The headers of a message. It is a [`HeaderMap`] to whoever looks. In a box, since heads are handed from
/// one to the next.
#[derive(Clone, Default)]
pub struct Headers(Form);

#[derive(Clone, Default)]
enum Form {
    #[default]
    Empty,
    Map(Box<HeaderMap>),
    Text(Box<Text>),
}

static EMPTY: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

#[derive(Clone)]
struct Text {
    lines: Lines,
    /// Lines that were added, as they are sent.
    added: Vec<u8>,
    /// What they say together, once somebody has looked.
    map: OnceCell<Box<HeaderMap>>,
}

/// Room for the lines that a proxy adds.
const ROOM: usize = 256;
/// More is not kept for another message.
const MOST_ROOM: usize = 4096;

impl Headers {
    /// Headers that are not to be looked at, it is hoped.
    pub fn unread(lines: Lines) -> Self {
        Self(Form::Text(Box::new(Text { lines, added: Vec::new(), map: OnceCell::new() })))
    }

    /// The same, in the room of headers that are not needed any more.
    pub fn unread_in(self, lines: Lines) -> Self {
        match self.0 {
            Form::Text(mut text) => {
                text.lines = lines;
                text.added.clear();
                text.map.take();
                Self(Form::Text(text))
            }
            _ => Self::unread(lines),
        }
    }

    /// Forgets what they say, and keeps their room.
    pub fn forget(&mut self) {
        match &mut self.0 {
            Form::Empty => {}
            Form::Map(map) => map.clear(),
            Form::Text(text) => {
                text.lines.head = Bytes::new();
                text.added.clear();
                text.added.shrink_to(MOST_ROOM);
                text.map.take();
            }
        }
    }

    /// The lines as they came, and those that were added to them; `None`: they are a map.
    pub fn lines(&self) -> Option<(&Lines, &[u8])> {
        match &self.0 {
            Form::Empty | Form::Map(_) => None,
            Form::Text(text) => Some((&text.lines, &text.added)),
        }
    }

    /// The map, made if need be.
    pub fn into_map(self) -> HeaderMap {
        match self.0 {
            Form::Empty => HeaderMap::new(),
            Form::Map(map) => *map,
            Form::Text(mut text) => text.map.take().map_or_else(|| text.map(), |map| *map),
        }
    }

    /// The values of a header, line by line.
    pub fn values<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let (map, text) = match &self.0 {
            Form::Empty => (None, None),
            Form::Map(map) => (Some(&**map), None),
            Form::Text(text) => match text.map.get() {
                Some(map) => (Some(&**map), None),
                // It may have those without their being among its lines.
                None if is_of_connection(name) => (Some(&**self), None),
                None => (None, text.may_have(name).then_some(&**text)),
            },
        };
        let of_map = map.into_iter().flat_map(move |map| map.get_all(name));
        let of_text = text.into_iter().flat_map(move |text| text.values(name));
        of_map.map(HeaderValue::as_bytes).chain(of_text)
    }

    /// The first of them.
    pub fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        match &self.0 {
            Form::Empty => None,
            Form::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            // As it is for nearly all that is asked for.
            Form::Text(text) if !text.may_have(name) && !is_of_connection(name) => None,
            // Where it is a map already, that says the same.
            Form::Text(text) if *name == ACCEPT => {
                text.lines.accept().or_else(|| self.values(name).next())
            }
            Form::Text(_) => self.values(name).next(),
        }
    }

    /// The first of them, to keep.
    pub fn value(&self, name: &HeaderName) -> Option<HeaderValue> {
        match &self.0 {
            Form::Empty => None,
            Form::Map(map) => map.get(name).cloned(),
            Form::Text(text) => {
                let value = self.first(name)?;
                let kept = text.lines.slice(value).map(HeaderValue::from_maybe_shared);
                kept.unwrap_or_else(|| HeaderValue::from_bytes(value)).ok()
            }
        }
    }

    /// Adds a header to a response. What `Vary` says already is not said again (RFC 9110, 12.5.5):
    /// backends and middlewares add `Origin` to it, each for itself.
    pub fn add_to_response(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name != VARY || !self.vary_by(value.as_bytes()) {
            self.add(name, value);
        }
    }

    /// [The same](Self::add_to_response) with a line that is made already.
    pub fn add_line_to_response(&mut self, line: &HeaderLine) {
        if *line.name() != VARY || !self.vary_by(line.value().as_bytes()) {
            self.add_line(line);
        }
    }

    /// Whether `Vary` says all of these names, or that everything counts.
    fn vary_by(&self, names: &[u8]) -> bool {
        let said = |name: &[u8]| {
            let mut said = self.values(&VARY).flat_map(members);
            said.any(|it| it == b"*" || it.eq_ignore_ascii_case(name))
        };
        members(names).all(said)
    }

    /// The value of `Host`, if there is one that is not empty.
    pub fn host(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Empty => None,
            Form::Map(map) => {
                map.get(HOST).map(HeaderValue::as_bytes).filter(|host| !host.is_empty())
            }
            Form::Text(text) => text.lines.host(),
        }
    }

    /// Says under this name, of which there is none, what `Host` says, if there is one.
    pub fn repeat_host(&mut self, name: &HeaderName) {
        match &mut self.0 {
            Form::Text(text) if text.takes(name) => text.repeat_host(name),
            _ => {
                if let Some(host) = self.get(HOST).filter(|host| !host.is_empty()).cloned() {
                    self.set(name, &host);
                }
            }
        }
    }

    /// Puts a header in place of all of its name. A map that is full (32,768 lines) stays as it is.
    pub fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        match &mut self.0 {
            Form::Text(text) if text.is_free_for(name) => text.add(name, value),
            _ => _ = self.try_insert(name, value.clone()),
        }
    }

    /// Adds a header to those of its name, likewise.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        match &mut self.0 {
            Form::Text(text) if text.takes(name) => text.add(name, value),
            _ => _ = self.try_append(name, value.clone()),
        }
    }

    /// [Sets](Self::set) a header whose line is made already.
    pub fn set_line(&mut self, line: &HeaderLine) {
        match &mut self.0 {
            Form::Text(text) if text.is_new(&line.names) && text.map.get().is_none() => {
                text.add_text(&line.text, line.names);
            }
            _ => self.set(line.name(), line.value()),
        }
    }

    /// [Adds](Self::add) a header whose line is made already.
    pub fn add_line(&mut self, line: &HeaderLine) {
        match &mut self.0 {
            Form::Text(text) if line.names != Names::NONE && text.map.get().is_none() => {
                text.add_text(&line.text, line.names);
            }
            _ => self.add(line.name(), line.value()),
        }
    }

    /// Adds whole lines of names that are not there yet, if the headers are lines still; else answers
    /// false.
    pub fn add_text(&mut self, lines: &[u8], names: Names) -> bool {
        match &mut self.0 {
            Form::Text(text) if text.map.get().is_none() => {
                text.add_text(lines, names);
                true
            }
            _ => false,
        }
    }

    /// Takes out all headers of a name.
    pub fn take_out(&mut self, name: &HeaderName) {
        match &self.0 {
            Form::Text(text) if text.is_free_for(name) => {}
            _ => _ = self.remove(name),
        }
    }
}

impl Text {
    /// Whether a line of that name can stand behind the others.
    fn takes(&self, name: &HeaderName) -> bool {
        self.map.get().is_none() && !is_of_connection(name)
    }

    /// Whether one can that is to be the only one.
    fn is_free_for(&self, name: &HeaderName) -> bool {
        self.takes(name) && !(self.may_have(name) && self.values(name).next().is_some())
    }

    /// Whether there is no line of that name, which is one of a message.
    fn is_new(&self, name: &Names) -> bool {
        *name != Names::NONE && !self.lines.names.may_have(name)
    }

    /// Whether there may be a line of that name.
    fn may_have(&self, name: &HeaderName) -> bool {
        self.lines.names.may_have(&Names::of(name.as_str().as_bytes()))
    }

    fn values<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let name = name.as_str().as_bytes();
        self.lines.values(name).chain(lines::values(&self.added, name))
    }

    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.make_room();
        self.lines.names |= Names::of(name.as_str().as_bytes());
        write_line(&mut self.added, name, value.as_bytes());
    }

    fn add_text(&mut self, lines: &[u8], names: Names) {
        self.make_room();
        self.lines.names |= names;
        self.added.extend_from_slice(lines);
    }

    fn repeat_host(&mut self, name: &HeaderName) {
        if let Some(host) = self.lines.host() {
            write_line(&mut self.added, name, host);
            self.lines.names |= Names::of(name.as_str().as_bytes());
        }
    }

    fn make_room(&mut self) {
        if self.added.capacity() == 0 {
            self.added.reserve(ROOM);
        }
    }

    fn map(&self) -> HeaderMap {
        let mut map = (self.lines.read)(&self.lines.head);
        for (name, value) in lines::read(&self.added) {
            // They were a name and a value before.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                _ = map.try_append(name, value);
            }
        }
        map
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        match map.capacity() {
            0 => Self(Form::Empty),
            _ => Self(Form::Map(Box::new(map))),
        }
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        match &self.0 {
            Form::Empty => &EMPTY,
            Form::Map(map) => map,
            Form::Text(text) => text.map.get_or_init(|| Box::new(text.map())),
        }
    }
}

impl DerefMut for Headers {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        if let Form::Empty | Form::Text(_) = self.0 {
            self.0 = Form::Map(Box::new(std::mem::take(self).into_map()));
        }
        match &mut self.0 {
            Form::Map(map) => map,
            Form::Empty | Form::Text(_) => unreachable!("it was made a map"),
        }
    }
}

/// The members of a list.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|it| !it.is_empty())
}

/// What they say is the same.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header;

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
        let names = Names::of(b"a").and(Names::of(b"b"));
        let (host, accept, has_date, has_length) = ((0, 0), (0, 0), false, false);
        Headers::unread(Lines { head, runs, host, accept, has_date, has_length, names, read })
    }

    #[test]
    fn lines_are_read_by_who_asks_and_forgotten_by_who_changes_them() {
        let mut headers = unread();
        assert_eq!(
            headers.lines().unwrap().0.kept().collect::<Vec<_>>(),
            [b"a: 1\r\n".as_slice(), b"b: 2\r\n", b"",]
        );
        assert_eq!(headers["a"], "1");
        assert!(headers.lines().is_some());
        headers.insert("b", HeaderValue::from_static("3"));
        assert!(headers.lines().is_none());
        assert_eq!((&headers["a"], &headers["b"]), (&"1".parse().unwrap(), &"3".parse().unwrap()));
        assert_eq!(unread().into_map().len(), 2);
    }

    #[test]
    fn what_is_new_stands_behind_the_lines_and_what_is_not_makes_a_map() {
        let value = HeaderValue::from_static;
        let name = HeaderName::from_static;
        let mut headers = unread();
        headers.set(&name("c"), &value("3"));
        headers.add(&name("a"), &value("4"));
        headers.take_out(&name("d"));
        headers.take_out(&name("ab"));
        assert_eq!(headers.lines().unwrap().1, b"c: 3\r\na: 4\r\n");
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        all.sort_unstable();
        assert_eq!(all, [("a", "1"), ("a", "4"), ("b", "2"), ("c", "3")]);
        // A map that was made is not made once more.
        headers.add(&name("e"), &value("5"));
        assert_eq!((headers.len(), headers.lines().is_none()), (5, true));
        headers.set(&name("c"), &value("6"));
        assert!(headers.lines().is_none());
        assert_eq!((headers.get_all("c").iter().count(), &headers["c"]), (1, &value("6")));
        let mut headers = unread();
        headers.take_out(&name("b"));
        assert_eq!((headers.len(), headers.lines().is_none()), (1, true));
        let mut headers = unread();
        headers.set(&name("b"), &value("7"));
        assert_eq!((headers.len(), &headers["b"]), (2, &value("7")));
        // A length stands in no line, and may be one of them nevertheless.
        let mut headers = unread();
        headers.set(&header::CONTENT_LENGTH, &value("8"));
        assert!(headers.lines().is_none());
    }
}
