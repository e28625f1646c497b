//! Names of several providers: one catalog, in whichever zone it is asked.

use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::support::{Config, Consul, Portolan, Registration, eventually};

async fn register(consul: &Consul, service: &str, address: &str) {
    let address = address.parse().unwrap();
    consul.register(&Registration { id: service, service, address, tags: &[] }).await;
}

#[tokio::test]
async fn two_consuls_have_their_names_in_each_zone_and_one_that_is_away_keeps_them() {
    let east = Consul::start().await;
    let west = Consul::start_with("datacenter = \"dc2\"", "").await;
    register(&east, "web", "10.1.0.1:80").await;
    register(&east, "eastern", "10.1.0.2:80").await;
    let provider = |name: &str, consul: &Consul| {
        let url = consul.url();
        format!(
            "[providers.{name}]\nplugin = \"consul\"\nconfig = {{ address = \"{url}\" }}\n\
             grants = {{ http-client = [\"{url}\"] }}\n"
        )
    };
    let config = Config::new(&format!(
        "[dns.zones.\"west.test\"]\nnames = \"consul\"\n{}{}",
        provider("east", &east),
        provider("west", &west),
    ));
    // What the one that is away has nobody knows: it does not say that there is nothing.
    let west = west.stop();
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    for zone in ["consul", "west.test"] {
        let name = format!("web.service.{zone}.");
        eventually(|| resolver.a(&name), |reply| reply.is(&["10.1.0.1"])).await;
        let reply = resolver.a(&format!("western.service.{zone}.")).await;
        assert_eq!(reply.code, ResponseCode::ServFail, "{zone}");
    }
    let west = west.start().await;
    register(&west, "web", "10.2.0.1:80").await;
    register(&west, "western", "10.2.0.2:80").await;
    for zone in ["consul", "west.test"] {
        let name = format!("western.service.{zone}.");
        eventually(|| resolver.a(&name), |reply| reply.is(&["10.2.0.2"])).await;
        for (name, addresses) in [
            ("web.service", &["10.1.0.1", "10.2.0.1"][..]),
            ("web.service.dc1", &["10.1.0.1"]),
            ("web.service.dc2", &["10.2.0.1"]),
            ("eastern.service", &["10.1.0.2"]),
            ("eastern.service.dc1", &["10.1.0.2"]),
            ("western.service.dc2", &["10.2.0.2"]),
            ("harbour.node.dc1", &["127.0.0.1"]),
            ("harbour.node.dc2", &["127.0.0.1"]),
        ] {
            let reply = resolver.a(&format!("{name}.{zone}.")).await;
            assert!(reply.is(addresses), "{name} in {zone}: {reply:?}");
        }
        // A target is named in the zone that was asked.
        let reply = resolver.ask(&format!("western.service.{zone}."), RecordType::SRV).await;
        assert_eq!(reply.answers, [format!("1 1 80 0a020002.addr.dc2.{zone}.")]);
        for absent in ["nothing.service", "eastern.service.dc2", "western.service.dc1"] {
            let reply = resolver.a(&format!("{absent}.{zone}.")).await;
            assert_eq!(reply.code, ResponseCode::NXDomain, "{absent} in {zone}");
            assert_eq!(reply.authority, [RecordType::SOA]);
        }
    }
    // An address leads to the name in Consul's own zone.
    let reply = resolver.ask("2.0.2.10.in-addr.arpa.", RecordType::PTR).await;
    assert!(reply.is(&["western.service.dc2.consul."]), "{reply:?}");
    // The other one goes on, and what it says comes.
    drop(west);
    east.deregister("eastern").await;
    let gone = || resolver.a("eastern.service.west.test.");
    eventually(gone, |reply| reply.code == ResponseCode::NXDomain).await;
    for zone in ["consul", "west.test"] {
        assert!(resolver.a(&format!("western.service.{zone}.")).await.is(&["10.2.0.2"]));
        let reply = resolver.a(&format!("web.service.{zone}.")).await;
        assert!(reply.is(&["10.1.0.1", "10.2.0.1"]), "{reply:?}");
    }
}
