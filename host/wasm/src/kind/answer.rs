//! Complete responses made by guests, and the header lines in them.

use http::{HeaderName, HeaderValue, StatusCode};
use portolan_core::{edit, exchange::Reply};

use crate::bindings::types;

/// A reply that can be sent, or what is wrong with it.
pub(super) fn reply(reply: types::Reply) -> Result<Reply, String> {
    let headers = reply.headers.iter().map(line).collect::<Result<_, _>>()?;
    Ok(Reply { status: status(reply.status)?, headers, body: reply.body.into() })
}

/// A final status.
pub(super) fn status(status: u16) -> Result<StatusCode, String> {
    edit::status(status).map_err(|_invalid| format!("{status} is not the status of a response"))
}

/// A header line.
pub(super) fn line(header: &types::Header) -> Result<(HeaderName, HeaderValue), String> {
    let value = edit::header_value(&header.value)
        .map_err(|error| format!("the value of `{}`: {error}", header.name.escape_debug()))?;
    Ok((name(&header.name)?, value))
}

/// The name of a header that may be set.
pub(super) fn name(name: &str) -> Result<HeaderName, String> {
    edit::header_name(name.as_bytes())
        .map_err(|error| format!("the header `{}`: {error}", name.escape_debug()))
}
