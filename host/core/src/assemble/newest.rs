//! Instances that declare one object: whose word counts, and what is said of the others.
//!
//! The newest instance in use wins, and the others become a warning. A canary is tried beside the
//! others: what it declares never wins over them, and that it leads to a pool of its own is no
//! disagreement.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use crate::{
    catalog::Registered,
    declare::{KindSpec, MiddlewareSpec, RouterSpec, TransportSpec},
    name::fold,
    policy::LoadBalancer,
};

/// Something doubtful about an object, and what to do.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) message: String,
    pub(super) hint: String,
}

/// What one says of an object.
pub(super) trait Word: PartialEq {
    /// What it says otherwise than another: keys of the schema. Nothing: they mean the same.
    fn differences(&self, other: &Self) -> Vec<&'static str>;
}

/// An instance that declares an object, by how much its word counts: one in use before one that is
/// not, one that is trusted before one that is being tried, then the newest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank<'a> {
    usable: bool,
    trusted: bool,
    version: u64,
    pub(super) id: &'a Arc<str>,
    service: &'a str,
}

impl<'a> Rank<'a> {
    pub(super) fn of(registered: &'a Registered) -> Self {
        let instance = &*registered.instance;
        Self {
            usable: instance.edge_health().is_usable(),
            trusted: instance.canary.is_none(),
            version: instance.version,
            id: &registered.id,
            service: &instance.service,
        }
    }
}

/// The word of the newest instance in use, and what is doubtful about that. A word that is wrong does
/// not take the place of one that is right.
pub(super) fn newest<'a, T: Word>(
    mut ranked: Vec<(Rank<'a>, T)>,
    mut is_sound: impl FnMut(&T) -> bool,
) -> Option<(Rank<'a>, T, Vec<Doubt>)> {
    ranked.sort_by_key(|(rank, _)| Reverse(*rank));
    let newest = ranked.first().map(|(rank, _)| *rank)?;
    if let [(_, first), others @ ..] = &*ranked
        && others.iter().any(|(_, other)| other != first)
    {
        // Finding out may take a while, and most say what others say.
        let mut wrong: Vec<&T> = Vec::new();
        let right = ranked.iter().position(|(_, spec)| {
            let is_right = !wrong.contains(&spec) && is_sound(spec);
            if !is_right {
                wrong.push(spec);
            }
            is_right
        });
        if let Some(before) = right.and_then(|place| ranked.get_mut(..=place)) {
            before.rotate_right(1);
        }
    }
    let mut ranked = ranked.into_iter();
    let (winner, spec) = ranked.next()?;
    let others = ranked.filter_map(|(rank, other)| {
        let mut keys = spec.differences(&other);
        if rank.trusted != winner.trusted {
            // A canary leads to a pool of its own.
            keys.retain(|key| *key != "service");
        }
        (!keys.is_empty()).then_some((rank, keys))
    });
    let (canaries, peers): (Vec<_>, Vec<_>) =
        others.partition(|(rank, _)| winner.trusted && !rank.trusted && winner.usable);
    let mut doubts = Vec::new();
    doubts.extend(disagreement(winner, newest, &peers));
    doubts.extend(trial(winner, &canaries));
    Some((winner, spec, doubts))
}

type Others<'a> = [(Rank<'a>, Vec<&'static str>)];

/// What is said where instances that are as good declare it otherwise.
fn disagreement(winner: Rank<'_>, newest: Rank<'_>, others: &Others<'_>) -> Option<Doubt> {
    if others.is_empty() {
        return None;
    }
    let (keys, losers) = (keys(others), ids(others));
    let services: BTreeSet<_> =
        others.iter().map(|(rank, _)| rank.service).chain([winner.service]).collect();
    let (who, hint) = match services.len() {
        1 => ("instances disagree".to_owned(), "register all of them with the same tags"),
        _ => {
            let services: Vec<_> = services.iter().map(|name| format!("`{name}`")).collect();
            let who =
                format!("instances of {} give one name to two things", services.join(" and "));
            (who, "a name stands for one thing: give each service one of its own")
        }
    };
    let winner = winner.id;
    let message = match winner == newest.id {
        true => format!(
            "{who}: `{winner}` is the newest in use and wins; what {losers} declare otherwise \
             ({keys}) has no effect"
        ),
        false => format!(
            "{who}: what the newest in use, `{}`, declares does not work, so `{winner}` wins; \
             what {losers} declare otherwise ({keys}) has no effect",
            newest.id
        ),
    };
    Some(Doubt { message, hint: hint.to_owned() })
}

/// What is said where canaries declare it otherwise than what they are tried beside.
fn trial(winner: Rank<'_>, canaries: &Others<'_>) -> Option<Doubt> {
    if canaries.is_empty() {
        return None;
    }
    let (keys, ids) = (keys(canaries), ids(canaries));
    let message = format!(
        "canaries declare {keys} otherwise ({ids}), which has no effect beside `{}`",
        winner.id
    );
    let hint = "a canary may declare a router of another name".to_owned();
    Some(Doubt { message, hint })
}

fn keys(others: &Others<'_>) -> String {
    let keys: BTreeSet<_> = others.iter().flat_map(|(_, keys)| keys).collect();
    let shown = |key: &&str| match key.contains(' ') {
        true => (*key).to_owned(),
        false => format!("`{key}`"),
    };
    let keys: Vec<_> = keys.into_iter().map(shown).collect();
    keys.join(", ")
}

fn ids(others: &Others<'_>) -> String {
    let ids: Vec<_> = others.iter().map(|(rank, _)| format!("`{}`", rank.id)).collect();
    ids.join(", ")
}

/// The keys whose values are not equal.
fn unequal<const N: usize>(pairs: [(&'static str, bool); N]) -> Vec<&'static str> {
    pairs.into_iter().filter(|(_, equal)| !equal).map(|(key, _)| key).collect()
}

impl Word for &RouterSpec {
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        unequal([
            ("rule", self.rule == other.rule),
            ("service", self.service == other.service),
            ("middlewares", self.middlewares == other.middlewares),
            ("entrypoints", self.entrypoints == other.entrypoints),
            ("priority", self.priority == other.priority),
            ("tls", self.tls == other.tls),
            ("timeouts", self.timeouts == other.timeouts),
            ("observability", self.observability == other.observability),
            // It is closed where another is not: a tag of it could not be read.
            ("a part that cannot be read", self.is_doubtful == other.is_doubtful),
        ])
    }
}

impl Word for &MiddlewareSpec {
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        unequal([
            ("plugin", self.plugin.as_deref().map(fold) == other.plugin.as_deref().map(fold)),
            ("options", self.config == other.config),
            ("on-failure", self.on_failure == other.on_failure),
            ("time-limit", self.time_limit == other.time_limit),
        ])
    }
}

impl Word for (&Arc<LoadBalancer>, &KindSpec) {
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let ((one, kind), (two, other_kind)) = (self, other);
        unequal([
            ("kind", kind == other_kind),
            ("pass-host-header", one.pass_host_header == two.pass_host_header),
            ("strategy", one.strategy == two.strategy),
            ("hash", one.hash_on == two.hash_on),
            ("sticky", one.sticky == two.sticky),
            ("slow-start", one.slow_start == two.slow_start),
            ("health-check", one.health_check == two.health_check),
            ("passive-health-check", one.passive == two.passive),
            ("retry", one.retry == two.retry),
            ("circuit-breaker", one.breaker == two.breaker),
            ("limits", one.limits == two.limits),
            ("timeouts", one.timeouts == two.timeouts),
            ("servers-transport", one.transport == two.transport),
            ("a part that cannot be read", one.is_closed == two.is_closed),
        ])
    }
}

impl Word for &TransportSpec {
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        unequal([("options", self == other)])
    }
}
