//! Routers in each other's way: which are told, which are not, and who takes the request.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{
    Assembler, Inputs, RulePriority,
    tests::{consul, file, inputs, instance},
};
use crate::{snapshot::Snapshot, test_util::exchange};

/// `[http]` with these routers, all of them in working order.
fn routers(routers: Value) -> Inputs {
    let mut routers = routers;
    for router in routers.as_object_mut().unwrap().values_mut() {
        router["service"] = "s".into();
    }
    let servers = json!([{ "url": "http://10.0.0.1" }]);
    let services = json!({ "s": { "load-balancer": { "servers": servers } } });
    inputs(vec![file(json!({ "routers": routers, "services": services }))])
}

fn told(snapshot: &Snapshot) -> String {
    let line = |it: &crate::problem::Problem| {
        let hint = it.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{} {}: {}{hint}", it.origin, it.path, it.message)
    };
    snapshot.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn check(inputs: &Inputs, expected: Expect) {
    expected.assert_eq(&told(&Assembler::default().assemble(inputs)));
}

fn takes(inputs: &Inputs, line: &str) -> String {
    let snapshot = Assembler::default().assemble(inputs);
    let router = snapshot.table("web").unwrap().select(&exchange(line)).cloned();
    router.map_or_else(|| "none".to_owned(), |router| router.name.name.to_string())
}

fn wide() -> Inputs {
    routers(json!({
        "exact": { "rule": "Host(`a.example.com`)" },
        "other": { "rule": "Host(`b.example.org`)" },
        "wide": { "rule": "HostRegexp(`^[a-z]+[.]example[.]com$`)" },
    }))
}

#[test]
fn a_host_behind_a_longer_regular_expression_is_told() {
    assert_eq!(takes(&wide(), "GET http://a.example.com/"), "wide");
    check(
        &wide(),
        expect![[
            r#"config.toml /http/routers/exact/rule: router `exact`: its requests for `a.example.com` go to `wide@config`, whose rule is longer: `HostRegexp(`^[a-z]+[.]example[.]com$`)` (set `rule-priority = "specificity"` in `[http]`, or give this router a `priority` above 38)"#
        ]],
    );
}

#[test]
fn a_router_with_tls_behind_one_without_is_told_how_to_keep_that_away() {
    let inputs = routers(json!({
        "plain": { "rule": "Host(`a.local`) && PathPrefix(`/`)" },
        "secure": { "rule": "Host(`a.local`)", "tls": {} },
    }));
    check(
        &inputs,
        expect![[
            r#"config.toml /http/routers/secure/rule: router `secure`: its requests for `a.local` go to `plain@config`, whose rule is longer: `Host(`a.local`) && PathPrefix(`/`)` (set `rule-priority = "specificity"` in `[http]`, or give this router a `priority` above 34, or keep routers without `tls` from encrypted entrypoints: `tls = { plain-routers = false }`)"#
        ]],
    );
}

#[test]
fn by_specificity_the_host_that_is_written_out_wins() {
    let inputs = Inputs { rule_priority: RulePriority::Specificity, ..wide() };
    assert_eq!(takes(&inputs, "GET http://a.example.com/"), "exact");
    assert_eq!(takes(&inputs, "GET http://c.example.com/"), "wide");
    check(&inputs, expect![""]);
    let mut inputs = routers(json!({
        "host": { "rule": "Host(`a`)" },
        "path": { "rule": "Host(`a`) && PathPrefix(`/api`)" },
        "longer": { "rule": "Host(`a`) && PathPrefix(`/api/v1`)" },
        "first": { "rule": "Path(`/first`)", "priority": 1 },
        "last": { "rule": "Host(`a`) && Path(`/last/of/all`)", "priority": -1 },
        "rest": { "rule": "PathPrefix(`/`)" },
    }));
    inputs.rule_priority = RulePriority::Specificity;
    for (path, router) in [
        ("/", "host"),
        ("/api/v2", "path"),
        ("/api/v1/x", "longer"),
        ("/first", "first"),
        ("/last/of/all", "host"),
    ] {
        assert_eq!(takes(&inputs, &format!("GET http://a{path}")), router, "{path}");
    }
    assert_eq!(takes(&inputs, "GET http://b/"), "rest");
}

#[test]
fn a_catch_all_that_is_longer_hides_a_host_too() {
    check(
        &routers(json!({
            "a": { "rule": "Host(`a`)" },
            "path": { "rule": "Host(`a`) && PathPrefix(`/path`)" },
            "all": { "rule": "PathPrefix(`/`) || Path(`/`)" },
        })),
        expect![[
            r#"config.toml /http/routers/a/rule: router `a`: its requests for `a` go to `all@config`, whose rule is longer: `PathPrefix(`/`) || Path(`/`)` (set `rule-priority = "specificity"` in `[http]`, or give this router a `priority` above 28)"#
        ]],
    );
}

#[test]
fn a_router_behind_one_of_its_host_is_told() {
    for (first, second) in [
        ("Host(`a.b`)", "Host(`a.b`) && PathPrefix(`/x`)"),
        ("Host(`a.b`) || Host(`c.d`)", "Host(`a.b`) && Method(`GET`)"),
        ("Host(`*.b`)", "Host(`a.b`)"),
        ("HostRegexp(`^a`) && Host(`a.b`)", "Host(`a.b`)"),
        ("Host(`a.b`) && PathPrefix(`/x`)", "Host(`a.b`) && PathPrefix(`/x/y`)"),
    ] {
        let first = json!({ "rule": first, "priority": 1000 });
        let second = json!({ "rule": second, "priority": 7 });
        let told = told(&Assembler::default().assemble(&routers(json!({
            "first": first,
            "second": second,
        }))));
        let expected = "router `second`: its requests for `a.b` go to `first@config`, which has \
                        precedence";
        assert!(told.contains(expected), "{second}: {told}");
        assert!(told.contains("give this router a `priority` above 1000, or remove it"), "{told}");
    }
    // As routers come and go.
    let mut assembler = Assembler::default();
    let lone = json!({ "second": { "rule": "Host(`a.b`)" } });
    for wide in ["Host(`a.b`) || Host(`c`)", "Host(`*.b`) || Host(`a`)"] {
        let mut both = lone.clone();
        both["wide"] = json!({ "rule": wide });
        assert!(told(&assembler.assemble(&routers(both))).contains("whose rule is longer"));
        assert_eq!(told(&assembler.assemble(&routers(lone.clone()))), "");
    }
}

#[test]
fn one_that_shares_a_host_and_leaves_something_is_not_told_of() {
    check(
        &routers(json!({
            "get": { "rule": "Host(`a`) && Method(`GET`)", "priority": 9 },
            "path": { "rule": "Host(`a`) && PathPrefix(`/x`)", "priority": 8 },
            "other": { "rule": "Host(`b`) && PathPrefix(`/x`)", "priority": 7 },
            "rest": { "rule": "Host(`a`)", "priority": 6 },
        })),
        expect![""],
    );
}

#[test]
fn a_rule_that_no_request_can_fulfil_is_told() {
    for (rule, why) in [
        ("Host(`a`) && Host(`b`)", "it wants one host and another"),
        ("Host(`a.b`) && Host(`*.c`)", "it wants one host and another"),
        ("Host(`a`) && !Host(`a`)", "it wants a host and refuses it"),
        (
            "(Host(`a.b`) || Host(`c.b`)) && !Host(`*.b`) && Path(`/x`)",
            "it wants a host and refuses it",
        ),
        ("Host(`a`) && HostRegexp(`^b`)", "it wants a host and refuses it"),
        ("Host(`a`) && Path(`/x`) && PathPrefix(`/y`)", "it wants one path and another"),
        ("Method(`GET`) && Method(`POST`) && PathPrefix(`/`)", "it wants one method and another"),
    ] {
        let told = told(&Assembler::default().assemble(&routers(json!({ "r": { "rule": rule } }))));
        let expected = format!("no request can fulfil the rule: {why}");
        assert!(told.contains(&expected), "{rule}: {told}");
    }
    let fine = "(Host(`a`) || Host(`b`)) && Host(`b`) && (Method(`GET`) || Method(`PUT`))";
    check(&routers(json!({ "r": { "rule": fine } })), expect![""]);
}

#[test]
fn a_path_that_no_request_has_is_told() {
    check(
        &routers(json!({ "r": { "rule": "Host(`a`) && (Path(`/a%20b`) || Method(`GET`))" } })),
        expect![
            "config.toml /http/routers/r/rule: router `r`: no path is ever `/a%20b` (rules see paths in one form: `/a b`)"
        ],
    );
}

#[test]
fn of_two_rules_of_one_length_none_is_longer() {
    check(
        &routers(json!({
            "first": { "rule": "Host(`a.b`) && Path(`/x`)" },
            "then": { "rule": "Path(`/x`) && Host(`a.b`)" },
        })),
        expect![[
            r#"config.toml /http/routers/then/rule: router `then`: its requests for `a.b` go to `first@config`, whose rule is as long and comes first: `Host(`a.b`) && Path(`/x`)` (set `rule-priority = "specificity"` in `[http]`, or give this router a `priority` above 25)"#
        ]],
    );
}

#[test]
fn what_hides_nothing_or_is_meant_to_is_not_told() {
    let wide = "HostRegexp(`^[a-z]+[.]example[.]com$`)";
    for other in [
        json!({ "rule": wide, "priority": 100 }),
        json!({ "rule": wide, "priority": 5 }),
        json!({ "rule": format!("{wide} && Method(`POST`)") }),
        json!({ "rule": format!("{wide} && PathPrefix(`/api`)") }),
        json!({ "rule": wide, "entrypoints": ["websecure"] }),
        json!({ "rule": "HostRegexp(`^[a-z]+[.]example[.]organisation$`)" }),
        json!({ "rule": "PathPrefix(`/.well-known/acme-challenge/`)" }),
    ] {
        check(
            &routers(json!({
                "exact": { "rule": "Host(`a.example.com`)", "entrypoints": ["web"] },
                "other": other,
            })),
            expect![""],
        );
    }
}

#[test]
fn a_router_that_never_gets_a_request_is_told() {
    check(
        &routers(json!({
            "dead": { "rule": "(Host(`a`))", "priority": 5 },
            "winner": { "rule": "Host(`a`)", "priority": 50 },
            "partly": { "rule": "Host(`b`)", "priority": 5 },
            "on-web": { "rule": "Host(`b`)", "priority": 50, "entrypoints": ["web"] },
        })),
        expect![
            "config.toml /http/routers/dead/rule: router `dead`: it never gets a request: `winner@config` wants the same and has precedence (remove one of them, or give this one a higher `priority`)"
        ],
    );
}

// The usual pair of Traefik: one that redirects to https, and the one that this leads to.
#[test]
fn what_is_encrypted_is_for_the_router_that_asks_for_that() {
    let inputs = routers(json!({
        "a-redirect": { "rule": "Host(`shop.local`)" },
        "shop": { "rule": "Host(`shop.local`)", "tls": {} },
    }));
    let snapshot = Assembler::default().assemble(&inputs);
    assert_eq!(told(&snapshot), "");
    let first = |entrypoint| {
        let exchange = exchange("GET http://shop.local/");
        snapshot.table(entrypoint).unwrap().select(&exchange).unwrap().name.name.to_string()
    };
    assert_eq!([first("web"), first("websecure")], ["a-redirect", "shop"]);
}

#[test]
fn of_two_routers_that_are_the_same_the_one_that_loses_is_told() {
    let mut inputs = routers(json!({ "shop": { "rule": "Host(`shop.local`)" } }));
    let tags = [("http.routers.shop.rule", "Host(`shop.local`)")];
    inputs.sources.push(Arc::new(consul(vec![instance("a", 1, &tags)])));
    let mut assembler = Assembler::default();
    let expected = expect![
        "a : router `shop`: it has the rule and the priority of `shop@config`, which wins (give one of them another rule, or a `priority`)"
    ];
    expected.assert_eq(&told(&assembler.assemble(&inputs)));
    // As soon as the other is gone, there is nothing wrong with it.
    inputs.sources[0] = Arc::new(file(json!({})));
    assert_eq!(told(&assembler.assemble(&inputs)), "");
}
