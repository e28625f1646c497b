//! Which certificates are wanted of which resolver: for the hosts of routers with `tls`, or the
//! domains that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use portolan_core::{
    pointer::child,
    problem::Problem,
    snapshot::{RouterEntry, Snapshot},
};

use crate::tls::{
    TlsConfig, TlsSettings,
    shelf::Shelf,
    trouble::{SOURCE, router_origin, router_place},
};

/// A certificate that is wanted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::tls) struct Want {
    /// Of whom.
    pub(in crate::tls) resolver: Arc<str>,
    /// For which names, in lower case; the first is the main one. Not empty.
    pub(in crate::tls) names: Vec<String>,
}

/// The certificates that the routers of a snapshot want, each once, and what is wrong with their
/// wishes. A name for which each entrypoint of its router has a good certificate from a file wants
/// none; `files` are those of each entrypoint, in their order.
pub(in crate::tls) fn wants(
    snapshot: &Snapshot,
    settings: &TlsSettings,
    entrypoints: &[(Arc<str>, TlsConfig)],
    files: &[Shelf],
) -> (Vec<Want>, Vec<Problem>) {
    let mut gathering = Gathering {
        settings,
        now: SystemTime::now(),
        wants: BTreeMap::new(),
        unknown: BTreeMap::new(),
        problems: BTreeSet::new(),
    };
    for (name, tls) in entrypoints {
        if let Some(resolver) = &tls.resolver {
            let place = child("/entrypoints", name) + "/tls";
            gathering.known(resolver, (&format!("entrypoint `{name}`"), &place));
        }
    }
    for router in snapshot.routers.iter().filter(|router| router.live.is_some()) {
        if let Some(resolver) = resolver(router, entrypoints) {
            let on = entrypoints.iter().zip(files);
            let on = on.filter(|((name, _), _)| router.entrypoints.contains(name));
            let on: Vec<_> = on.map(|(_, shelf)| shelf).collect();
            gathering.router(router, &resolver, &on);
        }
    }
    gathering.tell_of_unknown();
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

/// Where a wish comes from: in words, and as a pointer into `config.toml`.
type Origin<'a> = (&'a str, &'a str);

struct Gathering<'a> {
    settings: &'a TlsSettings,
    now: SystemTime,
    /// By resolver and main name, so that each is ordered once.
    wants: BTreeMap<(Arc<str>, Vec<String>), Vec<String>>,
    /// Resolvers that are not there, with who names them: in words, and as a pointer.
    unknown: BTreeMap<String, Vec<(String, String)>>,
    problems: BTreeSet<Problem>,
}

impl Gathering<'_> {
    fn router(&mut self, router: &RouterEntry, resolver: &Arc<str>, files: &[&Shelf]) {
        let name = &router.entry.name;
        let origin = (&*router_origin(name), &*router_place(name));
        if !self.known(resolver, origin) {
            return;
        }
        let domains = router.tls.as_ref().map(|tls| tls.domains.as_slice()).unwrap_or_default();
        if domains.is_empty() {
            self.homeless(router, resolver, origin, files);
            for host in &*router.hosts {
                self.want(resolver, vec![host.clone()], origin, files);
            }
        }
        for domain in domains {
            let mut names = vec![domain.main.clone()];
            names.extend(domain.sans.iter().filter(|san| **san != domain.main).cloned());
            self.want(resolver, names, origin, files);
        }
    }

    fn want(
        &mut self,
        resolver: &Arc<str>,
        mut names: Vec<String>,
        (origin, place): Origin<'_>,
        files: &[&Shelf],
    ) {
        // Public authorities certify addresses by other means, or not at all.
        names.retain(|name| name.parse::<IpAddr>().is_err());
        let all = names.len();
        names.retain(|name| !name.contains('*'));
        if names.len() < all {
            let message = format!(
                "resolver `{resolver}` cannot certify a wildcard: that takes a record in DNS"
            );
            let hint = "name the hosts, bring a certificate file, or rely on the local authority";
            let problem = Problem::warning(SOURCE, origin, message);
            self.problems.insert(problem.at(place).hint(hint));
        }
        let is_filed = |name: &String| files.iter().all(|shelf| shelf.covers(name, self.now));
        if !names.iter().all(is_filed) {
            let mut sorted = names.clone();
            sorted.sort();
            self.wants.entry((resolver.clone(), sorted)).or_insert(names);
        }
    }

    /// Tells of a router that names a resolver itself, but no host that could be certified.
    fn homeless(
        &mut self,
        router: &RouterEntry,
        resolver: &Arc<str>,
        (origin, place): Origin<'_>,
        files: &[&Shelf],
    ) {
        let is_own = router.tls.as_ref().is_some_and(|tls| tls.resolver.is_some());
        let is_address = |host: &String| host.parse::<IpAddr>().is_ok();
        let is_filed = |host: &String| files.iter().all(|shelf| shelf.covers(host, self.now));
        let hosts = &*router.hosts;
        let filed = !hosts.is_empty() && hosts.iter().all(is_filed);
        if is_own && !filed && hosts.iter().all(is_address) {
            let message = match hosts.is_empty() {
                true => {
                    format!("nothing for resolver `{resolver}` to certify: its rule names no host")
                }
                false => format!("resolver `{resolver}` does not certify addresses"),
            };
            let hint = "name the hosts in `tls.domains`; else a certificate of a file or of the local \
                        authority is shown";
            let problem = Problem::warning(SOURCE, origin, message);
            self.problems.insert(problem.at(place).hint(hint));
        }
    }

    fn known(&mut self, resolver: &str, (origin, place): Origin<'_>) -> bool {
        let known = self.settings.resolvers.iter().any(|config| &*config.name == resolver);
        if !known {
            let who = (origin.to_owned(), place.to_owned());
            self.unknown.entry(resolver.to_owned()).or_default().push(who);
        }
        known
    }

    /// Of a resolver that is not there it is told once: many routers name the same, and all of them work.
    fn tell_of_unknown(&mut self) {
        for (resolver, who) in &self.unknown {
            // Best is a place in `config.toml`.
            let placed = who.iter().find(|(_, place)| !place.is_empty());
            let Some((first, place)) = placed.or_else(|| who.first()) else { continue };
            let others = match who.len() {
                1 => String::new(),
                count => format!(", which {count} routers name"),
            };
            let message = format!("there is no resolver `[acme.{resolver}]`{others}");
            let hint = "a certificate of a file or of the local authority is shown";
            let problem = Problem::warning(SOURCE, first, message);
            self.problems.insert(problem.at(place).hint(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_core::declare::{DomainSpec, TlsSpec};

    use super::*;
    use crate::tls::{
        acme::{Challenge, KeyType, LETS_ENCRYPT, ResolverConfig, StorageConfig},
        tests::{living, router},
    };

    fn of(resolver: &str) -> Option<TlsSpec> {
        Some(TlsSpec { resolver: Some(resolver.to_owned()), ..TlsSpec::default() })
    }

    fn look(routers: Vec<RouterEntry>) -> (Vec<(String, String)>, Vec<String>) {
        let resolver = |name: &str| ResolverConfig {
            name: name.into(),
            email: None,
            directory: LETS_ENCRYPT.to_owned(),
            challenge: Challenge::Http01,
            root_certificates: None,
            key_type: KeyType::Ec256,
            external_account: None,
            storage: StorageConfig::File("acme".into()),
        };
        let resolvers = vec![resolver("le"), resolver("own")];
        let settings = TlsSettings { resolvers, ..TlsSettings::default() };
        let own = TlsConfig { resolver: Some("own".into()), ..TlsConfig::default() };
        let entrypoints = [("plain-tls".into(), TlsConfig::default()), ("with-own".into(), own)];
        let filed = living(SystemTime::now(), Duration::from_secs(9_999));
        let filed = Arc::new(filed);
        let files = [Shelf::build([&filed]), Shelf::build([])];
        let snapshot = Snapshot { routers: routers.into_iter().collect(), ..Snapshot::default() };
        let (wants, problems) = wants(&snapshot, &settings, &entrypoints, &files);
        let wants = wants.iter().map(|it| (it.resolver.to_string(), it.names.join(" ")));
        let problems = problems.iter().map(|it| format!("{}: {}", it.origin, it.message));
        (wants.collect(), problems.collect())
    }

    fn pair(resolver: &str, names: &str) -> (String, String) {
        (resolver.to_owned(), names.to_owned())
    }

    #[test]
    fn hosts_are_wanted_of_the_routers_resolver_or_else_the_entrypoints() {
        let (wants, problems) = look(vec![
            router("a", &["b.test", "c.test"], "plain-tls", of("le")),
            router("again", &["b.test"], "plain-tls", of("le")),
            router("own", &["d.test"], "with-own", None),
            router("mine", &["e.test"], "with-own", of("le")),
            router("none", &["f.test"], "plain-tls", Some(TlsSpec::default())),
            router("clear", &["g.test"], "web", of("le")),
            // There is a file for it; the others are no names that can be certified.
            router("filed", &["a.test", "10.0.0.1"], "plain-tls", of("le")),
            // It asks for nothing itself.
            router("pattern", &[], "with-own", None),
        ]);
        let le = ["b.test", "c.test", "e.test"].map(|name| pair("le", name));
        // A file of one entrypoint is no certificate on another.
        let (elsewhere, _) = look(vec![router("filed", &["a.test"], "with-own", of("le"))]);
        assert_eq!(elsewhere, [pair("le", "a.test")]);
        assert_eq!(wants, [le.as_slice(), &[pair("own", "d.test")]].concat());
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn domains_take_the_place_of_hosts_and_wishes_that_cannot_be_met_are_told() {
        let domain = |main: &str, sans: &[&str]| DomainSpec {
            main: main.to_owned(),
            sans: sans.iter().map(|san| (*san).to_owned()).collect(),
        };
        let domains = vec![
            domain("z.test", &["y.test", "z.test"]),
            domain("*.w.test", &[]),
            domain("y.test", &["z.test"]),
        ];
        let spec = TlsSpec { domains, resolver: Some("le".to_owned()), options: None };
        let (wants, problems) = look(vec![
            router("a", &["b.test"], "plain-tls", Some(spec)),
            router("lost", &["c.test"], "plain-tls", of("el")),
            router("more", &["d.test"], "plain-tls", of("el")),
            router("pattern", &[], "plain-tls", of("le")),
            router("address", &["10.0.0.1"], "plain-tls", of("le")),
        ]);
        // The same names in another order are the same certificate.
        assert_eq!(wants, [pair("le", "z.test y.test")]);
        let told = [
            "a@test`: resolver `le` cannot certify a wildcard",
            "address@test`: resolver `le` does not certify addresses",
            "lost@test`: there is no resolver `[acme.el]`, which 2 routers name",
            "pattern@test`: nothing for resolver `le` to certify: its rule names no host",
        ];
        assert_eq!(problems.len(), told.len(), "{problems:?}");
        assert!(problems.iter().zip(told).all(|(it, told)| it.contains(told)), "{problems:?}");
    }
}
