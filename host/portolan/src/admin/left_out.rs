//! Instances that HTTP leaves out, and why: for who asks why nothing is sent to one.
//!
//! **Invariant:** it is found in the catalog when it is asked for, and costs nothing until then.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use portolan_core::{
    catalog::{Registered, Source, service_name},
    snapshot::Snapshot,
};
use serde::{Deserialize, Serialize};

/// So many instances are named at most.
const MOST_NAMED: usize = 20;

/// Instances of one service that are left out for one reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct LeftOut {
    /// The service that is named after them, as `name@provider`.
    pub(crate) service: String,
    /// A phrase.
    pub(crate) reason: String,
    /// How many there are.
    pub(crate) count: usize,
    /// The ids of the first of them.
    pub(crate) instances: Vec<String>,
}

impl LeftOut {
    /// How many there are, in words.
    pub(crate) fn counted(&self) -> String {
        let noun = if self.count == 1 { "instance" } else { "instances" };
        format!("{} {noun}", self.count)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, reason, .. } = self;
        write!(out, "{} of `{service}` left out: {reason}", self.counted())
    }
}

/// All of them, by service and reason.
pub(super) fn all(snapshot: &Snapshot) -> Vec<LeftOut> {
    groups(snapshot, |_, _| true).into_iter().map(|(left_out, _)| left_out).collect()
}

/// Those that would have to do with a request: of these services (`name@provider`), or with tags that
/// name the host. Where nobody takes the request, those whose service has the name of the host too.
pub(super) fn about(
    snapshot: &Snapshot,
    services: &BTreeSet<String>,
    host: &str,
    is_taken: bool,
) -> Vec<LeftOut> {
    let label = host.split('.').next().filter(|_| !is_taken).unwrap_or_default();
    let is_wanted = |source: &Source, it: &Registered| {
        let name = &it.instance.service;
        let is_host = || {
            let name = service_name(name);
            name.eq_ignore_ascii_case(label) || name.eq_ignore_ascii_case(host)
        };
        names(source, it).iter().any(|name| services.contains(name))
            || it.instance.tags.iter().any(|tag| mentions(tag, host))
            || !label.is_empty() && is_host()
    };
    groups(snapshot, is_wanted).into_iter().map(|(left_out, _)| left_out).collect()
}

/// Those of each service, looked for when the first is asked about.
pub(super) struct ByService<'a> {
    snapshot: &'a Snapshot,
    found: OnceCell<HashMap<String, Vec<LeftOut>>>,
}

impl<'a> ByService<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, found: OnceCell::new() }
    }

    /// Those that are, or would be, backends of `name@provider`.
    pub(super) fn get(&self, service: &str) -> &[LeftOut] {
        let found = self.found.get_or_init(|| {
            let mut found: HashMap<String, Vec<LeftOut>> = HashMap::new();
            for (left_out, names) in groups(self.snapshot, |_, _| true) {
                for name in names {
                    found.entry(name).or_default().push(left_out.clone());
                }
            }
            found
        });
        found.get(&service.to_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Those that are wanted, and the services that they are, or would be, backends of.
fn groups(
    snapshot: &Snapshot,
    is_wanted: impl Fn(&Source, &Registered) -> bool,
) -> Vec<(LeftOut, BTreeSet<String>)> {
    let mut groups = BTreeMap::new();
    for source in &snapshot.sources {
        for it in source.instances.values() {
            let Some(reason) = it.instance.left_out() else { continue };
            if !is_wanted(source, it) {
                continue;
            }
            let service = format!("{}@{}", service_name(&it.instance.service), source.provider);
            let group = groups.entry((service.clone(), reason)).or_insert_with(|| {
                let (reason, instances) = (reason.to_owned(), Vec::new());
                (LeftOut { service, reason, count: 0, instances }, BTreeSet::new())
            });
            group.0.count += 1;
            if group.0.instances.len() < MOST_NAMED {
                group.0.instances.push(it.instance.id.clone());
            }
            group.1.extend(names(source, it));
        }
    }
    groups.into_values().collect()
}

/// The services that an instance is a backend of; where what it declares is left out, those that its
/// tags seem to name, and the one that is named after it. As `name@provider`, in lower case.
fn names(source: &Source, it: &Registered) -> BTreeSet<String> {
    let declared = it.declared.services.iter().map(|(name, _)| name.to_lowercase());
    let is_mute = it.instance.declares.is_empty();
    let tagged = it.instance.tags.iter().filter(|_| is_mute).filter_map(|tag| {
        let tag = tag.to_lowercase();
        let (_, rest) = tag.split_once(".http.services.")?;
        rest.split_once('.').map(|(name, _)| name.to_owned())
    });
    let own = is_mute.then(|| service_name(&it.instance.service).to_lowercase());
    declared.chain(tagged).chain(own).map(|name| format!("{name}@{}", source.provider)).collect()
}

/// Whether a tag holds a host as a whole, as in a rule.
fn mentions(tag: &str, host: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    !host.is_empty()
        && tag.match_indices(host).any(|(at, _)| {
            let (before, after) = tag.as_bytes().split_at(at);
            !is_part(before.last()) && !is_part(after.get(host.len()))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portolan_core::item::{Edge, Instance, Item, Update};

    use super::*;

    fn instance(id: &str, service: &str, reason: &str, tags: &[&str]) -> Item {
        Item::Instance(Arc::new(Instance {
            id: id.to_owned(),
            service: service.to_owned(),
            edge: if reason.is_empty() { Edge::AsHealth } else { Edge::Never },
            edge_reason: Some(reason).filter(|it| !it.is_empty()).map(Arc::from),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..Instance::default()
        }))
    }

    fn snapshot() -> Snapshot {
        let constraints = "`constraints` does not match its tags";
        let rule = "traefik.http.routers.shop.rule=Host(`Shop.local`)";
        let port = "traefik.http.services.API.loadbalancer.server.port=80";
        let mut source = Source::new("consul", "consul");
        let items = vec![
            instance("a", "my_shop", constraints, &[rule]),
            instance("b", "my_shop", constraints, &[rule]),
            instance("c", "my_shop", "its tag says so", &[port]),
            instance("d", "my_shop", "", &[rule]),
            instance("e", "Web", constraints, &[]),
        ];
        source.apply(Update::Snapshot(items), Vec::new()).unwrap();
        Snapshot { sources: vec![Arc::new(source)], ..Snapshot::default() }
    }

    fn told(found: &[LeftOut]) -> Vec<String> {
        found.iter().map(LeftOut::to_string).collect()
    }

    const SHOPS: &str =
        "2 instances of `my-shop@consul` left out: `constraints` does not match its tags";
    const API: &str = "1 instance of `my-shop@consul` left out: its tag says so";
    const WEB: &str = "1 instance of `Web@consul` left out: `constraints` does not match its tags";

    #[test]
    fn those_of_one_service_and_reason_are_told_together() {
        let all = all(&snapshot());
        assert_eq!(told(&all), [WEB, SHOPS, API]);
        assert_eq!(all[1].instances, ["a", "b"]);
    }

    #[test]
    fn they_are_found_by_the_services_that_they_would_be() {
        let snapshot = snapshot();
        let by_service = ByService::new(&snapshot);
        assert_eq!(told(by_service.get("my-shop@consul")), [SHOPS, API]);
        assert_eq!(told(by_service.get("api@consul")), [API]);
        assert_eq!(told(by_service.get("Web@consul")), [WEB]);
        assert!(by_service.get("my-shop@file").is_empty());
    }

    #[test]
    fn they_are_found_by_the_host_that_they_would_be() {
        let snapshot = snapshot();
        let about = |services: &[&str], host: &str, is_taken| {
            let services = services.iter().map(|&name| name.to_owned()).collect();
            told(&about(&snapshot, &services, host, is_taken))
        };
        assert_eq!(about(&[], "shop.local", true), [SHOPS]);
        assert_eq!(about(&[], "op.local", false), [""; 0]);
        assert_eq!(about(&[], "shop.loca", false), [""; 0]);
        assert_eq!(about(&["api@consul"], "x", true), [API]);
        assert_eq!(about(&[], "web.example.com", false), [WEB]);
        assert_eq!(about(&[], "web", false), [WEB]);
        assert_eq!(about(&[], "web.example.com", true), [""; 0]);
        assert_eq!(about(&[], "", false), [""; 0]);
    }
}
