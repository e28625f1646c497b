//! Where the hosts of routers lead.

use super::*;

/// `web` and `int` have addresses of their own, `wide` and `wider` are everywhere, `here` is loopback.
fn registry() -> Registry {
    let entrypoint = |name: &str, address: &str, v4| {
        let addresses = vec![address.parse().unwrap()];
        (name.into(), Reach { addresses, everywhere: Everywhere { v4, v6: false } })
    };
    let edges = Edges::Each(vec![
        entrypoint("web", "10.0.0.1", false),
        entrypoint("int", "10.0.0.2", false),
        entrypoint("wide", "10.0.0.3", true),
        entrypoint("wider", "10.0.0.3", true),
        entrypoint("here", "127.0.0.1", false),
    ]);
    let zones = vec![zone("edge", Names::Routers)];
    Registry::new(&DnsConfig { edges, zones, ..DnsConfig::default() })
}

fn on(entrypoints: &str) -> Vec<Arc<str>> {
    entrypoints.split_terminator(' ').map(Arc::from).collect()
}

/// The addresses of a host, and whether it is everywhere too.
fn leads(zones: &Zones, host: &str) -> String {
    let name = Name::parse(host).unwrap();
    let found = zones.answer_from(name.as_bytes(), RecordType::A);
    let everywhere = found.edge.is_some_and(|it| it.v4);
    let Answer::Records(records) = found.answer else { return String::new() };
    let mut words: Vec<_> = records.in_order().map(|it| body_text(it.body)).collect();
    words.extend(everywhere.then(|| "everywhere".to_owned()));
    words.join(" ").replace("5 A ", "")
}

#[test]
fn a_host_leads_to_the_entrypoints_of_its_routers() {
    for (entrypoints, expected) in [
        ("web", "10.0.0.1"),
        ("int", "10.0.0.2"),
        ("web int", "10.0.0.1 10.0.0.2"),
        ("int web", "10.0.0.1 10.0.0.2"),
        ("wide wider", "10.0.0.3 everywhere"),
        ("wide web", "10.0.0.1 10.0.0.3"),
        ("here", "127.0.0.1"),
        ("here wide", "10.0.0.3 everywhere"),
        ("none", ""),
        ("", ""),
    ] {
        let mut registry = registry();
        registry.host("a.edge", &on(entrypoints), true);
        assert_eq!(leads(&registry.zones(true, 1), "a.edge"), expected, "{entrypoints}");
        registry.host("b.edge", &on(entrypoints), true);
        assert_eq!(leads(&registry.zones(true, 2), "b.edge"), expected, "{entrypoints}");
    }
}

#[test]
fn routers_that_come_and_go_change_where_their_host_leads() {
    let mut registry = registry();
    for (entrypoints, is_there, expected) in [
        ("web", true, "10.0.0.1"),
        ("web", true, "10.0.0.1"),
        ("int wide", true, "10.0.0.1 10.0.0.2 10.0.0.3"),
        ("web", false, "10.0.0.1 10.0.0.2 10.0.0.3"),
        ("web", false, "10.0.0.2 10.0.0.3"),
        ("wider", true, "10.0.0.2 10.0.0.3"),
        ("int wide", false, "10.0.0.3 everywhere"),
        ("here", true, "10.0.0.3 everywhere"),
        ("wider", false, "127.0.0.1"),
        ("here", false, ""),
        ("none", true, ""),
    ] {
        registry.host("a.edge", &on(entrypoints), is_there);
        let found = leads(&registry.zones(true, 1), "a.edge");
        assert_eq!(found, expected, "{entrypoints} {is_there}");
    }
}

#[test]
fn a_host_says_where_it_leads() {
    let mut registry = registry();
    let why =
        |registry: &mut Registry| registry.zones(true, 1).why(&Name::parse("a.edge").unwrap());
    registry.host("a.edge", &on("wide"), true);
    assert_eq!(
        why(&mut registry),
        "the host of a live router leads to the address that is asked, as its entrypoints are on every one"
    );
    registry.host("a.edge", &on("web"), true);
    let to = "the host of a live router leads to the addresses of its entrypoints";
    assert_eq!(why(&mut registry), to);
    let edges = Edges::Same(vec!["10.0.0.9".parse().unwrap()]);
    let mut written = Registry::new(&DnsConfig { edges, ..DnsConfig::default() });
    written.host("a.edge", &on("none"), true);
    assert_eq!(why(&mut written), "the host of a live router leads to `dns.edge-addresses`");
}
