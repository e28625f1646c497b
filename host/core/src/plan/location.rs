//! A URL that was put together from a request and a configuration, as it may stand in `Location`.
//!
//! **Invariant:** what is answered is visible ASCII, and one URL: nothing of it ends the line, and its host
//! is one for whoever reads it.

use std::{fmt::Write as _, net::Ipv6Addr};

use http::HeaderValue;

/// A URL as a header can hold it: what has to be encoded is. `None`: it is no URL, which Go's `url.Parse`
/// refuses too.
pub(super) fn location(url: &str) -> Option<HeaderValue> {
    if url.is_empty() || url.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let (rest, fragment) = parted(url, '#');
    let (rest, _query) = parted(rest, '?');
    let (scheme, rest) = scheme(rest)?;
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end)?;
            (Some(authority), path)
        }
        None => (None, rest),
    };
    // `a:b` is not the path that it may have been meant to be.
    if scheme.is_none() && authority.is_none() && first_segment(path).contains(':') {
        return None;
    }
    let is_good = authority.is_none_or(is_authority)
        && has_whole_encodings(path)
        && fragment.is_none_or(has_whole_encodings);
    is_good.then(|| HeaderValue::try_from(encoded(url)).ok())?
}

/// What stands before and behind a sign.
fn parted(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

/// The scheme, if there is one, and what follows it; `None`: a colon with nothing before it.
fn scheme(text: &str) -> Option<(Option<&str>, &str)> {
    match text.split_once(':') {
        Some(("", _)) => None,
        Some((scheme, rest)) if super::is_scheme(scheme) => Some((Some(scheme), rest)),
        _ => Some((None, text)),
    }
}

fn first_segment(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

/// Whether this is a host with an optional port and an optional user, RFC 3986, 3.2.
fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host_is_good, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, port) = host.split_at_checked(end).unwrap_or_default();
            (name.bytes().all(is_of_name), port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    host_is_good
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        && user.bytes().all(|byte| is_of_name(byte) || matches!(byte, b':' | b'%'))
        && has_whole_encodings(user)
}

/// RFC 3986, 3.2.2; what is not ASCII will be encoded.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-._~!$&'()*+,;=".contains(&byte)
}

fn has_whole_encodings(text: &str) -> bool {
    text.split('%').skip(1).all(|it| {
        let pair = it.as_bytes().get(..2);
        pair.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Encodes what no URL has, RFC 3986, 2; what is encoded stays so.
fn encoded(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => push(&mut out, byte),
            _ if byte.is_ascii_graphic() => out.push(char::from(byte)),
            _ => push(&mut out, byte),
        }
    }
    out
}

fn push(out: &mut String, byte: u8) {
    // Writing into a String cannot fail.
    _ = write!(out, "%{byte:02X}");
}
