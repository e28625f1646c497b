//! What is told of middlewares whose plugin is not there, or goes by an old name.

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use serde_json::{Value, json};

use super::{
    Assembler,
    tests::{check, consul, file, inputs, instance, show},
};
use crate::{
    middleware::Interest,
    port::{BindError, MiddlewarePlugin},
};

#[test]
fn a_middleware_without_its_plugin_is_an_error_for_whom_it_closes() {
    check(
        vec![
            consul(vec![instance(
                "a",
                1,
                &[
                    ("http.routers.one.rule", "Host(`one`)"),
                    ("http.routers.one.middlewares", "again"),
                    ("http.middlewares.again.grpcWeb.average", "4"),
                    ("http.middlewares.all.chain.middlewares", "again,other"),
                ],
            )]),
            file(json!({
                "routers": {
                    "two": { "rule": "Host(`two`)", "middlewares": ["rl"] },
                    "three": { "rule": "Host(`three`)", "middlewares": ["rl", "again@consul"] }
                },
                "middlewares": { "rl": { "grpcWeb": { "allowOrigins": "*" } }, "slip": { "helo": {} } }
            })),
        ],
        expect![[r#"
            router one@consul disabled on web,websecure via ["again@consul"] to my-shop@consul hosts ["one"]
            router three@config disabled on web,websecure via ["rl@config", "again@consul"] to nothing hosts ["three"]
            router two@config disabled on web,websecure via ["rl@config"] to nothing hosts ["two"]
            service my-shop@consul enabled ["http://10.0.0.1:8001 passing"] used by ["one@consul"]
            middleware again@consul disabled used by ["one@consul", "three@config"]
            middleware all@consul disabled used by []
            middleware rl@config disabled used by ["three@config", "two@config"]
            middleware slip@config disabled used by []
            Error config config.toml /http/middlewares/rl/grpcWeb: there is no middleware plugin `grpcWeb`: routers `three` and `two` answer 503
            Error consul a tag traefik.http.middlewares.again.grpcWeb.average: there is no middleware plugin `grpcWeb`: routers `one` and `three@config` answer 503
            Warning config config.toml /http/middlewares/slip/helo: there is no middleware plugin `helo`
            Warning consul a tag traefik.http.middlewares.all.chain.middlewares: there is no middleware `other@consul`, which is in the chain `all`"#]],
    );
}

#[test]
fn what_to_do_about_it_depends_on_the_middleware() {
    let hint = |middleware: Value| {
        let file = file(json!({ "middlewares": { "m": middleware } }));
        let snapshot = Assembler::default().assemble(&inputs(vec![file]));
        let hint = snapshot.problems.iter().next().unwrap().hint.clone();
        hint.unwrap_or_default()
    };
    for (middleware, expected) in [
        (json!({ "circuitBreaker": {} }), ".load-balancer.circuit-breaker.error-ratio`"),
        (json!({ "grpcWeb": {} }), "its routers stay closed"),
        (json!({ "helo": {} }), "did you mean `hello`?"),
    ] {
        assert!(hint(middleware.clone()).contains(expected), "{middleware}");
    }
}

#[test]
fn the_error_follows_the_routers() {
    let mut assembler = Assembler::default();
    let middleware = json!({ "none": { "nonesuch": {} } });
    let mut told = |routers: Value| {
        let file = file(json!({ "routers": routers, "middlewares": middleware }));
        let snapshot = assembler.assemble(&inputs(vec![file]));
        let told = snapshot.problems.iter().map(|problem| problem.message.clone());
        told.filter(|message| message.contains("nonesuch")).collect::<Vec<_>>()
    };
    let router = json!({ "rule": "Host(`a`)", "middlewares": ["none"] });
    let missing = "there is no middleware plugin `nonesuch`";
    assert_eq!(told(json!({})), [missing]);
    assert_eq!(told(json!({ "a": router })), [format!("{missing}: router `a` answers 503")]);
    assert_eq!(
        told(json!({ "a": router, "b": router })),
        [format!("{missing}: routers `a` and `b` answer 503")]
    );
    assert_eq!(told(json!({})), [missing]);
}

#[test]
fn a_middleware_of_two_plugins_is_not_missing_but_wrong() {
    let tags = [
        ("http.routers.shop.rule", "Host(`shop.local`)"),
        ("http.routers.shop.middlewares", "m14"),
        ("http.middlewares.m14.hello.x", "1"),
        ("http.middlewares.m14.compress", "true"),
        ("http.middlewares.m13.hello.x", "1"),
    ];
    check(
        vec![consul(vec![instance("a", 1, &tags)])],
        expect![[r#"
            router shop@consul disabled on web,websecure via ["m14@consul"] to my-shop@consul hosts ["shop.local"]
            service my-shop@consul enabled ["http://10.0.0.1:8001 passing"] used by ["shop@consul"]
            middleware m13@consul enabled used by []
            middleware m14@consul disabled used by ["shop@consul"]
            Error consul a tag traefik.http.middlewares.m14: a middleware is one plugin, here are `compress` and `hello`"#]],
    );
}

#[test]
fn what_a_plugin_complains_of_stands_at_its_tag() {
    let origin = |key: &str, value| {
        let other = ("http.middlewares.m.hello.other", "1");
        let tags = [(key, value), other];
        let snapshot =
            Assembler::default().assemble(&inputs(vec![consul(vec![instance("a", 1, &tags)])]));
        snapshot.problems.iter().map(|it| it.origin.clone()).collect::<Vec<_>>()
    };
    let wrong = "http.middlewares.m.hello.wrong";
    assert_eq!(origin(wrong, "1"), [format!("a tag traefik.{wrong}")]);
    let below = "http.middlewares.m.hello.wrong[0]";
    assert_eq!(origin(below, "1"), [format!("a tag traefik.{below}")]);
}

#[derive(Debug)]
struct AllowList;

impl MiddlewarePlugin for AllowList {
    fn name(&self) -> &str {
        "ip-allow-list"
    }

    fn fingerprint(&self) -> &str {
        "1"
    }

    fn bind(
        &self,
        _label: &str,
        _config: &Value,
        _contents: &[Arc<str>],
        _limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        Ok(Interest::default())
    }
}

#[test]
fn traefiks_old_name_of_the_allow_list_is_understood_and_told() {
    let tags = [
        ("http.routers.shop.rule", "Host(`shop.local`)"),
        ("http.routers.shop.middlewares", "lan"),
        ("http.middlewares.lan.IPWhiteList.sourceRange", "10.0.0.0/8"),
    ];
    let mut inputs = inputs(vec![consul(vec![instance("a", 1, &tags)])]);
    inputs.middlewares = vec![Arc::new(AllowList)];
    expect![[r#"
        router shop@consul enabled on web,websecure via ["lan@consul"] to my-shop@consul hosts ["shop.local"]
        service my-shop@consul enabled ["http://10.0.0.1:8001 passing"] used by ["shop@consul"]
        middleware lan@consul warning used by ["shop@consul"]
        Warning consul a tag traefik.http.middlewares.lan.IPWhiteList.sourceRange: middleware `lan`: `IPWhiteList` is the old name of `ipAllowList`"#]].assert_eq(&show(&Assembler::default().assemble(&inputs)));
}
