//! Instances that are left out; all others are served without a catalog.

use std::sync::Arc;

use portolan_core::{
    catalog::Source,
    item::{Edge, Health, Instance, Item, Update},
};

pub(super) fn catalog() -> Source {
    let instance = |id: &str, service: &str, edge, reason: &str, tags: &[&str]| {
        Item::Instance(Arc::new(Instance {
            id: id.to_owned(),
            service: service.to_owned(),
            edge,
            edge_reason: Some(reason.into()),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..Instance::default()
        }))
    };
    let (never, critical) = (Edge::Never, Edge::As(Health::Critical));
    let constraints = "`constraints` does not match its tags";
    let rule = "traefik.http.routers.ledger.rule=Host(`ledger.local`)";
    let items = vec![
        instance("grafana-2", "grafana", critical, "`strict-checks` does not have `warning`", &[]),
        instance("ledger-0", "ledger", never, constraints, &[rule]),
        instance("ledger-1", "ledger", never, constraints, &[rule]),
        instance("ledger-2", "ledger", never, "its tag `traefik.enable` says so", &[rule]),
    ];
    let mut source = Source::new("consul", "consul");
    source.apply(Update::Snapshot(items), Vec::new()).expect("they are of different names");
    source
}
