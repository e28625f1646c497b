//! The head of a request, whatever version it came in.

use http::{Method, Uri, Version};
use portolan_core::exchange::Headers;

use super::interim::Interim;
use crate::h1::HeadError;

/// The head of a request, as it came.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Headers,
    /// Where interim responses to it go.
    pub(crate) interim: Option<Interim>,
    /// Why it is refused, though it could be read.
    pub(crate) fault: Option<HeadError>,
}
