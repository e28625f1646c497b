//! Takes a body out of its framing (RFC 9112, 6 and 7).
//!
//! **Invariant:** not a byte behind the end of the body is touched, and every line ends with CR LF.

use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};

use super::{error::BodyError, framing::Framing};

/// The most bytes of trailers, and of a chunk's extension.
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_LINES: usize = 32;
const MAX_EXTENSION: u16 = 1024;

/// How far a body was read.
#[derive(Debug)]
pub(super) enum Decoder {
    /// To its end.
    Done,
    /// So many bytes are left.
    Length(u64),
    /// Until the connection is closed.
    Close,
    /// Within chunks.
    Chunked(Chunks),
}

/// Where in a chunked body the next byte stands.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Whether extensions are skipped, and not refused.
    is_tolerant: bool,
    /// Lines of trailers so far.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: u16 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers,
}

/// What comes next in the input.
#[derive(Debug)]
pub(super) enum Step {
    /// Content: the first so many bytes of what is left of the input.
    Data(usize),
    /// Framing that was skipped: so many bytes. There may be more in what is left.
    Skip(usize),
    /// The end, after so many bytes; what follows belongs to the next message.
    End(usize, Option<HeaderMap>),
    /// All of the input was used, and more is needed.
    More(usize),
}

impl Decoder {
    /// Begins a body; `is_tolerant` skips what a request may not have.
    pub(super) fn new(framing: Framing, is_tolerant: bool) -> Self {
        match framing {
            Framing::Empty | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Close => Self::Close,
            Framing::Chunked => Self::Chunked(Chunks {
                place: Place::Size { size: 0, digits: 0 },
                is_tolerant,
                trailers: Vec::new(),
            }),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Looks at the input, which is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        match self {
            Self::Done => Ok(Step::End(0, None)),
            Self::Close => Ok(Step::Data(input.len())),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Step::Data(length))
            }
            Self::Chunked(chunks) => {
                let step = chunks.step(input)?;
                if matches!(step, Step::End(..)) {
                    *self = Self::Done;
                }
                Ok(step)
            }
        }
    }
}

impl Chunks {
    fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        if let Place::Data { left } = self.place {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            let left = left - length as u64;
            self.place = if left == 0 { Place::DataCr } else { Place::Data { left } };
            return Ok(Step::Data(length));
        }
        for (place, byte) in input.iter().enumerate() {
            match self.place {
                Place::Data { .. } => return Ok(Step::Skip(place)),
                Place::Trailers => {
                    let rest = input.get(place..).unwrap_or_default();
                    return self.trailers(rest, place);
                }
                before => self.place = self.after(before, *byte)?,
            }
        }
        Ok(Step::More(input.len()))
    }

    /// The place after a byte of framing.
    fn after(&self, place: Place, byte: u8) -> Result<Place, BodyError> {
        match (place, byte) {
            (Place::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                // Sixteen digits fill the number; more would push the first ones out.
                if digits == 16 {
                    return Err(BodyError::Size);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Ok(Place::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (Place::Size { digits: 0, .. }, _) => Err(BodyError::Size),
            (Place::Size { size, .. }, b'\r') => Ok(Place::SizeLf { size }),
            (Place::Size { size, .. }, b';' | b' ' | b'\t') if self.is_tolerant => {
                Ok(Place::Extension { size, length: 0 })
            }
            (Place::Size { .. }, b';') => Err(BodyError::Extension),
            (Place::Size { .. }, _) => Err(BodyError::Size),
            (Place::Extension { size, .. }, b'\r') => Ok(Place::SizeLf { size }),
            (Place::Extension { .. }, b'\n') => Err(BodyError::End),
            (Place::Extension { size, length }, _) if length < MAX_EXTENSION => {
                Ok(Place::Extension { size, length: length + 1 })
            }
            (Place::Extension { .. }, _) => Err(BodyError::Extension),
            (Place::SizeLf { size: 0 }, b'\n') => Ok(Place::Trailers),
            (Place::SizeLf { size }, b'\n') => Ok(Place::Data { left: size }),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => Ok(Place::Size { size: 0, digits: 0 }),
            (Place::SizeLf { .. } | Place::DataCr | Place::DataLf, _) => Err(BodyError::End),
            (Place::Data { .. } | Place::Trailers, _) => Ok(place),
        }
    }

    /// Gathers the trailers; `before` bytes of the input stand before this part of it.
    fn trailers(&mut self, input: &[u8], before: usize) -> Result<Step, BodyError> {
        let had = self.trailers.len();
        for (place, byte) in input.iter().enumerate() {
            self.trailers.push(*byte);
            let is_end = self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n");
            if is_end {
                let trailers = std::mem::take(&mut self.trailers);
                return Ok(Step::End(before + place + 1, parsed(&trailers)?));
            }
            let is_bare = *byte == b'\n' && !self.trailers.ends_with(b"\r\n");
            if is_bare || self.trailers.len() > MAX_TRAILERS {
                return Err(BodyError::Trailers);
            }
        }
        debug_assert_eq!(self.trailers.len(), had + input.len(), "all of it was kept");
        Ok(Step::More(before + input.len()))
    }
}

/// Trailers as a map, without those that would change what stands before them (RFC 9110, 6.5.1).
fn parsed(text: &[u8]) -> Result<Option<HeaderMap>, BodyError> {
    if text == b"\r\n" {
        return Ok(None);
    }
    let mut lines = [EMPTY_HEADER; MAX_TRAILER_LINES];
    let Ok(Status::Complete((_, lines))) = httparse::parse_headers(text, &mut lines) else {
        return Err(BodyError::Trailers);
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(line.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(BodyError::Trailers) };
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

/// What of trailers may come after the content; `None`: nothing.
pub(crate) fn retain_trailers(mut trailers: HeaderMap) -> Option<HeaderMap> {
    // Mostly all of them: nothing is moved.
    while let Some(name) = trailers.keys().find(|name| !may_trail(name)).cloned() {
        trailers.remove(name);
    }
    Some(trailers).filter(|trailers| !trailers.is_empty())
}

/// What frames, routes, authenticates or describes the content cannot come after it.
pub(super) fn may_trail(name: &HeaderName) -> bool {
    // To some backends they are one.
    match name.as_str().contains('_') {
        true => may_trail_as(&name.as_str().replace('_', "-")),
        false => may_trail_as(name.as_str()),
    }
}

fn may_trail_as(name: &str) -> bool {
    // What we say of the client is not its own to say.
    !matches!(name, "x-real-ip" | "x-scheme" | "forwarded" | "cdn-loop")
        && !name.starts_with("x-forwarded-")
        && !matches!(
            name,
            "authorization"
                | "cache-control"
                | "connection"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-type"
                | "cookie"
                | "expect"
                | "host"
                | "keep-alive"
                | "max-forwards"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "range"
                | "set-cookie"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
}
