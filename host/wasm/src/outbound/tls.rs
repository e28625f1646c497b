//! How https is spoken to the origins of a grant: whom to trust, and what to show.
//!
//! **Invariant:** guests see none of it. They ask for a URL; files and keys are the host's.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use portolan_core::port::PortFuture;
use rustls::{ClientConfig, RootCertStore};

/// What the encrypted connections of one provider are made with, where that is not what the
/// system trusts. Asked for every new connection, so that what changes is used by the next.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// Whom to trust and what to show. The protocol is HTTP/1.1.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or holds something else: then there is no connection.
    fn tls(&self) -> PortFuture<'_, io::Result<Arc<ClientConfig>>>;

    /// The name that the certificate of the other side must be for; `None`: the host of the URL.
    fn server_name(&self) -> Option<&str>;
}

/// How https is spoken.
#[derive(Clone, Debug)]
pub(crate) enum Tls {
    /// With whom the system trusts. The roots are read when they are needed first: that takes a
    /// while.
    System(Arc<OnceLock<Arc<ClientConfig>>>),
    Own(Arc<dyn Credentials>),
}

impl Default for Tls {
    fn default() -> Self {
        Self::System(Arc::default())
    }
}

impl Tls {
    pub(super) async fn config(&self) -> io::Result<Arc<ClientConfig>> {
        match self {
            Self::System(roots) => Ok(roots.get_or_init(native_config).clone()),
            Self::Own(credentials) => credentials.tls().await,
        }
    }

    pub(super) fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        match self {
            Self::System(_) => host,
            Self::Own(credentials) => credentials.server_name().unwrap_or(host),
        }
    }
}

fn native_config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "root certificate not read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider is made for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
