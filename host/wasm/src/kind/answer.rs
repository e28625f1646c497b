//! Complete responses made by guests, and the header lines in them.

use http::{HeaderName, HeaderValue, StatusCode};
use portolan_core::{
    edit::{self, EditError},
    exchange::Reply,
};

use crate::bindings::types;

/// A reply that can be sent, or what is wrong with it. Headers that are the host's (`types.wit`) are
/// left out.
pub(super) fn reply(reply: types::Reply) -> Result<Reply, String> {
    let is_ours = |header: &&types::Header| {
        edit::header_name(header.name.as_bytes()) == Err(EditError::Forbidden)
    };
    let lines = reply.headers.iter().filter(|header| !is_ours(header));
    let headers = lines.map(line).collect::<Result<_, _>>()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[&str]) -> Result<Vec<String>, String> {
        let header = |name: &&str| types::Header { name: (*name).to_owned(), value: b"1".to_vec() };
        let headers = names.iter().map(header).collect();
        let reply = reply(types::Reply { status: 200, headers, body: Vec::new() })?;
        Ok(reply.headers.iter().map(|(name, _)| name.to_string()).collect())
    }

    #[test]
    fn headers_of_the_host_are_left_out_of_a_reply() {
        let said = headers(&["Content-Length", "x-a", "transfer-encoding", "connection", "x-b"]);
        assert_eq!(said.unwrap(), ["x-a", "x-b"]);
        assert!(headers(&["no name"]).is_err());
    }
}
