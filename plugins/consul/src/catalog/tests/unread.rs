//! Services that Consul lists and does not answer for.

use super::*;

const WEB: &str = "/v1/health/service/web";
const ODD: &str = "/v1/health/service/..";

/// A Consul with `web`, and a service that it never answers for.
fn odd() -> Played {
    let mut consul = Played::new();
    consul.list(&["..", "consul", "web"]);
    consul.set(WEB, &format!("[{}]", entry("web", "w", 80)));
    consul.broken.insert(ODD.to_owned());
    consul
}

/// Asks on until everything waits or is settled.
fn settle(consul: &mut Played) {
    consul.settle();
    consul.now += 500;
    consul.settle();
}

/// What the host is told: services and instances, and of which services it keeps what it had.
fn told(update: Update) -> (String, String) {
    let (items, unread) = match update {
        Update::Snapshot(items) => (items, Vec::new()),
        Update::Excerpt(Excerpt { items, unread }) => (items, unread),
        other => panic!("{other:?}"),
    };
    let id = |item: &Item| match item {
        Item::Instance(it) => Some(it.id.clone()),
        Item::Node(_) | Item::Fragment(_) => None,
    };
    (items.iter().filter_map(id).collect::<Vec<_>>().join(" "), unread.join(" "))
}

fn both(instances: &str, unread: &str) -> (String, String) {
    (instances.to_owned(), unread.to_owned())
}

#[test]
fn a_service_that_is_not_answered_for_costs_itself() {
    let mut consul = odd();
    consul.settle();
    assert!(!consul.catalog.is_complete(), "one failure may be chance");
    settle(&mut consul);
    assert!(consul.catalog.is_complete());
    assert_eq!(told(consul.catalog.snapshot()), both("dc1/n1/consul dc1/n1/w", ".."));
    assert_eq!(consul.catalog.notices()[0].origin, ODD);
    // All others go on as usual.
    consul.set(WEB, &format!("[{}]", entry("web", "w", 8080)));
    consul.wake(WEB);
    assert_eq!(consul.told(), ["+ web dc1/n1/w:8080"]);
}

#[test]
fn once_such_a_service_is_read_the_host_is_told_everything() {
    let mut consul = odd();
    consul.broken.insert(WEB.to_owned());
    settle(&mut consul);
    assert_eq!(told(consul.catalog.snapshot()), both("dc1/n1/consul", ".. web"));
    assert!(!consul.catalog.has_news());
    consul.broken.remove(WEB);
    consul.now += 1000;
    consul.settle();
    assert!(consul.catalog.has_news());
    assert_eq!(told(consul.catalog.delta()), both("dc1/n1/consul dc1/n1/w", ".."));
    assert!(!consul.catalog.has_news());
    // One that was read stays when it is not answered for any more.
    consul.broken.insert(WEB.to_owned());
    consul.wake(WEB);
    assert!(consul.told().is_empty());
}

#[test]
fn such_a_service_that_is_not_listed_any_more_is_gone() {
    let mut consul = odd();
    settle(&mut consul);
    consul.catalog.snapshot();
    consul.list(&["consul", "web"]);
    consul.wake("/v1/catalog/services");
    assert!(consul.catalog.has_news());
    assert_eq!(told(consul.catalog.delta()), both("dc1/n1/consul dc1/n1/w", ""));
    assert!(consul.catalog.notices().is_empty());
}

#[test]
fn one_that_comes_later_is_no_reason_to_tell_everything() {
    let mut consul = with_web();
    consul.list(&["..", "consul", "web"]);
    consul.broken.insert(ODD.to_owned());
    consul.wake("/v1/catalog/services");
    assert!(!consul.catalog.has_news());
    assert_eq!(consul.catalog.notices()[0].origin, ODD);
    consul.broken.remove(ODD);
    consul.set(ODD, &format!("[{}]", entry("..", "o", 80)));
    settle(&mut consul);
    assert_eq!(consul.told(), ["+ .. dc1/n1/o:80"]);
}

#[test]
fn the_next_step_does_not_ask_again_for_what_failed() {
    let mut consul = odd();
    settle(&mut consul);
    consul.catalog.retry();
    assert!(consul.settle().is_empty());
    assert!(consul.catalog.is_reached());
}
