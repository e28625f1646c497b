//! What goes over the wire, read by somebody else's code.

use std::collections::BTreeSet;

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use portolan_core::zone::{self, Answer};

use super::{
    super::{
        CacheConfig,
        asker::Transport,
        fuzzing::upstream_answer,
        message::{MAX_UDP, PLAIN_UDP},
        stored::{Stored, Unusable},
    },
    World, packet, question,
};

const NAMES: &[&str] = &[
    "consul.",
    "one.service.consul.",
    "many.service.consul.",
    "some.service.consul.",
    "_some._tcp.service.consul.",
    "service.consul.",
    "n1.node.consul.",
    "0a010203.addr.consul.",
    "absent.service.consul.",
    "home.arpa.",
    "box.home.arpa.",
    "BOX.Home.ARPA.",
    "mail.home.arpa.",
    "www.home.arpa.",
    "x.wild.home.arpa.",
    "absent.home.arpa.",
    "shop.example.org.",
    "1.0.0.10.in-addr.arpa.",
    "9.9.9.10.in-addr.arpa.",
    "localhost.",
    "x.invalid.",
];

const TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::MX,
    RecordType::TXT,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::Unknown(65_280),
];

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % below
    }

    /// Up to five changes of the kind that break parsers.
    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.roll(6) {
            let place = self.roll(bytes.len());
            match self.roll(5) {
                0 => bytes[place] = self.roll(256) as u8,
                1 => bytes[place] ^= 1 << self.roll(8),
                2 => bytes.truncate(place.max(1)),
                3 => bytes.insert(place, self.roll(256) as u8),
                _ => bytes.extend_from_within(place..),
            }
        }
        bytes
    }
}

fn every_question() -> impl Iterator<Item = (&'static str, RecordType)> + Clone {
    NAMES.iter().flat_map(|name| TYPES.iter().map(move |rtype| (*name, *rtype)))
}

#[test]
fn another_implementation_reads_what_the_zones_hold() {
    let world = World::new(&[]);
    let mut dice = Dice(7);
    for (name, rtype) in every_question().cycle().take(2_000) {
        let payload = [None, Some(512), Some(1232), Some(4096)][dice.roll(4)];
        let asked = question(name, rtype, payload);
        let transport = [Transport::Udp, Transport::Tcp][dice.roll(2)];
        let reply = world.ask(&asked.to_vec().unwrap(), transport);
        assert_eq!(reply.metadata.id, asked.metadata.id);
        assert_eq!(reply.queries[0].name().to_ascii(), name, "the question is repeated as it is");
        assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
        assert_eq!(reply.edns.is_some(), payload.is_some());
        let given: BTreeSet<_> =
            reply.answers.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect();
        let snapshot = world.live.load();
        let wire = zone::Name::parse(name).unwrap().to_lower();
        let found = snapshot.zones.answer(wire.as_bytes(), zone::RecordType(rtype.into()));
        let Answer::Records(records) = found else {
            assert!(given.is_empty(), "{name} {rtype}");
            continue;
        };
        let kept: BTreeSet<_> = records
            .in_order()
            .map(|record| zone::body_text(record.body).replacen(&format!("{rtype} "), "", 1))
            .map(|text| text.replace('"', ""))
            .collect();
        assert!(given.is_subset(&kept), "{name} {rtype}: {given:?} of {kept:?}");
        assert_eq!(given.len() == kept.len(), !reply.metadata.truncation, "{name} {rtype}");
        assert!(reply.answers.iter().all(|record| record.name == *asked.queries[0].name()));
    }
}

#[test]
fn every_negative_answer_has_the_soa_of_its_zone() {
    let world = World::new(&[]);
    for (name, rtype) in every_question() {
        let reply = world.ask(&packet(name, rtype, None), Transport::Udp);
        if reply.answers.is_empty() {
            assert_eq!(reply.authorities.len(), 1, "{name} {rtype}");
            let soa = &reply.authorities[0];
            assert_eq!(soa.record_type(), RecordType::SOA);
            assert_eq!(soa.ttl, 5);
            assert!(soa.name.zone_of(reply.queries[0].name()), "{} of {name}", soa.name);
        }
        let exists =
            !name.contains("absent") && !name.contains("9.9.9") && !name.contains("invalid");
        let expected = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
        assert_eq!(reply.metadata.response_code, expected, "{name} {rtype}");
    }
}

#[test]
fn a_cut_answer_says_so_and_tcp_has_the_whole() {
    let world = World::new(&[]);
    let name = "many.service.consul.";
    for (payload, limit) in [
        (None, PLAIN_UDP),
        (Some(0), PLAIN_UDP),
        (Some(700), 700),
        (Some(1232), MAX_UDP),
        (Some(65_535), MAX_UDP),
    ] {
        let bytes = world.handle(&packet(name, RecordType::A, payload), Transport::Udp).unwrap();
        assert!(
            bytes.len() <= limit && bytes.len() + 16 + 11 > limit,
            "{} of {limit}",
            bytes.len()
        );
        assert!(Message::from_vec(&bytes).unwrap().metadata.truncation);
    }
    let reply = world.ask(&packet(name, RecordType::A, None), Transport::Tcp);
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
}

#[test]
fn additionals_are_left_out_before_answers() {
    let world = World::new(&[]);
    let asked = packet("some.service.consul.", RecordType::SRV, Some(800));
    let reply = world.ask(&asked, Transport::Udp);
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (14, false));
    assert!(reply.additionals.len() < 14);
    let reply = world.ask(&asked, Transport::Tcp);
    let targets: BTreeSet<_> = reply.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!((targets.len(), reply.additionals.len()), (14, 14));
    for glue in &reply.additionals {
        assert!(targets.iter().any(|target| target.ends_with(&glue.name.to_string())));
    }
}

#[test]
fn chains_of_names_are_followed() {
    let world = World::new(&[]);
    let ask = |name: &str| {
        let reply = world.ask(&packet(name, RecordType::A, None), Transport::Udp);
        let owners: Vec<_> =
            reply.answers.iter().map(|r| format!("{} {}", r.name, r.record_type())).collect();
        (reply.metadata.response_code, owners, reply.authorities.len())
    };
    let (code, mut owners, _) = ask("chain.home.arpa.");
    owners.dedup();
    assert_eq!(code, ResponseCode::NoError);
    assert_eq!(owners, ["chain.home.arpa. CNAME", "alias.home.arpa. CNAME", "box.home.arpa. A"]);
    let (code, owners, authorities) = ask("dangling.home.arpa.");
    assert_eq!((code, owners.len(), authorities), (ResponseCode::NXDomain, 1, 1));
    // Of wildcards it is not seen beforehand that they lead in circles.
    let (code, owners, _) = ask("a.one.home.arpa.");
    assert_eq!((code, owners.len()), (ResponseCode::NoError, 8));
}

/// Changes a good question, and tells how it ends: a code, or nothing.
#[track_caller]
fn ends(change: impl FnOnce(&mut Vec<u8>), expected: Option<u16>) {
    let world = World::new(&[]);
    let mut bytes = packet("one.service.consul.", RecordType::A, Some(1232));
    change(&mut bytes);
    let reply = world.handle(&bytes, Transport::Udp);
    let code =
        reply.map(|reply| u16::from(Message::from_vec(&reply).unwrap().metadata.response_code));
    assert_eq!(code, expected);
}

#[test]
fn bad_questions_get_the_code_that_fits() {
    let question_end = 12 + "one.service.consul.".len() + 1;
    ends(|_| (), Some(0));
    ends(|bytes| bytes.truncate(11), None);
    ends(|bytes| bytes[2] |= 0x80, None);
    ends(|bytes| bytes[2] |= 0x28, Some(4));
    ends(|bytes| bytes[5] = 0, Some(1));
    ends(|bytes| bytes[5] = 2, Some(1));
    ends(|bytes| bytes[7] = 9, Some(1));
    ends(|bytes| bytes[12] = 0xc0, Some(1));
    ends(|bytes| bytes[12] = 0x40, Some(1));
    ends(|bytes| bytes.truncate(20), Some(1));
    ends(|bytes| bytes.truncate(question_end + 2), Some(1));
    ends(|bytes| bytes[question_end + 1] = 252, Some(5));
    ends(|bytes| bytes[question_end + 1] = 251, Some(5));
    ends(|bytes| bytes[question_end + 1] = 250, Some(4));
    ends(|bytes| bytes[question_end + 1] = 41, Some(1));
    ends(|bytes| bytes[question_end + 3] = 3, Some(5));
    // The version of EDNS.
    ends(|bytes| bytes[question_end + 4 + 6] = 1, Some(16));
    ends(
        |bytes| {
            bytes.extend_from_within(question_end + 4..);
            bytes[11] = 2;
        },
        Some(1),
    );
    ends(|bytes| bytes.extend_from_slice(b"behind the end"), Some(0));
}

#[test]
fn without_upstreams_other_names_are_refused() {
    let world = World::new(&[]);
    let reply = world.ask(&packet("example.com.", RecordType::A, None), Transport::Udp);
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(!reply.metadata.authoritative);
    // Our own name is told, though its target cannot be.
    let reply = world.ask(&packet("outside.home.arpa.", RecordType::A, None), Transport::Udp);
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 1));
}

#[test]
fn the_name_server_of_a_zone_is_where_dns_is_answered() {
    let world = World::new(&[]);
    let told = |record: &Record| format!("{} {}", record.name.to_ascii(), record.data);
    for zone in ["consul.", "home.arpa."] {
        let reply = world.ask(&packet(zone, RecordType::NS, None), Transport::Udp);
        assert_eq!(reply.answers[0].data.to_string(), format!("ns.{zone}"));
        let additionals: Vec<_> = reply.additionals.iter().map(told).collect();
        assert_eq!(additionals, [format!("ns.{zone} 10.9.9.8")]);
        let server = packet(&format!("ns.{zone}"), RecordType::A, None);
        let reply = world.ask(&server, Transport::Udp);
        assert_eq!(reply.answers[0].data.to_string(), "10.9.9.8");
    }
}

#[test]
fn of_several_aliases_each_is_given_now_and_then_and_one_at_a_time() {
    let world = World::new(&[]);
    for rtype in [RecordType::A, RecordType::CNAME, RecordType::ANY] {
        let mut targets = BTreeSet::new();
        for _ in 0..200 {
            let reply = world.ask(&packet("far.service.consul.", rtype, None), Transport::Udp);
            assert_eq!(reply.answers.len(), 1, "{rtype}");
            targets.insert(reply.answers[0].data.to_string());
        }
        let all = [0, 1, 2].map(|it| format!("far{it}.example.com."));
        assert!(targets.iter().eq(&all), "{rtype}: {targets:?}");
    }
    let reply = world.ask(&packet("far.service.consul.", RecordType::SRV, None), Transport::Udp);
    assert_eq!(reply.answers.len(), 3);
}

#[test]
fn any_is_answered_with_one_set() {
    let world = World::new(&[]);
    let reply = world.ask(&packet("box.home.arpa.", RecordType::ANY, None), Transport::Udp);
    let types: BTreeSet<_> = reply.answers.iter().map(|record| record.record_type()).collect();
    assert_eq!((reply.answers.len(), types.len()), (2, 1));
}

#[test]
fn no_bytes_break_the_parser_or_the_limit() {
    let world = World::new(&[]);
    let mut dice = Dice(42);
    let mut corpus: Vec<_> = every_question()
        .map(|(name, rtype)| packet(name, rtype, (rtype != RecordType::A).then_some(4096)))
        .collect();
    // Options: a client's cookie, a server's beside it, one that nobody knows.
    for option in [&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0, 10, 0, 16], &[0, 99, 0, 1, 7]] {
        let mut asked = packet("many.service.consul.", RecordType::SRV, Some(1232));
        let length = asked.len();
        asked[length - 1] = option.len() as u8;
        asked.extend_from_slice(option);
        corpus.push(asked);
    }
    for round in 0..20_000 {
        let bytes = corpus[dice.roll(corpus.len())].clone();
        let bytes = dice.mutate(bytes);
        if let Some(reply) = world.handle(&bytes, Transport::Udp) {
            assert!(reply.len() <= MAX_UDP, "round {round}");
            assert_eq!(reply[..2], bytes[..2]);
            assert!(Message::from_vec(&reply).is_ok(), "round {round}: {bytes:02x?}");
        }
        world.handle(&bytes, Transport::Tcp);
    }
    assert!(world.figures.malformed.value() > 1000);
    assert!(world.figures.local.value() > 1000);
}

/// Upstreams lie, and so may whoever sits between.
#[test]
fn no_bytes_of_an_upstream_break_what_is_kept_or_what_is_made_of_it() {
    let mut answer = Message::response(7, OpCode::Query);
    answer.add_query(Query::query(Name::from_ascii("a.example.com.").unwrap(), RecordType::A));
    let owner = || Name::from_ascii("a.example.com.").unwrap();
    let other = Name::from_ascii("b.example.com.").unwrap();
    answer.add_answer(Record::from_rdata(owner(), 30, RData::CNAME(rdata::CNAME(other.clone()))));
    for octet in [1, 10, 127] {
        let data = RData::A(rdata::A::new(octet, 0, 0, 7));
        answer.add_answer(Record::from_rdata(other.clone(), 3_000_000_000, data));
    }
    let soa = rdata::SOA::new(owner(), owner(), 1, 2, 3, 4, 60);
    answer.add_authority(Record::from_rdata(other, 900, RData::SOA(soa)));
    answer.set_edns(Edns::new());
    let answer = answer.to_vec().unwrap();
    let mut dice = Dice(7);
    let read = (0..30_000).filter(|_| upstream_answer(&dice.mutate(answer.clone()))).count();
    assert!(read > 3_000, "{read} were read");
}

/// An answer to `a A` whose record is owned by these bytes.
fn owned(owner: &[u8]) -> Vec<u8> {
    let head = [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let record = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    [&head[..], b"\x01a\0\0\x01\0\x01", owner, &record].concat()
}

#[test]
fn a_pointer_leads_back_and_an_answer_whose_does_not_is_none() {
    let read = |wire: &[u8]| Stored::parse(wire, b"\x01a\0", zone::RecordType::A).map(|it| it.life);
    // The question ends at 19: so the record begins there.
    for good in [&b"\xc0\x0c"[..], b"\x01a\0", b"\x01b\xc0\x0c"] {
        assert_eq!(read(&owned(good)), Ok(60), "{good:?}");
    }
    for bad in [&b"\xc0\x13"[..], b"\xc0\x14", b"\x01b\xc0\x13", b"\xc0\x00", b"\xff\xff", b"\x40"]
    {
        assert_eq!(read(&owned(bad)), Err(Unusable::Garbage), "{bad:?}");
    }
    // A chain of pointers, and a record behind it that is owned by where the chain ends.
    let chained = |count: u16| {
        let mut wire = owned(b"\xc0\x0c");
        wire[7] = 2;
        // The data of the first record: the first pointer leads to the question, others one back.
        let data = wire.len() as u16 - 4;
        wire.truncate(data.into());
        let pointers = (0..count).map(|place| if place == 0 { 12 } else { data + 2 * (place - 1) });
        wire.extend(pointers.flat_map(|target| (0xc000 + target).to_be_bytes()));
        wire[usize::from(data) - 2..usize::from(data)].copy_from_slice(&(2 * count).to_be_bytes());
        wire.extend((0xc000 + data + 2 * (count - 1)).to_be_bytes());
        wire.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2]);
        wire
    };
    assert_eq!(read(&chained(100)), Ok(60));
    assert_eq!(read(&chained(1000)), Err(Unusable::Garbage));
    // What an old server makes of EDNS is its header and no more.
    assert_eq!(read(&[0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Unusable::Failed(1)));
}

/// RFC 2308, 2.2 and 5.
#[test]
fn that_there_is_nothing_is_remembered_as_long_as_the_soa_says() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let told = |aliases: &[u32], addresses: u8, soa: Option<(u32, u32)>| {
        let mut answer = Message::response(7, OpCode::Query);
        answer.add_query(Query::query(name("a."), RecordType::A));
        for ttl in aliases {
            let data = RData::CNAME(rdata::CNAME(name("b.")));
            answer.add_answer(Record::from_rdata(name("a."), *ttl, data));
        }
        for number in 0..addresses {
            let data = RData::A(rdata::A::new(192, 0, 2, number));
            answer.add_answer(Record::from_rdata(name("b."), 300, data));
        }
        if let Some((ttl, minimum)) = soa {
            let data = rdata::SOA::new(name("."), name("."), 1, 2, 3, 4, minimum);
            answer.add_authority(Record::from_rdata(name("."), ttl, RData::SOA(data)));
        }
        let wire = answer.to_vec().unwrap();
        let mut stored = Stored::parse(&wire, b"\x01a\0", zone::RecordType::A).unwrap();
        stored.clamp(&CacheConfig { negative_ttl: 120, ..CacheConfig::default() });
        let kept = Message::from_vec(stored.wire()).unwrap();
        (stored.life, kept.authorities.first().map(|soa| soa.ttl))
    };
    for (aliases, addresses, soa, expected) in [
        (&[][..], 0, Some((900, 60)), (60, Some(60))),
        (&[], 0, Some((30, 60)), (30, Some(30))),
        (&[], 0, Some((900, 600)), (120, Some(120))),
        (&[], 0, None, (0, None)),
        // Aliases that lead to nothing.
        (&[86_400], 0, Some((900, 60)), (60, Some(60))),
        (&[20], 0, Some((900, 60)), (20, Some(20))),
        // A moment, where nobody says how long.
        (&[86_400], 0, None, (5, None)),
        (&[2], 0, None, (2, None)),
        // And to something.
        (&[86_400], 1, Some((900, 60)), (300, Some(900))),
    ] {
        assert_eq!(told(aliases, addresses, soa), expected, "{aliases:?} {addresses} {soa:?}");
    }
}
