//! Reads the heads of messages.
//!
//! httparse finds the lines; what it lets pass and we do not is refused here.
//!
//! **Invariant:** names and values are slices of what was read: a head costs one allocation for
//! its text, and none for its map, if one is at rest.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::{
    error::HeadError,
    framing::{Framing, Said},
    maps::Maps,
};

/// The most header lines in the head of a response. Backends are trusted further than clients.
const MAX_LINES: usize = 512;
/// The most in the head of a request, whatever its limit.
pub(crate) const MOST_LINES: usize = 256;
/// The longest target: what `Uri` takes.
const LONGEST_TARGET: usize = u16::MAX as usize - 2;
/// Room in a map of headers for what a proxy adds.
const SPARE: usize = 8;

/// How large the head of a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Of all of it.
    pub(crate) bytes: usize,
    /// Header lines, up to [`MOST_LINES`].
    pub(crate) lines: usize,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the client lets the connection be used again.
    pub(crate) keep_alive: bool,
    /// Whether it waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    pub(crate) expects_continue: bool,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the backend lets the connection be used again.
    pub(crate) keep_alive: bool,
}

impl RequestHead {
    /// Reads a head from the beginning of what has arrived, and says how long it is; `None` when
    /// it is not complete yet. It may have so many header lines.
    pub(crate) fn read(
        arrived: &Bytes,
        max_lines: usize,
        maps: &Maps,
    ) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_LINES];
        let lines = lines.get_mut(..max_lines.min(MOST_LINES)).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(arrived, lines) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => {
                // A head with a bad line end is not waited for.
                return no_bare_lf(arrived).map(|()| None);
            }
            Err(error) => return Err(refused(error)),
        };
        no_bare_lf(arrived.get(..length).unwrap_or_default())?;
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Start);
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_invalid| HeadError::Start)?;
        let uri = target_of(&method, arrived, target.as_bytes())?;
        let version = version(minor);
        let (headers, said) = headers(arrived, request.headers, maps)?;
        let framing = said.request(version)?;
        let keep_alive = said.keeps_alive(version);
        let expects_continue =
            said.expects_continue && version == Version::HTTP_11 && framing != Framing::Empty;
        let head = Self { method, uri, version, headers, framing, keep_alive, expects_continue };
        Ok(Some((head, length)))
    }
}

impl ResponseHead {
    /// Reads the head of the response to a request with this method; `None` when it is not
    /// complete yet.
    pub(crate) fn read(
        asked: &Method,
        arrived: &Bytes,
        maps: &Maps,
    ) -> Result<Option<(Self, usize)>, HeadError> {
        let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_LINES];
        let mut response = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            arrived,
            &mut lines,
        );
        let length = match parsed {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let (Some(code), Some(minor)) = (response.code, response.version) else {
            return Err(HeadError::Start);
        };
        let status = StatusCode::from_u16(code).map_err(|_invalid| HeadError::Start)?;
        let version = version(minor);
        let (headers, said) = headers(arrived, response.headers, maps)?;
        let framing = said.response(asked, status, version)?;
        // Who sends two framings may mean the other one: what comes next is not to be trusted.
        let keep_alive =
            framing != Framing::Close && !said.is_doubtful() && said.keeps_alive(version);
        Ok(Some((Self { status, headers, framing, keep_alive }, length)))
    }
}

/// The target of a request, in one of the forms that its method allows (RFC 9112, 3.2).
fn target_of(method: &Method, arrived: &Bytes, target: &[u8]) -> Result<Uri, HeadError> {
    let is_path = target.first() == Some(&b'/');
    let is_asterisk = target == b"*";
    // A fragment is for the client alone; `Uri` would silently forget it.
    if target.contains(&b'#') || (is_asterisk && *method != Method::OPTIONS) {
        return Err(HeadError::Target);
    }
    if target.len() > LONGEST_TARGET {
        return Err(HeadError::TooLarge);
    }
    let uri = Uri::from_maybe_shared(arrived.slice_ref(target))
        .or_else(|_invalid| Uri::from_maybe_shared(encoded(target)))
        .map_err(|_invalid| HeadError::Target)?;
    let is_good = match *method {
        Method::CONNECT => uri.authority().is_some() && uri.scheme().is_none(),
        _ => is_path || is_asterisk || uri.scheme().is_some(),
    };
    if is_good { Ok(uri) } else { Err(HeadError::Target) }
}

/// A target with those characters encoded that browsers and scripts send bare, that Go takes, and
/// that `Uri` does not.
fn encoded(target: &[u8]) -> Bytes {
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
    encoded.into()
}

fn headers(
    arrived: &Bytes,
    lines: &[Header<'_>],
    maps: &Maps,
) -> Result<(HeaderMap, Said), HeadError> {
    let mut headers = maps.take(lines.len() + SPARE);
    let mut said = Said::default();
    for line in lines {
        said.note(line.name.as_bytes(), line.value);
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(arrived.slice_ref(line.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(HeadError::Line) };
        headers.try_append(name, value).map_err(|_too_many| HeadError::TooMany)?;
    }
    Ok((headers, said))
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// httparse takes a bare LF for the end of a line, as the RFC allows; not all who come after us do.
fn no_bare_lf(head: &[u8]) -> Result<(), HeadError> {
    let mut ends = memchr::memchr_iter(b'\n', head);
    let is_bare =
        |place: usize| place.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r');
    if ends.any(is_bare) { Err(HeadError::BareLf) } else { Ok(()) }
}

fn refused(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            HeadError::Line
        }
        httparse::Error::Status | httparse::Error::Token => HeadError::Start,
        httparse::Error::TooManyHeaders => HeadError::TooMany,
        httparse::Error::Version => HeadError::Version,
    }
}
