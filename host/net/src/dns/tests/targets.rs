//! What comes along with records that lead to servers.

use std::net::IpAddr;

use hickory_proto::{op::Message, rr::RecordType};

use portolan_core::zone::Edges;

use super::{
    super::{Nearby, Policy, asker::Transport},
    World, packet,
};

/// What stands beside the answers, as `owner data`.
fn beside(world: &World, name: &str, rtype: RecordType) -> Vec<String> {
    let reply = world.ask(&packet(name, rtype, Some(1232)), Transport::Udp);
    assert!(!reply.answers.is_empty() && !reply.metadata.truncation, "{reply}");
    reply.additionals.iter().map(|it| format!("{} {}", it.name.to_ascii(), it.data)).collect()
}

// RFC 2782; RFC 1035, 3.3.9.
#[test]
fn addresses_that_our_zones_have_come_along_with_their_name() {
    let world = World::new(&[]);
    let addresses =
        |name: &str| ["192.168.7.1", "192.168.7.2", "fd00::7"].map(|it| format!("{name} {it}"));
    for (asked, rtype, expected) in [
        // A service of the catalog that has a name in place of an address.
        ("kin.service.consul.", RecordType::SRV, addresses("Box.home.arpa.").to_vec()),
        ("mail.home.arpa.", RecordType::MX, addresses("box.home.arpa.").to_vec()),
        // The host of a router, outside every zone.
        ("shop.home.arpa.", RecordType::SRV, vec!["shop.example.org. 10.9.9.9".to_owned()]),
        ("lost.home.arpa.", RecordType::MX, vec![]),
        // Of others, who asked looks them up.
        ("far.service.consul.", RecordType::SRV, vec![]),
        // One that came along does so once, also where two lead to it.
        ("one.service.consul.", RecordType::SRV, vec!["0a010000.addr.consul. 10.1.0.0".to_owned()]),
        ("two.service.consul.", RecordType::SRV, vec!["n1.node.consul. 10.0.0.1".to_owned()]),
        ("twin.home.arpa.", RecordType::MX, addresses("box.home.arpa.").to_vec()),
    ] {
        assert_eq!(beside(&world, asked, rtype), expected, "{asked}");
    }
}

#[test]
fn of_the_edge_the_address_of_the_network_comes_along() {
    let edges = ["10.0.0.5", "192.168.1.5"].map(|it| it.parse::<IpAddr>().unwrap());
    let world = World::with_edges(&Edges::Same(edges.to_vec()));
    let interfaces = ["10.0.0.7/24", "192.168.1.5/24"].map(|it| it.parse().unwrap());
    let edges = Nearby::new(&interfaces);
    world.govern(Policy { edges, ..Policy::default() });
    let asked = packet("shop.home.arpa.", RecordType::SRV, None);
    let local = "10.0.0.7".parse().unwrap();
    let reply = world.handle_from(&asked, local, local).unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    let told: Vec<_> = reply.additionals.iter().map(|it| it.data.to_string()).collect();
    assert_eq!(told, ["10.0.0.5"]);
}
