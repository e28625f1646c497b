//! A Consul catalog: names and routes follow it, and outlive it.

use std::time::{Duration, Instant};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use serde_json::json;

use crate::support::{Backend, Config, Consul, Portolan, Registration, eventually};

const RULE: &str = "traefik.http.routers.grafana.rule=Host(`grafana.local`)";

async fn grafana(consul: &Consul, backend: &Backend) {
    let (address, tags) = (backend.address, &[RULE][..]);
    let registration = Registration { id: "grafana-1", service: "grafana", address, tags };
    consul.register(&registration).await;
}

async fn prometheus(consul: &Consul, address: &str) {
    let address = address.parse().unwrap();
    let registration =
        Registration { id: "prometheus-1", service: "prometheus", address, tags: &[] };
    consul.register(&registration).await;
}

#[tokio::test]
async fn a_service_is_named_and_routed_while_it_is_registered() {
    let consul = Consul::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let (dns, http) = (portolan.dns(), portolan.http());

    prometheus(&consul, "127.0.0.1:9090").await;
    grafana(&consul, &one).await;

    let reply = eventually(|| dns.a("prometheus.service.consul"), |r| r.is(&["127.0.0.1"])).await;
    assert!(reply.authority.is_empty());
    let srv = dns.ask("prometheus.service.consul", RecordType::SRV).await;
    assert!(srv.is(&["1 1 9090 7f000001.addr.dc1.consul."]), "{srv:?}");
    assert_eq!(srv.additional.first().map(String::as_str), Some("127.0.0.1"), "{srv:?}");
    assert!(dns.a("prometheus.infra.local").await.is(&["127.0.0.1"]));
    assert!(dns.ask_tcp("prometheus.infra.local", RecordType::A).await.is(&["127.0.0.1"]));
    eventually(|| dns.a("grafana.local"), |reply| reply.is(&["127.0.0.9"])).await;
    let aaaa = dns.ask("grafana.local", RecordType::AAAA).await;
    assert_eq!((aaaa.code, aaaa.authority), (ResponseCode::NoError, vec![RecordType::SOA]));

    let answer = eventually(|| http.get("grafana.local", "/"), |a| a.status == 200).await;
    assert!(answer.body.starts_with("one\n"), "{answer:?}");
    assert!(answer.body.contains("x-forwarded-host: grafana.local"), "{answer:?}");

    // It moves: names and routes move with it.
    prometheus(&consul, "127.0.0.2:9091").await;
    grafana(&consul, &two).await;
    eventually(|| dns.a("prometheus.service.consul"), |r| r.is(&["127.0.0.2"])).await;
    eventually(|| http.get("grafana.local", "/"), |a| a.body.starts_with("two\n")).await;

    // It goes: names and routes go with it.
    consul.deregister("prometheus-1").await;
    consul.deregister("grafana-1").await;
    let gone = eventually(
        || dns.a("prometheus.service.consul"),
        |reply| reply.code == ResponseCode::NXDomain,
    )
    .await;
    assert_eq!(gone.authority, [RecordType::SOA]);
    eventually(|| http.get("grafana.local", "/"), |answer| answer.status == 404).await;
    eventually(|| dns.a("grafana.local"), |reply| reply.code != ResponseCode::NoError).await;
}

#[tokio::test]
async fn a_change_arrives_within_200_ms() {
    let consul = Consul::start().await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let dns = portolan.dns();
    prometheus(&consul, "10.0.0.1:9090").await;
    eventually(|| dns.a("prometheus.service.consul"), |r| r.is(&["10.0.0.1"])).await;
    let mut times = Vec::new();
    for last in 2..9 {
        let address = format!("10.0.0.{last}");
        prometheus(&consul, &format!("{address}:9090")).await;
        let begun = Instant::now();
        eventually(|| dns.a("prometheus.service.consul"), |r| r.is(&[&address])).await;
        times.push(begun.elapsed());
    }
    times.sort();
    // The middle one: a machine that runs other tests beside this one has its moments.
    let middle = times[times.len() / 2];
    assert!(middle < Duration::from_millis(200), "{times:?}");
}

#[tokio::test]
async fn the_last_known_state_outlives_consul_and_a_restart() {
    let consul = Consul::start().await;
    let backend = Backend::start("kept").await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    grafana(&consul, &backend).await;
    eventually(|| portolan.http().get("grafana.local", "/"), |a| a.status == 200).await;

    // Consul is away: everything goes on, and the board says since when.
    let stopped = consul.stop();
    let stale = |providers: &serde_json::Value| {
        let consul =
            providers.as_array().and_then(|all| all.iter().find(|p| p["name"] == "consul"));
        consul.is_some_and(|p| p["state"] == "stale" && p["since"].is_string())
    };
    eventually(|| portolan.api("/api/providers"), stale).await;
    assert_eq!(portolan.http().get("grafana.local", "/").await.status, 200);
    assert!(portolan.dns().a("grafana.service.consul").await.is(&["127.0.0.1"]));

    // A restart while it is away begins with what was kept.
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("grafana.local", "/").await.status, 200);
    assert!(portolan.dns().a("grafana.service.consul").await.is(&["127.0.0.1"]));

    // It comes back, knowing nothing but what is registered now.
    let consul = stopped.start().await;
    prometheus(&consul, "10.0.0.1:9090").await;
    grafana(&consul, &backend).await;
    eventually(|| portolan.dns().a("prometheus.service.consul"), |r| r.is(&["10.0.0.1"])).await;
    assert_eq!(portolan.http().get("grafana.local", "/").await.status, 200);
}

#[tokio::test]
async fn one_bad_tag_costs_that_tag() {
    let consul = Consul::start().await;
    let backend = Backend::start("tolerant").await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let tags = [
        RULE,
        "traefik.http.routers.grafana.prioritty=7",
        "traefik.http.routers.broken.rule=Hots(`a`)",
        "traefik.http.services.grafana.loadbalancer.passhostheader=perhaps",
    ];
    let address = backend.address;
    let registration = Registration { id: "g", service: "grafana", address, tags: &tags };
    consul.register(&registration).await;
    eventually(|| portolan.http().get("grafana.local", "/"), |a| a.status == 200).await;

    let problems = portolan.api("/api/problems").await.to_string();
    for word in ["did you mean `priority`?", "did you mean `Host`?", "perhaps", "prioritty"] {
        assert!(problems.contains(word), "no problem says {word}: {problems}");
    }
}

#[tokio::test]
async fn instances_that_disagree_keep_the_route_and_the_newest_wins() {
    let consul = Consul::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    grafana(&consul, &old).await;
    let tags = [
        "traefik.http.routers.grafana.rule=Host(`grafana.local`) || Host(`graf.local`)",
        "traefik.http.routers.grafana.middlewares=hello",
        "traefik.http.middlewares.hello.headers.customResponseHeaders.X-Hello=new",
    ];
    let address = new.address;
    let registration = Registration { id: "grafana-2", service: "grafana", address, tags: &tags };
    consul.register(&registration).await;
    let answer = eventually(|| portolan.http().get("graf.local", "/"), |a| a.status == 200).await;
    assert_eq!(answer.header("x-hello"), "new");
    // Both serve.
    for backend in [&old, &new] {
        eventually(
            || async {
                portolan.http().get("grafana.local", "/").await;
                backend.requests()
            },
            |requests| *requests > 0,
        )
        .await;
    }
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("instances disagree"), "{problems}");
}

#[tokio::test]
async fn an_instance_that_fails_its_check_gets_nothing() {
    let consul = Consul::start().await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    for (node, address, status) in
        [("a", "10.1.0.1", "passing"), ("b", "10.1.0.2", "warning"), ("c", "10.1.0.3", "critical")]
    {
        let body = json!({
            "Node": node, "Address": address,
            "Service": { "ID": "web", "Service": "web", "Port": 80 },
            "Check": { "CheckID": "alive", "Name": "alive", "Status": status, "ServiceID": "web" },
        });
        consul.put("/v1/catalog/register", &body).await;
    }
    let usable = ["10.1.0.1", "10.1.0.2"];
    eventually(|| portolan.dns().a("web.service.consul"), |reply| reply.is(&usable)).await;
    // A node answers whatever its checks say.
    eventually(|| portolan.dns().a("c.node.consul"), |reply| reply.is(&["10.1.0.3"])).await;
    let reverse = || portolan.dns().ask("3.0.1.10.in-addr.arpa", RecordType::PTR);
    eventually(reverse, |reply| reply.is(&["c.node.dc1.consul."])).await;
    assert!(portolan.dns().a("web.service.consul").await.is(&usable));
}

#[tokio::test]
async fn a_newest_word_that_is_wrong_does_not_take_the_place_of_a_right_one() {
    let (consul, backend) = (Consul::start().await, Backend::start("b").await);
    let portolan = Portolan::start(&Config::with_consul(&consul.url(), ""));
    let address = backend.url().trim_start_matches("http://").parse().unwrap();
    let good = ["traefik.http.routers.shop.rule=Host(`shop.local`)"];
    consul.register(&Registration { id: "s1", service: "shop", address, tags: &good }).await;
    eventually(|| portolan.http().get("shop.local", "/"), |it| it.status == 200).await;
    let bad = ["traefik.http.routers.shop.rule=Hst(`shop.local`)"];
    consul.register(&Registration { id: "s2", service: "shop", address, tags: &bad }).await;
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |it| it.contains("instances disagree")).await;
    assert_eq!(portolan.http().get("shop.local", "/").await.status, 200);
    // The same of a middleware that it has.
    let [good, bad] = ["prefixes", "prefixs"].map(|option| {
        [
            "traefik.http.routers.api.rule=Host(`api.local`)".to_owned(),
            "traefik.http.routers.api.middlewares=strip".to_owned(),
            format!("traefik.http.middlewares.strip.stripprefix.{option}=/v1"),
        ]
    });
    for (id, tags) in [("a1", good), ("a2", bad)] {
        let tags = tags.each_ref().map(String::as_str);
        consul.register(&Registration { id, service: "api", address, tags: &tags }).await;
        eventually(|| portolan.http().get("api.local", "/v1/x"), |it| it.status == 200).await;
    }
    eventually(problems, |told| told.contains("a2`, declares does not work")).await;
    assert_eq!(portolan.http().get("api.local", "/v1/x").await.status, 200);
    // What protects a router, misspelt: nobody is let through.
    let open = [
        "traefik.http.routers.safe.rule=Host(`safe.local`)",
        "traefik.http.routers.safe.middleware=auth@file",
    ];
    consul.register(&Registration { id: "f1", service: "safe", address, tags: &open }).await;
    eventually(|| portolan.http().get("safe.local", "/"), |it| it.status == 503).await;
    eventually(problems, |told| told.contains("did you mean `middlewares`?")).await;
    // And so where the slip is before it.
    let open = [
        "traefik.http.routers.sure.rule=Host(`sure.local`)",
        "traefik.htp.routers.sure.middlewares=auth@file",
    ];
    consul.register(&Registration { id: "g1", service: "sure", address, tags: &open }).await;
    eventually(|| portolan.http().get("sure.local", "/"), |it| it.status == 503).await;
    eventually(problems, |told| told.contains("did you mean `http`?")).await;
}
