//! What is said of each candidate.

use expect_test::{Expect, expect};

use super::*;
use crate::test_util::{exchange_with, router};

fn explain(rules: &[(&str, &str)], line: &str, headers: &[(&str, &str)], expect: Expect) {
    let routers = rules.iter().map(|(name, rule)| Arc::new(router(name, rule))).collect();
    let mut text = String::new();
    for Candidate { router, outcome } in
        RouteTable::build(routers).explain(&exchange_with(line, headers))
    {
        let words = match outcome {
            Outcome::Selected => "selected".to_owned(),
            Outcome::Shadowed { by } => format!("shadowed by {by}"),
            Outcome::Failed { reason } => reason,
        };
        text += &format!("{}: {words}\n", router.name.name);
    }
    expect.assert_eq(&text);
}

#[test]
fn every_router_that_could_be_meant_is_named() {
    let rules = [
        ("api", "Host(`a.local`) && PathPrefix(`/api`)"),
        ("host", "Host(`a.local`)"),
        ("typo", "Host(`a.locl`)"),
        ("other", "Host(`other.local`)"),
        ("wild", "Host(`*.local`) && Method(`POST`)"),
        ("same-path", "Host(`other.local`) && PathPrefix(`/api`)"),
        ("anywhere", "PathPrefix(`/`)"),
        ("elsewhere", "PathPrefix(`/elsewhere`)"),
    ];
    explain(
        &rules,
        "GET http://a.local/api/x",
        &[],
        expect![[r#"
        same-path: host is `a.local`, the rule wants `other.local`
        api: selected
        wild: method is `GET`, the rule wants `POST`
        host: shadowed by api@test
        anywhere: shadowed by api@test
        typo: host is `a.local`, the rule wants `a.locl`
    "#]],
    );
    explain(
        &rules,
        "GET http://a.local/x",
        &[],
        expect![[r#"
        api: path is `/x`, the rule wants one that starts with `/api`
        wild: method is `GET`, the rule wants `POST`
        host: selected
        anywhere: shadowed by host@test
        typo: host is `a.local`, the rule wants `a.locl`
    "#]],
    );
    explain(
        &rules,
        "GET http://other.locl/",
        &[],
        expect![[r#"
        same-path: host is `other.locl`, the rule wants `other.local`
        other: host is `other.locl`, the rule wants `other.local`
        anywhere: selected
    "#]],
    );
}

#[test]
fn a_failed_test_is_told_in_words() {
    let rules = [
        ("method", "Host(`h`) && Method(`POST`)"),
        ("header", "Host(`h`) && Header(`x-a`, `1`)"),
        ("absent", "Host(`h`) && HeaderRegexp(`x-b`, `^1`)"),
        ("query", "Host(`h`) && Query(`q`, `1`)"),
        ("regexp", "Host(`h`) && PathRegexp(`^/b`)"),
        ("client", "Host(`h`) && ClientIP(`10.0.0.0/8`)"),
        ("any", "Host(`h`) && (Path(`/a`) || Path(`/b`) || Method(`POST`))"),
        ("not", "Host(`h`) && !PathPrefix(`/c`)"),
        ("none-of", "Host(`h`) && !(Path(`/x`) || Method(`GET`))"),
        ("not-both", "Host(`h`) && !(Method(`GET`) && Path(`/c/d`))"),
    ];
    let headers = [("x-a", "2"), ("x-a", "3")];
    explain(
        &rules,
        "GET http://h/c/d?q=2",
        &headers,
        expect![[r#"
        any: path is `/c/d`, the rule wants `/a`; and path is `/c/d`, the rule wants `/b`; and method is `GET`, the rule wants `POST`
        not-both: method is `GET`, the rule excludes `GET`, and path is `/c/d`, the rule excludes `/c/d`
        none-of: method is `GET`, the rule excludes `GET`
        absent: header `x-b` is absent, the rule wants one that matches `^1`
        client: client is `192.0.2.1`, the rule wants one in `10.0.0.0/8`
        header: header `x-a` is `2` and `3`, the rule wants `1`
        not: path is `/c/d`, the rule excludes one that starts with `/c`
        regexp: path is `/c/d`, the rule wants one that matches `^/b`
        query: query parameter `q` is `2`, the rule wants `1`
        method: method is `GET`, the rule wants `POST`
    "#]],
    );
    explain(
        &[("host", "HostRegexp(`^h`)")],
        "GET /",
        &[],
        expect![[r#"
        host: there is no host, the rule wants one that matches `^h`
    "#]],
    );
}

#[test]
fn a_great_many_near_misses_are_cut_short() {
    let mut routers: Vec<_> = (0..100)
        .map(|n| Arc::new(router(&format!("r{n}"), &format!("Host(`h`) && Path(`/{n}`)"))))
        .collect();
    routers.push(Arc::new(router("last", "Host(`h`)")));
    let candidates = RouteTable::build(routers).explain(&exchange_with("GET http://h/", &[]));
    assert_eq!(candidates.len(), MOST_MISSES + 1);
    assert_eq!(candidates.last().map(|last| &last.outcome), Some(&Outcome::Selected));
}

#[test]
fn whose_host_it_is_is_told_however_many_have_a_path_that_fits() {
    let mut routers: Vec<_> = (0..200)
        .map(|n| router(&format!("r{n}"), &format!("Host(`host{n}.local`) && PathPrefix(`/api`)")))
        .collect();
    routers.push(router("shop", "Host(`shop`) && PathPrefix(`/api`) && Method(`POST`)"));
    let routers = routers.into_iter().map(Arc::new).collect();
    let table = RouteTable::build(routers);
    let candidates = table.explain(&exchange_with("GET http://shop/api", &[]));
    let shop = candidates.iter().find(|it| &*it.router.name.name == "shop").unwrap();
    let reason = "method is `GET`, the rule wants `POST`".to_owned();
    assert_eq!(shop.outcome, Outcome::Failed { reason });
    assert_eq!(candidates.len(), MOST_MISSES + 1);
}
