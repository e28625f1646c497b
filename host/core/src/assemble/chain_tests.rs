//! Chains: what they come to, and who hears of what is wrong with them.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{
    Assembler,
    tests::{check, consul, file, inputs, instance},
};
use crate::{
    catalog::Source,
    middleware::Interest,
    port::{BindError, MiddlewarePlugin},
    snapshot::Snapshot,
};

/// A router for a few middlewares, each with the host of its name.
fn router(name: &str, middlewares: &Value) -> Value {
    json!({ "rule": format!("Host(`{name}`)"), "service": "s", "middlewares": middlewares })
}

fn chain(members: &Value) -> Value {
    json!({ "chain": { "middlewares": members } })
}

/// `config.toml` with these routers and middlewares.
fn config(routers: &Value, middlewares: &Value) -> Source {
    let servers = json!({ "servers": [{ "url": "http://10.0.0.1" }] });
    let services = json!({ "s": { "load-balancer": servers } });
    file(json!({ "routers": routers, "middlewares": middlewares, "services": services }))
}

/// What requests of each router meet, who uses each middleware, and what is wrong.
fn told(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for entry in snapshot.routers.iter() {
        let status = entry.entry.status.as_str();
        write!(text, "{} {status}:", entry.entry.name).unwrap();
        for it in entry.live.iter().flat_map(|live| live.chain("web")) {
            write!(text, " {}{}", it.name, if it.is_closed() { "!" } else { "" }).unwrap();
        }
        writeln!(text, " {:?}", entry.entry.errors).unwrap();
    }
    for it in snapshot.middlewares.iter() {
        let users: Vec<_> = it.entry.used_by.keys().map(ToString::to_string).collect();
        let (name, status, errors) = (&it.entry.name, it.entry.status.as_str(), &it.entry.errors);
        writeln!(text, "{name} {status} {} {users:?} {errors:?}", it.config).unwrap();
    }
    for it in snapshot.problems.iter() {
        let hint = it.hint.as_deref().unwrap_or("-");
        writeln!(text, "{:?} {} {}: {} ({hint})", it.severity, it.origin, it.path, it.message)
            .unwrap();
    }
    text
}

fn tell(sources: Vec<Source>, expected: Expect) {
    expected.assert_eq(&told(&Assembler::default().assemble(&inputs(sources))));
}

#[test]
fn a_chain_stands_for_its_members_in_their_order_wherever_it_is_named() {
    let tags = [
        ("http.routers.shop.rule", "Host(`shop`)"),
        ("http.routers.shop.middlewares", "all@file,one"),
        ("http.middlewares.one.hello", "true"),
        ("http.middlewares.mine.chain.Middlewares", "one, all@config"),
        ("http.routers.mine.rule", "Host(`mine`)"),
        ("http.routers.mine.middlewares", "mine"),
    ];
    let middlewares = json!({
        "one": { "hello": {} },
        "two": { "hello": { "a": 1 } },
        "all": chain(&json!(["two", "inner"])),
        "inner": chain(&json!("one")),
        "none": chain(&json!([])),
        "bare": { "chain": null },
    });
    let routers = json!({
        "plain": router("plain", &json!(["one", "all", "none", "bare", "two"])),
        "answered": { "rule": "Host(`answered`)", "middlewares": ["all"] },
    });
    let sources = vec![config(&routers, &middlewares), consul(vec![instance("a", 1, &tags)])];
    tell(
        sources,
        expect![[r#"
        answered@config enabled: two@config one@config []
        mine@consul enabled: one@consul two@config one@config []
        plain@config enabled: one@config two@config one@config two@config []
        shop@consul enabled: two@config one@config one@consul []
        all@config enabled {"middlewares":["two@config","inner@config"]} ["answered@config", "mine@consul", "plain@config", "shop@consul"] []
        bare@config enabled {"middlewares":[]} ["plain@config"] []
        inner@config enabled {"middlewares":["one@config"]} ["answered@config", "mine@consul", "plain@config", "shop@consul"] []
        mine@consul enabled {"middlewares":["one@consul","all@config"]} ["mine@consul"] []
        none@config enabled {"middlewares":[]} ["plain@config"] []
        one@config enabled {} ["answered@config", "mine@consul", "plain@config", "shop@consul"] []
        one@consul enabled {} ["mine@consul", "shop@consul"] []
        two@config enabled {"a":1} ["answered@config", "mine@consul", "plain@config", "shop@consul"] []
    "#]],
    );
}

#[test]
fn an_entrypoint_may_name_a_chain() {
    let middlewares = json!({
        "all": chain(&json!(["two", "one"])),
        "one": { "hello": {} },
        "two": { "hello": {} },
    });
    let routers = json!({ "r": router("r", &json!(["one"])) });
    let mut inputs = inputs(vec![config(&routers, &middlewares)]);
    inputs.entrypoints[0].middlewares = vec!["all".to_owned()];
    expect![[r#"
        r@config enabled: two@config one@config one@config []
        all@config enabled {"middlewares":["two@config","one@config"]} ["r@config"] []
        one@config enabled {} ["r@config"] []
        two@config enabled {} ["r@config"] []
    "#]]
    .assert_eq(&told(&Assembler::default().assemble(&inputs)));
}

#[test]
fn who_is_missing_in_a_chain_closes_the_routers_that_use_it() {
    let middlewares = json!({
        "one": { "hello": {} },
        "bad": { "hello": { "wrong": 1 } },
        "gone": chain(&json!(["one", "nobody", "later@consul"])),
        "outer": chain(&json!(["gone"])),
        "broken": chain(&json!(["bad"])),
        "unplugged": { "nonesuch": {} },
        "without": chain(&json!(["unplugged"])),
        "unused": chain(&json!(["oen"])),
        "misspelt": { "chain": { "midlewares": ["one"] } },
    });
    let routers = json!({
        "a": router("a", &json!(["gone"])),
        "b": router("b", &json!(["outer"])),
        "c": router("c", &json!(["broken"])),
        "d": router("d", &json!(["without"])),
        "e": router("e", &json!(["misspelt"])),
        "f": router("f", &json!(["one"])),
    });
    tell(
        vec![config(&routers, &middlewares), consul(Vec::new())],
        expect![[r#"
        a@config disabled: one@config nobody@config! later@consul! ["middleware `gone@config` is not in working order: there is no middleware `later@consul`"]
        b@config disabled: one@config nobody@config! later@consul! ["middleware `outer@config` is not in working order: there is no middleware `later@consul`, which is in the chain `gone@config`"]
        c@config disabled: bad@config! ["middleware `broken@config` is not in working order: middleware `bad@config` is not in working order"]
        d@config disabled: unplugged@config! ["middleware `without@config` is not in working order: middleware `unplugged@config` is not in working order"]
        e@config disabled: misspelt@config! ["middleware `misspelt@config` is not in working order"]
        f@config enabled: one@config []
        bad@config disabled {"wrong":1} ["c@config"] ["middleware `bad`: unknown key `wrong`"]
        broken@config disabled {"middlewares":["bad@config"]} ["c@config"] ["middleware `bad@config` is not in working order"]
        gone@config disabled {"middlewares":["one@config","nobody@config","later@consul"]} ["a@config", "b@config"] ["there is no middleware `nobody@config`", "there is no middleware `later@consul`"]
        misspelt@config disabled {"midlewares":["one"]} ["e@config"] ["middleware `misspelt`: unknown key `midlewares`"]
        one@config enabled {} ["a@config", "b@config", "f@config"] []
        outer@config disabled {"middlewares":["gone@config"]} ["b@config"] ["there is no middleware `nobody@config`, which is in the chain `gone@config`", "there is no middleware `later@consul`, which is in the chain `gone@config`"]
        unplugged@config disabled {} ["d@config"] ["there is no middleware plugin `nonesuch`"]
        unused@config disabled {"middlewares":["oen@config"]} [] ["there is no middleware `oen@config`"]
        without@config disabled {"middlewares":["unplugged@config"]} ["d@config"] ["middleware `unplugged@config` is not in working order"]
        Error config.toml /http/middlewares/bad/hello/wrong: middleware `bad`: unknown key `wrong` (-)
        Error config.toml /http/middlewares/gone/chain/middlewares/1: there is no middleware `nobody@config`, which is in the chain `gone`: routers `a` and `b` answer 503 (-)
        Error config.toml /http/middlewares/misspelt/chain/midlewares: middleware `misspelt`: unknown key `midlewares` (did you mean `middlewares`?)
        Error config.toml /http/middlewares/unplugged/nonesuch: there is no middleware plugin `nonesuch`: router `d` answers 503 (-)
        Warning config.toml /http/middlewares/gone/chain/middlewares/2: there is no middleware `later@consul`, which is in the chain `gone`: routers `a` and `b` answer 503 (-)
        Warning config.toml /http/middlewares/unused/chain/middlewares/0: there is no middleware `oen@config`, which is in the chain `unused` (did you mean `one`?)
    "#]],
    );
}

#[test]
fn a_circle_closes_those_who_use_it_and_nobody_else() {
    let middlewares = json!({
        "one": { "hello": {} },
        "a": chain(&json!(["one", "b"])),
        "b": chain(&json!(["c", "one"])),
        "c": chain(&json!(["a"])),
        "self": chain(&json!(["self"])),
        "outside": chain(&json!(["one", "b"])),
        "good": chain(&json!(["one"])),
    });
    let routers = json!({
        "in": router("in", &json!(["a"])),
        "out": router("out", &json!(["outside", "good"])),
        "well": router("well", &json!(["good"])),
    });
    tell(
        vec![config(&routers, &middlewares)],
        expect![[r#"
        in@config disabled: one@config a@config! one@config ["middleware `a@config` is not in working order: it contains itself: `a` → `b` → `c` → `a`"]
        out@config disabled: one@config one@config b@config! one@config one@config ["middleware `outside@config` is not in working order: the chain `b@config` contains itself"]
        well@config enabled: one@config []
        a@config disabled {"middlewares":["one@config","b@config"]} ["in@config", "out@config"] ["it contains itself: `a` → `b` → `c` → `a`"]
        b@config disabled {"middlewares":["c@config","one@config"]} ["in@config", "out@config"] ["it contains itself: `b` → `c` → `a` → `b`"]
        c@config disabled {"middlewares":["a@config"]} ["in@config", "out@config"] ["it contains itself: `c` → `a` → `b` → `c`"]
        good@config enabled {"middlewares":["one@config"]} ["out@config", "well@config"] []
        one@config enabled {} ["in@config", "out@config", "well@config"] []
        outside@config disabled {"middlewares":["one@config","b@config"]} ["out@config"] ["the chain `b@config` contains itself"]
        self@config disabled {"middlewares":["self@config"]} [] ["it contains itself: `self` → `self`"]
        Error config.toml /http/middlewares/a/chain/middlewares: chain `a` contains itself: `a` → `b` → `c` → `a`: routers `in` and `out` answer 503 (-)
        Error config.toml /http/middlewares/b/chain/middlewares: chain `b` contains itself: `b` → `c` → `a` → `b`: routers `in` and `out` answer 503 (-)
        Error config.toml /http/middlewares/c/chain/middlewares: chain `c` contains itself: `c` → `a` → `b` → `c`: routers `in` and `out` answer 503 (-)
        Error config.toml /http/middlewares/self/chain/middlewares: chain `self` contains itself: `self` → `self` (-)
    "#]],
    );
}

#[test]
fn chains_that_double_each_other_come_to_an_end() {
    let doubled = (1..40).map(|number| {
        let inner = format!("c{}", number - 1);
        (format!("c{number}"), chain(&json!([inner, inner])))
    });
    let mut middlewares: serde_json::Map<_, _> = doubled.collect();
    middlewares.insert("c0".to_owned(), chain(&json!([])));
    let routers = json!({
        "few": router("few", &json!(["c5"])),
        "many": router("many", &json!(["c39"])),
    });
    let snapshot =
        Assembler::default().assemble(&inputs(vec![config(&routers, &Value::Object(middlewares))]));
    let told: Vec<_> = snapshot.routers.iter().map(|it| it.entry.errors.join("; ")).collect();
    let too_many = "it comes to more than 256 middlewares";
    assert_eq!(
        told,
        ["".to_owned(), format!("middleware `c39@config` is not in working order: {too_many}")]
    );
    assert!(snapshot.problems.iter().any(|it| {
        it.message == "chain `c39` comes to more than 256 middlewares: router `many` answers 503"
    }));
}

#[test]
fn routers_follow_the_members_of_their_chain() {
    let mut assembler = Assembler::default();
    let routers = json!({
        "r": router("r", &json!(["outer"])),
        "other": router("other", &json!([])),
    });
    let mut met = |middlewares: Value| {
        let snapshot = assembler.assemble(&inputs(vec![config(&routers, &middlewares)]));
        let met = snapshot.routers.iter().map(|it| it.live.clone().unwrap());
        let [other, router] = met.collect::<Vec<_>>().try_into().unwrap();
        let text =
            router.middlewares.iter().map(|it| format!("{}{}", it.name.name, it.is_closed()));
        let users = snapshot.middlewares.iter().filter(|it| !it.entry.used_by.is_empty()).count();
        let problems = snapshot.problems.len();
        (text.collect::<Vec<_>>().join(" "), users, problems, router, other)
    };
    let with = |one: Value, inner: Value| json!({ "one": one, "two": { "hello": {} }, "inner": inner, "outer": chain(&json!(["inner"])) });
    let hello = |a: u64| json!({ "hello": { "a": a } });
    let (text, users, problems, first, other) = met(with(hello(1), chain(&json!(["one"]))));
    assert_eq!((&*text, users, problems), ("onefalse", 3, 0));
    // Another configuration of a member, which is the same to others.
    let (text, _, _, second, still) = met(with(hello(2), chain(&json!(["one"]))));
    assert_eq!(text, "onefalse");
    assert!(!Arc::ptr_eq(&first.middlewares[0], &second.middlewares[0]));
    assert!(Arc::ptr_eq(&other, &still));
    // A member more.
    let (text, users, ..) = met(with(hello(2), chain(&json!(["two", "one"]))));
    assert_eq!((&*text, users), ("twofalse onefalse", 4));
    // One that goes, and comes back.
    let two = json!({ "two": { "hello": {} }, "inner": chain(&json!(["two", "one"])),
        "outer": chain(&json!(["inner"])) });
    let (text, users, problems, ..) = met(two);
    assert_eq!((&*text, users, problems), ("twofalse onetrue", 3, 1));
    let (text, users, problems, ..) = met(with(hello(2), chain(&json!(["two", "one"]))));
    assert_eq!((&*text, users, problems), ("twofalse onefalse", 4, 0));
    // The chain in it is something else now, and then is not there.
    let (text, users, ..) = met(with(hello(2), hello(3)));
    assert_eq!((&*text, users), ("innerfalse", 2));
    let (text, users, problems, ..) = met(json!({ "outer": chain(&json!(["inner"])) }));
    assert_eq!((&*text, users, problems), ("innertrue", 1, 1));
    // Nothing of it is left over.
    let (text, users, problems, kept, _) = met(with(hello(2), chain(&json!(["one"]))));
    assert_eq!((&*text, users, problems), ("onefalse", 3, 0));
    let (.., same, _) = met(with(hello(2), chain(&json!(["one"]))));
    assert!(Arc::ptr_eq(&kept, &same));
}

#[test]
fn who_uses_what_through_chains_follows_them_where_requests_meet_nothing_else() {
    let mut assembler = Assembler::default();
    let routers = json!({ "r": router("r", &json!(["outer"])) });
    let mut used = |inner: &str| {
        let none = chain(&json!([]));
        let middlewares = json!({
            "outer": chain(&json!(["inner"])), "inner": chain(&json!([inner])),
            "one": none, "two": none,
        });
        let snapshot = assembler.assemble(&inputs(vec![config(&routers, &middlewares)]));
        let used = snapshot.middlewares.iter().filter(|it| !it.entry.used_by.is_empty());
        used.map(|it| it.entry.name.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(used("one"), ["inner", "one", "outer"]);
    assert_eq!(used("two"), ["inner", "outer", "two"]);
}

#[test]
fn a_member_of_a_provider_that_was_not_heard_yet_is_no_mistake() {
    let tags = [
        ("http.routers.shop.rule", "Host(`shop`)"),
        ("http.routers.shop.middlewares", "all"),
        ("http.middlewares.all.chain.middlewares", "late@files"),
    ];
    let mut assembler = Assembler::default();
    let catalog = consul(vec![instance("a", 1, &tags)]);
    let mut severity = |files: Source| {
        let sources = vec![catalog.clone(), files];
        let snapshot = assembler.assemble(&inputs(sources));
        let told = snapshot.problems.iter().map(|it| format!("{:?} {}", it.severity, it.origin));
        told.collect::<Vec<_>>()
    };
    let tag = "a tag traefik.http.middlewares.all.chain.middlewares";
    let files = Source::new("files", "file");
    assert_eq!(severity(files.clone()), [format!("Warning {tag}")]);
    let mut heard = files;
    heard.apply(crate::item::Update::Snapshot(Vec::new()), Vec::new()).unwrap();
    assert_eq!(severity(heard), [format!("Error {tag}")]);
}

#[test]
fn internal_middlewares_are_wanted_through_a_chain() {
    let middlewares = json!({ "all": chain(&json!(["redirect-web-to-websecure@internal"])) });
    let mut assembler = Assembler::default();
    let mut wanted = |routers: Value| {
        assembler.assemble(&inputs(vec![config(&routers, &middlewares)]));
        assembler.missing_internal_middlewares().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(wanted(json!({})), [""; 0]);
    let routers = json!({ "r": router("r", &json!(["all"])) });
    assert_eq!(wanted(routers), ["redirect-web-to-websecure"]);
}

/// A plugin that has our own name.
#[derive(Debug)]
struct Chain;

impl MiddlewarePlugin for Chain {
    fn name(&self) -> &str {
        "chain"
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
fn a_plugin_of_our_name_changes_nothing() {
    let middlewares = json!({ "all": chain(&json!(["one"])), "one": { "hello": {} } });
    let routers = json!({ "r": router("r", &json!(["all"])) });
    let mut inputs = inputs(vec![config(&routers, &middlewares)]);
    inputs.middlewares.push(Arc::new(Chain));
    let snapshot = Assembler::default().assemble(&inputs);
    let router = snapshot.routers.iter().next().unwrap();
    let met = router.live.as_ref().unwrap().middlewares.iter().map(|it| it.name.to_string());
    assert_eq!(met.collect::<Vec<_>>(), ["one@config"]);
}

#[test]
fn instances_that_disagree_of_a_chain_keep_the_newest_that_is_sound() {
    let tags = |members| {
        [
            ("http.routers.shop.rule", "Host(`shop`)"),
            ("http.routers.shop.middlewares", "all"),
            ("http.middlewares.one.hello", "true"),
            ("http.middlewares.all.chain.middlewares", members),
        ]
    };
    check(
        vec![consul(vec![instance("a", 1, &tags("one")), instance("b", 2, &tags("one,one"))])],
        expect![[r#"
            router shop@consul enabled on web,websecure via ["all@consul"] to my-shop@consul hosts ["shop"]
            service my-shop@consul enabled ["http://10.0.0.1:8001 passing", "http://10.0.0.1:8002 passing"] used by ["shop@consul"]
            middleware all@consul warning used by ["shop@consul"]
            middleware one@consul enabled used by ["shop@consul"]
            Warning consul middleware `all`: instances disagree: `b` is the newest in use and wins; what `a` declare otherwise (`options`) has no effect"#]],
    );
}
