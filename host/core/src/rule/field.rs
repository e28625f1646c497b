//! What rules look at, and how they compare it.

use super::client::ClientStrategy;

/// What is looked at. The meanings are those of `matcher.wit`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Field {
    /// The method, as sent.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The canonical host name.
    Host,
    /// The path as routing sees it.
    Path,
    /// The decoded values of a query parameter.
    Query(String),
    /// The values of a header.
    Header(http::HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The address of the peer.
    ClientIp,
    /// The address of the client, found so.
    Client(ClientStrategy),
    /// The name in the TLS handshake.
    Sni,
    /// The name of the entrypoint.
    Entrypoint,
}

/// How it is compared. The meanings are those of `matcher.wit`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Op {
    /// Is there at all.
    Exists,
    /// Byte for byte.
    Equals,
    /// Without regard to ASCII case.
    EqualsIgnoreCase,
    /// Starts with.
    Prefix,
    /// Starts with, at a segment border.
    PathPrefix,
    /// Ends with.
    Suffix,
    /// Is part of it.
    Contains,
    /// Exactly one label in place of the star.
    Wildcard,
    /// A regular expression, found anywhere.
    Regex,
    /// An IP address or network.
    Cidr,
}
