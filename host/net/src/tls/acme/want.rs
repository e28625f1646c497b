//! Which certificates are wanted of which resolver: for the hosts of routers with `tls`, or the
//! domains that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use portolan_core::{
    problem::Problem,
    snapshot::{RouterEntry, Snapshot},
};

use crate::tls::{TlsConfig, TlsSettings, shelf::Shelf, trouble::SOURCE, trouble::router_origin};

/// A certificate that is wanted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::tls) struct Want {
    /// Of whom.
    pub(in crate::tls) resolver: Arc<str>,
    /// For which names, in lower case; the first is the main one. Not empty.
    pub(in crate::tls) names: Vec<String>,
}

/// The certificates that the routers of a snapshot want, each once, and what is wrong with their
/// wishes. A name for which there is a good certificate from a file wants none.
pub(in crate::tls) fn wants(
    snapshot: &Snapshot,
    settings: &TlsSettings,
    entrypoints: &[(Arc<str>, TlsConfig)],
    files: &Shelf,
) -> (Vec<Want>, Vec<Problem>) {
    let mut gathering = Gathering {
        settings,
        files,
        now: SystemTime::now(),
        wants: BTreeMap::new(),
        problems: BTreeSet::new(),
    };
    for (name, tls) in entrypoints {
        if let Some(resolver) = &tls.resolver {
            gathering.known(resolver, &format!("entrypoint `{name}`"));
        }
    }
    for router in snapshot.routers.iter().filter(|router| router.live.is_some()) {
        if let Some(resolver) = resolver(router, entrypoints) {
            gathering.router(router, &resolver);
        }
    }
    let wants = gathering.wants.into_iter();
    let wants = wants.map(|((resolver, _), names)| Want { resolver, names });
    (wants.collect(), gathering.problems.into_iter().collect())
}

/// The resolver of a router: its own, else that of its first encrypted entrypoint that has one.
fn resolver(router: &RouterEntry, entrypoints: &[(Arc<str>, TlsConfig)]) -> Option<Arc<str>> {
    let mut encrypted = entrypoints.iter().filter(|(name, _)| router.entrypoints.contains(name));
    let own = router.tls.as_ref().and_then(|tls| tls.resolver.as_deref());
    match own {
        // Without an encrypted entrypoint nobody would show the certificate.
        Some(own) => encrypted.next().map(|_| own.into()),
        None => encrypted.find_map(|(_, tls)| tls.resolver.clone()),
    }
}

struct Gathering<'a> {
    settings: &'a TlsSettings,
    files: &'a Shelf,
    now: SystemTime,
    /// By resolver and main name, so that each is ordered once.
    wants: BTreeMap<(Arc<str>, Vec<String>), Vec<String>>,
    problems: BTreeSet<Problem>,
}

impl Gathering<'_> {
    fn router(&mut self, router: &RouterEntry, resolver: &Arc<str>) {
        let origin = router_origin(&router.entry.name.to_string());
        if !self.known(resolver, &origin) {
            return;
        }
        let domains = router.tls.as_ref().map(|tls| tls.domains.as_slice()).unwrap_or_default();
        if domains.is_empty() {
            for host in &router.hosts {
                self.want(resolver, vec![host.clone()], &origin);
            }
        }
        for domain in domains {
            let mut names = vec![domain.main.clone()];
            names.extend(domain.sans.iter().filter(|san| **san != domain.main).cloned());
            self.want(resolver, names, &origin);
        }
    }

    fn want(&mut self, resolver: &Arc<str>, mut names: Vec<String>, origin: &str) {
        // Public authorities certify addresses by other means, or not at all.
        names.retain(|name| name.parse::<IpAddr>().is_err());
        let all = names.len();
        names.retain(|name| !name.contains('*'));
        if names.len() < all {
            let message = format!(
                "resolver `{resolver}` cannot certify a wildcard: that takes a record in DNS"
            );
            let hint = "name the hosts, bring a certificate file, or rely on the local authority";
            self.problems.insert(Problem::warning(SOURCE, origin, message).hint(hint));
        }
        if !names.is_empty() && !names.iter().all(|name| self.files.covers(name, self.now)) {
            let mut sorted = names.clone();
            sorted.sort();
            self.wants.entry((resolver.clone(), sorted)).or_insert(names);
        }
    }

    fn known(&mut self, resolver: &str, origin: &str) -> bool {
        let known = self.settings.resolvers.iter().any(|config| &*config.name == resolver);
        if !known {
            let message = format!("there is no resolver `[acme.{resolver}]`");
            let hint = "the local authority's certificate is shown";
            self.problems.insert(Problem::error(SOURCE, origin, message).hint(hint));
        }
        known
    }
}
