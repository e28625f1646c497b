//! What the catalog does not have and Consul knows: prepared queries and other datacenters, asked
//! for when somebody asks for them.

use hickory_proto::{op::ResponseCode, rr::RecordType};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Config, Consul, Portolan, Registration, Resolver, eventually};

async fn register(consul: &Consul, id: &str, service: &str, address: &str, tags: &[&str]) {
    let address = address.parse().unwrap();
    consul.register(&Registration { id, service, address, tags }).await;
}

/// Both say the same.
async fn agree(ours: Resolver, theirs: Resolver, name: &str, rtype: RecordType) {
    let (ours, theirs) = (ours.ask(name, rtype).await, theirs.ask(name, rtype).await);
    assert_eq!((ours.code, &ours.answers), (theirs.code, &theirs.answers), "{name} {rtype}");
    assert!(!ours.answers.is_empty(), "{name} {rtype}: {ours:?}");
}

#[tokio::test]
async fn prepared_queries_are_carried_out_when_they_are_asked_for() {
    let consul = Consul::start().await;
    register(&consul, "d1", "db", "10.8.0.1:5432", &["primary"]).await;
    register(&consul, "d2", "db", "10.8.0.2:5432", &["replica"]).await;
    let query = |name: &str, tags: Value| json!({ "Name": name, "Service": { "Service": "db", "Tags": tags }, "DNS": { "TTL": "7s" } });
    consul.ask(Method::POST, "/v1/query", &query("main-db", json!(["primary"]))).await.unwrap();
    consul.ask(Method::POST, "/v1/query", &query("all.db", json!([]))).await.unwrap();
    let template = json!({
        "Name": "find-", "Template": { "Type": "name_prefix_match" },
        "Service": { "Service": "${name.suffix}" },
    });
    consul.ask(Method::POST, "/v1/query", &template).await.unwrap();
    let rules = "[dns.rewrite]\n\"db.test\" = \"main-db.query.consul\"\n";
    let portolan = Portolan::start(&Config::with_consul(&consul.url(), rules));
    let (ours, theirs) = (portolan.dns(), Resolver(consul.dns()));
    eventually(|| ours.a("MAIN-db.query.consul."), |reply| reply.is(&["10.8.0.1"])).await;
    for name in [
        "main-db.query.consul.",
        "all.db.query.consul.",
        "find-db.query.consul.",
        "main-db.query.dc1.consul.",
    ] {
        agree(ours, theirs, name, RecordType::A).await;
        agree(ours, theirs, name, RecordType::SRV).await;
    }
    let srv = ours.ask("main-db.query.consul.", RecordType::SRV).await;
    assert_eq!(srv.answers, ["1 1 5432 0a080001.addr.dc1.consul."]);
    assert!(srv.additional.contains(&"10.8.0.1".to_owned()), "{srv:?}");
    // What it was found by is a name like any other.
    let reply = ours.a("db.test.").await;
    assert_eq!(reply.answers, ["10.8.0.1", "main-db.query.consul."]);
    for (absent, rtype, code) in [
        ("nothing.query.consul.", RecordType::A, ResponseCode::NXDomain),
        ("main-db.query.dc9.consul.", RecordType::A, ResponseCode::NXDomain),
        ("main-db.query.consul.", RecordType::AAAA, ResponseCode::NoError),
        ("query.consul.", RecordType::A, ResponseCode::NoError),
    ] {
        let reply = ours.ask(absent, rtype).await;
        assert_eq!((reply.code, reply.answers.len()), (code, 0), "{absent}");
        assert_eq!(reply.authority, [RecordType::SOA], "{absent}");
    }
    // Nobody can tell, but what was told before serves on: by each worker that asked.
    for _ in 0..40 {
        assert!(ours.a("main-db.query.consul.").await.is(&["10.8.0.1"]));
    }
    drop(consul);
    assert!(ours.a("main-db.query.consul.").await.is(&["10.8.0.1"]));
    let reply = ours.a("find-web.query.consul.").await;
    assert_eq!(reply.code, ResponseCode::ServFail);
    assert!(ours.a("db.service.consul.").await.is(&["10.8.0.1", "10.8.0.2"]));
}

#[tokio::test]
async fn other_datacenters_are_asked_when_they_are_asked_for() {
    let (near, far) = (Consul::start().await, Consul::start_with("datacenter = \"dc2\"", "").await);
    register(&near, "w1", "web", "10.8.0.1:80", &[]).await;
    register(&far, "w2", "web", "10.8.0.2:81", &["blue"]).await;
    far.join(&near).await;
    let known = || async { near.ask(Method::GET, "/v1/catalog/datacenters", &Value::Null).await };
    drop(eventually(known, |it| it.as_ref().is_ok_and(|it| it.body.contains("dc2"))).await);
    let portolan = Portolan::start(&Config::with_consul(&near.url(), ""));
    let (ours, theirs) = (portolan.dns(), Resolver(near.dns()));
    eventually(|| ours.a("web.service.consul."), |reply| reply.is(&["10.8.0.1"])).await;
    let there = || ours.a("web.service.dc2.consul.");
    eventually(there, |reply| reply.is(&["10.8.0.2"])).await;
    for (name, rtype) in [
        ("web.service.dc2.consul.", RecordType::A),
        ("web.service.dc2.consul.", RecordType::SRV),
        ("blue.web.service.DC2.consul.", RecordType::A),
        ("_web._tcp.service.dc2.consul.", RecordType::SRV),
        ("_web._blue.service.dc2.consul.", RecordType::SRV),
        ("harbour.node.dc2.consul.", RecordType::A),
        ("web.service.dc1.consul.", RecordType::A),
    ] {
        agree(ours, theirs, name, rtype).await;
    }
    // What stands behind names of the other one exists too, and who asks for the names label by
    // label comes to their end (RFC 9156).
    let behind = || ours.a("dc2.consul.");
    eventually(behind, |reply| reply.code == ResponseCode::NoError).await;
    for (name, rtype) in [
        ("dc2.consul.", RecordType::A),
        ("_tcp.dc2.consul.", RecordType::A),
        ("service.dc2.consul.", RecordType::A),
        ("_tcp.service.dc2.consul.", RecordType::A),
    ] {
        let reply = ours.ask(name, rtype).await;
        assert_eq!((reply.code, reply.answers.len()), (ResponseCode::NoError, 0), "{name}");
        assert_eq!(reply.authority, [RecordType::SOA], "{name}");
    }
    agree(ours, theirs, "_web._tcp.dc2.consul.", RecordType::SRV).await;
    // With Consul this name is there for SRV only.
    let reply = ours.ask("_web._tcp.dc2.consul.", RecordType::A).await;
    assert_eq!((reply.code, reply.answers.len()), (ResponseCode::NoError, 1));
    for absent in [
        "dc3.consul.",
        "_tcp.dc3.consul.",
        "nothing.service.dc2.consul.",
        "green.web.service.dc2.consul.",
        "nobody.node.dc2.consul.",
        "web.service.dc3.consul.",
    ] {
        let reply = ours.a(absent).await;
        assert_eq!(reply.code, ResponseCode::NXDomain, "{absent}");
        assert_eq!(reply.authority, [RecordType::SOA], "{absent}");
    }
}

#[tokio::test]
async fn an_agent_that_translates_addresses_gives_those_for_the_wide_network_elsewhere() {
    let near = Consul::start_with("translate_wan_addrs = true", "").await;
    let far = Consul::start_with("datacenter = \"dc2\"", "").await;
    let lan = ("10.8.0.1", "fd00::1");
    let node = json!({
        "lan": "10.9.0.1", "lan_ipv4": "10.9.0.1", "wan": "203.0.113.1", "wan_ipv4": "203.0.113.1",
    });
    let place = |address: &str| json!({ "Address": address, "Port": 80 });
    for (service, address, tagged) in [
        ("plain", "", json!({})),
        ("wan", lan.0, json!({ "lan": place(lan.0), "wan": place("203.0.113.8") })),
        (
            "four",
            lan.0,
            json!({
                "lan_ipv4": place(lan.0), "wan": place("203.0.113.8"),
                "wan_ipv4": place("203.0.113.9"),
            }),
        ),
        (
            "both",
            lan.0,
            json!({
                "lan_ipv4": place(lan.0), "lan_ipv6": place(lan.1),
                "wan_ipv4": place("203.0.113.9"), "wan_ipv6": place("2001:db8::9"),
            }),
        ),
    ] {
        let body = json!({
            "Node": "quay", "Address": "10.9.0.1", "TaggedAddresses": node,
            "Service": {
                "ID": service, "Service": service, "Address": address, "Port": 80,
                "TaggedAddresses": tagged,
            },
        });
        near.put("/v1/catalog/register", &body).await;
        far.put("/v1/catalog/register", &body).await;
    }
    let query = json!({
        "Name": "far", "Service": { "Service": "none", "Failover": { "Datacenters": ["dc2"] } },
    });
    let local = json!({ "Name": "near", "Service": { "Service": "both" } });
    far.join(&near).await;
    let known = || async { near.ask(Method::GET, "/v1/catalog/datacenters", &Value::Null).await };
    drop(eventually(known, |it| it.as_ref().is_ok_and(|it| it.body.contains("dc2"))).await);
    near.ask(Method::POST, "/v1/query", &local).await.unwrap();
    let none = json!({
        "Node": "quay", "Address": "10.9.0.1",
        "Service": { "ID": "none", "Service": "none", "Address": lan.0, "Port": 80,
            "TaggedAddresses": { "lan_ipv4": place(lan.0), "wan_ipv4": place("203.0.113.7") } },
    });
    far.put("/v1/catalog/register", &none).await;
    near.ask(Method::POST, "/v1/query", &query).await.unwrap();
    // As one who is in dc1, and as one who is there too but reads dc2.
    let portolan = Portolan::start(&Config::with_consul(&near.url(), ""));
    let reads_far = format!(
        "[providers.consul]\nplugin = \"consul\"\n\
         config = {{ address = \"{url}\", datacenter = \"dc2\" }}\n\
         grants = {{ http-client = [\"{url}\"] }}\n",
        url = near.url()
    );
    let abroad = Portolan::start(&Config::new(&reads_far));
    let (ours, theirs) = (portolan.dns(), Resolver(near.dns()));
    eventually(|| ours.a("wan.service.consul."), |reply| reply.is(&["10.8.0.1"])).await;
    eventually(|| ours.a("wan.service.dc2.consul."), |reply| reply.is(&["203.0.113.8"])).await;
    for (name, rtype) in [
        ("plain.service.dc2.consul.", RecordType::A),
        ("wan.service.dc2.consul.", RecordType::A),
        ("wan.service.dc2.consul.", RecordType::SRV),
        ("four.service.dc2.consul.", RecordType::A),
        ("four.service.dc2.consul.", RecordType::SRV),
        ("both.service.dc2.consul.", RecordType::A),
        ("both.service.dc2.consul.", RecordType::AAAA),
        ("quay.node.dc2.consul.", RecordType::A),
        ("far.query.consul.", RecordType::A),
        ("near.query.consul.", RecordType::A),
        ("near.query.consul.", RecordType::AAAA),
        ("both.service.consul.", RecordType::A),
        ("quay.node.consul.", RecordType::A),
    ] {
        agree(ours, theirs, name, rtype).await;
    }
    let ours = abroad.dns();
    eventually(|| ours.a("wan.service.dc2.consul."), |reply| reply.is(&["203.0.113.8"])).await;
    for (name, rtype) in [
        ("plain.service.dc2.consul.", RecordType::A),
        ("both.service.dc2.consul.", RecordType::A),
        ("both.service.dc2.consul.", RecordType::AAAA),
        ("four.service.dc2.consul.", RecordType::A),
        ("quay.node.dc2.consul.", RecordType::A),
        ("four.service.dc1.consul.", RecordType::A),
    ] {
        agree(ours, theirs, name, rtype).await;
    }
    let service = abroad.api("/api/http/services/four@consul").await.to_string();
    assert!(service.contains("http://203.0.113.9:80"), "{service}");
}

#[tokio::test]
async fn a_node_of_both_protocols_answers_for_both() {
    let consul = Consul::start().await;
    let body = json!({
        "Node": "both", "Address": "10.9.0.2",
        "TaggedAddresses": { "lan": "10.9.0.2", "lan_ipv4": "10.9.0.2", "lan_ipv6": "fd09::2" },
        "Service": { "ID": "w", "Service": "web", "Port": 80 },
    });
    consul.put("/v1/catalog/register", &body).await;
    let portolan = Portolan::start(&Config::with_consul(&consul.url(), ""));
    let (ours, theirs) = (portolan.dns(), Resolver(consul.dns()));
    eventually(|| ours.a("web.service.consul."), |reply| reply.is(&["10.9.0.2"])).await;
    for name in ["both.node.consul.", "web.service.consul."] {
        agree(ours, theirs, name, RecordType::A).await;
        agree(ours, theirs, name, RecordType::AAAA).await;
    }
    assert!(ours.ask("both.node.consul.", RecordType::AAAA).await.is(&["fd09::2"]));
    // Consul spells the other address as a name; we name the node, and give both beside it.
    let srv = ours.ask("web.service.consul.", RecordType::SRV).await;
    assert_eq!(srv.answers, ["1 1 80 both.node.dc1.consul."]);
    assert_eq!(srv.additional, ["10.9.0.2", "fd09::2"]);
}
