//! What can be wrong with certificates.

use std::{io, path::PathBuf};

use rustls_pki_types::pem;

/// Why a certificate, or the local authority, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of the kind that is looked for.
    #[error("no {wanted} in `{}`", path.display())]
    Pem {
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with the text.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or one of them is of an unknown kind.
    #[error("certificate `{}` with key `{}`", cert.display(), key.display())]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// A certificate of a file is none that could sign others.
    #[error("authorities in `{}`", path.display())]
    Authorities {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The certificates of a file cannot be trusted, say because there are none.
    #[error("no certificates to trust in `{}`", path.display())]
    Roots {
        /// Where they were looked for.
        path: PathBuf,
        /// What is wrong.
        source: rustls::server::VerifierBuilderError,
    },
    /// A certificate that is for no DNS name at all.
    #[error("certificate `{}` names no host", path.display())]
    Nameless {
        /// The file of the certificate.
        path: PathBuf,
    },
    /// The files of the local authority do not hold one.
    #[error("local authority in `{}`", directory.display())]
    Authority {
        /// Where its files are.
        directory: PathBuf,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// The key of the local authority is another one's.
    #[error("local authority in `{}`: `ca.key` is not the key of `ca.pem`", _0.display())]
    AuthorityPair(PathBuf),
    /// The key of the local authority is gone, its certificate is not.
    #[error("local authority in `{}`: there is `ca.pem`, but no `ca.key`", _0.display())]
    AuthorityKeyless(PathBuf),
    /// A certificate could not be made.
    #[error("make a certificate for `{name}`")]
    Mint {
        /// For whom.
        name: String,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// The cryptographic library refuses.
    #[error("set up TLS")]
    Provider(#[source] rustls::Error),
}

/// What can be wrong with a certificate and a key that are there.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemPart {
    /// The certificate cannot be read.
    #[error("no certificate")]
    Chain(#[source] pem::Error),
    /// The key cannot be read.
    #[error("no private key")]
    Key(#[source] pem::Error),
    /// They do not belong together.
    #[error("certificate and key")]
    Pair(#[source] rustls::Error),
    /// The certificate is for no DNS name.
    #[error("the certificate names no host")]
    Nameless,
}
