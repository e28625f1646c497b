//! The head of a request, whatever version it came in.

use http::{Method, Uri, Version, request::Parts};
use portolan_core::exchange::Headers;

/// The head of a request, as it came.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Headers,
}

impl From<Parts> for Arrived {
    fn from(parts: Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: headers.into() }
    }
}
