//! Routers that stand in each other's way: one that never gets a request, one of two that are the
//! same, a host that somebody wrote out behind a regular expression that happens to be longer.
//!
//! Routers of one condition are found by its hash. Only those that take any host are compared with
//! those that name one; every request pays for each of them anyway, so there are few.

use std::{collections::BTreeMap, hash::BuildHasher as _, mem, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::routers::RulePriority;
use crate::{
    name::ObjectName,
    route::Precedence,
    router::Router,
    rule::{Field, HostPattern, Op, Predicate},
};

/// Of routers that take any host, as many as this are compared with those that name one, by
/// precedence. With more than that, routing is slow before it is wrong.
const MOST_OPEN: usize = 64;

/// A router and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) place: Arc<Precedence>,
    pub(super) router: Arc<Router>,
    /// What declares it: where a grievance is told.
    pub(super) origin: Arc<str>,
}

/// What a router has to complain of beside others: a sentence, and what to do.
pub(super) type Grievance = Option<(String, String)>;

/// Routers that stand in each other's way.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlaps {
    hasher: DefaultHashBuilder,
    /// By the hash of their conditions; each list by precedence.
    alike: HashMap<u64, Vec<Standing>>,
    /// Those that name hosts, whose precedence is the length of their rules.
    named: HashMap<ObjectName, Standing>,
    /// Those that take any host, whose precedence is the length of their rules.
    open: BTreeMap<Arc<Precedence>, Arc<Router>>,
    touched: Vec<u64>,
    unchecked: Vec<ObjectName>,
    /// All that name hosts are to be looked at again.
    is_stale: bool,
}

/// What is different for whom.
#[derive(Debug, Default)]
pub(super) struct Grievances {
    /// Of a router of the same condition as another.
    pub(super) alike: Vec<(ObjectName, Grievance)>,
    /// Of a router whose host another takes.
    pub(super) hidden: Vec<(ObjectName, Grievance)>,
}

impl Overlaps {
    /// So many routers come at once.
    pub(super) fn make_room(&mut self, routers: usize) {
        self.alike.reserve(routers);
        self.named.reserve(routers);
        self.touched.reserve(routers);
        self.unchecked.reserve(routers);
    }

    /// A router is thus now.
    pub(super) fn replace(
        &mut self,
        mode: RulePriority,
        before: Option<&Standing>,
        after: Option<&Standing>,
        grievances: &mut Grievances,
    ) {
        let is_same = before.zip(after).is_some_and(|(one, two)| {
            one.place == two.place
                && one.origin == two.origin
                && one.router.predicate == two.router.predicate
                && one.router.entrypoints == two.router.entrypoints
        });
        if let Some(before) = before {
            let hash = self.hasher.hash_one(&before.router.predicate);
            if let Some(alike) = self.alike.get_mut(&hash) {
                alike.retain(|known| known.place != before.place);
                if alike.is_empty() {
                    self.alike.remove(&hash);
                }
            }
            if !is_same {
                self.touched.push(hash);
                grievances.alike.push((before.router.name.clone(), None));
            }
            if self.named.remove(&before.router.name).is_some() && !is_same {
                grievances.hidden.push((before.router.name.clone(), None));
            }
            self.is_stale |= self.open.remove(&before.place).is_some() && !is_same;
        }
        if let Some(after) = after {
            let hash = self.hasher.hash_one(&after.router.predicate);
            // Mostly it is alone.
            let alike = self.alike.entry(hash).or_insert_with(|| Vec::with_capacity(1));
            let at = alike.partition_point(|known| known.place < after.place);
            alike.insert(at, after.clone());
            if !is_same {
                self.touched.push(hash);
            }
            self.sort_in(mode, after, is_same);
        }
    }

    fn sort_in(&mut self, mode: RulePriority, after: &Standing, is_same: bool) {
        let Standing { place, router, .. } = after;
        let is_by_length = mode == RulePriority::Length
            && usize::try_from(router.priority).is_ok_and(|it| it == router.rule.len());
        if !is_by_length {
            return;
        }
        if place.names_hosts() {
            self.named.insert(router.name.clone(), after.clone());
            if !is_same {
                self.unchecked.push(router.name.clone());
            }
        } else if any_path(&router.predicate).paths().open || router.predicate.demands(&Field::Host)
        {
            self.open.insert(place.clone(), router.clone());
            self.is_stale |= !is_same;
        }
    }

    /// Looks at what was touched.
    pub(super) fn check(&mut self, grievances: &mut Grievances) {
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for hash in touched {
            grievances.alike.extend(self.alike.get(&hash).into_iter().flat_map(|it| alike(it)));
        }
        let unchecked = mem::take(&mut self.unchecked);
        if mem::take(&mut self.is_stale) {
            let all = self.named.values().map(|it| (it.router.name.clone(), self.hidden(it)));
            grievances.hidden.extend(all);
        } else if !self.open.is_empty() {
            let some = unchecked.iter().filter_map(|name| self.named.get(name));
            let some = some.map(|it| (it.router.name.clone(), self.hidden(it)));
            grievances.hidden.extend(some);
        }
    }

    /// Whether another router takes all that a router wants at one of its hosts.
    fn hidden(&self, named: &Standing) -> Grievance {
        let router = &named.router;
        let hosts = router.predicate.hosts();
        let before = self.open.iter().take(MOST_OPEN);
        let before = before.take_while(|(place, _)| **place < named.place);
        for (_, open) in before.filter(|(_, open)| meet(router, open)) {
            for host in &hosts.patterns {
                let HostPattern::Exact(host) = host else { continue };
                let left = any_path(&open.predicate).assume(&|test| test.decide_host(host));
                let wanted = router.predicate.assume(&|test| test.decide_host(host));
                if wanted.implies(&left) {
                    let message = format!(
                        "its requests for `{host}` go to `{}`, whose rule is longer: `{}`",
                        open.name, open.rule
                    );
                    let hint = format!(
                        "set `rule-priority = \"specificity\"` in `[http]`, or give this router a \
                         `priority` above {}",
                        open.priority
                    );
                    return Some((message, hint));
                }
            }
        }
        None
    }
}

/// The same condition, without saying that a path starts with a slash: every path does.
fn any_path(predicate: &Predicate) -> Predicate {
    predicate.assume(&|test| {
        let is_root = test.op() == Op::Prefix && test.values().iter().any(|path| path == "/");
        (is_root && *test.field() == Field::Path).then_some(true)
    })
}

/// Whether two routers serve an entrypoint both.
fn meet(one: &Router, other: &Router) -> bool {
    one.entrypoints.iter().any(|entrypoint| other.entrypoints.contains(entrypoint))
}

/// What the routers of one condition have to complain of. They come by precedence.
fn alike(routers: &[Standing]) -> Vec<(ObjectName, Grievance)> {
    if let [alone] = routers {
        return vec![(alone.router.name.clone(), None)];
    }
    let mut first: HashMap<&str, &Router> = HashMap::new();
    let mut grievances = Vec::with_capacity(routers.len());
    for (place, Standing { router, .. }) in routers.iter().enumerate() {
        // Hashes may be the same by chance.
        let taken = router.entrypoints.iter().map(|name| first.get(&**name).copied());
        let taken: Vec<_> =
            taken.map(|it| it.filter(|it| it.predicate == router.predicate)).collect();
        let grievance = match taken.iter().flatten().next() {
            _ if place == 0 => None,
            Some(winner)
                if (&winner.rule, winner.priority, winner.tls)
                    == (&router.rule, router.priority, router.tls) =>
            {
                Some((
                    format!("it has the rule and the priority of `{}`, which wins", winner.name),
                    "give one of them another rule, or a `priority`".to_owned(),
                ))
            }
            Some(winner) if taken.iter().all(Option::is_some) => Some((
                format!(
                    "it never gets a request: `{}` wants the same and has precedence",
                    winner.name
                ),
                "remove one of them, or give this one a higher `priority`".to_owned(),
            )),
            _ => None,
        };
        grievances.push((router.name.clone(), grievance));
        for entrypoint in &router.entrypoints {
            first.entry(entrypoint).or_insert(router);
        }
    }
    grievances
}
