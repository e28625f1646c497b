//! What must hold for any bytes that somebody sends as HTTP/1.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portolan_core::exchange::Headers;

use super::{
    Ending, Framing, HeadError, Outgoing, RequestHead, ResponseHead, Status,
    body::{Decoder, Step},
    encode_request, encode_response,
    head::MOST_LINES,
    maps::Maps,
};

/// So many lines a head may have.
const LINES: usize = 100;

/// A head is refused or read, and what is behind it does not change it: a request that ends where
/// another reader sees its middle is how requests are smuggled. Headers that pass as lines say what they
/// say as a map, once that was `clean`, and are written as it is.
pub(crate) fn request_head(bytes: &[u8], clean: impl Fn(&mut Headers)) {
    let text = Bytes::copy_from_slice(bytes);
    let looked = RequestHead::read_as(&text, LINES, &Maps::default(), true);
    let Ok(Some((head, length))) = RequestHead::read(&text, LINES, &Maps::default()) else {
        return assert!(
            !matches!(looked, Ok(Some(_))),
            "who looks sees a head where there is none"
        );
    };
    let Ok(Some((looked, _))) = looked else { panic!("who looks sees no head") };
    if head.headers.lines().is_some() {
        is_same_request(&head, looked, clean);
    }
    let own = text.get(..length).unwrap_or_default();
    assert!(own.ends_with(b"\r\n\r\n"), "the head ends in its middle");
    let mut longer = own.to_vec();
    longer.extend_from_slice(b"GET /smuggled HTTP/1.1\r\n\r\n");
    let again = RequestHead::read(&Bytes::from(longer), LINES, &Maps::default());
    let Ok(Some((again, end))) = again else { panic!("what is behind a head makes it none") };
    assert_eq!((end, again.framing, again.headers), (length, head.framing, head.headers));
    let shorter = RequestHead::read(&text.slice(..length - 1), LINES, &Maps::default());
    assert!(shorter.is_ok_and(|head| head.is_none()), "less than a head is one");
}

fn is_same_request(passed: &RequestHead, looked: RequestHead, clean: impl Fn(&mut Headers)) {
    let RequestHead { framing, mut headers, .. } = looked;
    clean(&mut headers);
    for name in headers.keys() {
        let unread = passed.headers.clone();
        assert_eq!(unread.value(name).as_ref(), headers.get(name), "{name}");
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(unread.values(name).collect::<Vec<_>>(), values, "{name}");
    }
    assert_eq!(headers, passed.headers);
    let none = HeaderMap::new();
    let written = |headers: &Headers| {
        let mut out = Vec::new();
        let (base, target, host) = ("", "/", None);
        let head = Outgoing { method: &Method::PUT, base, target, host, headers, hop: &none };
        encode_request(&mut out, head, framing);
        let text = Bytes::from(out);
        let again = RequestHead::read_as(&text, MOST_LINES, &Maps::default(), true);
        let Ok(Some((head, _))) = again else { panic!("what was written is no head: {text:?}") };
        (head.framing, head.headers)
    };
    assert_eq!(written(&passed.headers), written(&headers));
}

/// Headers that pass as lines say what they say as a map, once that was `clean`, and are written as it is.
pub(crate) fn response_head(bytes: &[u8], clean: impl Fn(StatusCode, &mut HeaderMap)) {
    let text = Bytes::copy_from_slice(bytes);
    for asked in [Method::GET, Method::HEAD] {
        passed_or_looked_at(&asked, &text, &clean);
    }
}

fn passed_or_looked_at(asked: &Method, text: &Bytes, clean: impl Fn(StatusCode, &mut HeaderMap)) {
    let read = |looks| ResponseHead::read(asked, text, &Maps::default(), looks);
    let (looked, passed) = match (read(true), read(false)) {
        (Ok(Some((looked, length))), Ok(Some((passed, end)))) => {
            assert_eq!(length, end);
            (looked, passed)
        }
        (looked, passed) => {
            let kind = |read: Result<Option<_>, HeadError>| read.map(|read| read.is_some());
            return assert_eq!(kind(looked), kind(passed));
        }
    };
    assert_eq!((looked.status, looked.framing), (passed.status, passed.framing));
    assert_eq!(looked.keep_alive, passed.keep_alive);
    let Some(_lines) = passed.headers.lines() else { return };
    let mut cleaned = looked.headers.into_map();
    clean(looked.status, &mut cleaned);
    assert_eq!(cleaned, *passed.headers);
    let framing = looked.framing;
    let status = Status { code: looked.status, asked, framing, ending: Ending::Keep };
    let date = HeaderValue::from_static("today");
    let written = |headers: &Headers| {
        let mut out = Vec::new();
        encode_response(&mut out, status, headers, Some(|| date.clone()));
        let text = Bytes::from(out);
        let again = ResponseHead::read(asked, &text, &Maps::default(), true);
        let Ok(Some((head, _))) = again else { panic!("what was written is no head: {text:?}") };
        (head.framing, head.headers.into_map())
    };
    assert_eq!(written(&passed.headers), written(&cleaned.into()));
}

/// A chunked body means the same in whatever pieces it comes. The first byte chooses the pieces.
pub fn request_body(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let is_tolerant = choice & 1 == 1;
    let whole = decoded(body, body.len(), is_tolerant);
    let pieces = decoded(body, 1 + usize::from(choice >> 1) % 9, is_tolerant);
    assert_eq!(pieces, whole);
}

/// The content, the trailers, and how much of the input was used; `None`: it is refused.
fn decoded(
    input: &[u8],
    piece: usize,
    is_tolerant: bool,
) -> Option<(Vec<u8>, Option<HeaderMap>, usize)> {
    let mut decoder = Decoder::new(Framing::Chunked, is_tolerant);
    let (mut content, mut used) = (Vec::new(), 0);
    while used < input.len() {
        let rest = input.get(used..(used + piece).min(input.len()))?;
        match decoder.step(rest).ok()? {
            Step::Data(length) => {
                content.extend_from_slice(rest.get(..length)?);
                used += length;
            }
            Step::Skip(length) | Step::More(length) => {
                assert!(length > 0 && length <= rest.len(), "it goes on without going on");
                used += length;
            }
            Step::End(length, trailers) => return Some((content, trailers, used + length)),
        }
    }
    Some((content, None, used))
}
