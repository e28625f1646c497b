//! Figures of what leaves: they stay until they were told, or go on with what returns.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{
    Assembler,
    tests::{file, inputs},
};
use crate::{
    departed::Left,
    figure::{Answer, Buckets, TrafficFigures},
    snapshot::Snapshot,
};

/// Router and service `a`, and a service that is made of that.
fn with_a() -> serde_json::Value {
    json!({
        "routers": {
            "a": { "rule": "Host(`a`)", "service": "a", "entryPoints": ["web"] },
            "b": { "rule": "Host(`b`)", "service": "b", "entryPoints": ["web"] },
        },
        "services": {
            "a": { "loadBalancer": { "servers": [{ "url": "http://127.0.0.1:1" }] } },
            "b": { "loadBalancer": { "servers": [{ "url": "http://127.0.0.1:2" }] } },
            "all": { "weighted": { "services": [{ "name": "a" }] } },
        },
    })
}

fn without_a() -> serde_json::Value {
    let mut declared = with_a();
    declared["routers"].as_object_mut().unwrap().remove("a");
    let services = declared["services"].as_object_mut().unwrap();
    services.remove("a");
    services.remove("all");
    declared
}

fn figures(snapshot: &Snapshot, name: &str) -> Arc<TrafficFigures> {
    let mut services = snapshot.services.iter();
    let service = services.find(|it| &*it.entry.name.name == name).unwrap();
    service.live.as_ref().unwrap().figures.clone()
}

fn router_figures(snapshot: &Snapshot) -> Arc<TrafficFigures> {
    let router = snapshot.routers.iter().find(|it| &*it.entry.name.name == "a").unwrap();
    router.live.as_ref().unwrap().figures.clone()
}

fn answer(figures: &TrafficFigures) {
    figures.shard(0).record(&Answer::plain(StatusCode::OK, 1), &Buckets::default());
}

/// Names of what is to be told, routers first.
fn told(snapshot: &Snapshot) -> Vec<String> {
    let all = [&snapshot.departed_routers, &snapshot.departed_services];
    let all = all.into_iter().flat_map(|departed| departed.tell());
    let service = |it: &Left| it.service.as_ref().map(ToString::to_string).unwrap_or_default();
    all.map(|it| format!("{} {} {}", it.name, service(&it), it.has_backends)).collect()
}

#[test]
fn what_leaves_and_returns_goes_on_counting_unless_it_was_told() {
    let mut assembler = Assembler::default();
    let mut assemble = |declared| assembler.assemble(&inputs(vec![file(declared)]));
    let first = assemble(with_a());
    for figures in [figures(&first, "a"), figures(&first, "all"), router_figures(&first)] {
        answer(&figures);
    }
    let gone = assemble(without_a());
    // Other changes in between are no matter.
    assemble(json!({}));
    let back = assemble(with_a());
    for name in ["a", "all"] {
        assert!(Arc::ptr_eq(&figures(&first, name), &figures(&back, name)), "{name}");
    }
    assert!(Arc::ptr_eq(&router_figures(&first), &router_figures(&back)));
    assert!(told(&back).is_empty(), "it is told with all that is served");
    assert_eq!(told(&gone).len(), 3, "who still reads that one is told");

    let gone = assemble(without_a());
    assert_eq!(told(&gone).len(), 3);
    let back = assemble(with_a());
    assert!(!figures(&back, "a").is_used());
    assert!(!router_figures(&back).is_used());
}

#[test]
fn what_left_is_told_once_and_what_did_nothing_never() {
    let mut assembler = Assembler::default();
    let mut assemble = |declared| assembler.assemble(&inputs(vec![file(declared)]));
    let first = assemble(with_a());
    answer(&figures(&first, "a"));
    answer(&figures(&first, "b"));
    answer(&router_figures(&first));
    assert!(told(&first).is_empty());
    assemble(without_a());
    let gone = assemble(json!({}));
    let all = ["a@config a@config false", "a@config  true", "b@config  true"];
    assert_eq!(told(&gone), all);
    assert!(told(&gone).is_empty());
}
