//! HTTP/2 on the wire, as a server.

pub(crate) mod hpack;
