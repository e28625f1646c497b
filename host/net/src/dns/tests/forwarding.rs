//! Names that are not ours: who is asked, what is remembered, what is not believed.

use std::{sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RecordType, rdata::opt::EdnsCode},
};
use portolan_core::zone::Name;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use super::{
    super::{
        BlockList, CacheConfig, Filter, Forwarding, Listed, Mode, Place, Protocol, Rebind, Room,
        UpstreamConfig,
    },
    demand::Source,
    fake::{FakeUpstream, HERE, Listening, Mood, locally, outcome},
    question,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn all(upstreams: &[&FakeUpstream]) -> Vec<UpstreamConfig> {
    upstreams.iter().map(|upstream| upstream.address.into()).collect()
}

/// What is asked by [`Listening::ask`] is for IPv4 addresses; this is the text of the answers.
fn addresses(reply: &Message) -> Vec<String> {
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

fn error(reply: &Message) -> Option<u8> {
    let option = reply.edns.as_ref()?.option(EdnsCode::Unknown(15))?;
    Vec::<u8>::try_from(option).ok()?.get(1).copied()
}

#[tokio::test]
async fn a_suffix_has_its_own_upstreams_or_none() {
    locally(async {
        let (global, corp, deep) = (
            FakeUpstream::start(Mood::Answers).await,
            FakeUpstream::start(Mood::Answers).await,
            FakeUpstream::start(Mood::Answers).await,
        );
        let listening = Listening::with(Forwarding {
            upstreams: all(&[&global]),
            suffixes: vec![
                (name("corp.example"), all(&[&corp])),
                (name("deep.corp.example"), all(&[&deep])),
                (name("lan"), Vec::new()),
            ],
            ..Forwarding::default()
        });
        for asked in ["a.example.", "corp.example.", "a.CORP.example.", "a.deep.corp.example."] {
            assert_eq!(outcome(&listening.ask(asked).await), (ResponseCode::NoError, 2), "{asked}");
        }
        assert_eq!([global.asked.get(), corp.asked.get(), deep.asked.get()], [1, 2, 1]);
        let reply = listening.ask("printer.lan.").await;
        assert_eq!(outcome(&reply), (ResponseCode::NXDomain, 0));
        // Who asks may remember that (RFC 2308).
        let soa = &reply.authorities[0];
        assert_eq!((soa.name.to_ascii(), soa.record_type()), ("lan.".into(), RecordType::SOA));
        assert_eq!(global.asked.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_stale_answer_is_better_than_none_but_not_than_a_no() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let cache = CacheConfig { max_ttl: 1, ..CacheConfig::default() };
        let upstreams = all(&[&upstream]);
        let listening = Listening::with(Forwarding { upstreams, cache, ..Forwarding::default() });
        assert_eq!(listening.ask("a.example.").await.answers[0].ttl, 1);
        upstream.mood.set(Mood::Fails);
        // Until it is too old.
        let stale = loop {
            let reply = listening.ask("a.example.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
            if error(&reply) == Some(3) {
                break reply;
            }
        };
        assert_eq!(stale.answers[0].ttl, 30);
        assert!(listening.world.figures.stale.value() > 0);
        // A name that is no more is no more, once the failure is no longer remembered.
        upstream.mood.set(Mood::SaysNo);
        while listening.ask("a.example.").await.metadata.response_code != ResponseCode::NXDomain {}
        upstream.mood.set(Mood::Drops);
        let reply = listening.ask("a.example.").await;
        assert_ne!(reply.metadata.response_code, ResponseCode::NoError);
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_a_silent_upstream_is_given_a_stale_answer_soon() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let cache = CacheConfig { max_ttl: 1, ..CacheConfig::default() };
        let upstreams = all(&[&upstream]);
        let listening = Listening::with(Forwarding { upstreams, cache, ..Forwarding::default() });
        listening.ask("a.example.").await;
        upstream.mood.set(Mood::Drops);
        loop {
            let begin = Instant::now();
            let reply = listening.ask("a.example.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
            if error(&reply) == Some(3) {
                // RFC 8767, 5: 1.8 seconds; the deadline of the question is 4.
                assert!(begin.elapsed() < Duration::from_millis(3_500), "{:?}", begin.elapsed());
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stale_answer_serves_where_there_is_no_room_to_ask() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let cache = CacheConfig { max_ttl: 1, ..CacheConfig::default() };
        let upstreams = all(&[&upstream]);
        let listening = Listening::with(Forwarding {
            upstreams,
            cache,
            room: Room(128),
            ..Forwarding::default()
        });
        listening.ask("a.example.").await;
        upstream.mood.set(Mood::Drops);
        let client = UdpSocket::bind(HERE).await.unwrap();
        for number in 1..=64 {
            let asked = question(&format!("n{number}.example."), RecordType::A, Some(1232));
            client.send_to(&asked.to_vec().unwrap(), listening.udp).await.unwrap();
            while number % 16 == 0 && listening.world.figures.waiting.value() < number {
                tokio::task::yield_now().await;
            }
        }
        loop {
            let reply = listening.ask("a.example.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
            if error(&reply) == Some(3) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_often_is_asked_anew_before_it_is_forgotten() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        // Fake answers live for 30 seconds; these for longer.
        let cache = CacheConfig { min_ttl: 100, max_ttl: 100, ..CacheConfig::default() };
        let upstreams = all(&[&upstream]);
        let listening = Listening::with(Forwarding { upstreams, cache, ..Forwarding::default() });
        let ask = async || listening.ask("a.example.").await.answers[0].ttl;
        for _ in 0..4 {
            assert!(ask().await > 90);
        }
        assert_eq!(upstream.asked.get(), 1);
        // The last tenth begins after 90.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(94)).await;
        tokio::time::resume();
        // Still from memory, for the last time.
        assert!((1..=6).contains(&ask().await));
        while ask().await <= 90 {}
        assert_eq!((upstream.asked.get(), listening.world.figures.prefetched.value()), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn flushing_forgets_a_name_and_those_below_it_or_everything() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let ask = async || {
            for asked in ["a.example.", "x.a.example.", "b.example."] {
                listening.ask(asked).await;
            }
            upstream.asked.get()
        };
        assert_eq!((ask().await, ask().await), (3, 3));
        listening.world.forwarding.flush(Some(name("A.example")));
        assert_eq!((ask().await, ask().await), (5, 5));
        listening.world.forwarding.flush(None);
        assert_eq!(ask().await, 8);
        // Who has missed one forgets everything.
        listening.world.forwarding.flush(Some(name("a.example")));
        listening.world.forwarding.flush(Some(name("nothing.example")));
        assert_eq!(ask().await, 11);
    })
    .await;
}

#[tokio::test]
async fn addresses_of_ours_are_not_believed_of_names_outside() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::LeadsInside).await;
        let rebind_exempt = vec![name("exempt.example")];
        let listening = Listening::with(Forwarding {
            upstreams: all(&[&upstream]),
            suffixes: vec![(name("corp.example"), all(&[&upstream]))],
            filter: Filter { rebind: Rebind::All, rebind_exempt, ..Filter::default() },
            ..Forwarding::default()
        });
        let inside = ["203.0.113.1".to_owned(), "10.0.0.7".to_owned()];
        for _cached in 0..2 {
            let reply = listening.ask("evil.example.").await;
            // RFC 8914, 4.16: blocked.
            assert_eq!((addresses(&reply), error(&reply)), (inside[..1].to_vec(), Some(15)));
        }
        assert_eq!(listening.world.figures.rebinds.value(), 1);
        for asked in ["a.exempt.example.", "a.corp.example."] {
            assert_eq!(addresses(&listening.ask(asked).await), inside, "{asked}");
        }
        // Nor by an alias that leads to one who may say so of itself.
        upstream.mood.set(Mood::LeadsOnInside);
        let rebind_exempt = vec![name("www.example.com")];
        listening.world.forwarding.set(Forwarding {
            upstreams: all(&[&upstream]),
            filter: Filter { rebind: Rebind::All, rebind_exempt, ..Filter::default() },
            ..Forwarding::default()
        });
        assert_eq!(addresses(&listening.ask("www.example.com.").await), inside);
        let told = addresses(&listening.ask("evil.example.").await);
        assert_eq!(told, ["www.example.com.", "203.0.113.1"]);
        upstream.mood.set(Mood::LeadsInside);
        listening.world.forwarding.set(Forwarding {
            upstreams: all(&[&upstream]),
            filter: Filter { rebind: Rebind::All, ..Filter::default() },
            ..Forwarding::default()
        });
        // Behind an alias of ours neither.
        let told = addresses(&listening.ask("outside.home.arpa.").await);
        assert_eq!(told, ["www.example.com.", "203.0.113.1"]);
    })
    .await;
}

#[tokio::test]
async fn names_on_a_list_and_plain_names_are_asked_of_nobody() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let blocked = BlockList::build(["ads.example"].map(|it| Listed::parse(it).unwrap()));
        let blocked = Arc::new(blocked);
        let listening = Listening::with(Forwarding {
            upstreams: all(&[&upstream]),
            filter: Filter { blocked, domain_needed: true, ..Filter::default() },
            ..Forwarding::default()
        });
        let reply = listening.ask("x.ADS.example.").await;
        assert_eq!((outcome(&reply), error(&reply)), ((ResponseCode::NXDomain, 0), Some(15)));
        assert_eq!(outcome(&listening.ask("printer.").await), (ResponseCode::NXDomain, 0));
        assert_eq!(upstream.asked.get(), 0);
        assert_eq!(listening.world.figures.blocked.value(), 1);
        assert_eq!(outcome(&listening.ask("example.").await), (ResponseCode::NXDomain, 0));
        assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 2));
    })
    .await;
}

#[tokio::test]
async fn another_block_list_makes_nobody_forget_what_is_known() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let settings = |blocked: &[&str]| {
            let blocked = blocked.iter().map(|it| Listed::parse(it).unwrap());
            let filter = Filter { blocked: BlockList::build(blocked).into(), ..Filter::default() };
            Forwarding { upstreams: all(&[&upstream]), filter, ..Forwarding::default() }
        };
        let listening = Listening::with(settings(&[]));
        for asked in ["a.example.", "ads.example."] {
            assert_eq!(outcome(&listening.ask(asked).await), (ResponseCode::NoError, 2));
        }
        listening.world.forwarding.set(settings(&["ads.example"]));
        assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 2));
        assert_eq!(outcome(&listening.ask("ads.example.").await), (ResponseCode::NXDomain, 0));
        assert_eq!(upstream.asked.get(), 2);
        // Other upstreams may know other names.
        listening.world.forwarding.set(Forwarding { mode: Mode::Strict, ..settings(&[]) });
        listening.ask("a.example.").await;
        assert_eq!(upstream.asked.get(), 3);
    })
    .await;
}

// What an alias leads to may stand on it, too.
#[tokio::test]
async fn another_block_list_holds_at_once_behind_aliases() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::LeadsOn).await;
        // They share what they know of `www.example.com` with nobody.
        let target = FakeUpstream::start(Mood::Answers).await;
        let settings = |blocked: &[&str]| {
            let blocked = blocked.iter().map(|it| Listed::parse(it).unwrap());
            let filter = Filter { blocked: BlockList::build(blocked).into(), ..Filter::default() };
            let suffixes = vec![(name("corp.example"), all(&[&upstream]))];
            Forwarding { upstreams: all(&[&target]), suffixes, filter, ..Forwarding::default() }
        };
        let listening = Listening::with(settings(&[]));
        listening.world.forwarding.look_up_with(Source::of(&["www.example.com"]));
        let alias = ["www.example.com.".to_owned()];
        for (blocked, count) in [(&[][..], 3), (&["www.example.com"], 1), (&[], 3)] {
            listening.world.forwarding.set(settings(blocked));
            for asked in ["a.corp.example.", "db.query.consul.", "outside.home.arpa."] {
                let told = addresses(&listening.ask(asked).await);
                assert_eq!((&told[..1], told.len()), (&alias[..], count), "{asked}: {told:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_changes_letters_is_asked_over_tcp_and_then_without() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Lowers).await;
        let listening = Listening::start(&[&upstream]);
        // Its answer over TCP has a hundred addresses: that is where this one comes from.
        let first = listening.ask("abcdefghijklmnopqrstuvwxyz.example.").await;
        assert!(first.answers.len() > 2, "{first}");
        for asked in ["b.example.", "c.example."] {
            assert_eq!(outcome(&listening.ask(asked).await), (ResponseCode::NoError, 2));
        }
        assert_eq!(upstream.asked.get(), 3);
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_knows_no_edns_is_asked_without() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::KnowsNoEdns).await;
        let listening = Listening::start(&[&upstream]);
        assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 2));
        assert_eq!(upstream.asked.get(), 2);
        // Part of the code stands in the OPT record; what stands in the header looks like an answer.
        upstream.mood.set(Mood::WantsOtherEdns);
        assert_eq!(outcome(&listening.ask("b.example.").await), (ResponseCode::ServFail, 0));
    })
    .await;
}

#[tokio::test]
async fn the_order_of_upstreams_is_as_configured() {
    locally(async {
        for mode in [Mode::Strict, Mode::Parallel] {
            let (one, other) = (
                FakeUpstream::start(Mood::Answers).await,
                FakeUpstream::start(Mood::Answers).await,
            );
            let upstreams = all(&[&one, &other]);
            let listening =
                Listening::with(Forwarding { upstreams, mode, ..Forwarding::default() });
            for number in 0..8 {
                let reply = listening.ask(&format!("n{number}.example.")).await;
                assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
            }
            assert!(one.asked.get() >= 8 || mode == Mode::Parallel);
            match mode {
                // The second is asked where the first is silent for 400 ms: hardly each time.
                Mode::Strict => assert!(other.asked.get() < 8),
                // It may still be about to hear of the last.
                _ => {
                    while one.asked.get() < 8 || other.asked.get() < 8 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn upstreams_over_tcp_share_a_stream() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Drops).await;
        let upstreams =
            vec![UpstreamConfig { place: Place::At(upstream.address), protocol: Protocol::Tcp }];
        let listening = Listening::with(Forwarding { upstreams, ..Forwarding::default() });
        for number in 0..3 {
            let reply = listening.ask(&format!("n{number}.example.")).await;
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
            assert!(!reply.answers.is_empty());
        }
        assert_eq!(upstream.asked.get(), 0, "by UDP");
    })
    .await;
}

/// Pitfall B10: half of a burst was lost elsewhere.
#[tokio::test]
async fn a_burst_of_distinct_names_is_answered() {
    const NAMES: usize = 10_000;
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::start(&[&upstream]);
        let client = UdpSocket::bind(HERE).await.unwrap();
        client.connect(listening.udp).await.unwrap();
        let mut answered = 0;
        let mut buffer = [0; 4096];
        let mut good = |buffer: &[u8]| {
            let reply = Message::from_vec(buffer).unwrap();
            answered += usize::from(reply.answers.len() == 2);
        };
        let mut replies = 0;
        for number in 0..NAMES {
            let mut asked = question(&format!("n{number}.example."), RecordType::A, Some(1232));
            asked.metadata.id = number as u16;
            client.send(&asked.to_vec().unwrap()).await.unwrap();
            // No more at once than the socket of this one client takes.
            if number % 500 == 499 {
                while replies + 250 < number {
                    let received = timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
                    let Ok(Ok(length)) = received else { break };
                    good(&buffer[..length]);
                    replies += 1;
                }
            }
        }
        while replies < NAMES {
            let received = timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
            let Ok(Ok(length)) = received else { break };
            good(&buffer[..length]);
            replies += 1;
        }
        assert!(answered * 1_000 >= NAMES * 999, "{answered} of {NAMES}");
    })
    .await;
}
