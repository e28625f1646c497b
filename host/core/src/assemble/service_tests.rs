//! What services are made of: options, other services, canaries, and what stays.

use std::sync::Arc;

use expect_test::expect;
use serde_json::json;

use super::{
    Assembler, INTERNAL, Inputs,
    tests::{check, consul, file, inputs, instance},
};
use crate::{
    catalog::Source,
    item::{Canary, Change, Fragment, Health, Instance, Item, Update},
    moment::Moment,
    policy::Passive,
    problem::Problem,
    service::{Kind, Service},
    snapshot::{ServiceEntry, Snapshot},
    standing::Probed,
};

fn live(snapshot: &Snapshot, name: &str) -> Arc<Service> {
    let entry = snapshot.services.iter().find(|entry| entry.entry.name.to_string() == name);
    entry.and_then(|entry| entry.live.clone()).unwrap_or_else(|| panic!("no service {name}"))
}

fn servers(port: u16) -> serde_json::Value {
    json!({ "load-balancer": { "servers": [{ "url": format!("http://10.0.0.9:{port}") }] } })
}

#[test]
fn tags_make_services_of_services_and_a_missing_one_has_no_share() {
    let weighted = instance(
        "a",
        1,
        &[
            ("http.services.split.weighted.services[0].name", "my-shop"),
            ("http.services.split.weighted.services[0].weight", "9"),
            ("http.services.split.weighted.services[1].name", "gone"),
            ("http.routers.r.rule", "Host(`a`)"),
            ("http.routers.r.service", "split"),
        ],
    );
    check(
        vec![consul(vec![weighted])],
        expect![[r#"
        router r@consul enabled on web,websecure via [] to split@consul hosts ["a"]
        service my-shop@consul enabled ["http://10.0.0.1:8001 passing"] used by []
        service split@consul warning [] used by ["r@consul"]
        Warning consul a: service `split`: there is no service `gone@consul`, so it gets nothing"#]],
    );
}

#[test]
fn a_router_knows_why_its_service_does_not_work() {
    let mut assembler = Assembler::default();
    let mut lack = |transport: &str, service: &str| {
        let mut servers = servers(80);
        servers["load-balancer"]["servers-transport"] = transport.into();
        let snapshot = assembler.assemble(&inputs(vec![file(json!({
            "routers": { "r": { "rule": "Host(`a`)", "service": service } },
            "services": { "s": servers },
            "servers-transports": { "mtls": {}, "uri": { "peerCertURI": "spiffe://x" } },
        }))]));
        let router = snapshot.routers.iter().next().and_then(|entry| entry.live.clone()).unwrap();
        router.lack.as_deref().map(str::to_owned)
    };
    let broken = |why: &str| Some(format!("service `s@config` is not in working order: {why}"));
    let why =
        |transport: &str| broken(&format!("there is no servers-transport `{transport}@config`"));
    assert_eq!(lack("one", "s"), why("one"));
    assert_eq!(lack("two", "s"), why("two"));
    assert_eq!(lack("two", "x"), Some("there is no service `x@config`".to_owned()));
    assert_eq!(lack("mtls", "s"), None);
    let unusable = "servers-transport `uri@config` is declared, but cannot be used";
    assert_eq!(lack("uri", "s"), broken(&format!("{unusable}: `peer-cert-uri` is not supported")));
}

#[test]
fn what_is_made_of_itself_is_an_error_at_its_place() {
    let one = |name: &str| json!({ "weighted": { "services": [{ "name": name }] } });
    let services = json!({
        "a": one("b"), "b": one("c"), "c": one("a"), "self": one("self"),
        "outside": { "failover": { "service": "a", "fallback": "good" } },
        "mirror": { "mirroring": { "service": "good", "mirrors": [{ "name": "a", "percent": 10 }] } },
        "broken": { "mirroring": { "service": "nowhere" } },
        "good": servers(80),
    });
    check(
        vec![file(json!({ "services": services }))],
        expect![[r#"
            service a@config disabled [] used by []
            service b@config disabled [] used by []
            service broken@config disabled [] used by []
            service c@config disabled [] used by []
            service good@config enabled ["http://10.0.0.9:80 passing"] used by []
            service mirror@config warning [] used by []
            service outside@config warning [] used by []
            service self@config disabled [] used by []
            Error config config.toml /http/services/a/weighted: service `a`: it is made of itself: `a` → `b` → `c` → `a`
            Error config config.toml /http/services/b/weighted: service `b`: it is made of itself: `a` → `b` → `c` → `a`
            Error config config.toml /http/services/broken/mirroring/service: service `broken`: there is no service `nowhere@config`
            Error config config.toml /http/services/c/weighted: service `c`: it is made of itself: `a` → `b` → `c` → `a`
            Error config config.toml /http/services/self/weighted: service `self`: it is made of itself: `self` → `self`
            Warning config config.toml /http/services/mirror/mirroring/mirrors/0: service `mirror`: service `a@config` is broken and gets nothing
            Warning config config.toml /http/services/outside/failover/service: service `outside`: service `a@config` is broken and gets nothing"#]],
    );
}

#[test]
fn a_chain_of_services_has_an_end() {
    let mut services = serde_json::Map::new();
    for number in 0..100_u32 {
        let next = json!({ "weighted": { "services": [{ "name": format!("s{}", number + 1) }] } });
        services.insert(format!("s{number}"), next);
    }
    services.insert("s100".to_owned(), servers(80));
    let snapshot =
        Assembler::default().assemble(&inputs(vec![file(json!({ "services": services }))]));
    let deep = snapshot.problems.iter().filter(|it| it.message.contains("more than 16 deep"));
    // Each that is too deep is none, so the next above it begins anew.
    let names = deep.map(|it| it.path.clone());
    let told: Vec<_> =
        [15, 32, 49, 66, 83].map(|at| format!("/http/services/s{at}/weighted")).into();
    assert_eq!(names.collect::<Vec<_>>(), told);
}

#[test]
fn a_transport_that_is_not_there_closes_the_service() {
    let with = |name: &str| {
        let url = json!([{ "url": "https://10.0.0.9" }]);
        json!({ "load-balancer": { "servers": url, "servers-transport": name } })
    };
    let http = json!({
        "services": { "good": with("mtls"), "bad": with("mtsl") },
        "servers-transports": { "mtls": { "root-cas": ["ca.pem"], "insecure-skip-verify": true } },
    });
    check(
        vec![file(http)],
        expect![[r#"
        service bad@config disabled [] used by []
        service good@config enabled ["https://10.0.0.9:443 passing"] used by []
        Error config config.toml /http/servers-transports/mtls: `root-cas` are not asked with `insecure-skip-verify`
        Error config config.toml /http/services/bad/load-balancer: service `bad`: there is no servers-transport `mtsl@config`
        Warning config config.toml /http/servers-transports/mtls/insecure-skip-verify: whoever stands between us and the backends can read and change everything: any certificate will do"#]],
    );
}

#[test]
fn a_transport_that_works_is_not_replaced_by_one_that_cannot_be_used() {
    let transport = |id: &str, version: u64, key: &'static str| {
        let path = format!("http.serversTransports.t.{key}");
        let named = ("http.services.my-shop.loadbalancer.serversTransport", "t");
        instance(id, version, &[(&path, "spiffe://x"), named])
    };
    let told = |instances: Vec<Instance>| {
        let snapshot = Assembler::default().assemble(&inputs(vec![consul(instances)]));
        let service = snapshot.services.iter().next().unwrap();
        (service.live.is_some(), service.entry.errors.clone())
    };
    let unusable = "servers-transport `t@consul` is declared, but cannot be used: \
                    `peer-cert-uri` is not supported";
    let [good, bad] = ["serverName", "peerCertURI"];
    assert_eq!(told(vec![transport("b", 2, bad)]), (false, vec![unusable.to_owned()]));
    assert_eq!(told(vec![transport("a", 1, good), transport("b", 2, bad)]), (true, Vec::new()));
}

#[test]
fn a_service_that_names_no_transport_has_that_of_the_configuration() {
    let named = |transport: &str| {
        let mut servers = servers(80);
        servers["load-balancer"]["servers-transport"] = transport.into();
        servers
    };
    let http = json!({
        "services": {
            "none": servers(80), "same": named("Default@internal"), "own": named("own"),
            "odd": named("usual@internal"),
        },
        "servers-transports": {
            "usual": { "server-name": "u" }, "own": { "server-name": "o" },
            "uri": { "peerCertURI": "spiffe://x" },
        },
    });
    let ours = || {
        let mut source = Source::new(INTERNAL, INTERNAL);
        let config = json!({ "http": { "services": { "ping": servers(1) } } });
        let item = Item::Fragment(Arc::new(Fragment { origin: "admin".to_owned(), config }));
        source.apply(Update::Snapshot(vec![item]), Vec::new()).unwrap();
        source
    };
    let mut assembler = Assembler::default();
    let mut told = |default: Option<&str>| {
        let sources = vec![file(http.clone()), ours()];
        let default_transport = default.map(Arc::from);
        let snapshot = assembler.assemble(&Inputs { default_transport, ..inputs(sources) });
        let way = |entry: &ServiceEntry| match &entry.live {
            Some(live) => live.transport.as_ref().and_then(|(_, way)| way.server_name.clone()),
            None => Some("closed".to_owned()),
        };
        let mut lines: Vec<_> = snapshot
            .services
            .iter()
            .map(|entry| format!("{} {}", entry.entry.name, way(entry).unwrap_or_default()))
            .collect();
        let problems = snapshot.problems.iter().filter(|it| !it.path.contains("/uri/"));
        let told = |it: &Problem| format!("{} ({})", it.message, it.hint.as_deref().unwrap_or("-"));
        lines.extend(problems.map(told));
        lines.join("\n")
    };
    let default = told(None);
    expect![[r#"
        none@config 
        odd@config closed
        own@config o
        ping@internal 
        same@config 
        service `odd`: there is no servers-transport `usual@internal` (there is `default`)"#]]
    .assert_eq(&default);
    expect![[r#"
        none@config u
        odd@config closed
        own@config o
        ping@internal 
        same@config u
        service `odd`: there is no servers-transport `usual@internal` (there is `default`)"#]]
    .assert_eq(&told(Some("usual")));
    expect![[r#"
        none@config closed
        odd@config closed
        own@config o
        ping@internal 
        same@config closed
        service `odd`: there is no servers-transport `usual@internal` (there is `default`)
        there is no servers-transport `usul@config`, so services that name none answer 503 (did you mean `usual`?)"#]].assert_eq(&told(Some("usul")));
    expect![[r#"
        none@config closed
        odd@config closed
        own@config o
        ping@internal 
        same@config closed
        service `odd`: there is no servers-transport `usual@internal` (there is `default`)"#]]
    .assert_eq(&told(Some("uri")));
    assert_eq!(told(None), default);
}

#[test]
fn what_protects_and_cannot_be_done_closes_what_it_protects() {
    let servers = json!({ "servers": [{ "url": "https://10.0.0.9" }], "servers-transport": "t" });
    let plain = json!({ "servers": [{ "url": "http://10.0.0.9" }] });
    let http = json!({
        "services": {
            "guarded": { "load-balancer": plain, "middlewares": ["auth"] },
            "misspelt": { "load-balancer": plain, "middlewars": ["auth"] },
            "pinned": { "load-balancer": servers },
        },
        "servers-transports": { "t": { "insecure-skip-verify": true, "peerCertURI": "spiffe://x" } },
        "routers": {
            "child": { "rule": "PathPrefix(`/c`)", "service": "open", "parentRefs": ["p"] },
            "old": { "rule": "Host(`a`, `c`)", "service": "open", "ruleSyntax": "v2" },
            "older": { "rule": "HostRegexp(`a.c`)", "service": "open", "ruleSyntax": "v2" },
            "same": { "rule": "Host(`c`) && !PathPrefix(`/x`)", "service": "pinned", "ruleSyntax": "v2" },
            "new": { "rule": "Host(`b`)", "service": "open", "ruleSyntax": "v3" },
        },
    });
    check(
        vec![file(http)],
        expect![[r#"
            router child@config disabled on web,websecure via [] to open@config hosts []
            router new@config disabled on web,websecure via [] to open@config hosts ["b"]
            router old@config disabled on web,websecure via [] to open@config hosts [] (not live)
            router older@config disabled on web,websecure via [] to open@config hosts []
            router same@config disabled on web,websecure via [] to pinned@config hosts ["c"]
            service guarded@config disabled [] used by []
            service misspelt@config disabled [] used by []
            service pinned@config disabled [] used by ["same@config"]
            Error config config.toml /http/routers/child: router `child`: it lets nobody through, since what it says of who may pass cannot be read
            Error config config.toml /http/routers/child/parentRefs: routers below others are not supported
            Error config config.toml /http/routers/child/service: router `child`: there is no service `open@config`, so it answers 503
            Error config config.toml /http/routers/new/service: router `new`: there is no service `open@config`, so it answers 503
            Error config config.toml /http/routers/old: router `old`: it lets nobody through, since what it says of who may pass cannot be read
            Error config config.toml /http/routers/old/rule: router `old`: `Host` takes 1 argument, found 2
            Error config config.toml /http/routers/old/ruleSyntax: rules are read as `v3`, and not as `v2`
            Error config config.toml /http/routers/old/service: router `old`: there is no service `open@config`, so it answers 503
            Error config config.toml /http/routers/older: router `older`: it lets nobody through, since what it says of who may pass cannot be read
            Error config config.toml /http/routers/older/ruleSyntax: rules are read as `v3`, and not as `v2`
            Error config config.toml /http/routers/older/service: router `older`: there is no service `open@config`, so it answers 503
            Error config config.toml /http/servers-transports/t/peerCertURI: the transport cannot be used, since `peer-cert-uri` is not supported: more would be trusted than is meant
            Error config config.toml /http/services/guarded/middlewares: the service lets nobody through, since `middlewares` of services are not supported
            Error config config.toml /http/services/misspelt: the service lets nobody through, since what it says of who may pass cannot be read
            Error config config.toml /http/services/misspelt/middlewars: unknown key `middlewars`
            Error config config.toml /http/services/pinned/load-balancer: service `pinned`: servers-transport `t@config` is declared, but cannot be used: `peer-cert-uri` is not supported
            Warning config config.toml /http/routers/same/ruleSyntax: rules are read as `v3`, and not as `v2`
            Warning config config.toml /http/servers-transports/t/insecure-skip-verify: whoever stands between us and the backends can read and change everything: any certificate will do"#]],
    );
}

fn canary(id: &str, version: u64, percent: Option<u8>) -> Instance {
    let rule = ("http.routers.shop.rule", "Host(`shop.local`)");
    Instance { canary: Some(Canary { percent }), ..instance(id, version, &[rule]) }
}

fn weights(snapshot: &Snapshot, service: &str) -> Vec<(String, u32)> {
    let live = live(snapshot, service);
    live.backends.iter().map(|it| (it.origin.to_string(), it.weight)).collect()
}

/// The service of its only router.
fn service_of(snapshot: &Snapshot) -> Option<&str> {
    snapshot.routers.iter().next()?.service.as_deref()
}

#[test]
fn a_canary_has_a_pool_of_its_own_and_the_share_that_it_was_given() {
    let rule = ("http.routers.shop.rule", "Host(`shop.local`)");
    let stable = |id, version| instance(id, version, &[rule]);
    let of = |canary: Instance| {
        let all = vec![stable("a", 1), stable("b", 2), stable("c", 3), canary];
        Assembler::default().assemble(&inputs(vec![consul(all)]))
    };
    let pool = |snapshot: &Snapshot| {
        let names = snapshot.services.iter().map(|entry| entry.entry.name.to_string());
        names.filter(|name| name != "my-shop@consul").collect::<Vec<_>>()
    };
    let own = |pairs: &[(&str, u32)]| -> Vec<_> {
        pairs.iter().map(|(id, weight)| ((*id).to_owned(), *weight)).collect()
    };
    // As in Traefik: nobody gets there who does not name it.
    let alone = of(canary("new", 9, None));
    assert_eq!(weights(&alone, "my-shop@consul"), own(&[("a", 1), ("b", 1), ("c", 1)]));
    let [name] = &*pool(&alone) else { panic!("{:?}", pool(&alone)) };
    assert!(name.starts_with("my-shop-"), "{name}");
    assert_eq!(weights(&alone, name), own(&[("new", 1)]));
    // Its router is not the service's, though it is the newest.
    assert_eq!(service_of(&alone), Some("my-shop@consul"));
    let shared = of(canary("new", 9, Some(5)));
    let expected = own(&[("a", 19), ("b", 19), ("c", 19), ("new", 3)]);
    assert_eq!(weights(&shared, "my-shop@consul"), expected);
    assert_eq!(weights(&shared, &pool(&shared)[0]), own(&[("new", 1)]));
    assert_eq!(service_of(&shared), Some("my-shop@consul"));
    for (percent, expected) in [
        (0, [("a", 1), ("b", 1), ("c", 1), ("new", 0)]),
        (100, [("a", 0), ("b", 0), ("c", 0), ("new", 1)]),
        (25, [("a", 1), ("b", 1), ("c", 1), ("new", 1)]),
    ] {
        let snapshot = of(canary("new", 9, Some(percent)));
        assert_eq!(weights(&snapshot, "my-shop@consul"), own(&expected), "{percent}");
    }
    // When it is promoted (its tags change) all are alike.
    let promoted = of(stable("new", 9));
    assert_eq!(pool(&promoted), Vec::<String>::new());
    // The first canary of all serves until there is something else.
    let only = inputs(vec![consul(vec![canary("new", 1, Some(5))])]);
    let only = Assembler::default().assemble(&only);
    assert_eq!(weights(&only, "my-shop@consul"), own(&[("new", 1)]));
}

#[test]
fn of_several_instances_at_one_address_the_one_that_is_well_counts() {
    let rule = ("http.routers.shop.rule", "Host(`shop.local`)");
    let stale = Instance { health: Health::Critical, ..instance("a", 1, &[rule]) };
    let well = Instance { weight_passing: 10, ..instance("b", 1, &[rule]) };
    let all = vec![stale, well];
    let snapshot = Assembler::default().assemble(&inputs(vec![consul(all)]));
    let service = live(&snapshot, "my-shop@consul");
    let [backend] = &*service.backends else { panic!("{:?}", service.backends) };
    assert_eq!((backend.health, backend.weight), (Health::Passing, 10));
}

#[test]
fn what_was_found_out_of_a_backend_stays_while_it_is_there() {
    let tags = [("http.services.my-shop.loadbalancer.slowStart", "10s")];
    let source = consul(vec![instance("a", 1, &tags), instance("b", 2, &tags)]);
    let (mut assembler, now) = (Assembler::default(), Moment::from_millis(1_000_000));
    let before = live(&assembler.assemble(&inputs(vec![source.clone()])), "my-shop@consul");
    let standing = |service: &Service, place: usize| service.backends[place].figures.clone();
    standing(&before, 0).standing.probe(Probed::Down, Some("no".into()));
    let passive = Passive { max_failed_attempts: 1, ..Passive::default() };
    standing(&before, 1).standing.failed(now, now, &passive);
    before.state.mirrored.increment();
    assert!(standing(&before, 0).standing.share(now, 10_000) < 256);
    // Another instance comes, and the options change.
    let mut changed = source;
    let tags = [("http.services.my-shop.loadbalancer.strategy", "p2c")];
    let put = |instance: Instance| Change::Put(Item::Instance(instance.into()));
    let change = vec![put(instance("c", 3, &tags)), put(instance("a", 1, &tags))];
    changed.apply(Update::Delta(change), vec![]).unwrap();
    let after = live(&assembler.assemble(&inputs(vec![changed.clone()])), "my-shop@consul");
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(standing(&after, 0).standing.probed(), Probed::Down);
    assert!(standing(&after, 1).standing.is_ejected(now));
    assert_eq!(after.state.mirrored.value(), 1);
    // One that was out in the catalog begins slowly when it comes back.
    let later = Moment::from_millis(2_000_000);
    assert_eq!(standing(&after, 0).standing.share(later, 10_000), 256);
    for health in [Health::Critical, Health::Passing] {
        let change = put(Instance { health, ..instance("a", 1, &tags) });
        changed.apply(Update::Delta(vec![change]), vec![]).unwrap();
        assembler.assemble(&inputs(vec![changed.clone()]));
    }
    let back = live(&assembler.assemble(&inputs(vec![changed])), "my-shop@consul");
    assert!(standing(&back, 0).standing.share(later, 10_000) < 256);
}

#[test]
fn what_was_found_out_of_one_path_is_not_said_of_another_at_the_same_address() {
    let with = |paths: &[&str], strategy: &str| {
        let server =
            |path: &&str| json!({ "url": format!("http://10.0.0.9{path}"), "preserve-path": true });
        let servers: Vec<_> = paths.iter().map(server).collect();
        let options = json!({ "servers": servers, "strategy": strategy });
        inputs(vec![file(json!({ "services": { "s": { "load-balancer": options } } }))])
    };
    let mut assembler = Assembler::default();
    let before = live(&assembler.assemble(&with(&["/a", "/b"], "wrr")), "s@config");
    before.backends[0].figures.standing.probe(Probed::Down, Some("no".into()));
    let after = live(&assembler.assemble(&with(&["/a", "/b", "/c"], "p2c")), "s@config");
    let seen = after.backends.iter().map(|it| (it.url(), it.figures.standing.probed()));
    let base = "http://10.0.0.9:80";
    let wanted = [("/a", Probed::Down), ("/b", Probed::Unknown), ("/c", Probed::Unknown)]
        .map(|(path, probed)| (format!("{base}{path}"), probed));
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
    for place in 0..2 {
        let figures = |service: &Service| service.backends[place].figures.clone();
        assert!(Arc::ptr_eq(&figures(&before), &figures(&after)), "{place}");
    }
}

#[test]
fn a_service_of_services_is_made_anew_when_one_of_them_changes_and_only_then() {
    let http = |port: u16, weight: u32| {
        let members = json!([{ "name": "a", "weight": weight }, { "name": "b" }]);
        json!({ "services": {
            "all": { "weighted": { "services": members, "sticky": { "cookie": {} } } },
            "a": servers(port), "b": servers(90),
            "spare": { "failover": { "service": "all", "fallback": "b" } },
        }})
    };
    let mut assembler = Assembler::default();
    let mut assemble = |port, weight| {
        let snapshot = assembler.assemble(&inputs(vec![file(http(port, weight))]));
        ["all@config", "spare@config"].map(|name| live(&snapshot, name))
    };
    let first = assemble(80, 3);
    let same = assemble(80, 3);
    assert!(first.iter().zip(&same).all(|(one, other)| Arc::ptr_eq(one, other)));
    let heavier = assemble(80, 4);
    let moved = assemble(81, 4);
    for (before, after) in [(&first, &heavier), (&heavier, &moved)] {
        let ([before, above], [after, now_above]) = (before, after);
        assert!(!Arc::ptr_eq(before, after) && !Arc::ptr_eq(above, now_above));
        assert!(Arc::ptr_eq(&before.state, &after.state), "its state goes on");
    }
    let Kind::Weighted(weighted) = &moved[0].kind else { panic!("it is weighted") };
    let part = weighted.members[0].service.as_ref().unwrap();
    assert_eq!(part.backends[0].url(), "http://10.0.0.9:81");
}

#[test]
fn a_transport_that_changes_makes_those_anew_that_rely_on_it() {
    let with = |name: &str| {
        let url = json!([{ "url": "https://10.0.0.9" }]);
        json!({ "load-balancer": { "servers": url, "servers-transport": name } })
    };
    let http = |server_name: &str| {
        json!({
            "services": {
                "near": with("mtls"), "plain": servers(80),
                "all": { "failover": { "service": "near", "fallback": "plain" } },
            },
            "routers": { "r": { "rule": "Host(`a`)", "service": "all" } },
            "servers-transports": { "mtls": { "server-name": server_name } },
        })
    };
    let mut assembler = Assembler::default();
    let mut assemble = |server_name| assembler.assemble(&inputs(vec![file(http(server_name))]));
    let [before, same, after] = ["one", "one", "two"].map(&mut assemble);
    let all = ["near@config", "plain@config", "all@config"];
    let is_same = |one: &Snapshot, other: &Snapshot| {
        all.map(|name| Arc::ptr_eq(&live(one, name), &live(other, name)))
    };
    assert_eq!(is_same(&before, &same), [true, true, true]);
    assert_eq!(is_same(&same, &after), [false, true, false]);
    let (number, transport) = live(&after, "near@config").transport.clone().unwrap();
    assert_eq!(transport.server_name.as_deref(), Some("two"));
    assert_ne!(live(&before, "near@config").transport.as_ref().unwrap().0, number);
    let router = after.routers.iter().next().unwrap().live.clone().unwrap();
    assert!(Arc::ptr_eq(router.service.as_ref().unwrap(), &live(&after, "all@config")));
}
