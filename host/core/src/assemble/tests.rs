//! What sources add up to, case by case.

use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Assembler, Entrypoint, Inputs, Redirected};
use crate::{
    catalog::Source,
    item::{Change, Declaration, Edge, Fragment, Health, Instance, Item, Key, Notice, Update},
    middleware::Interest,
    port::{BindError, FieldError, FileField, MiddlewarePlugin},
    snapshot::{Entry, Snapshot},
    test_util::TestMatchers,
    zone::{Edges, Reach},
};

/// Takes any configuration but one that says `wrong`, and any `file` but one that holds it.
#[derive(Debug)]
pub(super) struct Hello;

impl MiddlewarePlugin for Hello {
    fn name(&self) -> &str {
        "hello"
    }

    fn fingerprint(&self) -> &str {
        "1"
    }

    fn files(&self, config: &Value) -> Vec<FileField> {
        let named = config.get("file").and_then(Value::as_str);
        named
            .map(|file| FileField { path: "/file".into(), file: file.into() })
            .into_iter()
            .collect()
    }

    fn bind(
        &self,
        _label: &str,
        config: &Value,
        contents: &[Arc<str>],
        limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        if contents.iter().any(|content| content.contains("wrong")) {
            return Err(BindError::Config(vec![FieldError {
                path: "/file".to_owned(),
                message: "line 1: no sense".to_owned(),
                hint: None,
            }]));
        }
        match config.get("wrong") {
            None => Ok(Interest { aside: limit, ..Interest::default() }),
            Some(_) => Err(BindError::Config(vec![FieldError {
                path: "/wrong".to_owned(),
                message: "unknown key `wrong`".to_owned(),
                hint: None,
            }])),
        }
    }
}

pub(super) fn file(http: Value) -> Source {
    let mut source = Source::new("config", "config");
    let origin = "config.toml".to_owned();
    let fragment = Fragment { origin, config: json!({ "http": http }) };
    source.apply(Update::Snapshot(vec![Item::Fragment(fragment.into())]), vec![]).unwrap();
    source
}

pub(super) fn instance(id: &str, version: u64, tags: &[(&str, &str)]) -> Instance {
    let declares = tags.iter().map(|(path, value)| Declaration {
        path: (*path).to_owned(),
        value: (*value).to_owned(),
        origin: format!("traefik.{path}"),
    });
    Instance {
        id: id.to_owned(),
        service: "my_shop".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 8000 + version as u16,
        weight_passing: 1,
        weight_warning: 1,
        version,
        declares: declares.collect(),
        ..Instance::default()
    }
}

pub(super) fn consul(instances: Vec<Instance>) -> Source {
    let mut source = Source::new("consul", "consul");
    let items = instances.into_iter().map(|instance| Item::Instance(instance.into()));
    source.apply(Update::Snapshot(items.collect()), vec![]).unwrap();
    source
}

pub(super) fn inputs(sources: Vec<Source>) -> Inputs {
    let entrypoint = Entrypoint::new;
    Inputs {
        entrypoints: vec![entrypoint("web", false), entrypoint("websecure", true)],
        sources: sources.into_iter().map(Arc::new).collect(),
        matchers: vec![Arc::new(TestMatchers::default())],
        middlewares: vec![Arc::new(Hello)],
        ..Inputs::default()
    }
}

#[test]
fn a_router_that_moves_to_another_entrypoint_takes_its_host_along() {
    let reach = |at| Reach { addresses: vec![[10, 0, 0, at].into()], ..Reach::default() };
    let mut assembler = Assembler::default();
    for (entrypoints, addresses) in [
        (json!(["web"]), &["10.0.0.1"][..]),
        (json!(["websecure"]), &["10.0.0.2"]),
        (json!(["websecure", "web"]), &["10.0.0.1", "10.0.0.2"]),
        (json!(["websecure", "wbe"]), &["10.0.0.2"]),
        (json!([]), &["10.0.0.1", "10.0.0.2"]),
        (json!(["wbe"]), &[]),
    ] {
        let router = json!({ "rule": "Host(`a.example`)", "middlewares": ["m"], "entrypoints": entrypoints });
        let http = json!({ "routers": { "r": router }, "middlewares": { "m": { "hello": {} } } });
        let mut inputs = inputs(vec![file(http)]);
        inputs.dns.edges =
            Edges::Each(vec![("web".into(), reach(1)), ("websecure".into(), reach(2))]);
        let zones = &assembler.assemble(&inputs).zones;
        let host = zones.names().find(|it| it.name == "a.example");
        let expected: Vec<_> = addresses.iter().map(|it| format!("0 A {it}")).collect();
        assert_eq!(host.map_or_else(Vec::new, |it| it.records), expected, "{entrypoints}");
    }
}

#[test]
fn an_entrypoint_says_which_routers_it_has_and_what_goes_before_them() {
    let rule = |rule: &str| json!({ "rule": rule, "service": "s", "middlewares": ["own"] });
    let mut named = rule("Host(`named`)");
    named["entrypoints"] = json!(["internal", "strict"]);
    let mut tls = rule("Host(`tls`)");
    tls["tls"] = true.into();
    let http = json!({
        "routers": { "usual": rule("Host(`usual`)"), "named": named, "tls": tls },
        "services": { "s": { "load-balancer": { "servers": [{ "url": "http://10.0.0.1" }] } } },
        "middlewares": { "own": { "hello": {} }, "first": { "hello": {} } },
    });
    let mut given = inputs(vec![file(http)]);
    let [web, internal] = ["web", "internal"].map(|name| Entrypoint::new(name, false));
    let strict = Entrypoint { takes_plain: false, ..Entrypoint::new("strict", true) };
    let guarded = Entrypoint { middlewares: vec!["first".to_owned()], ..internal };
    let secure = Entrypoint {
        middlewares: vec!["first@config".to_owned(), "lost".to_owned()],
        is_default: true,
        ..Entrypoint::new("secure", true)
    };
    given.entrypoints = vec![Entrypoint { is_default: true, ..web }, guarded, strict, secure];
    let snapshot = Assembler::default().assemble(&given);
    let chains = snapshot.routers.iter().flat_map(|router| {
        let live = router.live.clone().unwrap();
        router.entrypoints.clone().into_iter().map(move |at| {
            let chain = live.chain(&at).iter();
            let names: Vec<_> = chain
                .map(|it| format!("{}{}", it.name.name, if it.is_closed() { "!" } else { "" }))
                .collect();
            format!("{} on {at}: {}\n", live.name.name, names.join(" "))
        })
    });
    expect![[r#"
        named on internal: first own
        tls on secure: first lost! own
        usual on web: own
        usual on secure: first lost! own
    "#]]
    .assert_eq(&chains.collect::<String>());
    expect![[r#"
        router named@config enabled on internal via ["own@config"] to s@config hosts ["named"]
        router tls@config disabled on secure via ["own@config"] to s@config hosts ["tls"]
        router usual@config disabled on web,secure via ["own@config"] to s@config hosts ["usual"]
        service s@config enabled ["http://10.0.0.1:80 passing"] used by ["named@config", "tls@config", "usual@config"]
        middleware first@config enabled used by ["named@config", "tls@config", "usual@config"]
        middleware own@config enabled used by ["named@config", "tls@config", "usual@config"]
        Error config entrypoint `secure` /entrypoints/secure/middlewares/1: entrypoint `secure`: there is no middleware `lost@config`, so its routers let nobody through
        Warning config config.toml /http/routers/named/entrypoints: router `named`: entrypoint `strict` takes routers with `tls` only"#]].assert_eq(&show(&snapshot));
}

#[test]
fn a_router_whose_entrypoints_all_redirect_is_told_that_it_gets_nothing() {
    let mut given = inputs(vec![file(json!({
        "services": { "s": { "load-balancer": { "servers": [{ "url": "http://10.0.0.1" }] } } },
        "routers": {
            "plain": { "rule": "Host(`a`)", "service": "s", "entrypoints": ["web"] },
            "both": { "rule": "Host(`b`)", "service": "s" },
            "last": {
                "rule": "Host(`c`)", "service": "s", "entrypoints": ["web"], "priority": i64::MAX,
            },
        },
    }))]);
    given.entrypoints[0].redirected = Redirected::UpTo(9);
    expect![[r#"
        router both@config enabled on web,websecure via [] to s@config hosts ["b"]
        router last@config enabled on web via [] to s@config hosts ["c"]
        router plain@config warning on web via [] to s@config hosts ["a"]
        service s@config enabled ["http://10.0.0.1:80 passing"] used by ["both@config", "last@config", "plain@config"]
        Warning config config.toml /http/routers/plain/entrypoints: router `plain`: no request comes to it: entrypoint `web` redirects all of them"#]].assert_eq(&show(&Assembler::default().assemble(&given)));
    given.entrypoints[0].redirected = Redirected::UpTo(8);
    let told = |given: &Inputs| Assembler::default().assemble(given).problems.iter().count();
    assert_eq!(told(&given), 0, "a router of a higher priority");
    given.entrypoints[0].redirected = Redirected::Everybody;
    assert_eq!(told(&given), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_unless_what_it_held_goes_on() {
    let mut source = Source::new("files", "file");
    let fragment = |origin: &str| {
        let config = json!({ "http": {} });
        Item::Fragment(Fragment { origin: origin.to_owned(), config }.into())
    };
    let notice = |origin: &str| Notice { origin: origin.to_owned(), message: "no TOML".to_owned() };
    let notices = vec![notice("d/a.toml:2:4"), notice("d/a.toml.toml:1:1"), notice("d/b.toml")];
    source.apply(Update::Snapshot(vec![fragment("d/a.toml")]), notices).unwrap();
    check(
        vec![source],
        expect![[r#"
            Error files d/a.toml.toml:1:1: no TOML
            Error files d/b.toml: no TOML
            Warning files d/a.toml:2:4: no TOML"#]],
    );
}

pub(super) fn show(snapshot: &Snapshot) -> String {
    let mut lines = Vec::new();
    for router in snapshot.routers.iter() {
        lines.push(format!(
            "router {} {} on {} via {:?} to {} hosts {:?}{}",
            router.entry.name,
            router.entry.status.as_str(),
            router.entrypoints.join(","),
            router.middlewares,
            router.service.as_deref().unwrap_or("nothing"),
            router.hosts,
            if router.live.is_some() { "" } else { " (not live)" },
        ));
    }
    for service in snapshot.services.iter() {
        let backends = service.live.iter().flat_map(|service| &service.backends);
        let backends: Vec<_> =
            backends.map(|b| format!("{} {}", b.url(), b.health.as_str())).collect();
        lines.push(format!(
            "service {} {} {backends:?} used by {:?}",
            service.entry.name,
            service.entry.status.as_str(),
            users(&service.entry)
        ));
    }
    for middleware in snapshot.middlewares.iter() {
        let (name, status) = (&middleware.entry.name, middleware.entry.status.as_str());
        lines.push(format!("middleware {name} {status} used by {:?}", users(&middleware.entry)));
    }
    for problem in snapshot.problems.iter() {
        let place = [&*problem.source, &problem.origin, &problem.path].join(" ");
        lines.push(format!("{:?} {}: {}", problem.severity, place.trim_end(), problem.message));
    }
    lines.join("\n")
}

fn users(entry: &Entry) -> Vec<String> {
    entry.used_by.keys().map(ToString::to_string).collect()
}

pub(super) fn check(sources: Vec<Source>, expected: Expect) {
    expected.assert_eq(&show(&Assembler::default().assemble(&inputs(sources))));
}

const RULE: (&str, &str) = ("http.routers.shop.rule", "Host(`shop.local`)");

#[test]
fn a_table_and_an_instance_refer_to_each_other() {
    check(
        vec![
            file(json!({
                "routers": { "direct": { "rule": "Host(`d`)", "service": "my-shop@consulcatalog" } },
                "middlewares": { "hello": { "Hello": {} } }
            })),
            consul(vec![instance(
                "a",
                1,
                &[RULE, ("http.routers.shop.middlewares", "hello@file, HELLO")],
            )]),
        ],
        expect![[r#"
            router direct@config enabled on web,websecure via [] to my-shop@consul hosts ["d"]
            router shop@consul enabled on web,websecure via ["hello@config", "hello@config"] to my-shop@consul hosts ["shop.local"]
            service my-shop@consul enabled ["http://10.0.0.1:8001 passing"] used by ["direct@config", "shop@consul"]
            middleware hello@config enabled used by ["shop@consul"]"#]],
    );
}

#[test]
fn what_is_missing_closes_the_router_and_what_is_wrong_removes_it() {
    check(
        vec![file(json!({
            "routers": {
                "no-middleware": { "rule": "Host(`a`)", "middlewares": ["helo"] },
                "no-service": { "rule": "Host(`b`)", "service": "x@nowhere" },
                "bad-rule": { "rule": "Host(`c`" },
                "no-rule": {},
                "no-entrypoint": { "rule": "Host(`d`)", "entrypoints": ["wbe"] },
                "tls": { "rule": "Host(`e`)", "tls": true, "middlewares": ["broken"] }
            },
            "middlewares": { "hello": { "hello": {} }, "broken": { "hello": { "wrong": 1 } }, "none": { "nonesuch": {} } }
        }))],
        expect![[r#"
            router bad-rule@config disabled on web,websecure via [] to nothing hosts [] (not live)
            router no-entrypoint@config disabled on  via [] to nothing hosts ["d"] (not live)
            router no-middleware@config disabled on web,websecure via ["helo@config"] to nothing hosts ["a"]
            router no-rule@config disabled on web,websecure via [] to nothing hosts [] (not live)
            router no-service@config disabled on web,websecure via [] to x@nowhere hosts ["b"]
            router tls@config disabled on websecure via ["broken@config"] to nothing hosts ["e"]
            middleware broken@config disabled used by ["tls@config"]
            middleware hello@config enabled used by []
            middleware none@config disabled used by []
            Error config config.toml /http/middlewares/broken/hello/wrong: middleware `broken`: unknown key `wrong`
            Error config config.toml /http/routers/bad-rule/rule: router `bad-rule`: expected `,` or `)`, found the end of the rule
            Error config config.toml /http/routers/bad-rule/service: router `bad-rule`: the router names neither a service nor a middleware, so it answers 503
            Error config config.toml /http/routers/no-entrypoint/entrypoints: router `no-entrypoint`: there is no entrypoint `wbe`, so no request comes to it
            Error config config.toml /http/routers/no-entrypoint/service: router `no-entrypoint`: the router names neither a service nor a middleware, so it answers 503
            Error config config.toml /http/routers/no-middleware/middlewares: router `no-middleware`: there is no middleware `helo@config`, so it answers 503
            Error config config.toml /http/routers/no-rule/rule: router `no-rule`: the router has no rule
            Error config config.toml /http/routers/no-rule/service: router `no-rule`: the router names neither a service nor a middleware, so it answers 503
            Error config config.toml /http/routers/no-service/service: router `no-service`: there is no service `x@nowhere`, so it answers 503
            Warning config config.toml /http/middlewares/none/nonesuch: there is no middleware plugin `nonesuch`"#]],
    );
}

#[test]
fn the_newest_instance_in_use_wins() {
    let old = instance("old", 1, &[RULE]);
    let new = instance("new", 2, &[("http.routers.shop.rule", "Host(`new.local`)")]);
    let starting = Instance { health: Health::Critical, ..instance("starting", 3, &[]) };
    let starting = Instance {
        declares: vec![Declaration {
            path: "http.routers.shop.rule".to_owned(),
            value: "Host(`not-yet.local`)".to_owned(),
            origin: "traefik.http.routers.shop.rule".to_owned(),
        }],
        ..starting
    };
    check(
        vec![consul(vec![old, new, starting])],
        expect![[r#"
            router shop@consul warning on web,websecure via [] to my-shop@consul hosts ["new.local"]
            service my-shop@consul enabled ["http://10.0.0.1:8001 passing", "http://10.0.0.1:8002 passing", "http://10.0.0.1:8003 critical"] used by ["shop@consul"]
            Warning consul router `shop`: instances disagree: `new` is the newest in use and wins; what `old`, `starting` declare otherwise (`rule`) has no effect"#]],
    );
}

#[test]
fn http_takes_an_instance_as_its_provider_says() {
    let edge = |id: &str, version, edge| Instance { edge, ..instance(id, version, &[RULE]) };
    let down = edge("down", 2, Edge::As(Health::Critical));
    let health = Health::Critical;
    let up = Instance { health, ..edge("up", 3, Edge::As(Health::Warning)) };
    let never = edge("never", 4, Edge::Never);
    check(
        vec![consul(vec![down, up, never])],
        expect![[r#"
            router shop@consul enabled on web,websecure via [] to my-shop@consul hosts ["shop.local"]
            service my-shop@consul enabled ["http://10.0.0.1:8002 critical", "http://10.0.0.1:8003 warning"] used by ["shop@consul"]"#]],
    );
}

#[test]
fn names_keep_the_spelling_of_the_first_instance_and_compare_without_case() {
    let tags = |router: &'static str| {
        [
            (router, "Host(`shop.local`)"),
            ("http.routers.Direct.service", "STICKYCAP"),
            ("http.routers.Direct.rule", "Host(`d`)"),
            ("http.services.StickyCap.loadbalancer.sticky.cookie", "true"),
        ]
    };
    let one = instance("one", 2, &tags("http.routers.MyShop.rule"));
    let two = instance("two", 1, &tags("http.routers.myshop.rule"));
    let cookies = |snapshot: &Snapshot| {
        let live = snapshot.services.iter().next().unwrap().live.clone().unwrap();
        live.cookie.as_ref().unwrap().name().to_owned()
    };
    let mut assembler = Assembler::default();
    let snapshot = assembler.assemble(&inputs(vec![consul(vec![one.clone(), two.clone()])]));
    // `printf _TRAEFIK_BACKEND_StickyCap@consul | sha1sum`
    assert_eq!(cookies(&snapshot), "_5867f");
    expect![[r#"
        router Direct@consul enabled on web,websecure via [] to StickyCap@consul hosts ["d"]
        router MyShop@consul enabled on web,websecure via [] to StickyCap@consul hosts ["shop.local"]
        service StickyCap@consul enabled ["http://10.0.0.1:8001 passing", "http://10.0.0.1:8002 passing"] used by ["Direct@consul", "MyShop@consul"]"#]].assert_eq(&show(&snapshot));
    let name = |snapshot: &Snapshot| {
        snapshot.routers.iter().map(|it| it.entry.name.to_string()).collect::<Vec<_>>()
    };
    // Whoever came first, and whoever is left.
    for (instances, expected) in [
        (vec![two.clone()], "myshop@consul"),
        (vec![two, one.clone()], "MyShop@consul"),
        (vec![one], "MyShop@consul"),
    ] {
        let snapshot = assembler.assemble(&inputs(vec![consul(instances)]));
        assert_eq!(name(&snapshot), ["Direct@consul", expected]);
    }
}

#[test]
fn a_router_of_an_instance_with_two_services_must_name_one() {
    let tags = [
        RULE,
        ("http.services.a.loadbalancer.server.port", "81"),
        ("http.services.b.loadbalancer.server.scheme", "https"),
    ];
    check(
        vec![consul(vec![instance("a", 1, &tags)])],
        expect![[r#"
            router shop@consul disabled on web,websecure via [] to nothing hosts ["shop.local"]
            service a@consul enabled ["http://10.0.0.1:81 passing"] used by []
            service b@consul enabled ["https://10.0.0.1:8001 passing"] used by []
            Error consul a: router `shop`: it names no service, and there are `a`, `b`
            Error consul a: router `shop`: the router names neither a service nor a middleware, so it answers 503"#]],
    );
}

#[test]
fn what_does_not_change_keeps_its_identity() {
    let mut assembler = Assembler::default();
    let table = || file(json!({ "middlewares": { "hello": { "hello": {} } } }));
    let first = assembler.assemble(&inputs(vec![
        table(),
        consul(vec![instance("a", 1, &[RULE]), instance("b", 2, &[RULE])]),
    ]));
    let moved = Instance { health: Health::Warning, ..instance("b", 2, &[RULE]) };
    let second =
        assembler.assemble(&inputs(vec![table(), consul(vec![instance("a", 1, &[RULE]), moved])]));
    let middleware =
        |snapshot: &Snapshot| snapshot.middlewares.iter().next().unwrap().live.clone().unwrap();
    assert!(Arc::ptr_eq(&middleware(&first), &middleware(&second)));
    let figures = |snapshot: &Snapshot| {
        let service = snapshot.services.iter().next().unwrap().live.clone().unwrap();
        (service.figures.clone(), service.backends[0].figures.clone())
    };
    assert!(Arc::ptr_eq(&figures(&first).0, &figures(&second).0));
    assert!(Arc::ptr_eq(&figures(&first).1, &figures(&second).1));
    assert!(second.generation > first.generation);
}

#[test]
fn a_time_limit_reaches_the_plugin_and_a_change_of_it_is_a_new_binding() {
    let mut assembler = Assembler::default();
    let mut bound = |limit: &str| {
        let hello = json!({ "hello": {}, "time-limit": limit });
        let table = file(json!({ "middlewares": { "hello": hello } }));
        assembler
            .assemble(&inputs(vec![table]))
            .middlewares
            .iter()
            .next()
            .unwrap()
            .live
            .clone()
            .unwrap()
    };
    let first = bound("2s");
    assert_eq!(first.interest.aside, Some(Duration::from_secs(2)));
    assert!(Arc::ptr_eq(&first, &bound("2000ms")));
    assert_eq!(bound("3s").interest.aside, Some(Duration::from_secs(3)));
}

#[test]
fn an_update_that_does_not_fit_changes_nothing() {
    let mut source = consul(vec![instance("a", 1, &[])]);
    let put = Change::Put(Item::Instance(instance("b", 2, &[]).into()));
    let remove = |id: &str| Change::Remove(Key::Instance(id.to_owned()));
    let bad = Update::Delta(vec![put.clone(), remove("nobody")]);
    assert!(source.apply(bad, vec![]).is_err());
    assert_eq!(source.instances.len(), 1);
    let twice = Item::Instance(instance("a", 1, &[]).into());
    assert!(source.apply(Update::Snapshot(vec![twice.clone(), twice.clone()]), vec![]).is_err());
    assert_eq!(source.instances.len(), 1);
    assert!(source.apply(Update::Delta(vec![put, remove("a")]), vec![]).unwrap());
    assert_eq!(source.instances.keys().collect::<Vec<_>>(), ["b"]);
    assert!(!source.apply(Update::Unchanged, vec![]).unwrap());
    let same = Update::Snapshot(vec![Item::Instance(instance("b", 2, &[]).into())]);
    assert!(!source.apply(same, vec![]).unwrap());
    assert!(source.apply(Update::Snapshot(vec![twice]), vec![]).unwrap());
}

#[test]
fn what_is_wrong_with_the_tags_of_many_instances_is_one_problem() {
    let mut assembler = Assembler::default();
    let tags = [("http.routers.shop.ruel", "Host(`shop.local`)"), ("http.routers.shop.rule", "x(")];
    let slipped = |id: &str| instance(id, 1, &tags[..1]);
    let of_another = Instance { service: "other".to_owned(), ..slipped("b") };
    let mut told = |instances: Vec<Instance>| {
        let snapshot = assembler.assemble(&inputs(vec![consul(instances)]));
        let told = snapshot.problems.iter().filter(|it| it.message.contains("ruel"));
        told.map(|it| it.origin.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(vec![slipped("a")]), ["a tag traefik.http.routers.shop.ruel"]);
    assert_eq!(
        told(vec![slipped("c"), slipped("a"), of_another, instance("d", 1, &tags[1..])]),
        [
            "a tag traefik.http.routers.shop.ruel, and on one other instance",
            "b tag traefik.http.routers.shop.ruel",
        ]
    );
    // Others come, the first is another now, and one is healthy again.
    let moved = Instance { health: Health::Warning, ..slipped("c") };
    let many = ["e", "f"].map(slipped);
    assert_eq!(
        told([&many[..], &[moved, instance("a", 2, &tags[1..])]].concat()),
        ["c tag traefik.http.routers.shop.ruel, and on 2 other instances"]
    );
    assert_eq!(told(vec![]), [""; 0]);
}
