//! What can be said only when all lines are known: which names a rule has to answer, because a
//! zone would hide what is beside them, or could not have them.

use std::collections::{BTreeMap, HashSet};

use super::plan::{From, Plan, Record};

/// How many aliases are followed from one to the next.
const MOST_ALIASES: usize = 16;

/// Makes rules of what is none of a zone, and adds what dnsmasq does by itself where we would do
/// something else.
pub(super) fn settle(plan: &mut Plan) {
    nulls(plan);
    aliases(plan);
    wildcards(plan);
    for key in ["domain-needed", "bogus-priv"] {
        plan.set_by_default("filter", key, "false");
    }
    plan.set_by_default("filter", "rebind-protection", "\"off\"");
}

/// Names that are answered with no address in particular, mostly those of advertisers: there may be
/// more of them than there can be zones. A rule hides what is known below its name, so where there
/// is something, it is a zone all the same.
fn nulls(plan: &mut Plan) {
    let above: HashSet<String> =
        plan.records.iter().flat_map(|record| suffixes(&record.value.owner)).collect();
    let asked: HashSet<String> = plan
        .suffixes
        .iter()
        .filter(|(_, upstreams)| upstreams.iter().any(|it| it.value.is_some()))
        .flat_map(|(suffix, _)| suffixes(suffix))
        .collect();
    for (name, addresses) in std::mem::take(&mut plan.nulls) {
        if asked.contains(&name)
            && let Some(first) = addresses.first()
        {
            plan.leave_again(&first.origin, "it hides what others are asked for below that name");
        }
        if above.contains(&name) {
            for From { value, origin } in addresses {
                let rtype = if value.contains(':') { "AAAA" } else { "A" };
                plan.record_of(origin, &name, rtype, value, None);
            }
            plan.wild.push(name);
        } else {
            plan.rewrites.insert(format!("*.{name}"), addresses.clone());
            plan.rewrites.insert(name, addresses);
        }
    }
}

/// Aliases of names that no zone has: a zone could not begin with one, and one of the name above
/// would hide all others there. Rules are not applied to what they make, so each leads to where the
/// last one of a chain does.
fn aliases(plan: &mut Plan) {
    let is_alone = |alias: &&Record| {
        alias.rtype == "CNAME" && plan.root(&alias.owner).is_none_or(|root| root == alias.owner)
    };
    let alone = plan.records.iter().map(|record| &record.value).filter(is_alone);
    let known: BTreeMap<String, String> =
        alone.map(|alias| (alias.owner.clone(), bare(&alias.data))).collect();
    let of_zones = plan.records.iter().filter(|it| !known.contains_key(&it.value.owner));
    let above: HashSet<String> =
        of_zones.flat_map(|it| suffixes(&it.value.owner).skip(1)).collect();
    for mut record in std::mem::take(&mut plan.records) {
        if record.value.rtype != "CNAME" {
            plan.records.push(record);
            continue;
        }
        let Some(target) = last(&record.value.data, &known) else {
            plan.leave_again(&record.origin, "this alias leads back to itself");
            continue;
        };
        record.value.data = format!("{target}.");
        if !known.contains_key(&record.value.owner) {
            plan.records.push(record);
            continue;
        }
        let From { value, origin } = record;
        let below = value.owner.strip_prefix("*.");
        if below.is_some_and(|below| above.contains(below)) {
            plan.leave_again(&origin, "it would hide the names below that have records");
            continue;
        }
        if value.ttl.is_some() {
            plan.leave_again(&origin, "its TTL is that of all rules, `dns.ttl`");
        }
        plan.rewrites.entry(value.owner).or_insert_with(|| vec![From { value: target, origin }]);
    }
}

/// A name that answers for all below it does so beside and below names that have records too. A
/// wildcard of a zone does not (RFC 4592, 2.2.1), so what it would have said is written for each.
fn wildcards(plan: &mut Plan) {
    let mut said: BTreeMap<&str, Vec<&From<Record>>> = BTreeMap::new();
    for record in &plan.records {
        if plan.wild.contains(&record.value.owner) {
            said.entry(&record.value.owner).or_default().push(record);
        }
    }
    let mut known: HashSet<String> =
        plan.records.iter().map(|record| record.value.owner.clone()).collect();
    let mut more = Vec::new();
    for From { value, .. } in &plan.records {
        let owner = value.owner.trim_start_matches("*.");
        let Some(root) = plan.root(owner) else { continue };
        let Some(said) = said.get(root) else { continue };
        let between = suffixes(owner).take_while(|name| name != root);
        for name in between.flat_map(|name| [format!("*.{name}"), name]) {
            if known.insert(name.clone()) {
                more.extend(said.iter().map(|From { value, origin }| From {
                    value: Record { owner: name.clone(), ..value.clone() },
                    origin: origin.clone(),
                }));
            }
        }
    }
    plan.records.extend(more);
}

/// Where a chain of aliases ends; `None`: it does not.
fn last(target: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let mut target = bare(target);
    for _ in 0..MOST_ALIASES {
        match known.get(&target) {
            Some(next) => target = next.clone(),
            None => return Some(target),
        }
    }
    None
}

fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A name and those above it.
fn suffixes(name: &str) -> impl Iterator<Item = String> {
    std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1)).map(str::to_owned)
}
