//! Who may ask what, how much, and what is said beside the answer.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{
        RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use ipnet::IpNet;
use portolan_core::zone::{Edges, Everywhere, Reach};

use super::{
    super::{Nearby, Policy, RateLimit},
    World, question,
};

const STRANGER: &str = "192.0.2.1";
const NEIGHBOUR: &str = "10.0.0.1";

fn here(client: &str) -> (IpAddr, IpAddr) {
    (client.parse().unwrap(), "127.0.0.1".parse().unwrap())
}

fn answer(world: &World, message: &Message, client: &str) -> Option<Message> {
    let (client, local) = here(client);
    let reply = world.handle_from(&message.to_vec().unwrap(), client, local)?;
    Some(Message::from_vec(&reply).unwrap())
}

fn option(message: &Message, code: EdnsCode) -> Option<Vec<u8>> {
    match message.edns.as_ref()?.option(code)? {
        EdnsOption::Unknown(_, data) => Some(data.clone()),
        other => Vec::<u8>::try_from(other).ok(),
    }
}

fn with_cookie(name: &str, cookie: &[u8]) -> Message {
    let mut message = question(name, RecordType::A, None);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
    message.set_edns(edns);
    message
}

#[test]
fn strangers_are_told_our_names_and_no_others() {
    let world = World::new(&["127.0.0.1:9".parse().unwrap()]);
    let ours = question("one.service.consul.", RecordType::A, Some(1232));
    let other = question("example.com.", RecordType::A, Some(1232));
    let reply = answer(&world, &ours, STRANGER).unwrap();
    assert_eq!(reply.answers.len(), 1);
    assert!(!reply.metadata.recursion_available);
    let reply = answer(&world, &other, STRANGER).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    // RFC 8914, 4.19: prohibited.
    assert_eq!(option(&reply, EdnsCode::Unknown(15)), Some(vec![0, 18]));
    // A neighbour's question goes on to an upstream.
    assert!(answer(&world, &other, NEIGHBOUR).is_none());
    assert!(answer(&world, &ours, NEIGHBOUR).unwrap().metadata.recursion_available);
    // An alias of ours is told; what it leads to is not asked for a stranger.
    let outside = question("outside.home.arpa.", RecordType::A, None);
    assert_eq!(answer(&world, &outside, STRANGER).unwrap().answers.len(), 1);
    assert!(answer(&world, &outside, NEIGHBOUR).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_answered_and_known_again() {
    let world = World::new(&[]);
    let first = answer(&world, &with_cookie("one.service.consul.", &[7; 8]), STRANGER).unwrap();
    let given = option(&first, EdnsCode::Cookie).unwrap();
    assert_eq!((given.len(), &given[..8]), (24, &[7; 8][..]));
    world.govern(Policy { limit: Some(RateLimit { per_second: 2, slip: 0 }), ..Policy::default() });
    let bare = question("one.service.consul.", RecordType::A, None);
    assert!(answer(&world, &bare, STRANGER).is_some());
    assert!(answer(&world, &bare, STRANGER).is_none());
    let known = with_cookie("one.service.consul.", &given);
    for _ in 0..5 {
        assert_eq!(answer(&world, &known, STRANGER).unwrap().answers.len(), 1);
    }
    // That of another address, and one that is made up, prove nothing.
    assert!(answer(&world, &known, "192.0.2.77").is_none());
    let made_up = with_cookie("one.service.consul.", &[[7; 8], [1; 8], [2; 8]].concat());
    assert!(answer(&world, &made_up, STRANGER).is_none());
    assert_eq!(world.figures.limited.value(), 3);
}

#[test]
fn a_cookie_of_a_wrong_length_is_a_format_error() {
    let world = World::new(&[]);
    for length in [0, 7, 9, 15, 41] {
        let asked = with_cookie("one.service.consul.", &vec![1; length]);
        let reply = answer(&world, &asked, NEIGHBOUR).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr, "{length}");
    }
}

/// RFC 7873, 5.4.
#[test]
fn who_asks_for_a_cookie_alone_is_given_one() {
    let world = World::new(&[]);
    let alone = |cookie: &[u8]| {
        let mut message = with_cookie(".", cookie);
        message.queries.clear();
        message
    };
    let first = answer(&world, &alone(&[7; 8]), STRANGER).unwrap();
    let given = option(&first, EdnsCode::Cookie).unwrap();
    assert_eq!((first.metadata.response_code, first.queries.len()), (ResponseCode::NoError, 0));
    assert_eq!((given.len(), &given[..8]), (24, &[7; 8][..]));
    let made_up = [[7; 8], [1; 8], [2; 8]].concat();
    for (shown, code) in [(given, ResponseCode::NoError), (made_up, ResponseCode::BADCOOKIE)] {
        let reply = answer(&world, &alone(&shown), STRANGER).unwrap();
        assert_eq!(reply.metadata.response_code, code);
        assert!(option(&reply, EdnsCode::Cookie).is_some());
    }
    world.govern(Policy { cookies: false, ..Policy::default() });
    let reply = answer(&world, &alone(&[7; 8]), NEIGHBOUR).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    let mut nothing = alone(&[7; 8]);
    nothing.edns = None;
    let reply = answer(&world, &nothing, NEIGHBOUR).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn without_cookies_none_is_given() {
    let world = World::new(&[]);
    world.govern(Policy { cookies: false, ..Policy::default() });
    let reply = answer(&world, &with_cookie("one.service.consul.", &[7; 8]), NEIGHBOUR).unwrap();
    assert_eq!(option(&reply, EdnsCode::Cookie), None);
}

#[tokio::test(start_paused = true)]
async fn strangers_beyond_the_limit_are_told_to_come_by_tcp_now_and_then() {
    let world = World::new(&[]);
    world.govern(Policy { limit: Some(RateLimit { per_second: 2, slip: 2 }), ..Policy::default() });
    let asked = question("many.service.consul.", RecordType::A, Some(4096));
    let replies = [(); 6].map(|()| answer(&world, &asked, STRANGER));
    let told = replies
        .map(|reply| reply.map(|reply| (reply.answers.is_empty(), reply.metadata.truncation)));
    let full = Some((false, true));
    assert_eq!(told, [full, full, None, Some((true, true)), None, Some((true, true))]);
    for _ in 0..10 {
        assert!(!answer(&world, &asked, NEIGHBOUR).unwrap().answers.is_empty());
    }
    // What cannot be read counts as well: its answer is small, but to whoever was named as its sender.
    let mut unreadable = asked.to_vec().unwrap();
    unreadable.truncate(20);
    let told = |client: &str| {
        let (client, local) = here(client);
        world.handle_from(&unreadable, client, local).is_some()
    };
    assert!(!told(STRANGER) && told(NEIGHBOUR));
}

#[test]
fn replies_are_as_large_as_the_policy_and_the_asker_allow() {
    let world = World::new(&[]);
    world.govern(Policy { udp_size: 4096, ..Policy::default() });
    for (payload, least, most) in
        [(Some(4096), 1500, 4096), (Some(600), 400, 600), (None, 400, 512)]
    {
        let asked = question("many.service.consul.", RecordType::A, payload);
        let (client, local) = here(NEIGHBOUR);
        let length = world.handle_from(&asked.to_vec().unwrap(), client, local).unwrap().len();
        assert!((least..=most).contains(&length), "{payload:?}: {length}");
    }
}

#[test]
fn router_hosts_lead_to_the_edge_that_is_near() {
    let edges = ["10.9.9.9", "192.168.1.9", "fd00::9"].map(|it| it.parse().unwrap());
    let interfaces: Vec<IpNet> =
        ["10.9.9.1/24", "192.168.1.1/24"].map(|it| it.parse().unwrap()).into();
    let begun = |all: &Edges| {
        let world = World::with_edges(all);
        world.govern(Policy { edges: Nearby::new(&interfaces), ..Policy::default() });
        world
    };
    let ask = |world: &World, rtype, local: &str| {
        let asked = question("shop.example.org.", rtype, None).to_vec().unwrap();
        let client = NEIGHBOUR.parse().unwrap();
        let reply = world.handle_from(&asked, client, local.parse().unwrap()).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        let mut data: Vec<_> = reply.answers.iter().map(|it| it.data.to_string()).collect();
        data.sort();
        data.join(" ")
    };
    let world = begun(&Edges::Same(edges.to_vec()));
    assert_eq!(ask(&world, RecordType::A, "10.9.9.1"), "10.9.9.9");
    assert_eq!(ask(&world, RecordType::A, "::ffff:192.168.1.1"), "192.168.1.9");
    assert_eq!(ask(&world, RecordType::A, "172.17.0.1"), "10.9.9.9 192.168.1.9");
    // Better one that is far than none of the family.
    assert_eq!(ask(&world, RecordType::AAAA, "10.9.9.1"), "fd00::9");
    // Where entrypoints listen on every address, that of the question is one.
    let everywhere = Everywhere { v4: true, v6: false };
    let reach = Reach { addresses: edges.to_vec(), everywhere };
    let world = begun(&Edges::Each(vec![("web".into(), reach)]));
    assert_eq!(ask(&world, RecordType::A, "172.17.0.1"), "172.17.0.1");
    assert_eq!(ask(&world, RecordType::A, "::ffff:172.17.0.1"), "172.17.0.1");
    assert_eq!(ask(&world, RecordType::A, "127.0.0.1"), "10.9.9.9 192.168.1.9");
    assert_eq!(ask(&world, RecordType::AAAA, "172.17.0.1"), "fd00::9");
    assert_eq!(ask(&world, RecordType::AAAA, "fd00::1"), "fd00::9");
}
