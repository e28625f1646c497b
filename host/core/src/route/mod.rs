//! Which router takes a request.
//!
//! **Invariant:** the cost of [`RouteTable::select`] depends on the request and on the routers
//! that share its host and path, not on how many routers there are. What it answers is what
//! trying every router in order of precedence would answer.

mod bucket;
mod order;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{
    exchange::Exchange,
    router::Router,
    rule::{Facts, HostPattern, Predicate},
};

use bucket::{Bucket, Entry, NONE};

/// The routers of one entrypoint, indexed.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// By precedence: the place of a router here is its rank.
    routers: Vec<Arc<Router>>,
    /// By the hosts that rules demand.
    exact: HashMap<Box<str>, Bucket>,
    /// By what stands behind `*.` in the hosts that rules demand.
    below: HashMap<Box<str>, Bucket>,
    /// Those that can be true for any host.
    open: Bucket,
}

impl RouteTable {
    /// Indexes routers by what their rules demand. Their order does not matter.
    pub fn build(routers: Vec<Arc<Router>>) -> Self {
        Self::with_providers(routers, &[])
    }

    /// The same, where of two routers that are alike in priority and specificity the one whose
    /// provider stands first in the list has precedence.
    pub fn with_providers(mut routers: Vec<Arc<Router>>, providers: &[Arc<str>]) -> Self {
        order::sort(&mut routers, providers);
        let mut exact: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut below: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut open = Vec::new();
        for (rank, router) in (0..).zip(&routers) {
            let hosts = router.predicate.hosts();
            if hosts.open {
                open.push(Entry { rank, condition: router.predicate.clone() });
                continue;
            }
            for pattern in &hosts.patterns {
                let condition = known_host(&router.predicate, pattern);
                let (index, name) = match pattern {
                    HostPattern::Exact(name) => (&mut exact, name),
                    HostPattern::Below(parent) => (&mut below, parent),
                };
                index.entry(name.as_str().into()).or_default().push(Entry { rank, condition });
            }
        }
        let bucketed = |index: HashMap<Box<str>, Vec<Entry>>| {
            index.into_iter().map(|(name, entries)| (name, Bucket::new(entries))).collect()
        };
        Self { exact: bucketed(exact), below: bucketed(below), open: Bucket::new(open), routers }
    }

    /// The router of the highest precedence whose rule is true for a request.
    pub fn select(&self, exchange: &Exchange) -> Option<&Arc<Router>> {
        let facts = Facts::of(exchange);
        let mut best = NONE;
        if let Some(bucket) = self.exact.get(facts.host) {
            best = bucket.search(&facts, best);
        }
        if !self.below.is_empty()
            && let Some((label, parent)) = facts.host.split_once('.')
            && !label.is_empty()
            && let Some(bucket) = self.below.get(parent)
        {
            best = bucket.search(&facts, best);
        }
        best = self.open.search(&facts, best);
        self.routers.get(best as usize)
    }

    /// All routers, by precedence.
    pub fn routers(&self) -> &[Arc<Router>] {
        &self.routers
    }
}

/// What is left to find out when a host is known to fit a pattern.
fn known_host(predicate: &Predicate, pattern: &HostPattern) -> Predicate {
    match pattern {
        HostPattern::Exact(name) => predicate.assume(&|test| test.decide_host(name)),
        HostPattern::Below(_) => predicate.assume(&|test| test.demands(pattern).then_some(true)),
    }
}

#[cfg(test)]
mod tests;
