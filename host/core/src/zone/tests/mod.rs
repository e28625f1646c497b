//! What names mean: questions against one small world.

mod edge;
mod grammar;
mod report;

use std::sync::Arc;

use super::*;
use crate::item::Health;

/// `name datacenter address key=value ...`
const NODES: &[&str] = &[
    "Alpha dc1 10.0.0.1 os=linux rfc1035-note=hello",
    "beta.rack dc1 fd00::2",
    "gamma dc1 gamma.example.com os=outside",
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
    "o1 own Alpha Own.service.consul. 25 blue passing 1",
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
            also_at: Vec::new(),
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
        record("@", "CNAME", "box"),
        record("here", "CNAME", "There"),
        record("there", "CNAME", "round"),
        record("round", "CNAME", "here.home.arpa."),
        record("self", "CNAME", "self"),
    ];
    DnsConfig {
        edges: Edges::Same(vec!["10.9.9.9".parse().unwrap(), "fd00::99".parse().unwrap()]),
        server_addresses: vec!["10.9.9.8".parse().unwrap()],
        zones: vec![
            zone("consul", Names::Consul),
            zone("infra.local", Names::Services),
            zone("home.arpa", Names::Static(records.into())),
            zone("edge", Names::Routers),
        ],
        router_ttl: 10,
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
        Answer::OnDemand(_) => "on demand".to_owned(),
        Answer::NotSynced(_) => "not synced".to_owned(),
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

// Of names that are looked up elsewhere, others know what lies between.
#[test]
fn names_above_a_host_exist_where_nobody_else_is_asked() {
    let suffixes = [("Lan", false), ("corp.lan", true), ("x.corp.lan", false), ("world", true)];
    let host = |(name, address): (&str, &str)| HostEntry {
        name: Name::parse(name).unwrap(),
        address: address.parse().unwrap(),
    };
    let hosts =
        [("a.b.lan", "10.4.0.1"), ("q.r.x.corp.lan", "10.4.0.2"), ("a.b.world", "10.4.0.3")];
    let config = DnsConfig {
        edges: Edges::Same(vec!["10.9.9.9".parse().unwrap()]),
        suffixes: suffixes.map(|(name, is)| (Name::parse(name).unwrap(), is)).into(),
        hosts: hosts.map(host).into(),
        ..DnsConfig::default()
    };
    let mut registry = Registry::new(&config);
    registry.host("shop.dev.lan", &[], true);
    let before = registry.zones(true, 1);
    registry.host("shop.dev.lan", &[], false);
    registry.host("shop.test.lan", &[], true);
    let after = registry.zones(true, 2);
    for (zones, question, expected) in [
        (&before, "a.b.lan A", "0 A 10.4.0.1"),
        (&before, "b.lan A", "no data, says itself"),
        (&before, "c.lan A", "not ours"),
        (&before, "c.b.lan A", "not ours"),
        (&before, "dev.lan TXT", "no data, says itself"),
        (&after, "dev.lan TXT", "not ours"),
        (&after, "test.lan TXT", "no data, says itself"),
        (&after, "b.lan A", "no data, says itself"),
        (&after, "r.x.corp.lan A", "no data, says itself"),
        (&after, "corp.lan A", "not ours"),
        (&after, "b.world A", "not ours"),
    ] {
        assert_eq!(ask(zones, question), expected, "{question}");
    }
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
        ("1.0.64.100.in-addr.arpa PTR", "no such name, says 64.100.in-addr.arpa"),
        ("1.0.127.100.in-addr.arpa PTR", "no such name, says 127.100.in-addr.arpa"),
        ("1.0.63.100.in-addr.arpa PTR", "not ours"),
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
            "/dns/zones/home.arpa/records/9: `home.arpa` is a zone: beside its SOA there can be no CNAME",
            "/dns/zones/home.arpa/records/12: this alias leads back to itself: `round.home.arpa` → \
             `here.home.arpa` → `there.home.arpa` → `round.home.arpa`",
            "/dns/zones/home.arpa/records/13: this alias leads back to itself: `self.home.arpa` → \
             `self.home.arpa`",
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
        ("redis.service.dc3.consul A", "on demand"),
    ] {
        assert_eq!(ask(&zones, question), expected, "{question}");
    }
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
