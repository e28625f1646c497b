//! What a provider reports: one step becomes core's facts.
//!
//! What is merely bad is left out with a notice; the rest goes on.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use portolan_core::item::{
    Canary, Change, Declaration, Edge, Found, Fragment, Health, Instance, Item, Key, Node, Notice,
    Step, Update,
};

use crate::bindings::{catalog, lookup, provider as wit, types::Pair};

/// The facts of a step; or, where the whole of it makes no sense, why.
pub(super) fn step(step: wit::Step) -> Result<Step, String> {
    if step.cursor.len() > MAX_CURSOR {
        return Err(format!(
            "a cursor of {} bytes; at most {MAX_CURSOR} are kept",
            step.cursor.len()
        ));
    }
    let mut notices: Vec<Notice> = step
        .notices
        .into_iter()
        .map(|notice| Notice { origin: notice.origin, message: notice.message })
        .collect();
    let update = match step.update {
        wit::Update::Unchanged => Update::Unchanged,
        wit::Update::Snapshot(items) => Update::Snapshot(snapshot(items, &mut notices)?),
        wit::Update::Excerpt(wit::Excerpt { items, unread }) => {
            Update::Excerpt { items: snapshot(items, &mut notices)?, unread }
        }
        wit::Update::Delta(changes) => Update::Delta(delta(changes, &mut notices)?),
    };
    Ok(Step { update, cursor: step.cursor, notices, next_poll_ms: step.next_poll_ms })
}

fn snapshot(items: Vec<wit::Item>, notices: &mut Vec<Notice>) -> Result<Vec<Item>, String> {
    bounded(items.len())?;
    let mut seen = HashSet::with_capacity(items.len());
    let mut kept = Vec::with_capacity(items.len());
    for wit in items {
        match item(wit) {
            Ok(item) if seen.insert(item.key()) => {
                notices.extend(unreachable(&item));
                kept.push(item);
            }
            Ok(item) => notices.push(Notice {
                origin: name(&item.key()),
                message: "is reported twice; the first report is used".to_owned(),
            }),
            Err(notice) => notices.push(notice),
        }
    }
    Ok(kept)
}

fn delta(changes: Vec<wit::Change>, notices: &mut Vec<Notice>) -> Result<Vec<Change>, String> {
    bounded(changes.len())?;
    let mut kept = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            wit::Change::Remove(gone) => kept.push(Change::Remove(key(gone))),
            wit::Change::Put(new) => match item(new) {
                Ok(item) => {
                    notices.extend(unreachable(&item));
                    kept.push(Change::Put(item));
                }
                Err(notice) => notices.push(notice),
            },
        }
    }
    Ok(kept)
}

fn bounded(items: usize) -> Result<(), String> {
    match items > MAX_ITEMS {
        true => Err(format!("{items} items in one step; at most {MAX_ITEMS} are taken")),
        false => Ok(()),
    }
}

fn item(item: wit::Item) -> Result<Item, Notice> {
    match item {
        wit::Item::Node(it) => node(it).map(|node| Item::Node(Arc::new(node))),
        wit::Item::Instance(it) => instance(it).map(|it| Item::Instance(Arc::new(it))),
        wit::Item::Fragment(it) => fragment(it).map(|it| Item::Fragment(Arc::new(it))),
    }
}

fn node(node: catalog::Node) -> Result<Node, Notice> {
    if node.name.is_empty() {
        return Err(bad("node", "has no name"));
    }
    Ok(Node {
        name: node.name,
        address: node.address,
        also_at: also_at(&node.extra),
        datacenter: node.datacenter,
        meta: pairs(node.meta),
    })
}

fn instance(it: catalog::Instance) -> Result<Instance, Notice> {
    if it.id.is_empty() || it.service.is_empty() {
        return Err(bad(&format!("instance {}", it.id), "has no id, or names no service"));
    }
    let declares = it.declares.into_iter().map(|declaration| Declaration {
        path: declaration.path,
        value: declaration.value,
        origin: declaration.origin,
    });
    Ok(Instance {
        declares: declares.collect(),
        id: it.id,
        service: it.service,
        node: it.node,
        datacenter: it.datacenter,
        address: it.address,
        port: it.port,
        weight_passing: it.weight_passing,
        weight_warning: it.weight_warning,
        health: health(it.health),
        edge: edge(&it.extra),
        edge_reason: edge_reason(&it.extra),
        canary: canary(&it.extra),
        also_at: also_at(&it.extra),
        tags: it.tags,
        meta: pairs(it.meta),
        version: it.version,
    })
}

/// What is the matter with an item that stays, since not everything of it is for requests, but that no
/// request can reach.
fn unreachable(item: &Item) -> Option<Notice> {
    let address = match item {
        Item::Node(node) => &node.address,
        // An instance without one is at its node's.
        Item::Instance(instance) => &instance.address,
        Item::Fragment(_) => return None,
    };
    let is_host = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if is_host(address) || address.parse::<IpAddr>().is_ok() {
        return None;
    }
    let message = format!("`{}` is no address, so nothing reaches it", address.escape_debug());
    Some(bad(&name(&item.key()), &message))
}

fn fragment(fragment: wit::Fragment) -> Result<Fragment, Notice> {
    match serde_json::from_str(&fragment.config) {
        Ok(config) => Ok(Fragment { origin: fragment.origin, config }),
        Err(error) => Err(bad(&fragment.origin, &format!("is not JSON: {error}"))),
    }
}

fn key(key: wit::Key) -> Key {
    match key {
        wit::Key::Node(name) => Key::Node(name),
        wit::Key::Instance(id) => Key::Instance(id),
        wit::Key::Fragment(origin) => Key::Fragment(origin),
    }
}

fn name(key: &Key) -> String {
    match key {
        Key::Node(name) => format!("node {name}"),
        Key::Instance(id) => format!("instance {id}"),
        Key::Fragment(origin) => origin.clone(),
    }
}

fn health(health: catalog::Health) -> Health {
    match health {
        catalog::Health::Passing => Health::Passing,
        catalog::Health::Warning => Health::Warning,
        catalog::Health::Critical => Health::Critical,
        catalog::Health::Maintenance => Health::Maintenance,
    }
}

/// How HTTP takes an instance; a word that a host does not know means nothing to it.
fn edge(extra: &[Pair]) -> Edge {
    let word = extra.iter().find(|pair| pair.key == "edge").map(|pair| pair.value.as_str());
    match word {
        Some("none") => Edge::Never,
        Some("passing") => Edge::As(Health::Passing),
        Some("warning") => Edge::As(Health::Warning),
        Some("critical") => Edge::As(Health::Critical),
        Some("maintenance") => Edge::As(Health::Maintenance),
        _ => Edge::AsHealth,
    }
}

/// One line, not too long.
fn edge_reason(extra: &[Pair]) -> Option<Arc<str>> {
    let said = extra.iter().find(|pair| pair.key == "edge-reason")?;
    let line = said.value.lines().next().unwrap_or_default().trim();
    let end = line.char_indices().nth(MAX_REASON).map_or(line.len(), |(end, _)| end);
    line.get(..end).filter(|line| !line.is_empty()).map(Arc::from)
}

fn canary(extra: &[Pair]) -> Option<Canary> {
    let said = |key: &str| extra.iter().find(|pair| pair.key == key).map(|it| it.value.as_str());
    let percent = said("canary-weight").and_then(|it| it.parse().ok());
    (said("canary") == Some("true"))
        .then_some(Canary { percent: percent.filter(|percent| *percent <= 100) })
}

fn also_at(extra: &[Pair]) -> Vec<IpAddr> {
    let told = extra.iter().filter(|pair| pair.key == "also-at");
    told.filter_map(|pair| pair.value.parse().ok()).collect()
}

/// What was looked up. What is merely bad is left out.
pub(super) fn found(found: lookup::Found) -> Found {
    let nodes = found.nodes.into_iter().filter_map(|it| node(it).ok());
    let instances = found.instances.into_iter().filter_map(|it| instance(it).ok());
    Found {
        nodes: nodes.map(Arc::new).collect(),
        instances: instances.map(Arc::new).collect(),
        ttl: found.ttl,
    }
}

fn pairs(pairs: Vec<Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

fn bad(origin: &str, message: &str) -> Notice {
    Notice { origin: origin.to_owned(), message: message.to_owned() }
}

/// As `provider.wit` says.
const MAX_CURSOR: usize = 1 << 20;

/// As `catalog.wit` says.
const MAX_REASON: usize = 200;

/// A catalog of this size is not one that this program is for.
const MAX_ITEMS: usize = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Vec<Pair> {
        let pair =
            |&(key, value): &(&str, &str)| Pair { key: key.to_owned(), value: value.to_owned() };
        text.iter().map(pair).collect()
    }

    #[test]
    fn a_reason_is_one_line_of_some_length() {
        let reason = |text: &str| edge_reason(&pairs(&[("edge", "none"), ("edge-reason", text)]));
        assert_eq!(reason(" not wanted\nhere").as_deref(), Some("not wanted"));
        assert_eq!(reason(&"é".repeat(300)).as_deref(), Some(&*"é".repeat(200)));
        assert_eq!(reason(" "), None);
        assert_eq!(edge_reason(&[]), None);
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        let told = |address: &str| {
            let id = "a".to_owned();
            let address = address.to_owned();
            let instance = Instance { id, address, ..Instance::default() };
            unreachable(&Item::Instance(Arc::new(instance))).map(|it| (it.origin, it.message))
        };
        for good in ["", "10.0.0.1", "fd00::1", "my_host-1.example.com."] {
            assert_eq!(told(good), None, "{good}");
        }
        for bad in ["not an address!!", "[fd00::1]", "http://a.local/", "10.0.0.1:80", "ä"] {
            let (origin, message) = told(bad).expect("it is told");
            assert_eq!(origin, "instance a");
            assert!(message.contains("is no address"), "{message}");
        }
    }

    #[test]
    fn a_canary_is_said_to_be_one() {
        for (extra, expected) in [
            (&[("canary", "true")][..], Some(Canary { percent: None })),
            (&[("canary-weight", "5"), ("canary", "true")], Some(Canary { percent: Some(5) })),
            (&[("canary", "true"), ("canary-weight", "101")], Some(Canary { percent: None })),
            (&[("canary", "false"), ("canary-weight", "5")], None),
            (&[("canary-weight", "5")], None),
            (&[("edge", "none")], None),
        ] {
            assert_eq!(canary(&pairs(extra)), expected, "{extra:?}");
        }
    }
}
