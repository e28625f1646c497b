//! Routers that stand in each other's way: one that never gets a request, one of two that are the
//! same, a host that somebody wrote out behind a regular expression that happens to be longer.
//!
//! Routers of one condition are found by its hash. Of others those of one host are compared, and those
//! that take any host with those that name one: every request pays for each of these, so there are few.

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

/// Of the routers of one host, as many as this are compared with the others.
const MOST_AT_HOST: usize = 16;

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
    /// Those that name hosts.
    named: HashMap<ObjectName, Standing>,
    /// The same, by each host as it is written; each list by precedence.
    at_host: HashMap<String, Vec<Standing>>,
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
            if self.named.remove(&before.router.name).is_some() {
                self.leave_hosts(before, is_same);
                if !is_same {
                    grievances.hidden.push((before.router.name.clone(), None));
                }
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
        if place.names_hosts() {
            self.named.insert(router.name.clone(), after.clone());
            self.enter_hosts(after, is_same);
            if !is_same {
                self.unchecked.push(router.name.clone());
            }
            return;
        }
        let takes_all_of_a_host =
            any_path(&router.predicate).paths().open || router.predicate.demands(&Field::Host);
        if is_by_length(mode, router) && takes_all_of_a_host {
            self.open.insert(place.clone(), router.clone());
            self.is_stale |= !is_same;
        }
    }

    fn enter_hosts(&mut self, after: &Standing, is_same: bool) {
        for host in after.router.predicate.hosts().names() {
            // Which hosts lie below it would have to be looked for.
            self.is_stale |= !is_same && host.starts_with('*');
            let list = self.at_host.entry(host).or_insert_with(|| Vec::with_capacity(1));
            let at = list.partition_point(|known| known.place < after.place);
            list.insert(at, after.clone());
            if !is_same {
                let behind = list.iter().skip(at + 1).take(MOST_AT_HOST);
                self.unchecked.extend(behind.map(|it| it.router.name.clone()));
            }
        }
    }

    fn leave_hosts(&mut self, before: &Standing, is_same: bool) {
        for host in before.router.predicate.hosts().names() {
            self.is_stale |= !is_same && host.starts_with('*');
            let Some(list) = self.at_host.get_mut(&host) else { continue };
            list.retain(|known| known.place != before.place);
            if !is_same {
                let others = list.iter().take(MOST_AT_HOST);
                self.unchecked.extend(others.map(|it| it.router.name.clone()));
            }
            if list.is_empty() {
                self.at_host.remove(&host);
            }
        }
    }

    /// Looks at what was touched.
    pub(super) fn check(&mut self, mode: RulePriority, grievances: &mut Grievances) {
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for hash in touched {
            grievances.alike.extend(self.alike.get(&hash).into_iter().flat_map(|it| alike(it)));
        }
        let mut unchecked = mem::take(&mut self.unchecked);
        if mem::take(&mut self.is_stale) {
            let all = self.named.values().map(|it| (it.router.name.clone(), self.hidden(mode, it)));
            grievances.hidden.extend(all);
            return;
        }
        unchecked.sort_unstable();
        unchecked.dedup();
        let some = unchecked.iter().filter_map(|name| self.named.get(name));
        let some = some.map(|it| (it.router.name.clone(), self.hidden(mode, it)));
        grievances.hidden.extend(some);
    }

    /// Whether another router takes all that a router wants at one of its hosts.
    fn hidden(&self, mode: RulePriority, named: &Standing) -> Grievance {
        let Standing { place, router, .. } = named;
        exact_hosts(router).iter().find_map(|host| {
            let first = |(before, _): &(&Arc<Precedence>, &Arc<Router>)| **before < *place;
            let at = |host: &str| {
                let list = self.at_host.get(host).into_iter().flatten().take(MOST_AT_HOST);
                list.map(|it| (&it.place, &it.router)).take_while(first)
            };
            let wildcard = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            let wide = wildcard.as_deref().into_iter().flat_map(at);
            let open = self.open.iter().take(MOST_OPEN).filter(|_| is_by_length(mode, router));
            let before = open.take_while(first).chain(at(host)).chain(wide);
            let mut before = before.map(|(_, it)| it).filter(|it| {
                // Those of one condition are told of anyway.
                serves_all(it, router) && it.predicate != router.predicate
            });
            before
                .find(|it| takes_all(it, router, host))
                .map(|it| hidden_by(mode, it, router, host))
        })
    }
}

/// Whether the precedence of a router is the length of its rule.
fn is_by_length(mode: RulePriority, router: &Router) -> bool {
    mode == RulePriority::Length
        && usize::try_from(router.priority).is_ok_and(|it| it == router.rule.len())
}

fn exact_hosts(router: &Router) -> Vec<String> {
    let exact = |host| match host {
        HostPattern::Exact(host) => Some(host),
        HostPattern::Below(_) => None,
    };
    router.predicate.hosts().patterns.into_iter().filter_map(exact).collect()
}

/// Whether the one is true for all requests to a host for which the other is.
fn takes_all(one: &Router, other: &Router, host: &str) -> bool {
    let left = any_path(&one.predicate).assume(&|test| test.decide_host(host));
    let wanted = other.predicate.assume(&|test| test.decide_host(host));
    !matches!(wanted, Predicate::Never) && wanted.implies(&left)
}

fn hidden_by(mode: RulePriority, winner: &Router, router: &Router, host: &str) -> (String, String) {
    let Router { name, rule, priority, .. } = winner;
    let mut higher = format!("give this router a `priority` above {priority}");
    if router.tls && !winner.tls {
        // In Traefik the other one is not on an encrypted entrypoint without `http.tls`.
        higher.push_str(
            ", or keep routers without `tls` from encrypted entrypoints: `tls = { plain-routers = false }`",
        );
    }
    match is_by_length(mode, winner) && is_by_length(mode, router) {
        true => (
            match rule.len() > router.rule.len() {
                true => {
                    format!(
                        "its requests for `{host}` go to `{name}`, whose rule is longer: `{rule}`"
                    )
                }
                false => format!(
                    "its requests for `{host}` go to `{name}`, whose rule is as long and comes first: `{rule}`"
                ),
            },
            format!("set `rule-priority = \"specificity\"` in `[http]`, or {higher}"),
        ),
        false => (
            format!("its requests for `{host}` go to `{name}`, which has precedence: `{rule}`"),
            format!("{higher}, or remove it"),
        ),
    }
}

/// The same condition, without saying that a path starts with a slash: every path does.
fn any_path(predicate: &Predicate) -> Predicate {
    predicate.assume(&|test| {
        let is_root = test.op() == Op::Prefix && test.values().iter().any(|path| path == "/");
        (is_root && *test.field() == Field::Path).then_some(true)
    })
}

/// Whether the one is wherever the other is.
fn serves_all(one: &Router, other: &Router) -> bool {
    other.entrypoints.iter().all(|entrypoint| one.entrypoints.contains(entrypoint))
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
