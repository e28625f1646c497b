//! One request and its response, as rules, plans and plugins see them.
//!
//! **Invariant:** `host` and `path` are always the canonical forms of what the head says: whoever
//! changes target or host goes through [`RequestHead::set_target`] or
//! [`RequestHead::set_authority`], which keep them so.

mod headers;
mod lines;
mod names;

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{COOKIE, HOST},
};

use crate::{
    name::ObjectName,
    target::{Authority, BadTarget, Target, bare_host, check_authority, is_unreserved},
};

pub use headers::Headers;
pub(crate) use headers::members;
pub use lines::{HeaderLine, Lines, RUNS, is_of_connection, write_line};
pub use names::Names;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; never taken from a header.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name in the TLS handshake, lower case.
    pub sni: Option<Arc<str>>,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that the client spoke.
    pub version: Version,
    /// Headers, hop-by-hop ones removed. `Host` is changed by `set_authority` alone.
    pub headers: Headers,
    uri: Uri,
    host: Host,
    /// The path as rules see it, where it is not the path that is sent on.
    path: Option<Box<str>>,
}

/// The canonical host. Routing asks for it, then rules and forwarding: it is found once.
#[derive(Clone, Debug)]
enum Host {
    /// So many bytes of the authority, from there.
    Slice(u32, u32),
    /// Spelled otherwise there.
    Own(Box<str>),
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Status code.
    pub status: StatusCode,
    /// Headers, hop-by-hop ones removed.
    pub headers: Headers,
    /// Whether Portolan, not the backend, made it.
    pub local: bool,
}

/// A complete response made by a plan or a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Header lines.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The content.
    pub body: Bytes,
}

/// One request and, on the way back, its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request as it is now: middlewares change it on the way in.
    pub request: RequestHead,
    /// The response as it is now; `None` on the way in.
    pub response: Option<ResponseHead>,
    /// The other end of the connection.
    pub peer: Peer,
    /// The entrypoint that it came in by.
    pub entrypoint: Arc<str>,
    /// The router that matched; `None` while routing.
    pub router: Option<ObjectName>,
    /// What middlewares left for each other.
    pub attributes: Vec<(String, Vec<u8>)>,
}

impl RequestHead {
    /// A head as it came from the wire. The authority is that of the target (HTTP/2, or
    /// absolute form: RFC 9112, 3.2.2), else the `Host` header; where both are there, the
    /// header goes.
    pub fn parse(
        method: Method,
        uri: Uri,
        version: Version,
        headers: impl Into<Headers>,
    ) -> Result<Self, BadTarget> {
        let mut headers = headers.into();
        if let Some(authority) = uri.authority() {
            check_host_beside(authority.as_str(), version, &headers)?;
            headers.remove(HOST);
        }
        let host = match (uri.authority(), headers.lines()) {
            (Some(authority), _) => Host::checked(authority.as_str())?,
            // Where they are lines there is one at most.
            (None, Some(_)) => match headers.host().map_or(Some(Host::NONE), Host::plain) {
                Some(plain) => plain,
                None => Host::checked(only_host(&headers)?)?,
            },
            (None, None) => Host::checked(only_host(&headers)?)?,
        };
        let mut head = Self { method, version, headers, uri, host, path: None };
        match head.uri.path_and_query() {
            Some(sent) if !Target::is_plain(sent) => head.set_target(Target::parse(sent.clone())?),
            _ => {}
        }
        Ok(head)
    }

    /// A head of our own making, which names no host.
    pub fn made(method: Method, target: Target, mut headers: HeaderMap) -> Self {
        headers.remove(HOST);
        let (uri, host) = (Uri::default(), Host::NONE);
        let version = Version::HTTP_11;
        let mut head = Self { method, version, headers: headers.into(), uri, host, path: None };
        head.set_target(target);
        head
    }

    /// The target as it will be sent on, in normal form.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port as the client sent them; empty when it sent none.
    pub fn authority(&self) -> &str {
        match self.uri.authority() {
            Some(authority) => authority.as_str(),
            // It was looked at when it came: what is not ASCII is no authority.
            None => {
                let host = self.headers.host();
                host.and_then(|host| str::from_utf8(host).ok()).unwrap_or_default()
            }
        }
    }

    /// Whether the client sent any.
    pub fn has_authority(&self) -> bool {
        self.uri.authority().is_some() || self.headers.host().is_some_and(|host| !host.is_empty())
    }

    /// The host name: lower case, without port, brackets and trailing dot.
    pub fn host(&self) -> &str {
        match &self.host {
            Host::Own(host) => host,
            Host::Slice(start, length) => {
                let (start, length) = (*start as usize, *length as usize);
                self.authority().get(start..start + length).unwrap_or_default()
            }
        }
    }

    /// The path as rules see it: dot segments resolved, percent-encodings decoded unless they
    /// encode a reserved character.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// Path and query as they will be sent on.
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The query, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The values of a query parameter, decoded (`application/x-www-form-urlencoded`), in order.
    /// Allocates only for what is encoded.
    pub fn query_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The values of the cookies of that name, in order, without quotes (RFC 6265, 4.2).
    pub fn cookie_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        cookies(&self.headers, name).map(unquote)
    }

    /// The values of a header, line by line. `Host` is the authority, wherever that came from.
    pub fn header_values<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let authority = (*name == HOST).then(|| self.authority()).filter(|text| !text.is_empty());
        let lines = (*name != HOST).then(|| self.headers.values(name));
        authority.map(str::as_bytes).into_iter().chain(lines.into_iter().flatten())
    }

    /// Changes path and query. The route does not change with it.
    pub fn set_target(&mut self, target: Target) {
        let (sent, path) = target.into_parts();
        if self.uri.path_and_query() != Some(&sent) {
            let mut parts = std::mem::take(&mut self.uri).into_parts();
            parts.path_and_query = Some(sent);
            // Scheme and authority come and go together, as `Uri` wants it; the target is valid.
            self.uri = Uri::from_parts(parts).unwrap_or_default();
        }
        self.path = path;
    }

    /// Encodes each `;` in the query, where some backends see the beginning of another parameter.
    pub fn encode_query_semicolons(&mut self) {
        let Some(query) = self.query().filter(|query| query.contains(';')) else { return };
        let target = Target::compose(&[self.uri.path()], Some(&query.replace(';', "%3B")));
        // The path stands as it did, so nothing is wrong with it; that of `*` has no query.
        if let Ok(target) = target {
            self.set_target(target);
        }
    }

    /// Nothing is left of the path. It is sent as a slash, but who puts something before it puts it before
    /// nothing.
    pub(crate) fn empty_path(&mut self, target: Target) {
        self.set_target(target);
        self.path = Some(Box::default());
    }

    /// Changes host and port.
    pub fn set_authority(&mut self, authority: Authority) {
        if self.uri.authority().is_some() {
            let mut parts = std::mem::take(&mut self.uri).into_parts();
            parts.scheme = None;
            parts.authority = None;
            self.uri = Uri::from_parts(parts).unwrap_or_default();
        }
        self.headers.insert(HOST, authority.into_value());
        self.host = Host::of(self.authority());
    }
}

/// The values of the cookies of that name, in order. What is no text costs itself, and not the others
/// of its line: browsers send all in one.
pub(crate) fn cookies<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.values(&COOKIE);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = rest.trim_ascii_start().strip_prefix(b"=")?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

/// The name of the cookie that a line of `Set-Cookie` sets (RFC 6265, 5.2).
pub(crate) fn cookie_set_by(line: &HeaderValue) -> &[u8] {
    let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

impl Exchange {
    /// A request that has just come in.
    pub fn new(request: RequestHead, peer: Peer, entrypoint: Arc<str>) -> Self {
        Self { request, response: None, peer, entrypoint, router: None, attributes: Vec::new() }
    }

    /// `http` or `https`, as the client spoke: to us, or to a proxy before us that is trusted, whose
    /// word stands in `X-Forwarded-Proto`. (Of others that header never gets here.)
    pub fn scheme(&self) -> &'static str {
        match self.request.headers.first(&X_FORWARDED_PROTO) {
            Some(b"https" | b"wss") => "https",
            Some(b"http" | b"ws") => "http",
            _ if self.peer.tls => "https",
            _ => "http",
        }
    }

    /// What a middleware left under this key.
    pub fn attribute(&self, key: &str) -> Option<&[u8]> {
        self.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// Leaves something for the middlewares further in, and for the way back.
    pub fn set_attribute(&mut self, key: String, value: Vec<u8>) {
        match self.attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key, value)),
        }
    }
}

impl Reply {
    /// A reply without headers and content.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }
}

/// Of what a request says twice it must not say two things (RFC 9112, 3.2; RFC 9113, 8.3.1). Over
/// HTTP/1 the target counts, whatever `Host` says.
fn check_host_beside(
    authority: &str,
    version: Version,
    headers: &Headers,
) -> Result<(), BadTarget> {
    match only_host(headers)? {
        "" => Ok(()),
        host if version >= Version::HTTP_2 && !host.eq_ignore_ascii_case(authority) => {
            Err(BadTarget::OtherHost)
        }
        host => check_authority(host),
    }
}

/// The value of the one `Host` header; empty where there is none.
fn only_host(headers: &Headers) -> Result<&str, BadTarget> {
    // Where they are lines there is one at most.
    if headers.lines().is_none() && headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(BadTarget::ManyHosts);
    }
    let host = headers.host().unwrap_or_default();
    let is_text = host.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    str::from_utf8(host).ok().filter(|_| is_text).ok_or(BadTarget::Host)
}

impl Host {
    const NONE: Self = Self::Slice(0, 0);

    /// That of an authority as nearly all are: a name in lower case, and perhaps a port.
    fn plain(authority: &[u8]) -> Option<Self> {
        let is_other = |byte: &u8| !is_unreserved(*byte) || byte.is_ascii_uppercase();
        let length = authority.iter().position(is_other).unwrap_or(authority.len());
        let (name, port) = authority.split_at(length);
        let is_port = |digits: &[u8]| {
            (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        };
        let is_fine = port.is_empty() || port.strip_prefix(b":").is_some_and(is_port);
        let name = name.strip_suffix(b".").unwrap_or(name);
        u32::try_from(name.len()).ok().filter(|_| is_fine).map(|length| Self::Slice(0, length))
    }

    /// That of an authority, which is looked at.
    fn checked(authority: &str) -> Result<Self, BadTarget> {
        check_authority(authority).map(|()| Self::of(authority))
    }

    /// That of an authority.
    fn of(authority: &str) -> Self {
        let host = bare_host(authority);
        let start = usize::from(authority.starts_with('['));
        let has_upper_case = host.bytes().any(|byte| byte.is_ascii_uppercase());
        match (u32::try_from(start), u32::try_from(host.len())) {
            (Ok(start), Ok(length)) if !has_upper_case => Self::Slice(start, length),
            _ => Self::Own(host.to_ascii_lowercase().into()),
        }
    }
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests;
