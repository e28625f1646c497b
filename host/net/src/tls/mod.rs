//! Certificates: from files, or made on demand by a certificate authority of our own.
//!
//! **Invariant:** an encrypted entrypoint always has a certificate to show. A file that cannot be
//! used costs that file, never the entrypoint.

mod authority;
mod choose;
mod error;
mod file;

use std::{path::PathBuf, sync::Arc};

use portolan_core::live::Live;
use rustls::{ServerConfig, crypto::aws_lc_rs};

pub use self::{authority::Authority, error::TlsError};
use self::{choose::Chooser, file::Files};

/// Which certificates an entrypoint shows. Names that none of the files is for get one of the
/// local authority, if a router answers to them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsConfig {
    /// Certificates from files, chosen by the name that the client asks for; of two for one name
    /// the first is shown.
    pub certificates: Vec<CertificateFile>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFile {
    /// The certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What an entrypoint needs to answer handshakes. It outlives changes of configuration, so that
/// sessions can be resumed over them.
#[derive(Debug)]
pub(crate) struct TlsContext {
    chooser: Arc<Chooser>,
    server: Arc<ServerConfig>,
}

impl TlsContext {
    /// Answers handshakes of an entrypoint. Files come with [`reload`](Self::reload).
    pub(crate) fn new(
        entrypoint: Arc<str>,
        authority: Arc<Authority>,
        live: Live,
    ) -> Result<Self, TlsError> {
        let chooser = Arc::new(Chooser::new(entrypoint, authority, live));
        let mut server = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(chooser.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        server.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
        Ok(Self { chooser, server: Arc::new(server) })
    }

    /// Reads the files anew; answers what is wrong with those that are left out.
    pub(crate) fn reload(&self, config: &TlsConfig) -> Vec<TlsError> {
        let (files, errors) = Files::load(&config.certificates);
        self.chooser.replace(files);
        errors
    }

    /// The configuration of the TLS library.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

#[cfg(test)]
mod tests;
