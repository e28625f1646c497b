//! Which router takes a request.
//!
//! **Invariant:** the cost of [`RouteTable::select`] depends on the request and on the routers
//! that share its host and path, not on how many routers there are. What it answers is what
//! trying every router in order of precedence would answer.

mod bucket;
mod order;
mod shards;

use std::sync::Arc;

use crate::{
    exchange::Exchange,
    roll::Roll,
    router::Router,
    rule::{Facts, HostPattern, Predicate},
};

use bucket::{Bucket, Entry};
pub use order::{Precedence, Ranking};
use shards::Shards;

/// The routers of one entrypoint, indexed. A copy shares all that is the same: when a router
/// changes, what is made anew is the little that its hosts and paths lead to.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routers: Roll<Arc<Precedence>, Arc<Router>>,
    /// By the hosts that rules demand.
    exact: Shards<Bucket>,
    /// By what stands behind `*.` in the hosts that rules demand.
    below: Shards<Bucket>,
    /// Those that can be true for any host.
    open: Bucket,
}

impl RouteTable {
    /// Indexes routers by what their rules demand. Their order does not matter.
    pub fn build(routers: Vec<Arc<Router>>) -> Self {
        Self::ranked(routers, Ranking::default())
    }

    /// The same, where it is said what decides between routers of one priority.
    pub fn ranked(routers: Vec<Arc<Router>>, ranking: Ranking<'_>) -> Self {
        let added = routers
            .into_iter()
            .map(|router| (Arc::new(Precedence::of(&router, ranking)), Some(router)));
        let mut table = Self::default();
        table.update(added.collect());
        table
    }

    /// Puts in, replaces or removes the router of each precedence. A router that now stands
    /// elsewhere is to be removed where it stood.
    pub fn update(&mut self, changes: Vec<(Arc<Precedence>, Option<Arc<Router>>)>) {
        if self.is_empty() {
            self.exact.make_room(changes.len());
        }
        for (precedence, router) in &changes {
            if let Some(before) = self.routers.get(&**precedence).cloned() {
                self.remove(precedence, &before);
            }
            if let Some(router) = router {
                self.insert(precedence, router);
            }
        }
        self.routers.update(changes);
    }

    /// The router of the highest precedence whose rule is true for a request.
    pub fn select(&self, exchange: &Exchange) -> Option<&Arc<Router>> {
        let facts = Facts::of(exchange);
        let mut best = None;
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
        best.map(|entry| &entry.router)
    }

    /// All routers, by precedence.
    pub fn routers(&self) -> impl DoubleEndedIterator<Item = &Arc<Router>> + Clone {
        self.routers.values()
    }

    /// How many routers there are.
    pub fn len(&self) -> usize {
        self.routers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    /// About how many bytes of memory the index takes, without the routers themselves.
    pub fn bytes(&self) -> usize {
        let roll = self.len() * (size_of::<Precedence>() + 7 * size_of::<usize>());
        roll + self.exact.bytes() + self.below.bytes() + self.open.bytes()
    }

    fn insert(&mut self, precedence: &Arc<Precedence>, router: &Arc<Router>) {
        let methods = router.predicate.methods();
        let entry = |condition| {
            let (precedence, router) = (precedence.clone(), router.clone());
            Entry { precedence, methods, condition, router }
        };
        self.at_hosts(router, |bucket, condition| bucket.insert(entry(condition)));
    }

    fn remove(&mut self, precedence: &Precedence, router: &Router) {
        self.at_hosts(router, |bucket, condition| bucket.remove(precedence, &condition));
    }

    /// Changes every bucket that a router belongs in, told what is left to find out there.
    fn at_hosts(&mut self, router: &Router, change: impl Fn(&mut Bucket, Predicate)) {
        let hosts = router.predicate.hosts();
        if hosts.open {
            change(&mut self.open, router.predicate.clone());
            return;
        }
        for pattern in &hosts.patterns {
            let condition = known_host(&router.predicate, pattern);
            let (index, name) = match pattern {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Below(parent) => (&mut self.below, parent),
            };
            index.change(name, |bucket| change(bucket, condition));
        }
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
