//! Which routers close for what is said of them in a place where nobody looks.

use expect_test::expect;
use serde_json::json;

use super::{close_strays, read, tests::tags, tree};
use crate::item::Declaration;

/// Which routers are closed, of `a`, `b` and whatever else the tags declare.
fn closed(tags: &[&str]) -> String {
    let declaration = |path: &str| Declaration {
        path: path.to_owned(),
        value: "x".to_owned(),
        origin: format!("traefik.{path}"),
    };
    let own = ["http.routers.a.rule", "http.routers.b.rule"];
    let declarations: Vec<_> = own.iter().chain(tags).map(|path| declaration(path)).collect();
    let tree = tree(&declarations);
    let mut declared = read(&tree.http, "");
    close_strays(&mut declared, &declarations, &tree);
    let closed = declared.routers.iter().filter(|(_, router)| router.is_doubtful);
    closed.map(|(name, _)| &**name).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_tag_in_the_wrong_place_that_says_who_may_pass_closes_what_it_is_about() {
    for (tag, expected) in [
        ("http.router.a.middlewares", "a"),
        ("http.Router.A.EntryPoints", "a"),
        ("http.routers.a..middlewares", "a"),
        ("http.routers.a.middlewares[0", "a"),
        ("http.routers.a.rule.tls.options", "a"),
        // A word too many, or a name with dots in it.
        ("http.routers.a.v2.middlewares", "a"),
        ("http.routers.b.example.com.rule", "b"),
        ("http.routers.a.v2.priority", "a"),
        ("http.routers.a.service.middlewares", "a"),
        ("http.routers.a.observability.v2.entrypoints[0]", "a"),
        ("http.routers.a.v2[0]", "a"),
        ("http.routers.a.rul", "a"),
        ("http.routers.a.Rules", "a"),
        ("http.routers.a.observability.metric", ""),
        ("http.routers.a.prioritty", ""),
        ("http.routes.c.tls.options", "a b"),
        ("http.router.a.middlewars", "a"),
        ("htp.routers.a.middlewares", "a"),
        ("htp.router.B.Middleware", "b"),
        ("web.routers.a.tls.certresolver", "a"),
        ("routers.a.tls.certresolver", "a"),
        // A router may be called like what stands beside routers.
        ("routers.services.middlewares", "a b"),
        ("routers.models.tls.options", "a b"),
        ("routers.services.rule", ""),
        ("httprouters.a.middlewares", "a"),
        ("http/routers.a.middlewares", "a"),
        ("x.http.routers.a.middlewares", "a"),
        ("routers.a.entrypoints[0]", "a"),
        ("htp.routers.c.middlewares", "a b"),
        ("htp.routers.a.rule", ""),
        ("htp.routers.tls.rule", ""),
        ("htp.middlewares.tls.headers", ""),
        ("tcp.routers.a.tls", ""),
        ("http.router.tls.rule", ""),
        ("http.router.a.priority", ""),
        ("http.middleware.a.basicauth.users", ""),
        ("http.middlewares.tls..headers", ""),
        ("http.routers.a..rule", ""),
        ("http.models.a.middlewares", ""),
        ("http", ""),
    ] {
        assert_eq!(closed(&[tag]), expected, "{tag}");
    }
}

#[test]
fn a_key_that_stands_there_twice_may_be_the_one_that_protects() {
    let router = |router: serde_json::Value| {
        let declared = read(&json!({ "routers": { "a": router } }), "/http");
        declared.routers.first().is_some_and(|(_, it)| it.is_doubtful)
    };
    assert!(router(json!({ "rule": "Host(`a`)", "Middlewares": [], "middlewares": ["auth"] })));
    assert!(router(json!({ "Rule": "Host(`a`)", "rule": "Host(`a`) && ClientIP(`10.0.0.0/8`)" })));
    assert!(!router(json!({ "rule": "Host(`a`)", "Priority": 1, "priority": 2 })));
}

#[test]
fn a_name_with_dots_is_told_with_all_that_is_lost() {
    tags(
        &[
            ("http.routers.app.example.com.rule", "Host(`app.example.com`)"),
            ("http.routers.app.example.com.middlewares", "auth"),
            ("http.routers.app.rule", "Host(`app`)"),
        ],
        expect![[r#"
            router app: RouterSpec { rule: Some("Host(`app`)"), service: None, middlewares: [], entrypoints: [], priority: None, tls: None, timeouts: None, observability: Observability { access_logs: None, metrics: None, tracing: None, trace_verbosity: None }, is_doubtful: true }
            Error /routers/app/example: unknown key `example`, with which this is lost: `example.com.middlewares`, `example.com.rule` (names have no dots: write `app-example-com`)
              from Some("traefik.http.routers.app.example")"#]],
    );
}
