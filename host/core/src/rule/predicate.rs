//! What matchers compile to: a tree that is checked once and evaluated natively.

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

/// A comparison as a plugin gives it: checked and compiled by [`Test::new`].
#[derive(Clone, Debug)]
pub struct Test {
    /// What is looked at.
    pub field: Field,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub values: Vec<String>,
}

/// A condition on a request.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// True.
    Always,
    /// False.
    Never,
    /// All of them.
    All(Vec<Predicate>),
    /// Any of them.
    Any(Vec<Predicate>),
    /// The opposite.
    Not(Box<Predicate>),
    /// A comparison.
    Test(Test),
}
