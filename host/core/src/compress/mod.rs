//! Which responses are compressed, and with what: the rules. The work is the data plane's.
//!
//! **Invariant:** what says that its bytes are to reach the client as they are (`no-transform`, a digest, a
//! part of a whole) is never compressed, whatever else is asked for.

mod accept;
mod media;

use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
    },
};

use crate::exchange::{Headers, RequestHead, ResponseHead, members};

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// How responses are compressed, as Traefik's `compress` has it.
#[derive(Clone, Debug)]
pub struct Compress {
    /// What may be used. Of what a client likes equally, the first is taken.
    pub codings: Vec<Coding>,
    /// For a client that does not say what it takes, and for one that takes anything; `None`: the former
    /// gets nothing compressed, the latter the first.
    pub default: Option<Coding>,
    /// How many bytes of content a response has at least.
    pub min_bytes: u64,
    /// Media types that are left alone.
    pub excluded: Vec<String>,
    /// Media types that alone are compressed; empty: all but those that gain nothing by it.
    pub included: Vec<String>,
}

/// What is asked for of a response: that its content is compressed, if it is long enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recoding {
    /// With what.
    pub coding: Coding,
    /// How many bytes of content there are at least.
    pub min_bytes: u64,
    /// Whether each piece of it is for somebody who waits: events.
    pub is_live: bool,
}

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

const BY_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

impl Coding {
    /// All of them, in Traefik's order.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// Its name in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// That of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.as_str() == name)
    }
}

impl Compress {
    /// Checks what can be checked before a request comes.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.codings.is_empty() {
            return Err("there is no encoding to compress with".to_owned());
        }
        if let Some(other) = self.default.filter(|default| !self.codings.contains(default)) {
            return Err(format!("`{}` is not among the encodings", other.as_str()));
        }
        if !self.excluded.is_empty() && !self.included.is_empty() {
            return Err("types are either excluded or included".to_owned());
        }
        let mut types = self.excluded.iter().chain(&self.included);
        match types.find(|range| !media::is_range(range)) {
            Some(bad) => Err(format!("`{bad}` is not a media type")),
            None => Ok(()),
        }
    }

    /// Whether the response to a request may be compressed at all, and with what its client takes.
    /// `Some(None)`: others would get it compressed.
    pub(crate) fn choose(&self, request: &RequestHead) -> Option<Option<Coding>> {
        let headers = &request.headers;
        // As in Traefik, which looks at what is sent too.
        let is_excluded = headers.first(&CONTENT_TYPE).is_some_and(|kind| self.excludes(kind));
        if is_excluded || is_not_to_be_transformed(headers) {
            return None;
        }
        let is_wanted = request.method != Method::HEAD;
        Some(Some(headers).filter(|_| is_wanted).and_then(|headers| {
            accept::choose(headers.values(&ACCEPT_ENCODING), &self.codings, self.default)
        }))
    }

    /// Says in a response that it depends on what its client takes, if it does, and what is to become of its content.
    pub(crate) fn ask(
        &self,
        coding: Option<Coding>,
        response: &mut ResponseHead,
    ) -> Option<Recoding> {
        let is_not_modified = response.status == StatusCode::NOT_MODIFIED;
        if !self.fits(response, is_not_modified) {
            return None;
        }
        response.headers.add_to_response(&VARY, &BY_ENCODING);
        let coding = coding?;
        if is_not_modified {
            // Of what was compressed, if it was: a strong validator would not be that of what the client
            // has (RFC 9111, 4.3.4), a weak one is that of either.
            weaken(&mut response.headers);
            return None;
        }
        let kind = response.headers.first(&CONTENT_TYPE).unwrap_or_default();
        let is_live = media::is(kind, "text/event-stream");
        Some(Recoding { coding, min_bytes: self.min_bytes, is_live })
    }

    /// Whether such a response is compressed for those who want that.
    fn fits(&self, response: &ResponseHead, is_not_modified: bool) -> bool {
        let (status, headers) = (response.status, &response.headers);
        let is_other = status.is_informational()
            || matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
            );
        let has = |name| headers.first(name).is_some_and(|value| !value.is_empty());
        if is_other || has(&CONTENT_ENCODING) || is_not_to_be_transformed(headers) {
            return false;
        }
        if [&CONTENT_RANGE, &CONTENT_MD5, &DIGEST, &CONTENT_DIGEST, &REPR_DIGEST]
            .into_iter()
            .any(has)
        {
            return false;
        }
        match headers.first(&CONTENT_TYPE).filter(|kind| !kind.trim_ascii().is_empty()) {
            // It mostly says nothing of its content.
            None if is_not_modified => true,
            None => self.included.is_empty(),
            Some(kind) if !self.included.is_empty() => {
                !media::is_grpc(kind) && self.included.iter().any(|range| media::is(kind, range))
            }
            Some(kind) => !self.excludes(kind) && !media::is_compressed(kind),
        }
    }

    fn excludes(&self, kind: &[u8]) -> bool {
        media::is_grpc(kind) || self.excluded.iter().any(|range| media::is(kind, range))
    }
}

/// What a head says when its content is compressed.
pub fn recode(headers: &mut Headers, coding: Coding) {
    headers.set(&CONTENT_ENCODING, &HeaderValue::from_static(coding.as_str()));
    headers.take_out(&CONTENT_LENGTH);
    // A part of what is not compressed cannot be put beside what is.
    headers.take_out(&ACCEPT_RANGES);
    weaken(headers);
}

/// Makes a strong validator a weak one: what is compressed anew is not the same byte for byte (RFC 9110,
/// 8.8.1 and 8.8.3.3), and is not what the backend would give a part of.
fn weaken(headers: &mut Headers) {
    let Some(tag) = headers.first(&ETAG).filter(|tag| !tag.starts_with(b"W/")) else { return };
    let weak = tag.starts_with(b"\"").then(|| HeaderValue::from_bytes(&[b"W/", tag].concat()));
    match weak {
        Some(Ok(weak)) => headers.set(&ETAG, &weak),
        // It has no meaning that could be weaker.
        Some(Err(_)) | None => headers.take_out(&ETAG),
    }
}

fn is_not_to_be_transformed(headers: &Headers) -> bool {
    let mut said = headers.values(&CACHE_CONTROL).flat_map(members);
    said.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests;
