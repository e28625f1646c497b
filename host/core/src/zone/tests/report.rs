//! What zones tell of themselves: their names, why they answer so, and what they take.

use super::*;

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
