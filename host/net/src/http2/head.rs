//! The heads of requests, from the fields of HTTP/2 (RFC 9113, 8.2 and 8.3).
//!
//! **Invariant:** a head that is made here says the same as one that came over HTTP/1, in the same form: its
//! fields are lines, `:authority` is `Host`. So whoever comes after does not ask which version it was.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portolan_core::exchange::{Headers, Lines, Names, RUNS};

use super::hpack::Field;
use crate::h1::{HeadError, Maps, Whose, digits, target, whose};

/// What a field costs beyond its text (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldLimits {
    /// Of all of it, as HTTP/2 counts it.
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: Headers,
    /// How long its content is, where it says so.
    pub(crate) length: Option<u64>,
    /// Whether the client waits for `100 Continue` before it sends the content (RFC 9110, 10.1.1).
    pub(crate) expects_continue: bool,
    /// Why it is refused though it is a request.
    pub(crate) fault: Option<HeadError>,
}

/// A message that is malformed, and none (RFC 9113, 8.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Gathers the fields of a request.
pub(super) struct Gathering<'a> {
    limits: FieldLimits,
    /// The target, and the lines behind it.
    text: &'a mut Vec<u8>,
    method: Option<Method>,
    has_scheme: bool,
    /// How long the target is that `text` begins with.
    target: usize,
    authority: Option<Vec<u8>>,
    cookies: Vec<u8>,
    has_cookies: bool,
    host: (u32, u32),
    hosts: usize,
    accept: (u32, u32),
    length: Option<u64>,
    expects_continue: bool,
    has_date: bool,
    /// Whether a field says more than its line.
    is_unclear: bool,
    names: Names,
    fields: usize,
    bytes: usize,
    has_begun: bool,
    fault: Option<HeadError>,
    is_malformed: bool,
}

impl<'a> Gathering<'a> {
    /// None yet; `text` is room to write in.
    pub(super) fn new(text: &'a mut Vec<u8>, limits: FieldLimits) -> Self {
        text.clear();
        Self {
            limits,
            text,
            method: None,
            has_scheme: false,
            target: 0,
            authority: None,
            cookies: Vec::new(),
            has_cookies: false,
            host: (0, 0),
            hosts: 0,
            accept: (0, 0),
            length: None,
            expects_continue: false,
            has_date: false,
            is_unclear: false,
            names: Names::NONE,
            fields: 0,
            bytes: 0,
            has_begun: false,
            fault: None,
            is_malformed: false,
        }
    }

    /// Takes a field; false: no more are wanted.
    pub(super) fn take(&mut self, field: &Field<'_>) -> bool {
        let taken = match field.name.first() {
            Some(b':') => self.pseudo(field),
            Some(_) => self.regular(field),
            None => Err(Malformed),
        };
        self.is_malformed |= taken.is_err();
        !self.is_malformed && self.fault != Some(HeadError::TooLarge)
    }

    /// What is said of the request as a whole stands before everything else, once.
    fn pseudo(&mut self, Field { name, value, .. }: &Field<'_>) -> Result<(), Malformed> {
        if self.has_begun || !is_value(value) {
            return Err(Malformed);
        }
        match *name {
            b":method" if self.method.is_none() => {
                self.method = Some(Method::from_bytes(value).map_err(|_invalid| Malformed)?);
            }
            b":scheme" if !self.has_scheme => self.has_scheme = true,
            b":authority" if self.authority.is_none() => self.authority = Some(value.to_vec()),
            b":path" if self.target == 0 && !value.is_empty() => {
                self.bytes += value.len();
                self.target = value.len();
                self.text.extend_from_slice(value);
                if self.bytes > self.limits.bytes {
                    self.fault = Some(HeadError::TooLarge);
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn regular(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let Field { name, value, known } = *field;
        if !std::mem::replace(&mut self.has_begun, true) {
            self.text.extend_from_slice(b"\r\n");
        }
        if known.is_none() && !is_name(name) || !is_value(value) {
            return Err(Malformed);
        }
        if name == b"cookie" {
            self.cookie(value);
            return Ok(());
        }
        if is_padded(value) {
            // Whoever compares them would take them for others than backends do, which cut blanks off.
            self.fault.get_or_insert(HeadError::Line);
        }
        if !self.has_room(name.len() + value.len()) {
            return Ok(());
        }
        match whose(name, value) {
            Whose::Message => {}
            Whose::Date => self.has_date = true,
            Whose::Host => {
                self.hosts += 1;
                self.host = self.place_of(name, value);
            }
            Whose::Accept if self.accept == (0, 0) => self.accept = self.place_of(name, value),
            Whose::Accept => {}
            Whose::Connection | Whose::Unclear => {
                if !self.of_connection(name, value)? {
                    return Ok(());
                }
                self.is_unclear = true;
            }
        }
        self.line(name, value);
        Ok(())
    }

    /// What speaks of the connection has no place in HTTP/2 (RFC 9113, 8.2.2). Answers whether there is a line
    /// of it nevertheless.
    fn of_connection(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Malformed> {
        match name {
            b"te" if value == b"trailers" => Ok(true),
            _ if is_of_connection(name) => Err(Malformed),
            b"content-length" => {
                // Even equal ones are refused: somebody added the second.
                let length = digits(value).filter(|_| self.length.is_none());
                self.length = Some(length.ok_or(Malformed)?);
                Ok(false)
            }
            b"expect" if value.eq_ignore_ascii_case(b"100-continue") => {
                self.expects_continue = true;
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// Browsers send each cookie as a field of its own: together they are one line, as over HTTP/1 (RFC 9113,
    /// 8.2.3). What says nothing is left out, and blanks around them, since programs that leave some are served
    /// by others.
    fn cookie(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        let extra = if std::mem::replace(&mut self.has_cookies, true) { 2 } else { FIELD };
        self.bytes += value.len() + extra;
        if self.bytes > self.limits.bytes {
            self.fault.get_or_insert(HeadError::TooLarge);
            return;
        }
        if !value.is_empty() && !self.cookies.is_empty() {
            self.cookies.extend_from_slice(b"; ");
        }
        self.cookies.extend_from_slice(value);
    }

    /// Counts a field; false: there were too many before.
    fn has_room(&mut self, length: usize) -> bool {
        self.fields += 1;
        self.bytes += length + FIELD;
        if self.bytes > self.limits.bytes {
            self.fault.get_or_insert(HeadError::TooLarge);
        } else if self.fields > self.limits.fields {
            self.fault.get_or_insert(HeadError::TooMany);
        }
        self.fault.is_none()
    }

    /// Where the value of the next line will stand.
    fn place_of(&self, name: &[u8], value: &[u8]) -> (u32, u32) {
        let begin = self.text.len() + name.len() + ": ".len();
        (begin as u32, (begin + value.len()) as u32)
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.names |= Names::of(name);
        self.text.reserve(name.len() + value.len() + 4);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
    }

    /// The request that the fields make.
    pub(super) fn finish(mut self, maps: &Maps) -> Result<RequestHead, Malformed> {
        let method = self.method.take().filter(|_| !self.is_malformed).ok_or(Malformed)?;
        let is_whole = match method {
            // RFC 9113, 8.5.
            Method::CONNECT => !self.has_scheme && self.target == 0 && self.authority.is_some(),
            _ => self.has_scheme && self.target > 0,
        };
        if !is_whole {
            return Err(Malformed);
        }
        if !self.has_begun {
            self.text.extend_from_slice(b"\r\n");
        }
        if self.has_cookies && self.fault.is_none() {
            let cookies = std::mem::take(&mut self.cookies);
            self.line(b"cookie", &cookies);
        }
        let authority = self.authority.take().filter(|authority| !authority.is_empty());
        // Two of them are looked at together.
        let is_doubtful = self.hosts > 1
            || self.hosts == 1 && (authority.is_some() || self.host.0 == self.host.1);
        if let Some(authority) = authority.as_deref().filter(|_| self.hosts == 0) {
            self.host = self.place_of(b"host", authority);
            self.line(b"host", authority);
        }
        let end = self.text.len();
        if let Some(length) = self.length {
            self.line(b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        let text = Bytes::copy_from_slice(self.text);
        let (uri, fault) = self.uri(&method, &text, authority.filter(|_| is_doubtful));
        let headers = match is_doubtful || self.is_unclear {
            true => Headers::from(map(&text)),
            false => {
                let mut runs = [(0, 0); RUNS];
                if let Some(run) = runs.first_mut() {
                    *run = ((self.target + 2) as u32, end as u32);
                }
                let (host, accept) = (self.host, self.accept);
                let (has_date, names) = (self.has_date, self.names);
                let has_length = self.length.is_some();
                maps.unread(Lines {
                    head: text,
                    runs,
                    host,
                    accept,
                    has_date,
                    has_length,
                    names,
                    read: map,
                })
            }
        };
        let Self { length, expects_continue, .. } = self;
        Ok(RequestHead { method, uri, headers, length, expects_continue, fault })
    }

    /// The target, beside an authority if that is to be looked at beside `Host`.
    fn uri(
        &self,
        method: &Method,
        text: &Bytes,
        authority: Option<Vec<u8>>,
    ) -> (Uri, Option<HeadError>) {
        let path = text.get(..self.target).unwrap_or_default();
        if *method == Method::CONNECT || self.fault.is_some() {
            // It is refused in any case; what it is about is told as far as it is one.
            let uri = target(&Method::OPTIONS, text, path).unwrap_or_default();
            return (uri, self.fault);
        }
        let is_path = path.first() == Some(&b'/') || path == b"*";
        let uri = match target(method, text, path).and_then(|uri| match is_path {
            true => Ok(uri),
            false => Err(HeadError::Target),
        }) {
            Ok(uri) => uri,
            Err(error) => return (Uri::default(), Some(error)),
        };
        let Some(authority) = authority else { return (uri, None) };
        let mut parts = uri.into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = http::uri::Authority::from_maybe_shared(Bytes::from(authority)).ok();
        match Uri::from_parts(parts) {
            Ok(uri) => (uri, None),
            Err(_invalid) => (Uri::default(), Some(HeadError::Target)),
        }
    }
}

/// The headers of a request whose fields passed by as lines, for whoever looks at them after all.
fn map(text: &Bytes) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(16);
    let mut begin = memchr::memchr(b'\n', text).map_or(0, |end| end + 1);
    while let Some(end) = text.get(begin..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let line = text.slice(begin..begin + end - 1);
        begin += end + 1;
        let Some(colon) = memchr::memchr(b':', &line) else { continue };
        let name = HeaderName::from_bytes(line.get(..colon).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(line.slice(colon + 2..));
        // They were looked at when they came.
        if let (Ok(name), Ok(value)) = (name, value) {
            _ = map.try_append(name, value);
        }
    }
    map
}

/// The trailers that fields make.
pub(super) fn trailers() -> Trailers {
    Trailers { map: HeaderMap::new(), bytes: 0, is_malformed: false }
}

/// Gathers trailers.
pub(super) struct Trailers {
    map: HeaderMap,
    bytes: usize,
    is_malformed: bool,
}

/// The most bytes of trailers, as over HTTP/1.
const MOST_TRAILERS: usize = 16 * 1024;

impl Trailers {
    /// Takes a field; false: no more are wanted.
    pub(super) fn take(&mut self, field: &Field<'_>) -> bool {
        self.bytes += field.name.len() + field.value.len() + FIELD;
        let is_fit = is_name(field.name) && !is_of_connection(field.name);
        let name = HeaderName::from_bytes(field.name).ok().filter(|_| is_fit);
        let value = HeaderValue::from_bytes(field.value).ok();
        match (name, value) {
            (Some(name), Some(value)) if self.bytes <= MOST_TRAILERS => {
                _ = self.map.try_append(name, value);
            }
            _ => self.is_malformed = true,
        }
        !self.is_malformed
    }

    pub(super) fn finish(self) -> Result<HeaderMap, Malformed> {
        if self.is_malformed { Err(Malformed) } else { Ok(self.map) }
    }
}

/// What has no place in HTTP/2 (RFC 9113, 8.2.2).
pub(super) fn is_of_connection(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// A token in lower case (RFC 9113, 8.2.1).
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => true,
        _ => b"!#$%&'*+-.^_`|~".contains(byte),
    })
}

/// What `HeaderValue` takes: nothing that ends a line, and no other control character.
fn is_value(value: &[u8]) -> bool {
    // Without a branch for each byte.
    value.iter().fold(true, |is, byte| is & (*byte >= b' ' && *byte != 0x7f || *byte == b'\t'))
}

fn is_padded(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.first()) || is_blank(value.last())
}
