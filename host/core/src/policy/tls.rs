//! Versions and cipher suites of TLS, by their names. Whoever shakes hands finds what they mean.

use std::fmt;

/// A version of TLS. There are no others that are worth the name (RFC 8996).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// A cipher suite that we have.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Suite(&'static str);

/// Their names at IANA, the best first. The TLS library has these, as a test of who asks it holds.
const SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

impl Suite {
    /// Finds one by its name at IANA, which is Go's and so Traefik's as well.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|suite| suite.0 == name)
    }

    /// Its name at IANA.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// All that there are, the best first.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        SUITES.into_iter().map(Self)
    }
}

/// A group for the exchange of keys that we have.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Curve(&'static str, &'static str);

/// Their names at IANA, and those that Go and so Traefik has for them, in our order. The TLS library
/// has these, as a test of who asks it holds.
const CURVES: [Curve; 4] = [
    Curve("X25519", "X25519"),
    Curve("secp256r1", "CurveP256"),
    Curve("secp384r1", "CurveP384"),
    Curve("X25519MLKEM768", "X25519MLKEM768"),
];

impl Curve {
    /// Finds one by either name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|curve| curve.0 == name || curve.1 == name)
    }

    /// Its name at IANA.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        CURVES.into_iter()
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
