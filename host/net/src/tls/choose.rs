//! Which certificate a client is shown: from files or from an authority that was asked for it
//! first, then the operator's default; without that, of the local authority for names that a router
//! of the entrypoint answers to, then its own default.
//!
//! **Invariant:** the local authority signs no name that no router answers to, so a stranger who
//! asks for many names costs no signatures.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use portolan_core::{live::Live, problem::Chain, snapshot::Snapshot};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Authority,
    shelf::{Shelf, wildcard},
};

/// Chooses certificates for one entrypoint.
#[derive(Debug)]
pub(super) struct Chooser {
    entrypoint: Arc<str>,
    /// Whether it chooses for no entrypoint: the hosts of all routers are served then.
    is_beside: bool,
    authority: Arc<Authority>,
    live: Live,
    shelf: ArcSwap<Shelf>,
    hosts: ArcSwap<Hosts>,
}

/// The hosts that the routers of an entrypoint answer to, wildcards as they are written, and the
/// options that their handshakes want.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    generation: Option<u64>,
    names: HashMap<String, Wish>,
    /// Whether any of them wants options of its own.
    differ: bool,
    unchosen: Vec<Unchosen>,
}

/// A router that wants options, but whose rule can be true for hosts that it does not name: their
/// handshakes tell of other routers, or of none.
#[derive(Debug)]
pub(super) struct Unchosen {
    pub(super) router: String,
    pub(super) options: Arc<str>,
    /// The hosts for which they are chosen nevertheless.
    pub(super) hosts: Arc<[String]>,
}

/// What the routers of a host say about its handshakes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Wish {
    /// Nothing: none of them has `tls`.
    #[default]
    Silent,
    /// The entrypoint's options, and the router that says it first.
    Default(String),
    /// These, and the router that says it first.
    Named(Arc<str>, String),
    /// Different ones: two routers that disagree.
    Torn(String, String),
}

impl Chooser {
    pub(super) fn new(
        entrypoint: Arc<str>,
        is_beside: bool,
        authority: Arc<Authority>,
        live: Live,
    ) -> Self {
        let (shelf, hosts) = (ArcSwap::default(), ArcSwap::default());
        Self { entrypoint, is_beside, authority, live, shelf, hosts }
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
            || self.hosts().find(name).is_some()
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
        let served = served.into_iter().find(|name| hosts.names.contains_key(*name));
        match self.authority.leaf(served.unwrap_or_default()) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "no certificate for a client");
                None
            }
        }
    }

    /// The hosts that are served now; gathered once per snapshot.
    pub(super) fn hosts(&self) -> Arc<Hosts> {
        let snapshot = self.live.load();
        let hosts = self.hosts.load_full();
        if hosts.generation == Some(snapshot.generation) {
            return hosts;
        }
        let hosts = Arc::new(match self.is_beside {
            true => Hosts::all(&snapshot),
            false => Hosts::gather(&snapshot, &self.entrypoint),
        });
        self.hosts.store(hosts.clone());
        hosts
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl Hosts {
    fn gather(snapshot: &Snapshot, entrypoint: &str) -> Self {
        let (mut names, mut unchosen) = (HashMap::<String, Wish>::new(), Vec::new());
        let routers = snapshot.routers.iter().filter(|router| {
            router.live.is_some() && router.entrypoints.iter().any(|name| &**name == entrypoint)
        });
        for router in routers {
            let name = router.entry.name.to_string();
            let wish = match router.tls.as_deref() {
                None => Wish::Silent,
                Some(tls) => match &tls.options {
                    None => Wish::Default(name.clone()),
                    Some(options) => Wish::Named(options.as_str().into(), name.clone()),
                },
            };
            if let Wish::Named(options, _) = &wish
                && router.live.as_ref().is_some_and(|live| live.predicate.hosts().open)
            {
                let (options, hosts) = (options.clone(), router.hosts.clone());
                unchosen.push(Unchosen { router: name.clone(), options, hosts });
            }
            for host in &*router.hosts {
                let known = names.entry(host.clone()).or_default();
                let before = std::mem::take(known);
                *known = before.and(wish.clone(), &name);
            }
        }
        let differ = names.values().any(|wish| matches!(wish, Wish::Named(..)));
        Self { generation: Some(snapshot.generation), names, differ, unchosen }
    }

    /// Those of all routers. What they say about their handshakes is meant for requests.
    fn all(snapshot: &Snapshot) -> Self {
        let live = snapshot.routers.iter().filter(|router| router.live.is_some());
        let hosts = live.flat_map(|router| &*router.hosts);
        let names = hosts.map(|host| (host.clone(), Wish::Silent)).collect();
        Self { generation: Some(snapshot.generation), names, ..Self::default() }
    }

    fn find(&self, name: &str) -> Option<&Wish> {
        self.names.get(name).or_else(|| self.names.get(&wildcard(name)?))
    }

    /// Whether any host wants options of its own.
    pub(super) fn differ(&self) -> bool {
        self.differ
    }

    /// The options that a name wants; `None`: those of the entrypoint.
    pub(super) fn options(&self, name: &str) -> Option<&Arc<str>> {
        match self.find(name)? {
            Wish::Named(options, _) => Some(options),
            Wish::Silent | Wish::Default(_) | Wish::Torn(..) => None,
        }
    }

    /// Hosts whose routers want different options, with two of those routers.
    pub(super) fn torn(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.names.iter().filter_map(|(host, wish)| match wish {
            Wish::Torn(one, other) => Some((host.as_str(), one.as_str(), other.as_str())),
            Wish::Silent | Wish::Default(_) | Wish::Named(..) => None,
        })
    }

    /// Routers whose options are not chosen for all of their requests.
    pub(super) fn unchosen(&self) -> &[Unchosen] {
        &self.unchosen
    }

    /// The options that hosts want, each with the host and the router that says it.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&Arc<str>, &str, &str)> {
        self.names.iter().filter_map(|(host, wish)| match wish {
            Wish::Named(options, router) => Some((options, host.as_str(), router.as_str())),
            Wish::Silent | Wish::Default(_) | Wish::Torn(..) => None,
        })
    }
}

impl Wish {
    /// What two routers say together; `router` is the second one.
    fn and(self, other: Self, router: &str) -> Self {
        match (self, other) {
            (torn @ Self::Torn(..), _) => torn,
            (Self::Silent, one) | (one, Self::Silent) => one,
            (Self::Default(by), Self::Default(_)) => Self::Default(by),
            (Self::Named(one, by), Self::Named(other, _)) if one == other => Self::Named(one, by),
            (Self::Default(by) | Self::Named(_, by), _) => Self::Torn(by, router.to_owned()),
        }
    }
}
