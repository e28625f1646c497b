//! `[providers.<name>.tls]` as the plugin host takes it.

use std::{io, path::Path, sync::Arc};

use portolan_core::{policy::Transport, port::PortFuture};
use portolan_net::transport::{Trust, Way};
use rustls::ClientConfig;

/// Whom a provider trusts and what it shows. Files are looked at again every few seconds when a
/// connection is made.
#[derive(Debug)]
pub(super) struct Credentials {
    trust: Trust,
    way: Way,
}

impl Credentials {
    /// Relative paths are relative to `base`.
    pub(super) fn new(transport: &Transport, base: &Path) -> Self {
        Self { trust: Trust::new(base), way: Some((0, Arc::new(transport.clone()))) }
    }
}

impl portolan_wasm::Credentials for Credentials {
    fn tls(&self) -> PortFuture<'_, io::Result<Arc<ClientConfig>>> {
        Box::pin(self.trust.config(&self.way))
    }

    fn server_name(&self) -> Option<&str> {
        let (_, transport) = self.way.as_ref()?;
        transport.server_name.as_deref()
    }
}
