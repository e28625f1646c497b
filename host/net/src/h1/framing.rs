//! Where a message ends (RFC 9112, 6.3).
//!
//! **Invariant:** a request has exactly one framing, or is refused: two are how requests are
//! smuggled. A backend is believed as far as the RFC allows.

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::error::HeadError;

/// How the end of a message is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// That many bytes.
    Length(u64),
    /// Chunks, the last of which is empty.
    Chunked,
    /// Everything until the connection is closed.
    Close,
}

impl Framing {
    /// That of a request.
    pub(crate) fn of_request(version: Version, headers: &HeaderMap) -> Result<Self, HeadError> {
        let length = headers.get(CONTENT_LENGTH);
        match headers.get(TRANSFER_ENCODING) {
            None => match length {
                None => Ok(Self::Empty),
                Some(_) => Ok(match only_length(headers)? {
                    0 => Self::Empty,
                    length => Self::Length(length),
                }),
            },
            Some(_) if version != Version::HTTP_11 || length.is_some() => Err(HeadError::Framing),
            Some(_) if is_chunked_alone(headers) => Ok(Self::Chunked),
            Some(_) => Err(HeadError::TransferEncoding),
        }
    }

    /// That of the response to a request with this method.
    pub(crate) fn of_response(
        asked: &Method,
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Self, HeadError> {
        if *asked == Method::HEAD || is_bodiless(status) {
            return Ok(Self::Empty);
        }
        if headers.contains_key(TRANSFER_ENCODING) {
            if version != Version::HTTP_11 {
                return Err(HeadError::Framing);
            }
            return Ok(if is_chunked_last(headers) { Self::Chunked } else { Self::Close });
        }
        if !headers.contains_key(CONTENT_LENGTH) {
            return Ok(Self::Close);
        }
        Ok(match same_length(headers)? {
            0 => Self::Empty,
            length => Self::Length(length),
        })
    }
}

/// Whether a response of this status has no body, whatever its headers say.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The one `Content-Length`; even equal ones are refused, since somebody added the second.
fn only_length(headers: &HeaderMap) -> Result<u64, HeadError> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => digits(line.as_bytes()).ok_or(HeadError::Length),
        _ => Err(HeadError::Length),
    }
}

/// The `Content-Length` of a response, which may be repeated as long as it is the same.
fn same_length(headers: &HeaderMap) -> Result<u64, HeadError> {
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let values = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut lengths = values.map(|value| digits(value.trim_ascii()));
    let first = lengths.next().flatten().ok_or(HeadError::Length)?;
    let all_same = lengths.all(|length| length == Some(first));
    if all_same { Ok(first) } else { Err(HeadError::Length) }
}

/// Digits and nothing else: `str::parse` would take a plus sign.
fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let only = (lines.next(), lines.next());
    matches!(only, (Some(line), None) if is_chunked(line.as_bytes()))
}

fn is_chunked_last(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.map(HeaderValue::as_bytes).unwrap_or_default();
    last.rsplit(|byte| *byte == b',').next().is_some_and(|coding| is_chunked(coding.trim_ascii()))
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}
