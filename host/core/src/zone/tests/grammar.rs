//! Names of the catalog: services, tags, nodes, addresses, and what a source is asked for.

use super::*;
use crate::item::{Found, Wanted};

#[test]
fn a_zone_has_lives_and_standards_of_its_own() {
    let ttl = |pattern: &str, ttl| (pattern.to_owned(), ttl);
    let options = ZoneOptions {
        node_ttl: Some(30),
        service_ttl: vec![ttl("*", 1), ttl("red*", 2), ttl("web", 3)],
        negative_ttl: 9,
        only_passing: true,
        node_meta: true,
    };
    let zone = ZoneConfig { options, ..zone("consul", Names::Consul) };
    let (zones, _) = Zones::build(&ZoneInputs {
        config: &DnsConfig { zones: vec![zone], ..DnsConfig::default() },
        nodes: &nodes(),
        instances: &instances(&[INSTANCES, &["f1 far gamma - 1 - passing 1"]].concat(), "dc1"),
        router_hosts: &[],
        synced: true,
        serial: 7,
    });
    for (question, expected) in [
        ("redis.service.consul A", "2 A 10.0.1.1"),
        ("replica.redis.service.consul A", "no such name, says consul"),
        ("six.service.consul AAAA", "1 AAAA fd00::2"),
        ("alpha.node.consul A", "30 A 10.0.0.1"),
        ("0a000001.addr.consul A", "30 A 10.0.0.1"),
        ("alpha.node.consul TXT", "30 TXT \"os=linux\"; 30 TXT \"hello\""),
        (
            "web.service.consul SRV",
            "3 SRV 1 1 80 Alpha.node.dc1.consul. \
             (3 A 10.0.0.1, 30 TXT \"os=linux\", 30 TXT \"hello\")",
        ),
        // A name outside is not the node, whose address it is.
        ("far.service.consul SRV", "1 SRV 1 1 1 gamma.example.com."),
        ("consul SOA", "9 SOA ns.consul. hostmaster.consul. 7 3600 600 86400 9"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
}

#[test]
fn services_answer_with_their_usable_instances() {
    check(&[
        ("redis.service.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("REDIS.Service.Consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("redis.service.dc1.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("redis.service.dc1.dc.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("redis.service.dc9.dc.consul A", "on demand"),
        ("0a000101.addr.anywhere.consul A", "5 A 10.0.1.1"),
        ("redis.service.consul ANY", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("redis.service.consul AAAA", "no data, says consul"),
        ("redis.service.consul MX", "no data, says consul"),
        ("redis.service.consul TXT", "no data, says consul"),
        ("web.service.consul A", "5 A 10.0.0.1"),
        ("six.service.consul AAAA", "5 AAAA fd00::2"),
        ("six.service.consul A", "no data, says consul"),
        ("node.service.consul A", "5 A 10.0.1.8"),
        ("down.service.consul A", "no such name, says consul"),
        ("old.down.service.consul A", "no such name, says consul"),
        ("absent.service.consul A", "no such name, says consul"),
        ("redis.service.dc2.consul A", "on demand"),
        ("redis.service.dc1.dc1.consul A", "no such name, says consul"),
        ("redis.consul A", "no such name, says consul"),
    ]);
}

#[test]
fn tags_select_instances() {
    check(&[
        ("primary.redis.service.consul A", "5 A 10.0.1.1"),
        ("Primary.redis.service.dc1.consul A", "5 A 10.0.1.1"),
        ("v1.blue.redis.service.consul A", "5 A 10.0.1.1"),
        ("blue.redis.service.consul A", "no data, says consul"),
        ("green.redis.service.consul A", "no such name, says consul"),
        ("replica.web.service.consul A", "no such name, says consul"),
    ]);
}

#[test]
fn rfc_2782_names_select_service_and_tag() {
    let first = "5 SRV 1 3 6379 0a000101.addr.dc1.consul. (5 A 10.0.1.1)";
    let both = &format!("{first}; 5 SRV 1 1 6380 0a000102.addr.dc1.consul. (5 A 10.0.1.2)");
    check(&[
        ("_redis._tcp.service.consul SRV", both),
        ("_redis._tcp.service.dc1.consul SRV", both),
        ("_redis._tcp.consul SRV", both),
        ("_redis._tcp.dc1.consul SRV", both),
        ("_redis._primary.service.consul SRV", first),
        ("_redis._primary.consul SRV", first),
        ("_redis._udp.service.consul SRV", "no such name, says consul"),
        ("_redis._tcp.service.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("_redis._tcp.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("_redis._tcp.consul TXT", "no data, says consul"),
        ("_nothing._tcp.consul A", "no such name, says consul"),
        ("_tcp.service.consul A", "no data, says consul"),
        ("_tcp.consul A", "no data, says consul"),
        ("_a._b._redis._tcp.service.consul SRV", "no such name, says consul"),
    ]);
}

#[test]
fn a_service_whose_address_is_the_name_that_is_asked_has_that_of_its_node() {
    check(&[
        ("own.service.consul A", "5 A 10.0.0.1"),
        ("own.service.dc1.consul A", "5 A 10.0.0.1"),
        ("own.service.consul SRV", "5 SRV 1 1 25 Own.service.consul."),
        ("blue.own.service.consul A", "alias 5 CNAME Own.service.consul."),
        ("own.infra.local A", "alias 5 CNAME Own.service.consul."),
    ]);
}

#[test]
fn srv_targets_are_addresses_nodes_or_names() {
    check(&[
        ("web.service.consul SRV", "5 SRV 1 1 80 Alpha.node.dc1.consul. (5 A 10.0.0.1)"),
        ("six.service.consul SRV", "5 SRV 1 1 7 beta.rack.node.dc1.consul. (5 AAAA fd00::2)"),
        (
            "ext.service.consul SRV",
            "5 SRV 1 1 443 api.example.com.; 5 SRV 1 1 443 second.example.com.",
        ),
        ("ext.service.consul A", "alias 5 CNAME api.example.com.; 5 CNAME second.example.com."),
        ("ext.service.consul CNAME", "5 CNAME api.example.com.; 5 CNAME second.example.com."),
    ]);
}

#[test]
fn nodes_answer_address_and_meta() {
    check(&[
        ("alpha.node.consul A", "5 A 10.0.0.1"),
        ("alpha.node.dc1.consul A", "5 A 10.0.0.1"),
        ("alpha.node.consul TXT", "5 TXT \"os=linux\"; 5 TXT \"hello\""),
        ("alpha.node.consul AAAA", "no data, says consul"),
        ("alpha.node.consul SRV", "no data, says consul"),
        ("beta.rack.node.consul AAAA", "5 AAAA fd00::2"),
        ("rack.node.consul A", "no data, says consul"),
        ("gamma.node.consul A", "alias 5 CNAME gamma.example.com."),
        ("delta.node.consul A", "no such name, says consul"),
    ]);
}

#[test]
fn addresses_are_spelled_by_names() {
    check(&[
        ("0a000101.addr.consul A", "5 A 10.0.1.1"),
        ("0A000101.addr.dc1.consul A", "5 A 10.0.1.1"),
        ("fd000000000000000000000000000002.addr.consul AAAA", "5 AAAA fd00::2"),
        ("0a000101.addr.consul AAAA", "no data, says consul"),
        ("0a00010.addr.consul A", "no such name, says consul"),
        ("0a00010g.addr.consul A", "no such name, says consul"),
        ("x.0a000101.addr.consul A", "no such name, says consul"),
    ]);
}

#[test]
fn what_lies_between_names_exists() {
    for name in ["consul", "service.consul", "node.consul", "addr.consul", "dc1.consul"] {
        check(&[(&format!("{name} A"), "no data, says consul")]);
    }
    for name in ["service.dc1.consul", "node.dc1.consul", "addr.dc1.consul"] {
        check(&[(&format!("{name} A"), "no data, says consul")]);
    }
    check(&[
        ("wild.home.arpa A", "no data, says home.arpa"),
        ("addr.infra.local A", "no data, says infra.local"),
        ("0.10.in-addr.arpa PTR", "no data, says 10.in-addr.arpa"),
    ]);
}

#[test]
fn what_stands_behind_another_datacenter_exists() {
    let datacenters = ["dc1", "dc2"].map(str::to_owned);
    let config = DnsConfig { datacenters: datacenters.into(), ..config() };
    let (zones, _) = Zones::build(&ZoneInputs {
        config: &config,
        nodes: &nodes(),
        instances: &instances(INSTANCES, "dc1"),
        router_hosts: &[],
        synced: true,
        serial: 7,
    });
    for (question, expected) in [
        ("dc2.consul A", "no data, says consul"),
        ("dc.consul A", "no data, says consul"),
        ("dc1.dc.consul A", "no data, says consul"),
        ("dc2.dc.consul A", "no data, says consul"),
        ("_tcp.dc2.consul A", "no data, says consul"),
        ("_tcp.dc1.consul A", "no data, says consul"),
        ("_tcp.dc2.dc.consul A", "no data, says consul"),
        ("_tcp.service.dc2.consul A", "no data, says consul"),
        ("_web._tcp.dc2.consul A", "on demand"),
        ("_web._tcp.dc2.consul SRV", "on demand"),
        ("_web._tcp.dc2.dc.consul SRV", "on demand"),
        (
            "_redis._primary.dc1.consul SRV",
            "5 SRV 1 3 6379 0a000101.addr.dc1.consul. (5 A 10.0.1.1)",
        ),
        ("web.dc2.consul A", "no such name, says consul"),
        ("dc9.consul A", "no such name, says consul"),
        ("dc9.dc.consul A", "no such name, says consul"),
        ("_web._tcp.dc9.consul SRV", "no such name, says consul"),
        ("dc2.infra.local A", "no such name, says infra.local"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
    let asked = Name::parse("_web._blue.dc2.consul").unwrap();
    let demand = zones.demand(asked.as_bytes()).unwrap();
    let [name, datacenter] = ["web", "dc2"].map(str::to_owned);
    assert_eq!((demand.wanted, demand.name), (Wanted::Service { name, datacenter }, asked));
}

#[test]
fn a_zone_has_soa_and_ns() {
    let soa = "5 SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5";
    check(&[
        ("consul SOA", soa),
        ("consul NS", "5 NS ns.consul. (5 A 10.9.9.8)"),
        ("ns.consul A", "5 A 10.9.9.8"),
        ("dc1.consul SOA", "no data, says consul"),
        ("redis.service.consul SOA", "no data, says consul"),
        ("redis.service.consul NS", "no data, says consul"),
        ("notconsul A", "not ours"),
        ("example.com A", "not ours"),
    ]);
}

#[test]
fn a_services_zone_has_short_names() {
    check(&[
        ("redis.infra.local A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("primary.redis.infra.local A", "5 A 10.0.1.1"),
        ("alpha.node.infra.local A", "5 A 10.0.0.1"),
        ("my-app.infra.local A", "5 A 10.0.1.7"),
        ("six.infra.local SRV", "5 SRV 1 1 7 beta.rack.node.infra.local. (5 AAAA fd00::2)"),
        ("my-app.infra.local SRV", "5 SRV 1 1 9 0a000107.addr.infra.local. (5 A 10.0.1.7)"),
        ("0a000107.addr.infra.local A", "5 A 10.0.1.7"),
        ("absent.infra.local A", "no such name, says infra.local"),
        ("_redis._tcp.infra.local SRV", "no such name, says infra.local"),
    ]);
}

#[test]
fn a_node_of_both_protocols_answers_for_both() {
    let mut nodes = nodes();
    Arc::make_mut(&mut nodes[0]).also_at = vec!["fd00::1".parse().unwrap()];
    let config = DnsConfig { zones: vec![zone("consul", Names::Consul)], ..DnsConfig::default() };
    let (zones, _) = Zones::build(&ZoneInputs {
        config: &config,
        nodes: &nodes,
        // Two on that node, so its addresses are known twice.
        instances: &instances(
            &["w1 web Alpha - 80 v1 passing 1", "w2 web Alpha - 81 v1 passing 1"],
            "dc1",
        ),
        router_hosts: &[],
        synced: true,
        serial: 1,
    });
    let reverse = Name::reverse("fd00::1".parse().unwrap()).to_string();
    for (question, expected) in [
        ("alpha.node.consul A", "5 A 10.0.0.1"),
        ("alpha.node.consul AAAA", "5 AAAA fd00::1"),
        ("web.service.consul A", "5 A 10.0.0.1"),
        ("web.service.consul AAAA", "5 AAAA fd00::1"),
        (
            "web.service.consul SRV",
            "5 SRV 1 1 80 Alpha.node.dc1.consul. (5 A 10.0.0.1, 5 AAAA fd00::1); \
             5 SRV 1 1 81 Alpha.node.dc1.consul. (5 A 10.0.0.1, 5 AAAA fd00::1)",
        ),
        (&*format!("{reverse} PTR"), "5 PTR Alpha.node.dc1.consul."),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
}

#[test]
fn what_a_query_finds_lives_as_long_as_it_says_or_else_its_service() {
    let (zones, _) = build(&instances(INSTANCES, "dc1"), true);
    let demand = zones.demand(Name::parse("db.query.consul").unwrap().as_bytes()).unwrap();
    let service_ttl = vec![("redis".to_owned(), 40)];
    let options = ZoneOptions { service_ttl, ..ZoneOptions::default() };
    let zone = ZoneConfig { options, ..zone("consul", Names::Consul) };
    for (ttl, expected) in [(None, "40 A 10.0.1.1"), (Some(7), "7 A 10.0.1.1")] {
        let found = Found { ttl, nodes: nodes(), instances: instances(&INSTANCES[..1], "dc1") };
        assert_eq!(ask(&demand.zones(&zone, Some(found)), "result.service.consul A"), expected);
    }
}

#[test]
fn names_that_a_source_may_know_are_on_demand() {
    let (zones, _) = build(&instances(INSTANCES, "dc1"), true);
    let query = |name: &str, datacenter: Option<&str>| Wanted::Query {
        name: name.to_owned(),
        datacenter: datacenter.map(str::to_owned),
    };
    let (name, datacenter) = ("web".to_owned(), "dc2".to_owned());
    let service = Wanted::Service { name, datacenter: datacenter.clone() };
    let node = Wanted::Node { name: "n.rack".to_owned(), datacenter };
    for (asked, wanted, answered) in [
        ("a.b.query.consul", query("a.b", None), "result.service.consul"),
        ("_db._tcp.query.dc1.consul", query("db", Some("dc1")), "result.service.consul"),
        ("db.query.dc2.dc.consul", query("db", Some("dc2")), "result.service.consul"),
        ("web.service.dc2.consul", service.clone(), "web.service.dc2.consul"),
        ("v1.blue.web.service.dc2.consul", service.clone(), "v1.blue.web.service.dc2.consul"),
        ("_web._tcp.service.dc2.consul", service, "_web._tcp.service.dc2.consul"),
        ("n.rack.node.dc2.consul", node, "n.rack.node.dc2.consul"),
    ] {
        assert_eq!(ask(&zones, &format!("{asked} A")), "on demand", "{asked}");
        let demand = zones.demand(Name::parse(asked).unwrap().as_bytes()).unwrap();
        let name = Name::parse(answered).unwrap();
        assert_eq!((demand.origin.as_str(), demand.wanted, demand.name), ("consul", wanted, name));
    }
    for asked in [
        "absent.service.dc1.consul A",
        "web.service.dc2.more.consul A",
        "db.query.dc2.dcx.consul A",
        "query.infra.local A",
    ] {
        let told = ask(&zones, asked);
        assert!(told.starts_with("no such name") || told == "not ours", "{asked}: {told}");
    }
    // Below these is something, or may be: so they exist (RFC 8020).
    for asked in [
        "query.consul A",
        "query.dc1.consul A",
        "service.dc1.consul A",
        "service.dc2.consul A",
        "node.dc2.dc.consul A",
        "addr.dc2.consul A",
    ] {
        assert!(ask(&zones, asked).starts_with("no data"), "{asked}: {}", ask(&zones, asked));
    }
}
