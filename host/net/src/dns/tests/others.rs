//! Names in zones of ours that somebody else may know: upstreams of a suffix, a source.

use std::{net::IpAddr, sync::Arc};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use portolan_core::{
    snapshot::Snapshot,
    zone::{DnsConfig, Edges, Names, Registry, StaticRecord, ZoneConfig, ZoneOptions},
};
use tokio::net::TcpStream;

use super::{
    super::{Forwarding, Policy, Rewrite, Rewrites},
    World, answers,
    demand::Source,
    error,
    fake::{FakeUpstream, Listening, Mood, all, locally, outcome, read_message, write_message},
    name, packet, question, zones_when,
};

fn forwarding(suffix: &str, upstreams: &[&FakeUpstream]) -> Forwarding {
    Forwarding { suffixes: vec![(name(suffix), all(upstreams))], ..Forwarding::default() }
}

#[tokio::test]
async fn an_alias_leads_to_those_who_are_asked_for_its_target() {
    locally(Box::pin(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        // Where nobody is asked, what the zone says counts.
        for (settings, code, count) in [
            (forwarding("corp.home.arpa", &[&upstream]), ResponseCode::NoError, 3),
            (forwarding("corp.home.arpa", &[]), ResponseCode::NXDomain, 1),
            (Forwarding::default(), ResponseCode::NXDomain, 1),
        ] {
            let listening = Listening::with(settings);
            let reply = listening.ask("away.home.arpa.").await;
            assert_eq!(outcome(&reply), (code, count));
            assert_eq!(answers(&reply)[0], "x.corp.home.arpa.");
            assert_eq!(reply.authorities.len(), usize::from(count == 1));
        }
    }))
    .await;
}

/// One of its names is chosen each time it is looked at, so that it leads outside may not be
/// remembered of the look before.
#[tokio::test]
async fn no_upstream_is_asked_for_a_service_that_has_names_inside_and_outside() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let mut met = [0, 0];
        while met.contains(&0) || met.iter().sum::<usize>() < 64 {
            let reply = listening.ask("mixed.service.consul.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 3));
            match &*answers(&reply)[0] {
                "www.example.com." => met[0] += 1,
                "box.home.arpa." => met[1] += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!(upstream.asked.get(), 1, "for www.example.com");
    })
    .await;
}

#[tokio::test]
async fn a_wildcard_says_nothing_of_a_longer_suffix() {
    locally(Box::pin(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        for (settings, code, asked) in [
            (forwarding("corp.wild.home.arpa", &[&upstream]), ResponseCode::NoError, 1),
            (forwarding("corp.wild.home.arpa", &[]), ResponseCode::NXDomain, 0),
            // These are asked for what nobody has, and the wildcard has everything.
            (forwarding("wild.home.arpa", &[&upstream]), ResponseCode::NoError, 0),
        ] {
            upstream.asked.set(0);
            let listening = Listening::with(settings);
            let reply = listening.ask("x.corp.wild.home.arpa.").await;
            assert_eq!((reply.metadata.response_code, upstream.asked.get()), (code, asked));
            assert_eq!(answers(&listening.ask("y.wild.home.arpa.").await), ["192.168.7.3"]);
        }
    }))
    .await;
}

/// More than a datagram carries, so that they are asked for over a stream.
#[tokio::test]
async fn aliases_that_fill_a_datagram_are_followed_to_the_end() {
    locally(Box::pin(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let mut listening = Listening::start(&[&upstream]);
        let long = |number: usize| format!("{0}.{0}.{0}.n{number}.lan.", "a".repeat(60));
        let alias = |number: usize| StaticRecord {
            name: long(number),
            rtype: "CNAME".to_owned(),
            data: if number < 6 { long(number + 1) } else { "www.example.com.".to_owned() },
            ttl: 60,
        };
        let zone = ZoneConfig {
            origin: "lan".to_owned(),
            names: Names::Static((0..=6).map(alias).collect()),
            ttl: 5,
            options: ZoneOptions::default(),
        };
        let config = DnsConfig { zones: vec![zone], ..DnsConfig::default() };
        let zones = Registry::new(&config).zones(true, 1);
        listening.world.publisher.publish(Snapshot { zones, ..Snapshot::default() }.into());
        let mut stream = TcpStream::connect(listening.tcp).await.unwrap();
        let asked = question(&long(0), RecordType::A, None);
        write_message(&mut stream, &asked).await;
        let reply = read_message(&mut stream).await;
        assert_eq!(outcome(&reply), (ResponseCode::NoError, 9));
        assert!(reply.metadata.authoritative);
    }))
    .await;
}

#[tokio::test]
async fn nor_does_it_behind_an_alias_that_was_looked_up() {
    locally(Box::pin(async {
        for (settings, expected) in [
            (Forwarding::default(), &["x.corp.wild.home.arpa.", "192.168.7.3"][..]),
            (forwarding("corp.wild.home.arpa", &[]), &["x.corp.wild.home.arpa."]),
        ] {
            let listening = Listening::with(settings);
            listening.world.forwarding.look_up_with(Source::of(&["x.corp.wild.home.arpa"]));
            assert_eq!(answers(&listening.ask("db.query.consul.").await), expected);
        }
    }))
    .await;
}

#[tokio::test]
async fn a_rule_for_names_of_a_suffix_may_lead_to_what_a_source_knows() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(forwarding("corp.example", &[&upstream]));
        let mut rewrites = Rewrites::new(9);
        rewrites.below(&name("apps.corp.example"), Rewrite::Below(name("query.consul")));
        listening.world.govern(Policy { rewrites: Arc::new(rewrites), ..Policy::default() });
        listening.world.forwarding.look_up_with(Source::of(&["10.7.0.1"]));
        let reply = listening.ask("db.apps.corp.example.").await;
        assert_eq!(answers(&reply), ["db.query.consul.", "10.7.0.1"]);
        assert_eq!(upstream.asked.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_alias_of_what_nobody_can_look_up_says_how_long_that_counts() {
    locally(async {
        let listening = Listening::with(Forwarding::default());
        let reply = listening.ask("wanted.home.arpa.").await;
        assert_eq!(outcome(&reply), (ResponseCode::NXDomain, 1));
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
        listening.world.forwarding.look_up_with(Source::of(&["10.7.0.1"]));
        let reply = listening.ask("wanted.home.arpa.").await;
        assert_eq!(answers(&reply), ["db.query.consul.", "10.7.0.1"]);
    })
    .await;
}

#[tokio::test]
async fn who_is_asked_for_a_suffix_is_so_before_every_provider_has_told_what_it_knows() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let mut listening = Listening::with(forwarding("far.consul", &[&upstream]));
        let snapshot =
            Snapshot { zones: zones_when(false, &Edges::default()), ..Snapshot::default() };
        listening.world.publisher.publish(Arc::new(snapshot));
        let reply = listening.ask("web.far.consul.").await;
        assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
        // Nobody can have a name there.
        assert_eq!(outcome(&listening.ask("x.onion.").await), (ResponseCode::NXDomain, 0));
        for asked in ["absent.service.consul.", "db.query.consul.", "web.service.dc2.consul."] {
            let reply = listening.ask(asked).await;
            // Without a reason: with one systemd-resolved asks nobody else.
            let told = (outcome(&reply), error(&reply));
            assert_eq!(told, ((ResponseCode::ServFail, 0), None), "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_top_of_a_suffix_that_nobody_is_asked_for_exists() {
    locally(async {
        let listening = Listening::with(forwarding("corp.test", &[]));
        for (asked, code) in
            [("corp.test.", ResponseCode::NoError), ("x.corp.test.", ResponseCode::NXDomain)]
        {
            let reply = listening.ask(asked).await;
            assert_eq!(outcome(&reply), (code, 0), "{asked}");
            assert_eq!(reply.authorities[0].name.to_ascii(), "corp.test.", "{asked}");
        }
        // Also where it has one label, and names without a dot are asked of nobody.
        let mut one = forwarding("lan", &[]);
        one.filter.domain_needed = true;
        let listening = Listening::with(one);
        assert_eq!(outcome(&listening.ask("lan.").await), (ResponseCode::NoError, 0));
        assert_eq!(outcome(&listening.ask("wan.").await), (ResponseCode::NXDomain, 0));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_for_strangers_not_even_a_source() {
    locally(async {
        let stranger: IpAddr = "192.0.2.1".parse().unwrap();
        let listening = Listening::with(Forwarding::default());
        listening.world.forwarding.look_up_with(Source::of(&["10.7.0.1"]));
        let ask = |world: &World, name: &str| {
            let asked = packet(name, RecordType::A, Some(1232));
            let reply = world.handle_from(&asked, stranger, "127.0.0.1".parse().unwrap());
            Message::from_vec(&reply.unwrap()).unwrap()
        };
        let reply = ask(&listening.world, "db.query.consul.");
        let told = (outcome(&reply), error(&reply));
        assert_eq!(told, ((ResponseCode::Refused, 0), Some(18)));
        // The alias is ours; what it leads to was asked for nobody.
        let reply = ask(&listening.world, "wanted.home.arpa.");
        assert_eq!(answers(&reply), ["db.query.consul."]);
        // What a neighbour wanted to know is known.
        assert_eq!(answers(&listening.ask("db.query.consul.").await), ["10.7.0.1"]);
        assert_eq!(answers(&ask(&listening.world, "db.query.consul.")), ["10.7.0.1"]);
    })
    .await;
}
