//! Which router has precedence over which.
//!
//! **Invariant:** the order is total: no two routers of different names are equal, so the same
//! routers always give the same table.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    name::ObjectName,
    router::Router,
    rule::{HostPattern, PathPattern, Predicate},
};

/// How much a rule demands, more being greater: of the host, of the path, and how many tests.
type Specificity = (u8, u8, usize, usize);

/// By priority, else by how much the rule demands, else by provider, else by name.
pub(super) fn sort(routers: &mut [Arc<Router>], providers: &[Arc<str>]) {
    routers.sort_by_cached_key(|router| {
        let ObjectName { name, provider } = &router.name;
        let place = providers.iter().position(|known| known == provider);
        (
            Reverse(router.priority),
            Reverse(specificity(&router.predicate)),
            place.unwrap_or(providers.len()),
            name.clone(),
            provider.clone(),
        )
    });
}

fn specificity(predicate: &Predicate) -> Specificity {
    let hosts = predicate.hosts();
    let host = match hosts.open {
        true => 0,
        false => {
            1 + u8::from(hosts.patterns.iter().all(|host| matches!(host, HostPattern::Exact(_))))
        }
    };
    let paths = predicate.paths();
    let is_exact = |path: &PathPattern| matches!(path, PathPattern::Exact(_));
    let path = match paths.open {
        true => 0,
        false => 1 + u8::from(paths.patterns.iter().all(is_exact)),
    };
    let length = |path: &PathPattern| match path {
        PathPattern::Exact(text) | PathPattern::Prefix(text) => text.len(),
    };
    // The weakest of several alternatives says how specific the whole is.
    let length = if paths.open { 0 } else { paths.patterns.iter().map(length).min().unwrap_or(0) };
    (host, path, length, predicate.tests())
}
