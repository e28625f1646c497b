//! Writes heads.
//!
//! **Invariant:** the framing that is written is the one that the body is sent with, whatever
//! headers say.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, TRANSFER_ENCODING},
};

use portolan_core::exchange::{Headers, write_line};

use super::framing::{Framing, is_bodiless};

/// Who has passed a request on (RFC 8586).
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// We, in that header.
pub(crate) const OURSELVES: HeaderValue = HeaderValue::from_static("portolan");

/// What a client is told about the connection, besides the response itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// It may send another request, as it may expect to.
    Keep,
    /// The same to one who does not expect it (HTTP/1.0).
    KeepOld,
    /// This was the last one.
    Close,
    /// HTTP ends here.
    Upgrade,
}

/// The first line of a response, and what its framing depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status<'a> {
    pub(crate) code: StatusCode,
    /// The method of the request.
    pub(crate) asked: &'a Method,
    pub(crate) framing: Framing,
    pub(crate) ending: Ending,
}

/// The head of a request to a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    /// Goes before the target; mostly nothing.
    pub(crate) base: &'a str,
    pub(crate) target: &'a str,
    /// Stands in for the header of that name.
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) headers: &'a Headers,
    /// What is said of this connection.
    pub(crate) hop: &'a HeaderMap,
}

/// Writes the head of a request.
pub(crate) fn request(out: &mut Vec<u8>, head: Outgoing<'_>, framing: Framing) {
    let Outgoing { method, base, target, host, headers, hop } = head;
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(base.as_bytes());
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = host {
        write_line(out, &HOST, host.as_bytes());
    }
    let has_length = match headers.lines().filter(|_| host.is_none()) {
        Some((unread, added)) => {
            unread.kept().for_each(|run| out.extend_from_slice(run));
            out.extend_from_slice(added);
            unread.has_length
        }
        None => {
            lines(out, headers, |name| is_framing(name) || (host.is_some() && *name == HOST));
            headers.contains_key(CONTENT_LENGTH)
        }
    };
    lines(out, hop, is_framing);
    // Mostly nobody has passed it on before us.
    if !hop.contains_key(CDN_LOOP) {
        write_line(out, &CDN_LOOP, OURSELVES.as_bytes());
    }
    match framing {
        Framing::Empty if has_length || usually_has_content(method) => length(out, 0),
        framing => end_of(out, framing),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response; with a date, if it has none and one is given.
pub(crate) fn response(
    out: &mut Vec<u8>,
    status: Status<'_>,
    headers: &Headers,
    date: Option<impl FnOnce() -> HeaderValue>,
) {
    let Status { code, asked, framing, ending } = status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(code.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(code.canonical_reason().unwrap_or("Status").as_bytes());
    out.extend_from_slice(b"\r\n");
    // Lines are never those of a response that says more by its length, or changes the protocol.
    let unread = headers.lines();
    match unread {
        Some((unread, added)) => {
            unread.kept().for_each(|run| out.extend_from_slice(run));
            out.extend_from_slice(added);
        }
        None => lines(out, headers, |name| {
            is_framing(name) || (*name == CONNECTION && ending != Ending::Upgrade)
        }),
    }
    if is_bodiless(code) || *asked == Method::HEAD {
        if !code.is_informational() && code != StatusCode::NO_CONTENT {
            would_be(out, headers, framing);
        }
    } else if framing == Framing::Empty {
        length(out, 0);
    } else {
        end_of(out, framing);
    }
    match ending {
        Ending::Keep | Ending::Upgrade => {}
        Ending::KeepOld => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Ending::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
    let has_date = || unread.is_some_and(|it| it.0.has_date) || headers.first(&DATE).is_some();
    if let Some(date) = date.filter(|_| !has_date()) {
        write_line(out, &DATE, date().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The length of a body that is not sent: it is for the backend to say, or that of our own.
fn would_be(out: &mut Vec<u8>, headers: &HeaderMap, framing: Framing) {
    match (headers.get(CONTENT_LENGTH), framing) {
        (Some(told), _) => write_line(out, &CONTENT_LENGTH, told.as_bytes()),
        (None, Framing::Length(bytes)) => length(out, bytes),
        (None, _) => {}
    }
}

/// Writes the trailers of a chunked body, behind its last chunk.
pub(super) fn trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    lines(out, trailers, |name| !super::body::may_trail(name));
}

/// Whether a request without content has to say so: many servers refuse one of these that tells no length (411),
/// and clients of HTTP/2 do not tell that of nothing (RFC 9110, 8.6). Go, so Traefik, does the same.
fn usually_has_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn is_framing(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING
}

fn lines(out: &mut Vec<u8>, headers: &HeaderMap, is_left_out: impl Fn(&HeaderName) -> bool) {
    for (name, value) in headers {
        if !is_left_out(name) {
            write_line(out, name, value.as_bytes());
        }
    }
}

fn end_of(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Empty | Framing::Close => {}
        Framing::Length(bytes) => length(out, bytes),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

fn length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
    out.extend_from_slice(b"\r\n");
}
