//! Routers whose requests are tried again as a middleware says.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Assembler, Inputs,
    tests::{consul, file, inputs, instance},
};
use crate::{policy::Retries, snapshot::Snapshot};

fn said<'a>(snapshot: &'a Snapshot, router: &str, entrypoint: &str) -> Option<&'a Retries> {
    let entry = snapshot.routers.iter().find(|it| *it.entry.name.name == *router).unwrap();
    let retry = entry.live.as_ref().unwrap().retry(entrypoint)?;
    retry.interest.retry.as_deref()
}

fn assemble(http: Value, change: impl FnOnce(&mut Inputs)) -> std::sync::Arc<Snapshot> {
    let mut inputs = inputs(vec![file(http)]);
    change(&mut inputs);
    Assembler::default().assemble(&inputs)
}

#[test]
fn traefiks_options_are_read_from_tags() {
    let tags = [
        ("http.routers.shop.rule", "Host(`shop`)"),
        ("http.routers.shop.middlewares", "again"),
        ("http.middlewares.again.retry.attempts", "4"),
        ("http.middlewares.again.retry.initialinterval", "100ms"),
        ("http.middlewares.again.retry.timeout", "60"),
        ("http.middlewares.again.retry.maxrequestbodybytes", "1024"),
        ("http.middlewares.again.retry.status", "400,500-599"),
        ("http.middlewares.again.retry.disableretryonnetworkerror", "true"),
        ("http.middlewares.again.retry.retrynonidempotentmethod", "true"),
    ];
    let snapshot =
        Assembler::default().assemble(&inputs(vec![consul(vec![instance("a", 1, &tags)])]));
    assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let retries = said(&snapshot, "shop", "web").unwrap();
    assert_eq!((retries.attempts, retries.statuses.0.len()), (4, 2));
    assert_eq!(retries.interval, Duration::from_millis(100));
    assert_eq!(retries.timeout, Some(Duration::from_secs(60)));
    assert_eq!(retries.max_body, Some(1024));
    assert!(!retries.on_network_error && retries.any_method);
    let entry = snapshot.middlewares.iter().next().unwrap();
    let shown = json!({
        "attempts": 4, "initialInterval": "100ms", "timeout": "60", "maxRequestBodyBytes": 1024,
        "status": ["400", "500-599"], "disableRetryOnNetworkError": true,
        "retryNonIdempotentMethod": true,
    });
    assert_eq!(*entry.config, shown);
    // Requests do not meet it.
    let router = snapshot.routers.iter().next().unwrap();
    assert!(router.live.as_ref().unwrap().middlewares.is_empty());
    assert_eq!(router.middlewares, ["again@consul"]);
}

#[test]
fn the_last_that_is_named_counts_and_that_of_the_router_before_the_entrypoints() {
    let again = |attempts: u32| json!({ "retry": { "attempts": attempts } });
    let router = |middlewares: Value| json!({ "rule": "Host(`a`)", "service": "x@y", "middlewares": middlewares });
    let http = json!({
        "middlewares": {
            "two": again(2), "three": again(3), "five": again(5), "hello": { "hello": {} },
            "all": { "chain": { "middlewares": ["two", "hello", "three"] } },
        },
        "routers": {
            "none": router(json!([])), "direct": router(json!(["two", "hello"])),
            "chained": router(json!(["all"])), "both": router(json!(["all", "two"])),
        },
    });
    let snapshot =
        assemble(http, |inputs| inputs.entrypoints[0].middlewares = vec!["five".to_owned()]);
    let attempts = |router: &str| {
        ["web", "websecure"].map(|at| said(&snapshot, router, at).map(|it| it.attempts))
    };
    assert_eq!(attempts("none"), [Some(5), None]);
    assert_eq!(attempts("direct"), [Some(2); 2]);
    assert_eq!(attempts("chained"), [Some(3); 2]);
    assert_eq!(attempts("both"), [Some(2); 2]);
}

#[test]
fn a_change_of_it_is_one_of_its_routers_and_of_no_others() {
    let mut assembler = Assembler::default();
    let mut routers = |attempts: u32| {
        let http = json!({
            "middlewares": { "again": { "retry": { "attempts": attempts } } },
            "routers": {
                "with": { "rule": "Host(`a`)", "service": "x@y", "middlewares": ["again"] },
                "without": { "rule": "Host(`b`)", "service": "x@y" },
            },
        });
        let snapshot = assembler.assemble(&inputs(vec![file(http)]));
        let live = ["with", "without"].map(|name| {
            let entry = snapshot.routers.iter().find(|it| *it.entry.name.name == *name);
            entry.and_then(|it| it.live.clone()).unwrap()
        });
        (live, said(&snapshot, "with", "web").map(|it| it.attempts))
    };
    let same = |one: &std::sync::Arc<_>, other| std::sync::Arc::ptr_eq(one, other);
    let (first, attempts) = routers(2);
    assert_eq!(attempts, Some(2));
    let (still, _) = routers(2);
    assert!(same(&first[0], &still[0]) && same(&first[1], &still[1]));
    let (other, attempts) = routers(3);
    assert_eq!(attempts, Some(3));
    assert!(!same(&first[0], &other[0]) && same(&first[1], &other[1]));
}

#[test]
fn options_that_make_no_sense_close_the_routers_and_are_found_at_their_place() {
    for (options, place, message) in [
        (json!({}), "", "`attempts` is missing"),
        (
            json!({ "attempts": 0 }),
            "/attempts",
            "from 1 to 100: how many tries there are in all, found `0`",
        ),
        (json!({ "attempts": 101 }), "/attempts", "found `101`"),
        (json!({ "attempts": "many" }), "/attempts", "found \"many\""),
        (json!({ "attempts": 2, "status": "6xx" }), "/status", "`6xx` is not a status"),
        (json!({ "attempts": 2, "intialInterval": 1 }), "/intialInterval", "unknown key"),
        (json!({ "attempts": 2, "disableRetryOnNetworkError": true }), "", "without `status`"),
    ] {
        let http = json!({
            "middlewares": { "again": { "retry": options } },
            "routers": { "r": { "rule": "Host(`a`)", "middlewares": ["again"], "service": "noop@internal" } },
        });
        let snapshot = assemble(http, |_| ());
        let problem = snapshot.problems.iter().next().unwrap();
        assert_eq!(problem.path, format!("/http/middlewares/again/retry{place}"));
        assert!(problem.message.contains(message), "{problem:?}");
        let router = snapshot.routers.iter().next().unwrap();
        assert!(router.live.as_ref().unwrap().middlewares[0].is_closed(), "{options}");
    }
    // Less than nothing is Traefik's word for no bound.
    let http = json!({ "middlewares": { "again": { "retry": { "attempts": 2, "maxRequestBodyBytes": -1 } } } });
    assert!(assemble(http, |_| ()).problems.is_empty());
}
