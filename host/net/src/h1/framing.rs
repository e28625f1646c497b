//! Where a message ends (RFC 9112, 6.3).
//!
//! **Invariant:** a request has exactly one framing, or is refused: two are how requests are
//! smuggled. A backend is believed as far as the RFC allows.

use http::{Method, StatusCode, Version};

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

/// What header lines say about the end of a message and of its connection, gathered in the one
/// pass that reads them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Said {
    length: Length,
    coding: Coding,
    /// `Connection: close`, `Connection: keep-alive`.
    close: bool,
    keep_alive: bool,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
}

/// What `Content-Length` lines say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Length {
    #[default]
    Nothing,
    Once(u64),
    /// The same, more than once.
    Again(u64),
    Nonsense,
}

/// What `Transfer-Encoding` lines say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Coding {
    #[default]
    Nothing,
    /// `chunked` and nothing else.
    Chunked,
    /// The same, more than once.
    ChunkedAgain,
    /// Another one is among them.
    Other,
}

impl Said {
    /// Takes note of a line.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            _ => {}
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            // Nearly all that say anything.
            self.keep_alive = true;
            return;
        }
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_length(&mut self, value: &[u8]) {
        for value in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.length = match (self.length, digits(value)) {
                (Length::Nothing, Some(length)) => Length::Once(length),
                (Length::Once(first) | Length::Again(first), Some(length)) if first == length => {
                    Length::Again(length)
                }
                _ => Length::Nonsense,
            };
        }
    }

    fn note_coding(&mut self, value: &[u8]) {
        for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.coding = match (self.coding, is_chunked) {
                (Coding::Nothing, true) => Coding::Chunked,
                (Coding::Chunked | Coding::ChunkedAgain, true) => Coding::ChunkedAgain,
                _ => Coding::Other,
            };
        }
    }

    /// The framing of a request.
    pub(super) fn request(&self, version: Version) -> Result<Framing, HeadError> {
        match (self.coding, self.length) {
            (Coding::Nothing, Length::Nothing) => Ok(Framing::Empty),
            (Coding::Nothing, Length::Once(length)) => Ok(Framing::length(length)),
            // Even equal ones are refused: somebody added the second.
            (Coding::Nothing, Length::Again(_) | Length::Nonsense) => Err(HeadError::Length),
            _ if version != Version::HTTP_11 => Err(HeadError::Framing),
            (_, Length::Once(_) | Length::Again(_) | Length::Nonsense) => Err(HeadError::Framing),
            (Coding::Chunked, Length::Nothing) => Ok(Framing::Chunked),
            (Coding::ChunkedAgain | Coding::Other, Length::Nothing) => {
                Err(HeadError::TransferEncoding)
            }
        }
    }

    /// The framing of the response to a request with this method.
    pub(super) fn response(
        &self,
        asked: &Method,
        status: StatusCode,
        version: Version,
    ) -> Result<Framing, HeadError> {
        if *asked == Method::HEAD || is_bodiless(status) {
            return Ok(Framing::Empty);
        }
        match (self.coding, self.length) {
            (Coding::Nothing, Length::Nothing) => Ok(Framing::Close),
            (Coding::Nothing, Length::Once(length) | Length::Again(length)) => {
                Ok(Framing::length(length))
            }
            (Coding::Nothing, Length::Nonsense) => Err(HeadError::Length),
            _ if version != Version::HTTP_11 => Err(HeadError::Framing),
            // Frameworks and what stands around them both say it, and chunk once.
            (Coding::Chunked | Coding::ChunkedAgain, _) => Ok(Framing::Chunked),
            // Nobody here decodes others, and the client would not learn of them. `identity` is none
            // any more (RFC 9112, 7), and does not say where the body ends.
            (Coding::Other, _) => Err(HeadError::TransferEncoding),
        }
    }

    /// Whether there are two framings: who sends them may mean either.
    pub(super) fn is_doubtful(&self) -> bool {
        let is_both = self.coding != Coding::Nothing && self.length != Length::Nothing;
        is_both || self.coding == Coding::ChunkedAgain
    }

    /// Whether a length was named, whatever that means.
    pub(super) fn has_length(&self) -> bool {
        self.length != Length::Nothing
    }

    /// Whether the connection may be used again (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::HTTP_11)
    }
}

impl Framing {
    fn length(length: u64) -> Self {
        if length == 0 { Self::Empty } else { Self::Length(length) }
    }
}

/// Whether a response of this status has no body, whatever its headers say.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Digits and nothing else: `str::parse` would take a plus sign.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let add = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}
