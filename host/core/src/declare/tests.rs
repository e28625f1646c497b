//! What tables and tags mean, case by case.

use expect_test::{Expect, expect};
use serde_json::json;

use super::{Declared, KindSpec, ServiceSpec, close_strays, read, tree};
use crate::{item::Declaration, policy::LoadBalancer, problem::Severity, router::TraceVerbosity};

fn show(declared: &Declared) -> String {
    let mut lines = Vec::new();
    for (name, router) in &declared.routers {
        lines.push(format!("router {name}: {router:?}"));
    }
    for (name, service) in &declared.services {
        let ServiceSpec { servers, port, scheme, weight, options, kind } = service;
        lines.push(format!("service {name}: {servers:?} {port:?} {scheme:?} {weight:?}"));
        lines.extend(changed(options, &LoadBalancer::usual()));
        if *kind != KindSpec::Backends {
            lines.push(format!("  {kind:?}"));
        }
    }
    for (name, middleware) in &declared.middlewares {
        let (plugin, policy) = (middleware.plugin.as_deref(), middleware.on_failure);
        let plugin = plugin.unwrap_or("of no plugin");
        let limit = middleware.time_limit.map(|limit| format!(" {limit:?}")).unwrap_or_default();
        lines.push(format!("middleware {name}: {plugin} {} {policy:?}{limit}", middleware.config));
    }
    for (name, transport) in &declared.transports {
        lines.push(match transport {
            Ok(transport) => format!("transport {name}: {transport:?}"),
            Err(why) => format!("transport {name}: none, {why}"),
        });
    }
    for flaw in &declared.flaws {
        let hint = flaw.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        lines.push(format!("{:?} {}: {}{hint}", flaw.severity, flaw.pointer, flaw.message));
    }
    lines.join("\n")
}

/// The lines in which a value is not like another.
fn changed<T: std::fmt::Debug>(value: &T, default: &T) -> Option<String> {
    let (value, default) = (format!("{value:#?}"), format!("{default:#?}"));
    let is_new = |line: &&str| !default.lines().any(|known| known == *line);
    let lines: Vec<_> = value.lines().filter(is_new).map(str::trim).collect();
    (!lines.is_empty()).then(|| format!("  {}", lines.join(" ")))
}

fn table(http: serde_json::Value, expected: Expect) {
    expected.assert_eq(&show(&read(&http, "/http")));
}

pub(super) fn tags(tags: &[(&str, &str)], expected: Expect) {
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
                "priority": 7, "service": "s", "tls": { "certResolver": "le" },
                "timeouts": { "responseHeader": "2s", "total": "0s" }
            }},
            "services": { "s": { "load-balancer": {
                "servers": [{ "url": "http://10.0.0.1:80/", "weight": 3 }, { "url": "https://[::1]" }],
                "pass-host-header": false
            }}},
            "middlewares": { "m": { "stripPrefix": { "prefixes": ["/a"] }, "on-failure": "open" } }
        }),
        expect![[r#"
            router a: RouterSpec { rule: Some("Host(`a`)"), service: Some("s"), middlewares: ["m", "n@file"], entrypoints: ["web", "websecure"], priority: Some(7), tls: Some(TlsSpec { options: None, resolver: Some("le"), domains: [] }), timeouts: Some(Timeouts { connect: None, response_header: Some(2s), response_idle: None, request_idle: None, total: Some(0ns) }), observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            service s: [ServerSpec { scheme: Http, authority: "10.0.0.1:80", path: None, weight: 3 }, ServerSpec { scheme: Https, authority: "[::1]:443", path: None, weight: 1 }] None None None
              pass_host_header: false,
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
            router a: RouterSpec { rule: Some("Host(`a`)"), service: None, middlewares: [], entrypoints: [], priority: None, tls: None, timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            service s: [ServerSpec { scheme: Http, authority: "ok:81", path: None, weight: 1 }] None None None
            middleware none: of no plugin null Closed
            middleware text: of no plugin null Closed
            middleware two: of no plugin null Closed
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
            router Grafana: RouterSpec { rule: Some("Host(`grafana.local`)"), service: None, middlewares: [], entrypoints: ["web"], priority: None, tls: Some(TlsSpec { options: None, resolver: None, domains: [] }), timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            service grafana: [] Some(3000) Some(H2c) None
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
            ("http.routers.b.tls", "0"),
            ("http.routers.c.tls.option", "x"),
        ],
        expect![[r#"
            router a: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: Some(TlsSpec { options: Some("mtls"), resolver: Some("le"), domains: [DomainSpec { main: "example.com", sans: ["www.example.com", "api.example.com"] }, DomainSpec { main: "lost.example.com", sans: ["lost.example.com"] }] }), timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            router b: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: None, timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            router c: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: Some(TlsSpec { options: None, resolver: None, domains: [] }), timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: true }
            Error /routers/c/tls/option: unknown key `option` (did you mean `options`?)
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
            router a: RouterSpec { rule: Some("Host(`a`)"), service: None, middlewares: [], entrypoints: [], priority: None, tls: None, timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: true }
            service s: [ServerSpec { scheme: Http, authority: "x:80", path: None, weight: 1 }] None None None
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
fn true_beside_a_table_is_fine_in_whichever_order() {
    let leaf = |path: &str, value: &str| Declaration {
        path: path.to_owned(),
        value: value.to_owned(),
        origin: path.to_owned(),
    };
    let mut tags = [
        leaf("http.routers.a.tls.certresolver", "le"),
        leaf("http.routers.a.tls", "true"),
        leaf("http.services.s.loadbalancer.sticky.cookie.name", "n"),
        leaf("http.services.s.loadbalancer.sticky.cookie", "TRUE"),
    ];
    for _ in 0..2 {
        let tree = tree(&tags);
        assert_eq!(tree.flaws, []);
        assert_eq!(tree.http["routers"]["a"]["tls"]["certresolver"], "le");
        tags.reverse();
    }
}

#[test]
fn what_a_word_switches_on_and_off_is_traefiks() {
    let on = |tags: &[(&str, &str)]| {
        let declaration = |(path, value): &(&str, &str)| Declaration {
            path: format!("http.{path}"),
            value: (*value).to_owned(),
            origin: format!("traefik.http.{path}"),
        };
        let declarations: Vec<_> = tags.iter().map(declaration).collect();
        let tree = tree(&declarations);
        let mut declared = read(&tree.http, "");
        close_strays(&mut declared, &declarations, &tree);
        let all = tree.flaws.iter().map(|(_, flaw)| flaw).chain(&declared.flaws);
        let said = all.filter(|flaw| flaw.severity == Severity::Warning).count();
        let router = declared.routers.first().map(|(_, it)| (it.tls.is_some(), it.is_doubtful));
        let is_sticky = declared.services.first().map(|(_, it)| it.options.sticky.is_some());
        (router.unwrap_or_default(), is_sticky.unwrap_or_default(), said)
    };
    let tls = "routers.a.tls";
    for (word, is_on, said) in [
        ("true", true, 0),
        ("TRUE", true, 0),
        ("", true, 0),
        ("1", false, 1),
        ("yes", false, 1),
        ("false", false, 0),
        ("0", false, 0),
    ] {
        assert_eq!(on(&[(tls, word)]), ((is_on, false), false, said), "{word}");
    }
    let mut both = [(tls, "false"), ("routers.a.tls.certresolver", "le")];
    for _ in 0..2 {
        assert_eq!(on(&both), ((false, false), false, 1));
        both.reverse();
    }
    let sticky = "services.s.loadbalancer.sticky";
    assert_eq!(on(&[(sticky, "true")]), ((false, false), false, 1));
    let cookie = format!("{sticky}.cookie");
    assert_eq!(on(&[(&cookie, "true")]), ((false, false), true, 0));
    assert_eq!(on(&[(&cookie, ""), (sticky, "true")]), ((false, false), true, 0));
    assert_eq!(on(&[(&cookie, "true"), (sticky, "no")]), ((false, false), false, 1));
}

#[test]
fn the_path_of_a_probe_may_do_without_its_slash() {
    let path = |path: &str| {
        let check =
            json!({ "services": { "s": { "loadBalancer": { "healthCheck": { "path": path } } } } });
        let declared = read(&check, "");
        let check = declared.services[0].1.options.health_check.clone();
        (check.unwrap().path, declared.flaws.len())
    };
    for (given, expected) in [("/a", "/a"), ("health?x=1", "/health?x=1"), ("", "/")] {
        assert_eq!(path(given), (expected.to_owned(), 0), "{given}");
    }
    for bad in ["http://other/health", "//other/health", "a b"] {
        assert_eq!(path(bad), ("/".to_owned(), 1), "{bad}");
    }
}

#[test]
fn what_should_be_made_of_other_services_is_not_one_of_backends() {
    for kind in ["failover", "mirroring"] {
        let mut http = json!({ "services": { "s": {} } });
        http["services"]["s"][kind] = json!({ "fallbak": "spare" });
        let declared = read(&http, "");
        assert_ne!(declared.services[0].1.kind, KindSpec::Backends);
        assert!(!declared.flaws.is_empty());
    }
}

#[test]
fn a_tag_of_any_depth_is_safe() {
    let path = "a.".repeat(100_000);
    let declaration = Declaration { path, value: String::new(), origin: "long".to_owned() };
    assert_eq!(tree(&[declaration]).flaws.len(), 1);
}

#[test]
fn a_load_balancer_has_traefiks_options_and_ours() {
    table(
        json!({ "services": { "s": { "loadBalancer": {
            "servers": [],
            "strategy": "HRW",
            "hash": { "header": "X-User" },
            "sticky": { "cookie": {
                "name": "lb", "secure": true, "httpOnly": "true", "sameSite": "Strict",
                "maxAge": 60, "path": "/x", "domain": "a.local"
            }},
            "slow-start": "30s",
            "healthCheck": {
                "mode": "grpc", "scheme": "https", "port": 81, "hostname": "x", "interval": "10s",
                "unhealthyInterval": "1s", "timeout": 2, "rise": 2, "fall": 3, "status": 204,
                "headers": { "X-A": "b" }, "followRedirects": false, "method": "head", "path": "/h"
            },
            "passiveHealthCheck": { "failureWindow": "20s", "maxFailedAttempts": 3, "ejection": "5s" },
            "retry": { "attempts": 2, "statuses": "502-504,429", "on-reset": true, "budget": "10%" },
            "circuit-breaker": { "error-ratio": 0.3, "window": "1m", "fallback-duration": "5s" },
            "limits": { "max-requests": 100, "max-requests-per-backend": 10, "queue": 5 },
            "timeouts": { "connect": "1s", "response-header": "0s", "total": "1m30s" },
            "serversTransport": "mtls@file"
        }}}}),
        expect![[r#"
            service s: [] None None None
              strategy: Hashed, hash_on: Header( "x-user", ), sticky: Some( Sticky { name: Some( "lb", ), secure: true, http_only: true, same_site: Some( Strict, ), max_age: 60, path: Some( "/x", ), domain: Some( "a.local", ), }, ), slow_start: Some( 30s, ), health_check: Some( HealthCheck { mode: Grpc, path: "/h", scheme: Some( Https, ), port: Some( 81, ), method: HEAD, status: Some( 204, ), hostname: Some( "x", ), headers: [ ( "x-a", "b", ), ], follow_redirects: false, interval: 10s, unhealthy_interval: 1s, timeout: 2s, rise: 2, fall: 3, }, ), max_failed_attempts: 3, failure_window: 20s, on_status: true, ejection: 5s, attempts: 2, [ StatusRange { from: 502, to: 504, }, StatusRange { from: 429, to: 429, }, ], on_reset: true, budget_percent: 10, breaker: Some( Breaker { error_percent: 30, window: 60s, min_requests: 20, fallback: 5s, }, ), max_requests: Some( 100, max_requests_per_backend: Some( 10, queue: 5, connect: Some( 1s, response_header: Some( 0ns, total: Some( 90s, transport: Some( "mtls@file", ),"#]],
    );
}

#[test]
fn how_much_is_traced_is_a_word() {
    let router = |word: &str| {
        let observability = json!({ "traceVerbosity": word });
        let http = json!({ "routers": { "r": { "observability": observability } } });
        let declared = read(&http, "/http");
        let flaws = declared.flaws.iter().map(|flaw| flaw.message.clone()).collect::<Vec<_>>();
        (declared.routers[0].1.observability.trace_verbosity, flaws)
    };
    assert_eq!(router("detailed"), (Some(TraceVerbosity::Detailed), Vec::new()));
    assert_eq!(router("Minimal"), (Some(TraceVerbosity::Minimal), Vec::new()));
    let complaint = "expected `minimal`, `detailed`, found `loud`".to_owned();
    assert_eq!(router("loud"), (None, vec![complaint]));
}

#[test]
fn tags_ask_for_the_same() {
    tags(
        &[
            ("http.routers.r.timeouts.total", "10s"),
            ("http.routers.r.timeouts.request-idle", "1m"),
            ("http.services.s.loadbalancer.healthcheck.path", "/health"),
            ("http.services.s.loadbalancer.healthcheck.interval", "10s"),
            ("http.services.s.loadbalancer.healthcheck.headers.X-Probe", "1"),
            ("http.services.s.loadbalancer.sticky.cookie", "true"),
            ("http.services.s.loadbalancer.passivehealthcheck", "false"),
            ("http.services.s.loadbalancer.retry.statuses", "502, 503"),
            ("http.services.w.weighted.services[0].name", "a"),
            ("http.services.w.weighted.services[0].weight", "3"),
            ("http.services.w.weighted.services[1].name", "b"),
            ("http.services.w.weighted.sticky", "true"),
            ("http.services.m.mirroring.service", "a"),
            ("http.services.m.mirroring.mirrors[0].name", "b"),
            ("http.services.m.mirroring.mirrors[0].percent", "10"),
            ("http.services.m.mirroring.maxBodySize", "64KiB"),
            ("http.services.f.failover.service", "a"),
            ("http.services.f.failover.fallback", "b"),
            ("http.services.f.failover.errors.status", "500-599"),
            ("http.serversTransports.t.serverName", "x"),
        ],
        expect![[r#"
            router r: RouterSpec { rule: None, service: None, middlewares: [], entrypoints: [], priority: None, tls: None, timeouts: Some(Timeouts { connect: None, response_header: None, response_idle: None, request_idle: Some(60s), total: Some(10s) }), observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: false }
            service f: [] None None None
              Failover { service: "a", fallback: "b", statuses: Statuses([StatusRange { from: 500, to: 599 }]), max_body: 1048576 }
            service m: [] None None None
              Mirroring { service: "a", mirrors: [MirrorSpec { name: "b", percent: 10 }], mirror_body: true, max_body: 65536 }
            service s: [] None None None
              sticky: Some( Sticky { name: None, secure: false, http_only: false, same_site: None, max_age: 0, path: None, domain: None, }, ), health_check: Some( HealthCheck { mode: Http, path: "/health", scheme: None, port: None, method: GET, status: None, hostname: None, headers: [ ( "x-probe", "1", ), ], follow_redirects: true, interval: 10s, unhealthy_interval: 10s, timeout: 5s, rise: 1, fall: 1, }, ), enabled: false, [ StatusRange { from: 502, to: 502, }, StatusRange { from: 503, to: 503, }, ],
            service w: [] None None None
              Weighted { members: [MemberSpec { name: "a", weight: 3 }, MemberSpec { name: "b", weight: 1 }], by_client: false, sticky: None }
            transport t: Transport { server_name: Some("x"), insecure_skip_verify: false, root_cas: [], certificates: [], texts: PemTexts { authorities: None, certificate: None, .. }, disable_http2: false, min_version: None, max_version: None, cipher_suites: [], dial_timeout: None, response_header_timeout: None }
            Warning /services/w/weighted/sticky: without a cookie nobody is told apart (add `sticky.cookie=true`)
              from Some("traefik.http.services.w.weighted.sticky")"#]],
    );
}

#[test]
fn what_contradicts_itself_or_means_nothing_is_said_at_its_place() {
    table(
        json!({ "services": {
            "a": { "load-balancer": {
                "strategy": "p2p", "hash": { "cookie": "x" }, "slow-start": "soon",
                "sticky": { "cookie": { "same-site": "none", "name": "a;b" } },
                "health-check": { "mode": "tcp", "path": "/x", "interval": "0s", "fall": 0,
                    "timeout": "1m", "intervall": "1s" },
                "passive-health-check": { "panic-threshold": 150 },
                "retry": { "statuses": ["600", "5xx", "504-502"], "max-body-size": "1MiB" },
                "circuit-breaker": { "error-ratio": "150%" },
                "limits": { "queue": 3 },
                "timeouts": { "idle": "1s" },
                "response-forwarding": { "flush-interval": "1s" }
            }},
            "b": { "load-balancer": {}, "weighted": { "services": [{ "name": "a" }] } },
            "c": { "weighted": { "services": [{ "weight": 1 }] } },
            "d": { "mirroring": { "max-body-size": -1, "mirrors": [{ "name": "a", "percent": 101 }] } },
            "e": { "failover": { "service": "a" } },
            "f": { "highest-random-weight": { "services": [{ "name": "a" }], "sticky": true } }
        }, "servers-transports": {
            "t": { "insecure-skip-verify": true, "root-cas": ["-----BEGIN CERTIFICATE-----"],
                "certificates": [{ "cert-file": "a.pem" }], "max-version": "VersionTLS13",
                "spiffe": {} },
            "u": { "min-version": "1.3", "max-version": 1.2,
                "cipher-suites": ["TLS_AES_256_GCM_SHA348", "RC4"] },
            "v": { "minVersion": "VersionTLS11", "maxVersion": "VersionSSL30" }
        }}),
        expect![[r#"
            service a: [] None None None
              hash_on: Cookie( "x", ), sticky: Some( Sticky { name: None, secure: false, http_only: false, same_site: Some( None, ), max_age: 0, path: None, domain: None, }, ), health_check: Some( HealthCheck { mode: Tcp, path: "/x", scheme: None, port: None, method: GET, status: None, hostname: None, headers: [], follow_redirects: true, interval: 30s, unhealthy_interval: 30s, timeout: 60s, rise: 1, fall: 1, }, ), max_failed_attempts: 1, on_status: true, ejection: 10s, max_body: 1048576, breaker: Some( Breaker { error_percent: 50, window: 10s, min_requests: 20, fallback: 10s, }, ), queue: 3,
            service b: [] None None None
            service c: [] None None None
              Weighted { members: [], by_client: false, sticky: None }
            service d: [] None None None
              Weighted { members: [], by_client: false, sticky: None }
            service e: [] None None None
              Weighted { members: [], by_client: false, sticky: None }
            service f: [] None None None
              Weighted { members: [MemberSpec { name: "a", weight: 1 }], by_client: true, sticky: None }
            transport t: none, `spiffe` is not supported
            transport u: none, not all of it can be read
            transport v: none, not all of it can be read
            Error /http/servers-transports/t/certificates/0: a certificate is a `cert-file` and a `key-file`
            Warning /http/servers-transports/t/insecure-skip-verify: whoever stands between us and the backends can read and change everything: any certificate will do (trust their authority instead, by `root-cas`; where only the name differs there is `server-name`)
            Error /http/servers-transports/t/root-cas: expected the path of a PEM file, found what stands in one
            Error /http/servers-transports/t/spiffe: the transport cannot be used, since `spiffe` is not supported: more would be trusted than is meant (say with `root-cas` and `server-name` whose certificates are meant)
            Error /http/servers-transports/t: connections would be trusted that are not meant to be: the transport cannot be used until all of it can be read
            Error /http/servers-transports/u/cipher-suites: there is no cipher suite `TLS_AES_256_GCM_SHA348` (did you mean `TLS_AES_256_GCM_SHA384`?)
            Error /http/servers-transports/u/cipher-suites: there is no cipher suite `RC4` (there are TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
            Error /http/servers-transports/u: `max-version` is below `min-version`
            Error /http/servers-transports/u: connections would be trusted that are not meant to be: the transport cannot be used until all of it can be read
            Error /http/servers-transports/v/maxVersion: expected `1.2` or `1.3`, found "VersionSSL30"
            Warning /http/servers-transports/v/minVersion: backends that speak less than TLS 1.2 are not reached
            Error /http/servers-transports/v: connections would be trusted that are not meant to be: the transport cannot be used until all of it can be read
            Warning /http/services/a/load-balancer/response-forwarding: `response-forwarding` is not supported and has no effect
            Error /http/services/a/load-balancer/circuit-breaker/error-ratio: expected a ratio from 0.01 to 1, found `150%`
            Error /http/services/a/load-balancer/health-check/intervall: unknown key `intervall` (did you mean `interval`?)
            Error /http/services/a/load-balancer/health-check/fall: expected a number from 1 up, found `0`
            Error /http/services/a/load-balancer/health-check/interval: this takes some time: it may not be 0
            Warning /http/services/a/load-balancer/health-check/path: a probe in the mode `tcp` sends nothing, so `path` is unused
            Warning /http/services/a/load-balancer/health-check/timeout: a probe may take longer than it is to the next one
            Warning /http/services/a/load-balancer/limits: without `max-requests` or `max-requests-per-backend` nothing is limited
            Error /http/services/a/load-balancer/passive-health-check/panic-threshold: expected percent, from 0 to 100, found `150`
            Error /http/services/a/load-balancer/retry/statuses: `600` is not a status, nor a range of them
            Error /http/services/a/load-balancer/retry/statuses: `5xx` is not a status, nor a range of them
            Error /http/services/a/load-balancer/retry/statuses: `504-502` is not a status, nor a range of them
            Warning /http/services/a/load-balancer/retry: no body is kept, since no request that was sent is sent again
            Error /http/services/a/load-balancer/slow-start: expected a duration such as `"10s"`, found "soon"
            Error /http/services/a/load-balancer/sticky/cookie/name: `a;b` may not stand in a cookie
            Warning /http/services/a/load-balancer/sticky/cookie/same-site: browsers refuse a cookie with `same-site = "none"` that is not `secure`
            Error /http/services/a/load-balancer/strategy: expected `wrr`, `p2c`, `leasttime`, `hrw`, `consistent-hash`, found `p2p` (did you mean `p2c`?)
            Error /http/services/a/load-balancer/timeouts/idle: unknown key `idle`
            Error /http/services/a/load-balancer/hash: with the strategy `wrr` nothing is hashed (add `strategy = "hrw"`)
            Error /http/services/b/weighted: a service is one kind, here are `load-balancer` and `weighted`
            Error /http/services/c/weighted/services/0: the service has no `name`
            Error /http/services/c/weighted: the service is made of no services
            Warning /http/services/d/mirroring/max-body-size: there is a bound: 1048576 bytes, unless it is said here
            Error /http/services/d/mirroring/mirrors/0/percent: expected percent, from 0 to 100, found `101`
            Error /http/services/d/mirroring: the service has no `service` that answers
            Error /http/services/e/failover: the service has no `fallback`
            Error /http/services/f/highest-random-weight/sticky: there each client stays anyway"#]],
    );
}

#[test]
fn the_path_of_a_server_is_preserved_where_that_is_wanted() {
    table(
        json!({ "services": { "s": { "load-balancer": { "servers": [
            { "url": "http://a/base/", "preservePath": true }, { "url": "http://b/base" },
            { "url": "http://c?x=1" }, { "url": "http://d/a b", "preserve-path": true },
            { "url": "http://e", "preserve-path": true }
        ]}}}}),
        expect![[r#"
            service s: [ServerSpec { scheme: Http, authority: "a:80", path: Some("/base"), weight: 1 }, ServerSpec { scheme: Http, authority: "b:80", path: None, weight: 1 }, ServerSpec { scheme: Http, authority: "c:80", path: None, weight: 1 }, ServerSpec { scheme: Http, authority: "e:80", path: None, weight: 1 }] None None None
            Warning /http/services/s/load-balancer/servers/1/url: the path `/base` of the URL has no effect (`preserve-path = true` puts it before the path of each request)
            Warning /http/services/s/load-balancer/servers/2/url: `?x=1` of the URL has no effect: requests have their own
            Error /http/services/s/load-balancer/servers/3/url: `/a b` is not a path"#]],
    );
    tags(
        &[
            ("http.services.s.loadbalancer.server.preservepath", "true"),
            ("http.services.s.loadbalancer.server.url", "http://a:81/base"),
        ],
        expect![[
            r#"service s: [ServerSpec { scheme: Http, authority: "a:81", path: Some("/base"), weight: 1 }] None None None"#
        ]],
    );
}
