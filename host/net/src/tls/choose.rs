//! Which certificate a client is shown: from files or from an authority that was asked for it
//! first, then the operator's default; without that, of the local authority for names that a router
//! of the entrypoint answers to, then its own default.
//!
//! **Invariant:** the local authority signs no name that no router answers to, so a stranger who
//! asks for many names costs no signatures.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use portolan_core::{live::Live, problem::Chain};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Authority,
    hosts::{Hosts, Of},
    shelf::{Shelf, wildcard},
};

/// Chooses certificates for one entrypoint.
#[derive(Debug)]
pub(super) struct Chooser {
    entrypoint: Arc<str>,
    /// Whose hosts are served: of all routers, where it chooses for no entrypoint.
    of: Of,
    authority: Arc<Authority>,
    live: Live,
    shelf: ArcSwap<Shelf>,
    hosts: ArcSwap<Hosts>,
}

impl Chooser {
    pub(super) fn new(
        entrypoint: Arc<str>,
        is_beside: bool,
        authority: Arc<Authority>,
        live: Live,
    ) -> Self {
        let (shelf, hosts) = (ArcSwap::default(), ArcSwap::default());
        let of = if is_beside { Of::All } else { Of::Entrypoint(entrypoint.clone()) };
        Self { entrypoint, of, authority, live, shelf, hosts }
    }

    /// The entrypoint that it chooses for.
    pub(super) fn entrypoint(&self) -> &Arc<str> {
        &self.entrypoint
    }

    /// From now on these are the certificates that come before those of the local authority.
    pub(super) fn replace(&self, shelf: Shelf) {
        self.shelf.store(Arc::new(shelf));
    }

    /// Whether there is a certificate for a name: from a file, an order, or for a router's host.
    pub(super) fn knows(&self, name: &str) -> bool {
        let wildcard = wildcard(name);
        self.shelf.load().find(name, wildcard.as_deref(), SystemTime::now(), &[]).is_some()
            || self.hosts().serve(name)
    }

    /// The certificate for a name and a client that can check these signatures; for no name, or one
    /// that is not served, the default one.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let wildcard = wildcard(&name);
        let now = SystemTime::now();
        let shelf = self.shelf.load();
        let found = shelf.find(&name, wildcard.as_deref(), now, schemes);
        if let Some(found) = found.or_else(|| shelf.default(now)) {
            return Some(found.key.clone());
        }
        let hosts = self.hosts();
        let served = [Some(name.as_str()), wildcard.as_deref()].into_iter().flatten();
        let leaf = match served.into_iter().find(|name| hosts.has(name)) {
            Some(served) => self.authority.leaf(served),
            None => self.authority.default_leaf(hosts.addresses()),
        };
        match leaf {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "no certificate for a client");
                None
            }
        }
    }

    /// The certificate from a file for the address that a client came to, which asked for no name.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<Arc<CertifiedKey>> {
        let (shelf, address) = (self.shelf.load(), address.to_canonical().to_string());
        shelf.find(&address, None, SystemTime::now(), &[]).map(|found| found.key.clone())
    }

    /// The hosts that are served now; learnt once per snapshot.
    pub(super) fn hosts(&self) -> Arc<Hosts> {
        let snapshot = self.live.load();
        let hosts = self.hosts.load_full();
        if hosts.is_of(&snapshot) {
            return hosts;
        }
        let hosts = Arc::new(hosts.learnt(&snapshot, &self.of));
        self.hosts.store(hosts.clone());
        hosts
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
