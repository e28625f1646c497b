//! Which certificate a client is shown: from files first, then of the local authority for names
//! that a router of the entrypoint answers to, then the default one.
//!
//! **Invariant:** the authority signs no name that no router answers to, so a stranger who asks
//! for many names costs no signatures.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use portolan_core::{live::Live, problem::Chain, snapshot::Snapshot};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Authority, file::Files};

/// Chooses certificates for one entrypoint.
#[derive(Debug)]
pub(crate) struct Chooser {
    entrypoint: Arc<str>,
    authority: Arc<Authority>,
    live: Live,
    files: ArcSwap<Files>,
    hosts: ArcSwap<Hosts>,
}

/// The hosts that the routers of an entrypoint answer to, wildcards as they are written.
#[derive(Debug, Default)]
struct Hosts {
    generation: Option<u64>,
    names: HashSet<String>,
}

impl Chooser {
    pub(crate) fn new(entrypoint: Arc<str>, authority: Arc<Authority>, live: Live) -> Self {
        let (files, hosts) = (ArcSwap::default(), ArcSwap::default());
        Self { entrypoint, authority, live, files, hosts }
    }

    /// From now on these are the certificates from files.
    pub(crate) fn replace(&self, files: Files) {
        self.files.store(Arc::new(files));
    }

    /// The certificate for a name; for none, or one that is not served, the default one.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let wildcard = wildcard.as_deref();
        if let Some(key) = self.files.load().find(&name, wildcard) {
            return Some(key.clone());
        }
        let hosts = self.hosts();
        let served = [Some(name.as_str()), wildcard].into_iter().flatten();
        let served = served.into_iter().find(|name| hosts.names.contains(*name));
        match self.authority.leaf(served.unwrap_or_default()) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "no certificate for a client");
                None
            }
        }
    }

    /// The hosts that are served now; gathered once per snapshot.
    fn hosts(&self) -> Arc<Hosts> {
        let snapshot = self.live.load();
        let hosts = self.hosts.load_full();
        if hosts.generation == Some(snapshot.generation) {
            return hosts;
        }
        let hosts = Arc::new(Hosts::gather(&snapshot, &self.entrypoint));
        self.hosts.store(hosts.clone());
        hosts
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Hosts {
    fn gather(snapshot: &Snapshot, entrypoint: &str) -> Self {
        let routers = snapshot.routers.iter().filter(|router| {
            router.live.is_some() && router.entrypoints.iter().any(|name| &**name == entrypoint)
        });
        let names = routers.flat_map(|router| router.hosts.iter().cloned()).collect();
        Self { generation: Some(snapshot.generation), names }
    }
}
