//! Which router has precedence over which.
//!
//! **Invariant:** the order is total: no two routers of different names are equal, so the same
//! routers always give the same table.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    name::ObjectName,
    router::Router,
    rule::{Field, HostPattern, PathPattern, Predicate},
};

/// Where a router stands among all others: what is less has precedence.
///
/// By priority; of equals the one with `tls`, as in Traefik, where the other would not be asked for
/// what is encrypted; then in the order of the providers, as in Traefik too; then the one whose rule
/// demands more; then by name. Where it is the rule that decides, it does so before the provider.
/// Places are compared, not numbered: a new router does not move any other.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Precedence {
    priority: Reverse<i64>,
    /// Equal for all where the rule goes before the provider.
    early: Owner,
    specificity: Reverse<Specificity>,
    late: Owner,
    name: ObjectName,
}

/// What is known of a router besides its rule.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Owner {
    tls: Reverse<bool>,
    /// The place of the provider.
    provider: u32,
}

/// What decides between routers of one priority.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ranking<'a> {
    /// The providers in their order.
    pub providers: &'a [Arc<str>],
    /// Whether the rule goes before the provider.
    pub by_specificity: bool,
}

/// How much a rule demands, more being greater. The weakest of several alternatives says how
/// specific the whole is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Specificity {
    host: Host,
    /// How long the path is that it demands, in bytes.
    path_length: usize,
    path: Path,
    /// How many comparisons it has.
    tests: usize,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Host {
    Any,
    Regexp,
    Wildcard,
    Exact,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Path {
    Any,
    Prefix,
    Exact,
}

impl Precedence {
    /// Where a router stands.
    pub fn of(router: &Router, ranking: Ranking<'_>) -> Self {
        let Ranking { providers, by_specificity } = ranking;
        let place = providers.iter().position(|known| *known == router.name.provider);
        let provider = u32::try_from(place.unwrap_or(providers.len())).unwrap_or(u32::MAX);
        let owner = Owner { tls: Reverse(router.tls), provider };
        Self {
            priority: Reverse(router.priority),
            early: if by_specificity { Owner::default() } else { owner },
            specificity: Reverse(Specificity::of(&router.predicate)),
            late: owner,
            name: router.name.clone(),
        }
    }
}

impl Precedence {
    /// Whether the rule demands one of the hosts that it names.
    pub(crate) fn names_hosts(&self) -> bool {
        matches!(self.specificity.0.host, Host::Wildcard | Host::Exact)
    }
}

impl Specificity {
    fn of(predicate: &Predicate) -> Self {
        let hosts = predicate.hosts();
        let is_exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
        let host = match hosts.open {
            true if predicate.demands(&Field::Host) => Host::Regexp,
            true => Host::Any,
            false if hosts.patterns.iter().all(is_exact) => Host::Exact,
            false => Host::Wildcard,
        };
        let paths = predicate.paths();
        let is_exact = |path: &PathPattern| matches!(path, PathPattern::Exact(_));
        let path = match paths.open {
            true => Path::Any,
            false if paths.patterns.iter().all(is_exact) => Path::Exact,
            false => Path::Prefix,
        };
        let length = |path: &PathPattern| match path {
            PathPattern::Exact(text) | PathPattern::Prefix(text) => text.len(),
        };
        let shortest = paths.patterns.iter().map(length).min().filter(|_| !paths.open);
        let path_length = shortest.unwrap_or_default();
        Self { host, path_length, path, tests: predicate.tests() }
    }
}
