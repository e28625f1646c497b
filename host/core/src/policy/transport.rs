//! How connections to backends are made and trusted: Traefik's `serversTransport`.

use std::{path::PathBuf, time::Duration};

use super::tls::{Suite, TlsVersion};

/// How connections to backends are made. Files are read by whoever connects.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Transport {
    /// The name that certificates of backends must be for, and that is asked for; `None`: the
    /// host of the backend.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Authorities to trust instead of the system's: PEM files.
    pub root_cas: Vec<PathBuf>,
    /// What is shown to a backend that asks who we are.
    pub certificates: Vec<ClientCertificate>,
    /// Whether HTTP/2 is not offered in the handshake.
    pub disable_http2: bool,
    /// The lowest version of TLS; `None`: 1.2.
    pub min_version: Option<TlsVersion>,
    /// The highest version of TLS, not below the lowest; `None`: 1.3.
    pub max_version: Option<TlsVersion>,
    /// The cipher suites of each version that one of them belongs to, the best first; a version
    /// of which none is here keeps all of its own.
    pub cipher_suites: Vec<Suite>,
    /// For a connection, its handshake included.
    pub dial_timeout: Option<Duration>,
    /// From the request to the head of the response.
    pub response_header_timeout: Option<Duration>,
}

/// A certificate that we show, and its key, in PEM files.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientCertificate {
    /// The certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
