//! How connections to backends are made and trusted: Traefik's `serversTransport`.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

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
    /// The same where it is no matter of files.
    pub texts: PemTexts,
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

/// What would stand in files, in PEM: it is read already.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct PemTexts {
    /// Authorities to trust instead of the system's.
    pub authorities: Option<Arc<str>>,
    /// What is shown to a backend that asks who we are, and its private key.
    pub certificate: Option<(Arc<str>, Arc<str>)>,
}

/// The key is shown to nobody.
impl fmt::Debug for PemTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = self.certificate.as_ref().map(|(certificate, _)| certificate);
        f.debug_struct("PemTexts")
            .field("authorities", &self.authorities)
            .field("certificate", &certificate)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// The transport with a number that tells it from others.
    pub fn numbered(self) -> (u64, Arc<Self>) {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        (hasher.finish(), Arc::new(self))
    }
}
