//! What names mean: questions against one small world.

use std::sync::Arc;

use super::*;
use crate::item::Health;

/// `name datacenter address key=value ...`
const NODES: &[&str] = &[
    "Alpha dc1 10.0.0.1 os=linux rfc1035-note=hello",
    "beta.rack dc1 fd00::2",
    "gamma dc1 gamma.example.com",
];

/// `id service node address port tags health weight`; `-` is nothing.
const INSTANCES: &[&str] = &[
    "r1 redis Alpha 10.0.1.1 6379 primary,v1.Blue passing 3",
    "r2 Redis Alpha 10.0.1.2 6380 replica warning 3",
    "r3 redis Alpha 10.0.1.3 6379 primary critical 3",
    "w1 web Alpha - 80 - passing 1",
    "w2 web Alpha - 80 - passing 1",
    "s1 six beta.rack - 7 - passing 1",
    "e1 ext gamma api.example.com 443 - passing 1",
    "e2 ext gamma second.example.com 443 - passing 1",
    "d1 down Alpha 10.0.1.9 1 old maintenance 1",
    "n1 node Alpha 10.0.1.8 1 - passing 1",
    "m1 My_App Alpha 10.0.1.7 9 traefik.enable=true passing 1",
];

fn nodes() -> Vec<Arc<Node>> {
    let node = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        let pair = |word: &&str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        Arc::new(Node {
            name: words[0].to_owned(),
            datacenter: words[1].to_owned(),
            address: words[2].to_owned(),
            meta: words[3..].iter().filter_map(pair).collect(),
        })
    };
    NODES.iter().map(node).collect()
}

fn instances(lines: &[&str], datacenter: &str) -> Vec<Arc<Instance>> {
    let instance = |line: &&str| {
        let words: Vec<_> = line.split(' ').map(|word| word.trim_start_matches('-')).collect();
        Arc::new(Instance {
            id: words[0].to_owned(),
            service: words[1].to_owned(),
            node: words[2].to_owned(),
            datacenter: datacenter.to_owned(),
            address: words[3].to_owned(),
            port: words[4].parse().unwrap(),
            tags: words[5].split(',').map(str::to_owned).collect(),
            health: match words[6] {
                "passing" => Health::Passing,
                "warning" => Health::Warning,
                "critical" => Health::Critical,
                _ => Health::Maintenance,
            },
            weight_passing: words[7].parse().unwrap(),
            weight_warning: 1,
            ..Instance::default()
        })
    };
    lines.iter().map(instance).collect()
}

fn record(name: &str, rtype: &str, data: &str) -> StaticRecord {
    let [name, rtype, data] = [name, rtype, data].map(str::to_owned);
    StaticRecord { name, rtype, data, ttl: 60 }
}

fn zone(origin: &str, names: Names) -> ZoneConfig {
    ZoneConfig { origin: origin.to_owned(), names, ttl: 5, options: ZoneOptions::default() }
}

fn config() -> DnsConfig {
    let records = vec![
        record("box", "A", "192.168.7.1"),
        record("box", "A", "192.168.7.2"),
        record("alias", "CNAME", "box"),
        record("*.wild", "A", "192.168.7.3"),
        record("a.deep.wild", "A", "192.168.7.4"),
        record("grafana", "A", "192.168.7.5"),
        record("nope", "A", "fd00::1"),
        record("alias", "A", "192.168.7.6"),
        record("www", "TXT", "hello world"),
    ];
    DnsConfig {
        edge_addresses: vec!["10.9.9.9".parse().unwrap(), "fd00::99".parse().unwrap()],
        zones: vec![
            zone("consul", Names::Consul),
            zone("infra.local", Names::Services),
            zone("home.arpa", Names::Static(records)),
            zone("edge", Names::Routers),
        ],
        ..DnsConfig::default()
    }
}

const HOSTS: &[&str] = &[
    "grafana.home.arpa",
    "shop.home.arpa",
    "shop.example.com",
    "*.apps.example.com",
    "a.edge",
    "web.infra.local",
    "10.1.1.1",
];

fn build(instances: &[Arc<Instance>], synced: bool) -> (Zones, Vec<Problem>) {
    let hosts: Vec<_> = HOSTS.iter().map(|host| (*host).to_owned()).collect();
    Zones::build(&ZoneInputs {
        config: &config(),
        nodes: &nodes(),
        instances,
        router_hosts: &hosts,
        synced,
        serial: 7,
    })
}

fn ask(zones: &Zones, question: &str) -> String {
    let (name, rtype) = question.split_once(' ').unwrap();
    let rtype = match rtype {
        "ANY" => RecordType::ANY,
        "SOA" => RecordType::SOA,
        text => RecordType::writable().find(|(_, name)| *name == text).unwrap().0,
    };
    let name = Name::parse(name).unwrap().to_lower();
    let authority = |authority: Authority<'_>| match authority.origin {
        Some(origin) => Text(origin).to_string(),
        None => "itself".to_owned(),
    };
    match zones.answer(name.as_bytes(), rtype) {
        Answer::Records(records) => text(&records),
        Answer::Alias(records) => format!("alias {}", text(&records)),
        Answer::NoData(soa) => format!("no data, says {}", authority(soa)),
        Answer::NoSuchName(soa) => format!("no such name, says {}", authority(soa)),
        Answer::NotSynced => "not synced".to_owned(),
        Answer::NotOurs => "not ours".to_owned(),
    }
}

fn text(records: &RecordSet<'_>) -> String {
    let one = |record: Record<'_>| {
        let glue: Vec<_> = record.glue().map(body_text).collect();
        let glue = if glue.is_empty() { String::new() } else { format!(" ({})", glue.join(", ")) };
        format!("{}{glue}", body_text(record.body))
    };
    records.in_order().map(one).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let (zones, _) = build(&instances(INSTANCES, "dc1"), true);
    for (question, expected) in cases {
        assert_eq!(ask(&zones, question), *expected, "{question}");
    }
}

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
        instances: &instances(INSTANCES, "dc1"),
        router_hosts: &[],
        synced: true,
        serial: 7,
    });
    for (question, expected) in [
        ("redis.service.consul A", "2 A 10.0.1.1"),
        ("replica.redis.service.consul A", "no such name, says consul"),
        ("six.service.consul AAAA", "1 AAAA fd00::2"),
        ("alpha.node.consul A", "30 A 10.0.0.1"),
        ("alpha.node.consul TXT", "30 TXT \"os=linux\"; 30 TXT \"hello\""),
        (
            "web.service.consul SRV",
            "3 SRV 1 1 80 Alpha.node.dc1.consul. \
             (3 A 10.0.0.1, 30 TXT \"os=linux\", 30 TXT \"hello\")",
        ),
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
        ("redis.service.dc9.dc.consul A", "no such name, says consul"),
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
        ("redis.service.dc2.consul A", "no such name, says consul"),
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
        ("_redis._tcp.consul A", "no such name, says consul"),
        ("_tcp.service.consul A", "no data, says consul"),
        ("_tcp.consul A", "no data, says consul"),
        ("_a._b._redis._tcp.service.consul SRV", "no such name, says consul"),
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
        ("ext.service.consul A", "alias 5 CNAME api.example.com."),
        ("ext.service.consul CNAME", "5 CNAME api.example.com."),
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
        ("0.10.in-addr.arpa PTR", "no data, says 10.in-addr.arpa"),
    ]);
}

#[test]
fn a_zone_has_soa_and_ns() {
    let soa = "5 SOA ns.consul. hostmaster.consul. 7 3600 600 86400 5";
    check(&[
        ("consul SOA", soa),
        ("consul NS", "5 NS ns.consul."),
        ("ns.consul A", "5 A 10.9.9.9"),
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
fn router_hosts_lead_to_the_edge() {
    check(&[
        ("shop.example.com A", "10 A 10.9.9.9"),
        ("shop.example.com AAAA", "10 AAAA fd00::99"),
        ("shop.example.com MX", "no data, says itself"),
        ("below.shop.example.com A", "not ours"),
        ("example.com A", "not ours"),
        ("x.apps.example.com A", "10 A 10.9.9.9"),
        ("x.apps.example.com TXT", "no data, says itself"),
        ("apps.example.com A", "not ours"),
        ("a.edge A", "5 A 10.9.9.9"),
        ("b.edge A", "no such name, says edge"),
        ("shop.home.arpa A", "5 A 10.9.9.9"),
    ]);
}

#[test]
fn a_static_record_beats_a_router_beats_the_catalog() {
    check(&[
        ("grafana.home.arpa A", "60 A 192.168.7.5"),
        ("grafana.home.arpa AAAA", "no data, says home.arpa"),
        ("web.infra.local A", "5 A 10.9.9.9"),
        ("web.infra.local SRV", "no data, says infra.local"),
    ]);
}

#[test]
fn static_records_are_answered() {
    check(&[
        ("box.home.arpa A", "60 A 192.168.7.1; 60 A 192.168.7.2"),
        ("alias.home.arpa A", "alias 60 CNAME box.home.arpa."),
        ("alias.home.arpa ANY", "60 CNAME box.home.arpa."),
        ("www.home.arpa TXT", "60 TXT \"hello world\""),
        ("x.wild.home.arpa A", "60 A 192.168.7.3"),
        ("y.x.wild.home.arpa A", "60 A 192.168.7.3"),
        ("x.wild.home.arpa TXT", "no data, says home.arpa"),
        ("b.deep.wild.home.arpa A", "no such name, says home.arpa"),
        ("deep.wild.home.arpa A", "no data, says home.arpa"),
    ]);
}

#[test]
fn addresses_have_names() {
    check(&[
        ("1.0.0.10.in-addr.arpa PTR", "5 PTR Alpha.node.dc1.consul."),
        ("1.1.0.10.in-addr.arpa PTR", "5 PTR redis.service.dc1.consul."),
        ("1.7.168.192.in-addr.arpa PTR", "60 PTR box.home.arpa."),
        ("1.0.0.10.in-addr.arpa A", "no data, says 10.in-addr.arpa"),
        ("9.9.9.10.in-addr.arpa PTR", "no such name, says 10.in-addr.arpa"),
        ("9.9.20.172.in-addr.arpa PTR", "no such name, says 20.172.in-addr.arpa"),
        ("8.8.8.8.in-addr.arpa PTR", "not ours"),
    ]);
}

#[test]
fn names_that_every_resolver_knows() {
    check(&[
        ("localhost A", "86400 A 127.0.0.1"),
        ("x.localhost AAAA", "86400 AAAA ::1"),
        ("localhost MX", "no data, says localhost"),
        ("x.invalid A", "no such name, says invalid"),
        ("x.onion A", "no such name, says onion"),
        ("local SOA", "5 SOA ns.local. hostmaster.local. 7 3600 600 86400 5"),
        ("printer.local A", "not ours"),
    ]);
}

#[test]
fn bad_records_cost_only_themselves() {
    let (_, problems) = build(&instances(INSTANCES, "dc1"), true);
    let shown: Vec<_> =
        problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    assert_eq!(
        shown,
        [
            "/dns/zones/home.arpa/records/6: `fd00::1` is not an IPv4 address",
            "/dns/zones/home.arpa/records/7: nothing can stand beside the CNAME of `alias.home.arpa`",
        ]
    );
}

#[test]
fn until_synced_nothing_is_said_not_to_exist() {
    let (zones, _) = build(&instances(&INSTANCES[..1], "dc1"), false);
    for (question, expected) in [
        ("redis.service.consul A", "5 A 10.0.1.1"),
        ("web.service.consul A", "not synced"),
        ("grafana.edge A", "not synced"),
        ("consul A", "no data, says consul"),
        ("example.com A", "not ours"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
}

#[test]
fn with_several_datacenters_each_answers_for_itself() {
    let mut all = instances(INSTANCES, "dc1");
    all.extend(instances(&["x redis Alpha 10.2.0.1 1 primary passing 1"], "dc2"));
    let (zones, _) = build(&all, true);
    for (question, expected) in [
        ("redis.service.dc2.consul A", "5 A 10.2.0.1"),
        ("redis.service.dc1.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2"),
        ("redis.service.consul A", "5 A 10.0.1.1; 5 A 10.0.1.2; 5 A 10.2.0.1"),
        ("primary.redis.service.dc2.consul A", "5 A 10.2.0.1"),
        ("_redis._tcp.service.dc2.consul A", "5 A 10.2.0.1"),
        ("service.dc2.consul A", "no data, says consul"),
        ("web.service.dc2.consul A", "no such name, says consul"),
        ("0a000101.addr.dc2.consul A", "5 A 10.0.1.1"),
        ("redis.service.dc3.consul A", "no such name, says consul"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
}

#[test]
fn every_record_is_first_equally_often() {
    let lines: Vec<_> = (1..=8).map(|n| format!("i{n} s Alpha 10.3.0.{n} 1 - passing 1")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let (zones, _) = build(&instances(&lines, "dc1"), true);
    let name = Name::parse("s.service.consul").unwrap();
    let Answer::Records(records) = zones.answer(name.as_bytes(), RecordType::A) else { panic!() };
    let mut firsts = std::collections::BTreeMap::new();
    for round in 0..8000_u32 {
        let order: Vec<_> =
            records.shuffled(round.wrapping_mul(0x9E37_79B9)).map(|record| record.body).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 8, "a shuffled answer is whole");
        *firsts.entry(order[0].to_vec()).or_insert(0) += 1;
    }
    assert_eq!(firsts.len(), 8);
    assert!(firsts.values().all(|count| (800..1200).contains(count)), "{firsts:?}");
}

#[test]
fn names_are_listed_with_their_records() {
    let (zones, _) = build(&instances(INSTANCES, "dc1"), true);
    let names: Vec<_> = zones.names().collect();
    let redis = names.iter().find(|view| view.name == "redis.service.consul").unwrap();
    assert_eq!((redis.kind, redis.instances), (Kind::Service, Some((2, 3))));
    assert_eq!(redis.zone.as_deref(), Some("consul"));
    assert!(redis.records.contains(&"5 A 10.0.1.1".to_owned()));
    assert!(names.iter().any(|view| view.name == "down.service.consul"));
    assert!(names.iter().all(|view| !view.name.ends_with("localhost")));
}

#[test]
fn answers_are_explained() {
    let (zones, _) = build(&instances(INSTANCES, "dc1"), true);
    let reason = |name: &str| zones.why(&Name::parse(name).unwrap());
    assert_eq!(reason("redis.service.consul"), "2 of 3 instances of `redis` can be used");
    assert_eq!(
        reason("primary.redis.service.dc1.consul"),
        "1 of 2 instances of `redis` with this tag can be used, as `primary.redis.service.consul`"
    );
    assert_eq!(reason("down.service.consul"), "0 of 1 instance of `down` can be used");
    assert!(reason("shop.example.com").starts_with("the host of a live router"));
    assert!(reason("x.apps.example.com").ends_with("by the wildcard `*.apps.example.com`"));
    assert_eq!(reason("nothing.consul"), "the zone `consul` has no such name");
    assert_eq!(reason("example.com"), "no zone and no router has this name");
}

#[test]
fn a_name_and_its_reverse_take_under_200_bytes() {
    const COUNT: u32 = 20_000;
    let address = |n: u32| format!("127.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250);
    let records = (0..COUNT).map(|n| record(&format!("svc{n}"), "A", &address(n)));
    let config = DnsConfig {
        edge_addresses: Vec::new(),
        zones: vec![zone("infra.local", Names::Static(records.collect()))],
        ..DnsConfig::default()
    };
    let inputs = ZoneInputs {
        config: &config,
        nodes: &[],
        instances: &[],
        router_hosts: &[],
        synced: true,
        serial: 1,
    };
    let (zones, _) = Zones::build(&inputs);
    assert_eq!(ask(&zones, "svc19999.infra.local A"), "60 A 127.0.79.249");
    assert_eq!(ask(&zones, "249.79.0.127.in-addr.arpa PTR"), "60 PTR svc19999.infra.local.");
    assert!(zones.bytes() < 200 * COUNT as usize, "{} bytes", zones.bytes());
}

#[test]
fn hosts_files_name_what_nothing_else_names() {
    let entry = |name: &str, address: &str| HostEntry {
        name: Name::parse(name).unwrap(),
        address: address.parse().unwrap(),
    };
    let hosts = [
        entry("nas", "10.0.0.5"),
        entry("nas.home.arpa", "10.0.0.5"),
        entry("nas.home.arpa", "fd00::5"),
        entry("box.home.arpa", "10.0.0.6"),
        entry("web.service.consul", "10.0.0.7"),
    ];
    let config = DnsConfig { hosts: hosts.into(), hosts_ttl: 7, ..config() };
    let (zones, _) = Zones::build(&ZoneInputs {
        config: &config,
        nodes: &nodes(),
        instances: &instances(INSTANCES, "dc1"),
        router_hosts: &[],
        synced: true,
        serial: 7,
    });
    for (question, expected) in [
        ("nas A", "7 A 10.0.0.5"),
        ("nas AAAA", "no data, says itself"),
        ("nas.home.arpa A", "7 A 10.0.0.5"),
        ("nas.home.arpa AAAA", "7 AAAA fd00::5"),
        ("5.0.0.10.in-addr.arpa PTR", "7 PTR nas."),
        // A static record is meant more.
        ("box.home.arpa A", "60 A 192.168.7.1; 60 A 192.168.7.2"),
        // As whoever writes a line for a service wants it.
        ("web.service.consul A", "7 A 10.0.0.7"),
        ("below.nas A", "not ours"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
}
