//! Where a request goes: path, query and host in the one form that routing and backends both see.
//!
//! **Invariant:** a [`Target`] has no dot segment, no empty segment but the last, no percent-encoded
//! unreserved character, only upper-case hexadecimal digits (RFC 3986, 6.2.2), and in its path
//! nothing that has to be encoded there. What was in that form already is taken as it stands, without
//! allocating.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Uri, uri::PathAndQuery};

/// Why the target of a request makes no sense. The answer is 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadTarget {
    /// A `%` without two hexadecimal digits behind it.
    #[error("the path has a `%` without two hexadecimal digits behind it")]
    Encoding,
    /// A NUL, which ends the path for some backends and not for others.
    #[error("the path has an encoded NUL")]
    Nul,
    /// Neither `*` nor something that starts with a slash.
    #[error("the path does not start with a slash")]
    Path,
    /// Not a host with an optional port.
    #[error("the host is not a name or address with an optional port")]
    Host,
    /// Over HTTP/2, a `host` that is not the one of the target (RFC 9113, 8.3.1).
    #[error("the host header names another host than the target")]
    OtherHost,
    /// More than one `Host` line (RFC 9112, 3.2).
    #[error("there is more than one host header")]
    ManyHosts,
}

/// A target with those characters encoded that browsers and scripts send bare, that Go takes, and
/// that `Uri` does not.
pub fn encode_bare(target: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'"' => encoded.extend_from_slice(b"%22"),
            b'<' => encoded.extend_from_slice(b"%3C"),
            b'>' => encoded.extend_from_slice(b"%3E"),
            b'`' => encoded.extend_from_slice(b"%60"),
            byte => encoded.push(*byte),
        }
    }
    encoded
}

/// A URL as a person writes it, of a scheme that we serve: what may stand bare in a request may here.
///
/// # Errors
///
/// One sentence on what is wrong with it.
pub fn read_url(text: &str) -> Result<Uri, String> {
    let scheme = text.find("://").map_or(0, |at| at + 3);
    let end = text.get(scheme..).and_then(|rest| rest.find(['/', '?', '#']));
    let (begin, rest) = text.split_at(end.map_or(text.len(), |end| scheme + end));
    if !begin.is_ascii() {
        return Err(format!(
            "the host of `{text}` is not ASCII; browsers ask for its punycode form, which begins with `xn--`"
        ));
    }
    // A fragment stays with the client.
    let rest = rest.split('#').next().unwrap_or_default();
    let whole = [begin.as_bytes(), &encode_bare(rest.as_bytes())].concat();
    let uri = Uri::from_maybe_shared(Bytes::from(whole));
    let uri = uri.map_err(|error| format!("`{text}` is no URL: {error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(format!("`{text}` is neither http nor https")),
    }
    let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    match uri.host() {
        Some(host) if !host.is_empty() && !has_user => Ok(uri),
        _ => Err(format!("`{text}` has no plain host")),
    }
}

/// Path and query in normal form, and the path as rules see it.
#[derive(Clone, Debug)]
pub struct Target {
    sent: PathAndQuery,
    /// Absent where it is the path that is sent.
    routing: Option<Box<str>>,
}

impl Target {
    /// Brings path and query into normal form. The query stays as it is.
    pub fn parse(sent: PathAndQuery) -> Result<Self, BadTarget> {
        let path = sent.path();
        if Self::is_plain(&sent) {
            return Ok(Self { sent, routing: None });
        }
        if !path.starts_with('/') {
            return Err(BadTarget::Path);
        }
        let normal = resolve_segments(&recode(path)?);
        let routing = routing_form(&normal).map(String::into_boxed_str);
        // `?x` has no path of its own, which means `/`.
        let is_whole = normal == path && sent.as_str().starts_with('/');
        let sent = if is_whole { sent } else { with_query(normal, sent.query())? };
        Ok(Self { sent, routing })
    }

    /// Whether a target is in normal form and rules see it as it is sent: the usual case.
    pub(crate) fn is_plain(sent: &PathAndQuery) -> bool {
        let text = sent.as_str();
        (text.starts_with('/') || text == "*") && is_normal(sent.path())
    }

    /// A path, given in pieces, and a query of one's own making, such as `/a b` and `c`: what
    /// cannot stand in the path of a URI is percent-encoded.
    pub fn compose(path: &[&str], query: Option<&str>) -> Result<Self, BadTarget> {
        let query_length = query.map_or(0, |query| 1 + query.len());
        let length = path.iter().map(|piece| piece.len()).sum::<usize>() + query_length;
        let mut text = String::with_capacity(length);
        path.iter().for_each(|piece| push_path(&mut text, piece));
        with_query(text, query).and_then(Self::parse)
    }

    /// The path as rules see it: decoded but for reserved characters.
    pub fn path(&self) -> &str {
        self.routing.as_deref().unwrap_or_else(|| self.sent.path())
    }

    /// Path and query as they are sent on.
    pub fn sent(&self) -> &PathAndQuery {
        &self.sent
    }

    /// Path and query as they are sent on, and the path as rules see it where that differs.
    pub(crate) fn into_parts(self) -> (PathAndQuery, Option<Box<str>>) {
        (self.sent, self.routing)
    }
}

/// How rules see a path that is written like this; `None`: no request can have it.
pub(crate) fn as_seen(path: &str) -> Option<String> {
    let normal = resolve_segments(&recode(path).ok()?);
    Some(routing_form(&normal).unwrap_or(normal))
}

/// Host and port, checked.
#[derive(Clone, Debug)]
pub struct Authority(HeaderValue);

impl Authority {
    /// Checks what is to be sent as the `Host` header.
    pub fn parse(value: HeaderValue) -> Result<Self, BadTarget> {
        let text = value.to_str().map_err(|_not_ascii| BadTarget::Host)?;
        check_authority(text)?;
        Ok(Self(value))
    }

    /// The value of the `Host` header.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }
}

/// An authority without port, brackets and trailing dot.
pub(crate) fn bare_host(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// Removes a prefix, which is written as rules see paths, from a path as it is sent.
pub(crate) fn strip_seen<'a>(sent: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(rest) = sent.strip_prefix(prefix) {
        return Some(rest);
    }
    let mut rest = sent;
    for wanted in prefix.bytes() {
        let encoded = rest.strip_prefix('%').and_then(hex_pair);
        // Of a path that is not UTF-8 rules see the encoding of what is not ASCII.
        let is_seen = |byte: u8| is_seen_decoded(byte) && (byte.is_ascii() || !wanted.is_ascii());
        let (byte, after) = match encoded.filter(|(byte, _)| is_seen(*byte)) {
            Some(decoded) => decoded,
            None => (*rest.as_bytes().first()?, rest.get(1..)?),
        };
        rest = (byte == wanted).then_some(after)?;
    }
    Some(rest)
}

/// Whether this is a host, perhaps empty, with an optional port. User information is refused
/// (RFC 9110, 4.2.4), and so is what neither DNS nor a certificate can hold.
pub(crate) fn check_authority(authority: &str) -> Result<(), BadTarget> {
    let (host_is_good, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BadTarget::Host)?;
            (host.parse::<std::net::Ipv6Addr>().is_ok(), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at_checked(end).unwrap_or_default();
            (host.bytes().all(is_unreserved), port)
        }
    };
    let port_is_good = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    if host_is_good && port_is_good { Ok(()) } else { Err(BadTarget::Host) }
}

/// Whether a path has no percent-encoding, nothing that should have one, no dot segment and no empty
/// segment but the last.
fn is_normal(path: &str) -> bool {
    /// What the current segment is so far.
    #[derive(Clone, Copy, PartialEq)]
    enum Segment {
        Empty,
        Dot,
        DotDot,
        Name,
    }
    let mut segment = Segment::Name;
    for byte in path.bytes() {
        segment = match (byte, segment) {
            (b'%', _) => return false,
            (byte, _) if is_raw(byte) => return false,
            (b'/', Segment::Name) => Segment::Empty,
            (b'/', _) => return false,
            (b'.', Segment::Empty) => Segment::Dot,
            (b'.', Segment::Dot) => Segment::DotDot,
            _ => Segment::Name,
        };
    }
    matches!(segment, Segment::Empty | Segment::Name)
}

/// Decodes unreserved characters, writes every other encoding in upper case, and encodes what came
/// bare and must not (as Go's `URL.EscapedPath`): a backslash is one thing, however it is written.
fn recode(path: &str) -> Result<String, BadTarget> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, encoded)) = rest.split_once('%') {
        let (byte, after) = hex_pair(encoded).ok_or(BadTarget::Encoding)?;
        push_path(&mut decoded, before);
        match byte {
            0 => return Err(BadTarget::Nul),
            _ if is_unreserved(byte) => decoded.push(char::from(byte)),
            _ => push_encoded(&mut decoded, byte),
        }
        rest = after;
    }
    push_path(&mut decoded, rest);
    Ok(decoded)
}

/// Removes dot segments (RFC 3986, 5.2.4) and, as Traefik does, empty ones.
fn resolve_segments(path: &str) -> String {
    let mut names = Vec::new();
    let mut is_folder = true;
    for segment in path.split('/') {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for name in names {
        resolved.push('/');
        resolved.push_str(name);
    }
    if is_folder {
        resolved.push('/');
    }
    resolved
}

/// The path as rules see it: every encoding decoded, except those of reserved characters, which
/// would change the meaning, and of control characters, which would change a log line. `None`
/// where that changes nothing. A path that is not UTF-8 keeps what is not ASCII encoded.
fn routing_form(normal: &str) -> Option<String> {
    if !normal.contains('%') {
        return None;
    }
    let all = decode_if(normal, is_seen_decoded);
    let routing = String::from_utf8(all).or_else(|_not_utf8| {
        String::from_utf8(decode_if(normal, |byte| byte.is_ascii() && is_seen_decoded(byte)))
    });
    routing.ok().filter(|routing| routing != normal)
}

fn decode_if(path: &str, is_wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, encoded)) = rest.split_once('%') {
        decoded.extend_from_slice(before.as_bytes());
        match hex_pair(encoded) {
            Some((byte, after)) if is_wanted(byte) => {
                decoded.push(byte);
                rest = after;
            }
            _ => {
                decoded.push(b'%');
                rest = encoded;
            }
        }
    }
    decoded.extend_from_slice(rest.as_bytes());
    decoded
}

/// Percent-encodes what cannot stand in the path of a URI; encodings that are there stay.
fn push_path(text: &mut String, path: &str) {
    for byte in path.bytes() {
        match byte {
            b'#' | b'?' => push_encoded(text, byte),
            _ if is_raw(byte) => push_encoded(text, byte),
            _ => text.push(char::from(byte)),
        }
    }
}

/// Whether a byte is neither allowed in a path (RFC 3986, 3.3) nor a delimiter of one.
fn is_raw(byte: u8) -> bool {
    !byte.is_ascii_graphic()
        || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn with_query(mut path: String, query: Option<&str>) -> Result<PathAndQuery, BadTarget> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_invalid| BadTarget::Path)
}

fn push_encoded(text: &mut String, byte: u8) {
    // Writing into a String cannot fail.
    _ = write!(text, "%{byte:02X}");
}

fn hex_pair(text: &str) -> Option<(u8, &str)> {
    let (pair, rest) = text.split_at_checked(2)?;
    let is_hex = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(pair, 16).ok().filter(|_| is_hex).map(|byte| (byte, rest))
}

/// Whether rules see the byte itself where its encoding is sent.
fn is_seen_decoded(byte: u8) -> bool {
    !is_reserved(byte) && !byte.is_ascii_control()
}

/// RFC 3986, 2.3.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, 2.2, and the percent sign: the list of Traefik's `httpmuxer.withRoutingPath`.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests;
