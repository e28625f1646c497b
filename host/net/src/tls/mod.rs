//! Certificates and handshakes: certificates from files, from an authority that is asked for them
//! (ACME), or made on demand by an authority of our own.
//!
//! Reading order: `certificate` and `shelf` (what there is, by name), `file` and `authority` (where
//! it comes from), `options`, `choose`, `hello` and `context` (one handshake), `keyring` (all of it, as the
//! control plane sees it), `acme` (orders) and `steward` (who sees to it that nothing goes stale).
//!
//! **Invariant:** an encrypted entrypoint always has a certificate to show. A file that cannot be
//! used, or an authority that refuses, costs that certificate, never the entrypoint.

mod error;
mod certificate;
mod shelf;
mod file;
mod authority;
mod options;
mod shown;
mod challenge;
mod choose;
mod hosts;
mod hello;
mod context;
mod keyring;
mod trouble;
mod watch;
pub mod acme;
mod steward;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    authority::{Authority, Root, RootFlaw},
    certificate::{Certificate, CertificateSource, Facts, Validity},
    context::{Alert, Handshake, TlsContext},
    error::TlsError,
    file::Broken,
    keyring::Keyring,
    options::{ClientAuth, ClientCertificate, TlsOptions},
    steward::tend,
};
pub(crate) use self::{
    certificate::subject, challenge::PATH as CHALLENGE_PATH, context::Greeting, shown::Shown,
};

/// How an entrypoint is encrypted. Names that none of its certificates is for get one of the local
/// authority, if a router answers to them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsConfig {
    /// Certificates from files, beside those of [`TlsSettings`].
    pub certificates: Vec<CertificateFile>,
    /// The name of the options of hosts whose routers say nothing; `None`: `default`.
    pub options: Option<Arc<str>>,
    /// The resolver that certifies hosts whose routers name none; `None`: none does.
    pub resolver: Option<Arc<str>>,
}

/// What holds for all entrypoints.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsSettings {
    /// Certificates from files.
    pub certificates: Vec<CertificateFile>,
    /// One more, which is also shown where none is for the name that is asked for, and may be for no
    /// name itself; `None`: one of the local authority is.
    pub default: Option<CertificateFile>,
    /// Options, by name. There is always a `default`, here or built in.
    pub options: Vec<(Arc<str>, TlsOptions)>,
    /// Authorities that are asked for certificates.
    pub resolvers: Vec<acme::ResolverConfig>,
}

impl TlsSettings {
    /// All certificates from files: each has names, and the default may have.
    fn files(&self) -> impl Iterator<Item = &CertificateFile> {
        self.certificates.iter().chain(&self.default)
    }
}

/// A certificate and its key, in PEM. It is chosen by the name that the client asks for: exact
/// names before wildcards, and of two for one name the one that lives longer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertificateFile {
    /// The certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The name of the options of those who name none.
const DEFAULT_OPTIONS: &str = "default";

#[cfg(test)]
mod tests;
