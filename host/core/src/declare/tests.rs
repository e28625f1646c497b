//! What tables and tags mean, case by case.

use expect_test::{Expect, expect};
use serde_json::json;

use super::{Declared, read, tree};
use crate::item::Declaration;

fn show(declared: &Declared) -> String {
    let mut lines = Vec::new();
    for (name, router) in &declared.routers {
        lines.push(format!("router {name}: {router:?}"));
    }
    for (name, service) in &declared.services {
        lines.push(format!("service {name}: {service:?}"));
    }
    for (name, middleware) in &declared.middlewares {
        let (plugin, policy) = (&middleware.plugin, middleware.on_failure);
        let limit = middleware.time_limit.map(|limit| format!(" {limit:?}")).unwrap_or_default();
        lines.push(format!("middleware {name}: {plugin} {} {policy:?}{limit}", middleware.config));
    }
    for flaw in &declared.flaws {
        let hint = flaw.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        lines.push(format!("{:?} {}: {}{hint}", flaw.severity, flaw.pointer, flaw.message));
    }
    lines.join("\n")
}

fn table(http: serde_json::Value, expected: Expect) {
    expected.assert_eq(&show(&read(&http, "/http")));
}

fn tags(tags: &[(&str, &str)], expected: Expect) {
    let declarations: Vec<_> = tags
        .iter()
        .map(|(path, value)| Declaration {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
            origin: format!("traefik.{path}"),
        })
        .collect();
    let tree = tree(&declarations);
    let declared = read(&tree.http, "");
    let mut text = show(&declared);
    for flaw in &declared.flaws {
        text.push_str(&format!("\n  from {:?}", tree.origin(&flaw.pointer)));
    }
    for (origin, flaw) in &tree.flaws {
        text.push_str(&format!("\n{origin}: {}", flaw.message));
    }
    expected.assert_eq(text.trim_start());
}

#[test]
fn a_table_declares_routers_services_and_middlewares() {
    table(
        json!({
            "routers": { "a": {
                "rule": "Host(`a`)", "middlewares": ["m", "n@file"], "entryPoints": "web, websecure",
                "priority": 7, "service": "s", "tls": { "certResolver": "le" }
            }},
            "services": { "s": { "load-balancer": {
                "servers": [{ "url": "http://10.0.0.1:80/", "weight": 3 }, { "url": "https://[::1]" }],
                "pass-host-header": false
            }}},
            "middlewares": { "m": { "stripPrefix": { "prefixes": ["/a"] }, "on-failure": "open" } }
        }),
        expect![[r#"
            router a: RouterSpec { rule: Some("Host(`a`)"), service: Some("s"), middlewares: ["m", "n@file"], entrypoints: ["web", "websecure"], priority: Some(7), tls: Some(TlsSpec { options: None, resolver: Some("le"), domains: [] }) }
            service s: ServiceSpec { servers: [ServerSpec { scheme: Http, authority: "10.0.0.1:80", weight: 3 }, ServerSpec { scheme: Https, authority: "[::1]:443", weight: 1 }], port: None, scheme: None, weight: None, pass_host_header: Some(false) }
            middleware m: stripPrefix {"prefixes":["/a"]} Open"#]],
    );
}

#[test]
fn a_time_limit_is_a_duration_of_a_sensible_length() {
    let limited = |limit: serde_json::Value| json!({ "auth": {}, "timeLimit": limit });
    table(
        json!({ "middlewares": {
            "a": limited(json!("2s")), "b": limited(json!("1m")), "c": limited(json!("0s500ms")),
            "d": limited(json!("2")), "e": limited(json!("0s")), "f": limited(json!("1h")),
            "g": limited(json!("soon")), "h": limited(json!(2)), "i": limited(json!("")),
            "j": limited(json!("99999999999999999999s")),
        } }),
        expect![[r#"
            middleware a: auth {} Closed 2s
            middleware b: auth {} Closed 60s
            middleware c: auth {} Closed 500ms
            middleware d: auth {} Closed 2s
            middleware e: auth {} Closed
            middleware f: auth {} Closed
            middleware g: auth {} Closed
            middleware h: auth {} Closed
            middleware i: auth {} Closed
            middleware j: auth {} Closed
            Error /http/middlewares/e/timeLimit: a time limit is 1ms to 60s, found 0ns
            Error /http/middlewares/f/timeLimit: a time limit is 1ms to 60s, found 3600s
            Error /http/middlewares/g/timeLimit: expected a duration such as `500ms` or `2s`, found "soon"
            Error /http/middlewares/h/timeLimit: expected a duration such as `500ms` or `2s`, found `2`
            Error /http/middlewares/i/timeLimit: expected a duration such as `500ms` or `2s`, found ""
            Error /http/middlewares/j/timeLimit: expected a duration such as `500ms` or `2s`, found "99999999999999999999s""#]],
    );
}

#[test]
fn one_bad_value_costs_that_value() {
    table(
        json!({
            "routerz": {},
            "routers": { "a": { "rule": "Host(`a`)", "prioritty": 3, "priority": "high" }, "b@c": {} },
            "services": { "s": { "load-balancer": { "servers": [
                { "url": "10.0.0.1:80" }, { "url": "ftp://x" }, { "url": "http://ok:81" }, { "weight": 2 },
                { "url": "http://a:99999" }
            ]}}},
            "middlewares": { "none": {}, "two": { "a": {}, "b": {} }, "text": "x" }
        }),
        expect![[r#"
            router a: RouterSpec { rule: Some("Host(`a`)"), service: None, middlewares: [], entrypoints: [], priority: None, tls: None }
            service s: ServiceSpec { servers: [ServerSpec { scheme: Http, authority: "ok:81", weight: 1 }], port: None, scheme: None, weight: None, pass_host_header: None }
            Error /http/routerz: unknown key `routerz` (did you mean `routers`?)
            Error /http/middlewares/none: the middleware names no plugin
            Error /http/middlewares/text: expected a table, found "x"
            Error /http/middlewares/text: the middleware names no plugin
            Error /http/middlewares/two: a middleware is one plugin, here are `a` and `b`
            Error /http/routers/a/prioritty: unknown key `prioritty` (did you mean `priority`?)
            Error /http/routers/a/priority: expected a whole number, found "high"
            Error /http/routers/b@c: `b@c` is not a name: it is empty or holds an `@`
            Error /http/services/s/load-balancer/servers/0/url: `10.0.0.1:80` is not a URL (write `http://10.0.0.1:80`)
            Error /http/services/s/load-balancer/servers/1/url: expected `http`, `https` or `h2c`, found `ftp`
            Error /http/services/s/load-balancer/servers/3: the server has no `url`
            Error /http/services/s/load-balancer/servers/4/url: `a:99999` is not a host with a port"#]],
    );
}

#[test]
fn tags_declare_what_tables_do() {
    tags(
        &[
            ("http.routers.Grafana.rule", "Host(`grafana.local`)"),
            ("http.routers.grafana.entrypoints", "web"),
            ("http.routers.grafana.tls", "true"),
            ("http.services.grafana.loadbalancer.server.port", "3000"),
            ("http.services.grafana.loadbalancer.server.scheme", "h2c"),
            ("http.middlewares.auth.basicauth.users", "a:b,c:d"),
            ("http.middlewares.mine.plugin.my-own.KeepCase", "1"),
            ("http.middlewares.whoami.whoami", "true"),
        ],
        expect![[r#"
            router Grafana: RouterSpec { rule: Some("Host(`grafana.local`)"), service: None, middlewares: [], entrypoints: ["web"], priority: None, tls: Some(TlsSpec { options: None, resolver: None, domains: [] }) }
            service grafana: ServiceSpec { servers: [], port: Some(3000), scheme: Some(H2c), weight: None, pass_host_header: None }
            middleware auth: basicauth {"users":"a:b,c:d"} Closed
            middleware mine: my-own {"KeepCase":"1"} Closed
            middleware whoami: whoami {} Closed"#]],
    );
}

#[test]
fn encryption_is_a_flag_or_a_table() {
    tags(
        &[
            ("http.routers.a.tls", "true"),
            ("http.routers.a.tls.certresolver", "le"),
            ("http.routers.a.tls.options", "mtls@file"),
            ("http.routers.a.tls.domains[0].main", "Example.com"),
            ("http.routers.a.tls.domains[0].sans", "www.example.com, api.example.com"),
            ("http.routers.a.tls.domains[1].sans", "lost.example.com"),
            ("http.routers.b.tls", "false"),
            ("http.routers.c.tls.option", "x"),
        ],
        expect![[r#"
            router a: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: Some(TlsSpec { options: Some("mtls"), resolver: Some("le"), domains: [DomainSpec { main: "example.com", sans: ["www.example.com", "api.example.com"] }] }) }
            router b: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: None }
            router c: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: Some(TlsSpec { options: None, resolver: None, domains: [] }) }
            Error /routers/a/tls/domains/1: the domain has no `main`
            Error /routers/c/tls/option: unknown key `option` (did you mean `options`?)
              from Some("traefik.http.routers.a.tls.domains[1].sans")
              from Some("traefik.http.routers.c.tls.option")"#]],
    );
}

#[test]
fn one_bad_tag_costs_that_tag() {
    tags(
        &[
            ("http.routers.a.rule", "Host(`a`)"),
            ("http.routers.a.rule.x", "1"),
            ("http.routers.a.ruel", "Host(`b`)"),
            ("http..routers", "x"),
            ("http.services.s.loadbalancer.server.port", "many"),
            ("http.services.s.loadbalancer.servers[999].url", "http://x"),
            ("http.services.s.loadbalancer.servers[0].url", "http://x"),
            ("http.routers", "1"),
        ],
        expect![[r#"
            router a: RouterSpec { rule: Some("Host(`a`)"), service: None, middlewares: [], entrypoints: [], priority: None, tls: None }
            service s: ServiceSpec { servers: [ServerSpec { scheme: Http, authority: "x:80", weight: 1 }], port: None, scheme: None, weight: None, pass_host_header: None }
            Error /routers/a/ruel: unknown key `ruel` (did you mean `rule`?)
            Error /services/s/loadbalancer/server/port: expected a port from 1 to 65535, found "many"
              from Some("traefik.http.routers.a.ruel")
              from Some("traefik.http.services.s.loadbalancer.server.port")
            traefik.http.routers.a.rule.x: another tag gives the table around this a value
            traefik.http..routers: the tag has two dots in a row, or ends with one
            traefik.http.services.s.loadbalancer.servers[999].url: `[999]` is not a place in a list
            traefik.http.routers: another tag declares something inside of this"#]],
    );
}

#[test]
fn a_tag_of_any_depth_is_safe() {
    let path = "a.".repeat(100_000);
    let declaration = Declaration { path, value: String::new(), origin: "long".to_owned() };
    assert_eq!(tree(&[declaration]).flaws.len(), 1);
}
