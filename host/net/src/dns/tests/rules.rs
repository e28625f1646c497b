//! What is said in place of an answer, and who is asked after all.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, RecordType,
        rdata::opt::{ClientSubnet, EdnsOption},
    },
};
use tokio::{net::UdpSocket, time::timeout};

use super::{
    super::{
        BlockAnswer, BlockList, Filter, Forwarding, Listed, Place, Policy, Protocol, Rewrite,
        Rewrites, UpstreamConfig, asker::Transport,
    },
    World,
    fake::{FakeUpstream, Listening, Mood, locally, outcome},
    name, packet, question,
};

/// Answers as `owner data`.
fn texts(reply: &Message) -> Vec<String> {
    let text = |it: &hickory_proto::rr::Record| format!("{} {}", it.name.to_ascii(), it.data);
    reply.answers.iter().map(text).collect()
}

fn rules() -> Policy {
    let mut rewrites = Rewrites::new(9);
    let addresses = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse::<IpAddr>().unwrap());
    rewrites.exactly(&name("Old.example"), Rewrite::Name(name("box.home.arpa")));
    rewrites.exactly(&name("one.service.consul"), Rewrite::Name(name("www.example.com")));
    rewrites.exactly(&name("here.example"), Rewrite::Addresses(addresses.into()));
    rewrites.below(&name("dev.example"), Rewrite::Below(name("home.arpa")));
    rewrites.below(&name("very.dev.example"), Rewrite::Name(name("alias.home.arpa")));
    rewrites.below(&name("round.example"), Rewrite::Name(name("a.round.example")));
    Policy { rewrites: Arc::new(rewrites), ..Policy::default() }
}

#[test]
fn a_rule_puts_another_name_in_the_place_of_the_one_that_is_asked() {
    let world = World::new(&[]);
    world.govern(rules());
    let mut cases = vec![
        ("OLD.example.", RecordType::MX, vec!["OLD.example. box.home.arpa."]),
        (
            "old.example.",
            RecordType::AAAA,
            vec!["old.example. box.home.arpa.", "box.home.arpa. fd00::7"],
        ),
        ("old.example.", RecordType::CNAME, vec!["old.example. box.home.arpa."]),
        (
            "www.dev.example.",
            RecordType::TXT,
            vec!["www.dev.example. www.home.arpa.", "www.home.arpa. hello"],
        ),
        (
            "x.y.very.dev.example.",
            RecordType::AAAA,
            vec![
                "x.y.very.dev.example. alias.home.arpa.",
                "alias.home.arpa. box.home.arpa.",
                "box.home.arpa. fd00::7",
            ],
        ),
        (
            "here.example.",
            RecordType::A,
            vec!["here.example. 192.0.2.1", "here.example. 192.0.2.2"],
        ),
        ("here.example.", RecordType::AAAA, vec![]),
    ];
    for (asked, rtype, expected) in cases.drain(..) {
        let reply = world.ask(&packet(asked, rtype, Some(1232)), Transport::Udp);
        assert_eq!(texts(&reply), expected, "{asked} {rtype}");
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError, "{asked}");
        assert!(reply.metadata.authoritative && reply.answers.iter().take(1).all(|it| it.ttl == 9));
        // Who is told of nothing is told for how long.
        assert_eq!(
            reply.answers.is_empty(),
            reply.authorities.len() == 1 && asked.starts_with('h')
        );
    }
    // A name that is not there is not there under its other name either.
    let reply = world.ask(&packet("absent.dev.example.", RecordType::A, None), Transport::Udp);
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NXDomain, 1));
    // A rule that would lead to the name itself is none: there are no upstreams here.
    let reply = world.ask(&packet("a.round.example.", RecordType::A, None), Transport::Udp);
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn a_rule_may_lead_outside() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        listening.world.govern(rules());
        for _cached in 0..2 {
            let reply = listening.ask("one.service.consul.").await;
            assert_eq!(
                texts(&reply)[..2],
                [
                    "one.service.consul. www.example.com.".to_owned(),
                    "www.example.com. 203.0.113.1".to_owned(),
                ]
            );
        }
        assert_eq!(upstream.asked.get(), 1);
    })
    .await;
}

#[test]
fn blocked_names_are_answered_as_configured() {
    let blocked = Arc::new(BlockList::build(["ads.example"].map(|it| Listed::parse(it).unwrap())));
    for (answer, rcode, data, negatives) in [
        (BlockAnswer::NoSuchName, ResponseCode::NXDomain, None, 1),
        (BlockAnswer::NoData, ResponseCode::NoError, None, 1),
        (BlockAnswer::Zero, ResponseCode::NoError, Some(["0.0.0.0", "::"]), 0),
        (BlockAnswer::Refused, ResponseCode::Refused, None, 0),
    ] {
        let world = World::new(&[]);
        let filter = Filter { blocked: blocked.clone(), block_answer: answer, ..Filter::default() };
        world.forwarding.set(Forwarding { filter, ..Forwarding::default() });
        for (place, rtype) in [RecordType::A, RecordType::AAAA].into_iter().enumerate() {
            let reply = world.ask(&packet("x.ads.example.", rtype, None), Transport::Udp);
            let told: Vec<_> = reply.answers.iter().map(|it| it.data.to_string()).collect();
            assert_eq!(told, data.iter().map(|it| it[place]).collect::<Vec<_>>(), "{answer:?}");
            assert_eq!((reply.metadata.response_code, reply.authorities.len()), (rcode, negatives));
        }
        let reply = world.ask(&packet("ads.example.", RecordType::MX, None), Transport::Udp);
        assert!(reply.answers.is_empty(), "{answer:?}");
    }
}

/// The longer one counts: what a router nearby is asked for is asked of it though nobody else
/// would be, and a name that one of our zones has stays ours.
#[tokio::test]
async fn a_suffix_counts_where_a_zone_of_ours_has_no_such_name() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let to = || vec![UpstreamConfig::from(upstream.address)];
        let listening = Listening::with(Forwarding {
            suffixes: vec![
                (name("168.192.in-addr.arpa"), to()),
                (name("far.consul"), to()),
                (name("home.arpa"), to()),
            ],
            ..Forwarding::default()
        });
        for (asked, expected) in [
            ("9.9.168.192.in-addr.arpa.", (ResponseCode::NoError, 2)),
            ("9.9.9.10.in-addr.arpa.", (ResponseCode::NXDomain, 0)),
            ("web.far.consul.", (ResponseCode::NoError, 2)),
            ("web.near.consul.", (ResponseCode::NXDomain, 0)),
            ("one.service.consul.", (ResponseCode::NoError, 1)),
            ("absent.home.arpa.", (ResponseCode::NXDomain, 0)),
        ] {
            assert_eq!(outcome(&listening.ask(asked).await), expected, "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_leads_back_is_asked_no_more() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[]);
        let itself = listening.udp;
        let settings =
            |upstreams: Vec<UpstreamConfig>| Forwarding { upstreams, ..Forwarding::default() };
        let forwarding = &listening.world.forwarding;
        let outside: std::net::SocketAddr = "9.9.9.9:53".parse().unwrap();
        forwarding.set(settings(vec![outside.into(), itself.into()]));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for probe in forwarding.probes() {
            assert_eq!(probe.upstream, itself);
            socket.send_to(&probe.message, itself).await.unwrap();
        }
        forwarding.loops.changed().await;
        assert_eq!(**forwarding.loops.found(), [itself]);
        forwarding.set(settings(vec![itself.into()]));
        // Nobody waits for an answer that nobody is asked for.
        let answered = timeout(Duration::from_secs(3), listening.ask("a.example.")).await;
        assert_eq!(outcome(&answered.unwrap()), (ResponseCode::ServFail, 0));
        // Another one is asked as if it were the only one.
        forwarding.set(settings(vec![itself.into(), upstream.address.into()]));
        for number in 0..40 {
            let reply = listening.ask(&format!("n{number}.example.")).await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
        }
        assert_eq!(upstream.asked.get(), 40);
    })
    .await;
}

#[tokio::test]
async fn an_upstream_with_a_name_is_looked_up_once() {
    locally(async {
        let silent = FakeUpstream::start(Mood::Fails).await;
        let guide = FakeUpstream::start(Mood::IsHere).await;
        let upstream = FakeUpstream::start(Mood::Drops).await;
        let place = Place::Named { host: name("dns.example.net"), port: upstream.address.port() };
        let listening = Listening::with(Forwarding {
            upstreams: vec![UpstreamConfig { place, protocol: Protocol::Tcp }],
            bootstrap: vec![silent.address, guide.address],
            ..Forwarding::default()
        });
        for asked in ["a.example.", "b.example."] {
            let reply = listening.ask(asked).await;
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
            assert!(matches!(reply.answers[0].data, RData::A(_)));
        }
        // For each family.
        assert_eq!((silent.asked.get(), guide.asked.get(), upstream.asked.get()), (2, 2, 0));
        assert_eq!(listening.world.figures.forwarded.value(), 2);
    })
    .await;
}

/// Who asks is nobody's business (RFC 7871, 11.1): and a remembered answer is for everybody.
#[tokio::test]
async fn the_network_of_the_asker_is_not_told_to_upstreams() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let mut asked = question("a.example.", RecordType::A, Some(1232));
        let subnet = ClientSubnet::new("198.51.100.0".parse().unwrap(), 24, 0);
        asked.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&asked.to_vec().unwrap(), listening.udp).await.unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        let reply = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
        assert!(reply.edns.unwrap().options().as_ref().is_empty());
        let seen = Message::from_vec(&upstream.last.borrow()).unwrap();
        assert!(seen.edns.unwrap().options().as_ref().is_empty());
    })
    .await;
}

#[test]
fn each_zone_is_counted() {
    let world = World::new(&[]);
    for asked in ["one.service.consul.", "absent.consul.", "box.home.arpa.", "shop.example.org."] {
        world.ask(&packet(asked, RecordType::A, None), Transport::Udp);
    }
    let counts: Vec<_> = world
        .figures
        .zones
        .all()
        .iter()
        .map(|(zone, it)| (zone.clone(), it.questions.value(), it.no_such_name.value()))
        .collect();
    assert_eq!(counts, [("consul".to_owned(), 2, 1), ("home.arpa".to_owned(), 1, 0)]);
}
