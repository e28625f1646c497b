//! Why a request went where it went: the routers that could be meant, and what became of each.
//!
//! This looks at every router, so it is for people who ask, not for requests.

use std::sync::Arc;

use crate::{
    exchange::Exchange,
    name::ObjectName,
    route::RouteTable,
    router::Router,
    rule::{Facts, HostPattern, PathPattern},
};

/// Candidates that did not match are left out after this many of one kind.
const MOST_MISSES: usize = 50;

/// A router that could be meant.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The router.
    pub router: Arc<Router>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It takes the request.
    Selected,
    /// Its rule is true, but another router has precedence.
    Shadowed {
        /// The router that takes the request.
        by: ObjectName,
    },
    /// Its rule is not true.
    Failed {
        /// The first test that failed, in words.
        reason: String,
    },
}

impl RouteTable {
    /// Every router whose rule is true for a request, names its host, or nearly does (the host
    /// is one edit away, or the path fits), by precedence.
    pub fn explain(&self, exchange: &Exchange) -> Vec<Candidate> {
        let facts = Facts::of(exchange);
        let mut selected: Option<&Arc<Router>> = None;
        let mut candidates = Vec::new();
        let (mut by_host, mut by_path) = (0, 0);
        for router in self.routers() {
            let outcome = match (router.predicate.failure(&facts), selected) {
                (None, None) => {
                    selected = Some(router);
                    Outcome::Selected
                }
                (None, Some(by)) => Outcome::Shadowed { by: by.name.clone() },
                (Some(reason), _) => {
                    // Counted apart: thousands may have a path that fits, and none is meant.
                    let misses = match near(router, &facts) {
                        Some(Near::Host) => &mut by_host,
                        Some(Near::Path) => &mut by_path,
                        None => continue,
                    };
                    *misses += 1;
                    if *misses > MOST_MISSES {
                        continue;
                    }
                    Outcome::Failed { reason }
                }
            };
            candidates.push(Candidate { router: router.clone(), outcome });
        }
        candidates
    }
}

/// By what a router whose rule is not true could be the one that was meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Near {
    /// Its host, or nearly.
    Host,
    /// Its path, or that it wants neither.
    Path,
}

fn near(router: &Router, facts: &Facts<'_>) -> Option<Near> {
    let hosts = router.predicate.hosts();
    let paths = router.predicate.paths();
    let path_fits = paths.patterns.iter().any(|pattern| match pattern {
        PathPattern::Exact(path) => path == facts.path,
        // Every path starts with a slash, so that says nothing.
        PathPattern::Prefix(path) => path != "/" && facts.path.starts_with(path.as_str()),
    });
    let host_is_near = hosts.patterns.iter().any(|pattern| match pattern {
        HostPattern::Exact(name) => {
            name.len().abs_diff(facts.host.len()) <= 1
                && strsim::damerau_levenshtein(name, facts.host) <= 1
        }
        HostPattern::Below(parent) => {
            facts.host.split_once('.').is_some_and(|(_, rest)| rest == parent)
        }
    });
    match host_is_near {
        true => Some(Near::Host),
        false => (path_fits || (hosts.open && paths.open)).then_some(Near::Path),
    }
}

#[cfg(test)]
mod tests;
