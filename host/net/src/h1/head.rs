//! Reads the heads of messages.
//!
//! httparse finds the lines; what it lets pass and we do not is refused here.
//!
//! **Invariant:** names and values are slices of what was read: a head costs one allocation for
//! its text, and none for its map, if one is at rest.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use httparse::{Header, ParserConfig, Status};
use portolan_core::{
    exchange::{Headers, Lines, Names, RUNS},
    target::encode_bare,
};

use super::{
    error::HeadError,
    framing::{Framing, Said, is_bodiless},
    maps::Maps,
};

/// The most header lines in the head of a response. Backends are trusted further than clients.
const MAX_LINES: usize = 512;
/// The most in the head of a request, whatever its limit.
pub(crate) const MOST_LINES: usize = 256;
/// The longest target: what `Uri` takes.
const LONGEST_TARGET: usize = u16::MAX as usize - 2;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
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
    /// As they came, or those of the message, where they are lines.
    pub(crate) headers: Headers,
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
    /// As they came, or those of the message, where they are lines.
    pub(crate) headers: Headers,
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
        Self::read_as(arrived, max_lines, maps, false)
    }

    /// The same; where somebody `looks` at the headers for certain, they are a map at once.
    pub(super) fn read_as(
        arrived: &Bytes,
        max_lines: usize,
        maps: &Maps,
        looks: bool,
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
        no_bare_lf_in(arrived, length, request.headers)?;
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Start);
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_invalid| HeadError::Start)?;
        let uri = self::target(&method, arrived, target.as_bytes())?;
        let version = version(minor);
        let passed =
            (!looks).then(|| passed(arrived, length, request.headers, whose, request_message));
        let (headers, said) = match passed.flatten() {
            Some((lines, said)) => (maps.unread(lines), said),
            None => headers(arrived, request.headers, maps)?,
        };
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
    /// complete yet. The headers stay lines, where that can be, if nobody `looks` at them.
    pub(crate) fn read(
        asked: &Method,
        arrived: &Bytes,
        maps: &Maps,
        looks: bool,
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
        let may_pass = !looks && *asked != Method::HEAD && !is_bodiless(status);
        let may_pass = may_pass && no_bare_lf_in(arrived, length, response.headers).is_ok();
        let passed = may_pass.then(|| {
            passed(arrived, length, response.headers, whose_of_response, response_message)
        });
        let (headers, said) = match passed.flatten() {
            Some((lines, said)) => (maps.unread(lines), said),
            None => headers(arrived, response.headers, maps)?,
        };
        let framing = said.response(asked, status, version)?;
        // Who sends two framings may mean the other one: what comes next is not to be trusted.
        let keep_alive =
            framing != Framing::Close && !said.is_doubtful() && said.keeps_alive(version);
        Ok(Some((Self { status, headers, framing, keep_alive }, length)))
    }
}

/// The target of a request, in one of the forms that its method allows (RFC 9112, 3.2).
pub(crate) fn target(method: &Method, arrived: &Bytes, target: &[u8]) -> Result<Uri, HeadError> {
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
        .or_else(|_invalid| Uri::from_maybe_shared(Bytes::from(encode_bare(target))))
        .map_err(|_invalid| HeadError::Target)?;
    let is_good = match *method {
        Method::CONNECT => uri.authority().is_some() && uri.scheme().is_none(),
        _ => is_path || is_asterisk || uri.scheme().is_some(),
    };
    if is_good { Ok(uri) } else { Err(HeadError::Target) }
}

fn headers(
    arrived: &Bytes,
    lines: &[Header<'_>],
    maps: &Maps,
) -> Result<(Headers, Said), HeadError> {
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

/// The lines that are for the other side, as they stand there, by whose a line is; `None` where that takes a closer look.
fn passed(
    arrived: &Bytes,
    length: usize,
    lines: &[Header<'_>],
    whose: impl Fn(&[u8], &[u8]) -> Whose,
    read: fn(&Bytes) -> HeaderMap,
) -> Option<(Lines, Said)> {
    let place = |line| place(arrived, line);
    let mut runs = [(0, 0); RUNS];
    let mut places = runs.iter_mut();
    let mut run: Option<&mut (u32, u32)> = None;
    let (mut said, mut has_date, mut names, mut host) =
        (Said::default(), false, Names::NONE, (0, 0));
    let mut accept = (0, 0);
    for (index, line) in lines.iter().enumerate() {
        match whose(line.name.as_bytes(), line.value) {
            Whose::Message => {}
            Whose::Date => has_date = true,
            Whose::Host if host == (0, 0) && !line.value.is_empty() => {
                host = place_of_value(arrived, line)?;
            }
            Whose::Accept if accept == (0, 0) => accept = place_of_value(arrived, line)?,
            Whose::Accept => {}
            // None, or more than one.
            Whose::Host => return None,
            Whose::Connection => {
                said.note(line.name.as_bytes(), line.value);
                run = None;
                continue;
            }
            Whose::Unclear => return None,
        }
        names |= Names::of(line.name.as_bytes());
        // Before the empty line at the end.
        let end = lines.get(index + 1).map_or(Some(length - 2), place)?;
        let run = match run {
            Some(ref mut run) => run,
            None => run.insert({
                let run = places.next()?;
                run.0 = u32::try_from(place(line)?).ok()?;
                run
            }),
        };
        run.1 = u32::try_from(end).ok()?;
    }
    let head = arrived.slice(..length);
    let has_length = said.has_length();
    Some((Lines { head, runs, host, accept, has_date, has_length, names, read }, said))
}

/// Whose a line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whose {
    Message,
    /// Of the message, and one that we would write if it were not there.
    Date,
    /// Of the message, and asked for without the others.
    Host,
    Accept,
    /// Of the connection.
    Connection,
    /// Of the connection, and it may say more of it, or of other lines.
    Unclear,
}

fn whose_of_response(name: &[u8], value: &[u8]) -> Whose {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_usual = || {
        let usual = |usual: &[u8]| value.eq_ignore_ascii_case(usual);
        usual(b"keep-alive") || usual(b"close")
    };
    match name.len() {
        2 if is("te") => Whose::Unclear,
        4 if is("date") => Whose::Date,
        7 if is("upgrade") => Whose::Unclear,
        10 if is("keep-alive") || is("connection") && is_usual() => Whose::Connection,
        10 if is("connection") => Whose::Unclear,
        14 if is("content-length") => Whose::Connection,
        16 if is("proxy-connection") => Whose::Unclear,
        17 if is("transfer-encoding") => Whose::Connection,
        18 if is("proxy-authenticate") => Whose::Unclear,
        19 if is("proxy-authorization") => Whose::Unclear,
        _ => Whose::Message,
    }
}

/// Whose a line of a request is: what a client says of those before it, or wants of us, is looked at.
pub(crate) fn whose(name: &[u8], value: &[u8]) -> Whose {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        4 if is("host") => Whose::Host,
        6 if is("accept") => Whose::Accept,
        6 if is("expect") => Whose::Unclear,
        8 if is("cdn-loop") => Whose::Unclear,
        _ if is_said_by_proxies(name) => Whose::Unclear,
        _ => whose_of_response(name, value),
    }
}

/// Whether a name is one of those that proxies say, or looks like it to some backend.
fn is_said_by_proxies(name: &[u8]) -> bool {
    let [b'x' | b'X', b'-' | b'_', rest @ ..] = name else { return false };
    let begins =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word));
    begins(b"forwarded") || begins(b"real") || begins(b"scheme")
}

/// The headers of a request whose lines passed by, for whoever looks at them after all.
fn request_message(head: &Bytes) -> HeaderMap {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_LINES];
    let mut request = httparse::Request::new(&mut []);
    // They were read before, so they can be.
    let read = request.parse_with_uninit_headers(head, &mut lines);
    read.map(|_length| message(head, request.headers)).unwrap_or_default()
}

/// Those of a response.
fn response_message(head: &Bytes) -> HeaderMap {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_LINES];
    let mut response = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let read = config.parse_response_with_uninit_headers(&mut response, head, &mut lines);
    read.map(|_length| message(head, response.headers)).unwrap_or_default()
}

fn message(head: &Bytes, lines: &[Header<'_>]) -> HeaderMap {
    let (mut headers, _said) = headers(head, lines, &Maps::default()).unwrap_or_default();
    for name in [CONNECTION, KEEP_ALIVE] {
        headers.remove(name);
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    headers.into_map()
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

/// Where a line stands in what has arrived.
fn place(arrived: &[u8], line: &Header<'_>) -> Option<usize> {
    line.name.as_ptr().addr().checked_sub(arrived.as_ptr().addr())
}

/// Where its value stands.
fn place_of_value(arrived: &[u8], line: &Header<'_>) -> Option<(u32, u32)> {
    let begin = line.value.as_ptr().addr().checked_sub(arrived.as_ptr().addr())?;
    let end = begin.checked_add(line.value.len())?;
    Some((u32::try_from(begin).ok()?, u32::try_from(end).ok()?))
}

/// [`no_bare_lf`] of a head of which the lines are known: no line has an LF but at its end, so it is enough to look
/// at what stands before each, and at the very end.
fn no_bare_lf_in(arrived: &[u8], length: usize, lines: &[Header<'_>]) -> Result<(), HeadError> {
    let head = arrived.get(..length).unwrap_or_default();
    let is_line = |line| {
        let before = place(arrived, line).and_then(|place| head.get(..place));
        before.is_some_and(|before| before.ends_with(b"\r\n"))
    };
    // Before the first line there may be empty ones, which nobody has looked at.
    let is_plain = head.first().is_some_and(|first| !matches!(first, b'\r' | b'\n'));
    match is_plain && head.ends_with(b"\r\n\r\n") && lines.iter().all(is_line) {
        true => Ok(()),
        false => no_bare_lf(head),
    }
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
