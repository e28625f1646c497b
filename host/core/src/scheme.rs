//! How a backend is spoken to.

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
    /// HTTP/2 in clear text, by prior knowledge.
    H2c,
}

impl Scheme {
    /// The scheme of a backend URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    /// An authority as a `Host` header has it: without the port that goes without saying (RFC 9110, 7.2).
    pub fn host_of(self, authority: &str) -> &str {
        let port = match self {
            Self::Http | Self::H2c => ":80",
            Self::Https => ":443",
        };
        authority.strip_suffix(port).unwrap_or(authority)
    }

    /// The scheme of that name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::H2c]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }
}
