//! Upstreams that are not as they should be.

use std::collections::BTreeSet;

use hickory_proto::op::ResponseCode;
use portolan_core::zone::Name;
use tokio::{net::TcpListener, task::spawn_local, time::timeout};

use super::{
    super::{CacheConfig, Forwarding, Mode, Place, Protocol, UpstreamConfig, upstream::REST},
    answers,
    demand::Source,
    fake::{
        FakeUpstream, HERE, Listening, Mood, answer, asking, locally, outcome, read_message,
        write_message,
    },
    streams::Manner,
};

/// The first connection dies after its first answer, as where a router between has forgotten it.
#[tokio::test]
async fn a_stream_that_is_dead_is_not_asked_again() {
    locally(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let place = Place::At(listener.local_addr().unwrap());
        spawn_local(async move {
            let (mut dead, _) = listener.accept().await.unwrap();
            let asked = read_message(&mut dead).await;
            write_message(&mut dead, &answer(&asked, 1)).await;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                spawn_local(async move {
                    let asked = read_message(&mut stream).await;
                    write_message(&mut stream, &answer(&asked, 2)).await;
                });
            }
        });
        let upstreams = vec![UpstreamConfig { place, protocol: Protocol::Tcp }];
        let listening = Listening::with(Forwarding { upstreams, ..Forwarding::default() });
        assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 1));
        assert_eq!(outcome(&listening.ask("b.example.").await), (ResponseCode::NoError, 2));
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_behaves_badly_on_a_stream_costs_one_attempt() {
    locally(async {
        for manner in Manner::BAD {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                Box::pin(behaves_badly(manner, protocol)).await;
            }
        }
    })
    .await;
}

/// Over UDP the upstream says that it has more to say over TCP.
async fn behaves_badly(manner: Manner, protocol: Protocol) {
    let bad = FakeUpstream::start(Mood::Truncates).await;
    let good = FakeUpstream::start(Mood::Answers).await;
    bad.streams.manner.set(manner);
    let first = UpstreamConfig { place: Place::At(bad.address), protocol };
    let mut settings = Forwarding {
        upstreams: vec![first, good.address.into()],
        mode: Mode::Strict,
        ..Forwarding::default()
    };
    let listening = Listening::with(settings.clone());
    let reply = listening.ask("a.example.").await;
    assert_eq!(outcome(&reply), (ResponseCode::NoError, 2), "{manner:?}");
    assert!(bad.streams.was_met(manner));
    // Once it behaves it is of use again.
    bad.streams.manner.set(Manner::Stays);
    settings.upstreams.truncate(1);
    listening.world.forwarding.set(settings);
    let (code, count) = outcome(&listening.ask("b.example.").await);
    // As many as fit.
    assert!(code == ResponseCode::NoError && count > 50, "{manner:?}: {code} {count}");
}

#[tokio::test]
async fn an_upstream_that_changes_letters_and_knows_no_tcp_is_of_use() {
    locally(async {
        let upstream = FakeUpstream::without_tcp(Mood::Lowers).await;
        let listening = Listening::start(&[&upstream]);
        for number in 0..6 {
            let reply = listening.ask(&format!("abcdefghijklmnopqrst{number}.example.")).await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 2));
        }
        // The first three twice; by then it is known.
        assert!((9..12).contains(&upstream.asked.get()), "{}", upstream.asked.get());
    })
    .await;
}

/// A server that answers for its own zones only leaves an alias where it leads elsewhere.
#[tokio::test]
async fn an_alias_that_is_left_half_way_is_followed_but_not_to_what_only_some_are_trusted_with() {
    locally(async {
        let (first, other) =
            (FakeUpstream::start(Mood::LeadsOn).await, FakeUpstream::start(Mood::Answers).await);
        let to = |upstream: &FakeUpstream| vec![UpstreamConfig::from(upstream.address)];
        let name = |text: &str| Name::parse(text).unwrap();
        let listening = Listening::with(Forwarding {
            upstreams: to(&other),
            suffixes: vec![(name("corp.example"), to(&first))],
            ..Forwarding::default()
        });
        for _cached in 0..2 {
            let reply = listening.ask("a.corp.example.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 3));
            assert_eq!(reply.answers[1].name.to_ascii(), "www.example.com.");
        }
        assert_eq!([first.asked.get(), other.asked.get()], [1, 1]);
        listening.world.forwarding.set(Forwarding {
            upstreams: to(&first),
            suffixes: vec![(name("example.com"), to(&other))],
            ..Forwarding::default()
        });
        assert_eq!(outcome(&listening.ask("evil.example.").await), (ResponseCode::NoError, 1));
        assert_eq!(other.asked.get(), 1);
        // Who leads to itself keeps nobody waiting.
        listening
            .world
            .forwarding
            .set(Forwarding { upstreams: to(&first), ..Forwarding::default() });
        assert_eq!(listening.ask("a.example.").await.metadata.response_code, ResponseCode::NoError);
    })
    .await;
}

/// How long it counts that there is nothing says nothing of what an alias leads to.
#[tokio::test]
async fn what_an_alias_leads_to_is_remembered_where_a_no_is_not() {
    locally(async {
        let (first, other) =
            (FakeUpstream::start(Mood::LeadsOn).await, FakeUpstream::start(Mood::Answers).await);
        let listening = Listening::with(Forwarding {
            upstreams: vec![UpstreamConfig::from(other.address)],
            suffixes: vec![(
                Name::parse("corp.example").unwrap(),
                vec![UpstreamConfig::from(first.address)],
            )],
            cache: CacheConfig { negative_ttl: 0, ..CacheConfig::default() },
            ..Forwarding::default()
        });
        for _remembered in 0..2 {
            let reply = listening.ask("a.corp.example.").await;
            assert_eq!(outcome(&reply), (ResponseCode::NoError, 3));
            assert!(reply.answers.iter().all(|it| it.ttl > 20), "{reply}");
        }
        assert_eq!([first.asked.get(), other.asked.get()], [1, 1]);
    })
    .await;
}

#[tokio::test]
async fn who_is_trusted_with_some_names_may_lead_to_ours_and_nobody_else() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::LeadsHome).await;
        let upstreams = || vec![UpstreamConfig::from(upstream.address)];
        let listening = Listening::with(Forwarding {
            upstreams: upstreams(),
            suffixes: vec![(Name::parse("corp.example").unwrap(), upstreams())],
            ..Forwarding::default()
        });
        listening.world.forwarding.look_up_with(Source::of(&[]));
        let mut told = answers(&listening.ask("a.corp.example.").await);
        told.sort_unstable();
        assert_eq!(told, ["192.168.7.1", "192.168.7.2", "box.home.arpa."]);
        assert_eq!(answers(&listening.ask("evil.example.").await), ["box.home.arpa."]);
        assert_eq!(upstream.asked.get(), 2);
    })
    .await;
}

/// As ours do: who takes the first one is not always led to the same.
#[tokio::test]
async fn addresses_of_an_upstream_stand_in_another_order_each_time() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(asking(&[&upstream]));
        let mut first = BTreeSet::new();
        for _ in 0..64 {
            let told = answers(&listening.ask("a.example.").await);
            assert_eq!(told.len(), 2);
            first.insert(told[0].clone());
        }
        assert_eq!((first.len(), upstream.asked.get()), (2, 1));
    })
    .await;
}

/// The other one is the fastest from then on, and would be asked alone for a long time.
#[tokio::test]
async fn one_that_lost_a_question_is_asked_again_beside_the_next_one_after_its_rest() {
    locally(async {
        let first = FakeUpstream::start(Mood::Drops).await;
        let other = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(asking(&[&first, &other]));
        let standing = listening.world.forwarding.standings.all().remove(0).standing;
        listening.ask("a.example.").await;
        assert_eq!((standing.answered(), standing.lost()), (None, None));
        first.mood.set(Mood::Answers);
        tokio::time::pause();
        tokio::time::advance(REST).await;
        tokio::time::resume();
        assert_eq!(outcome(&listening.ask("b.example.").await), (ResponseCode::NoError, 2));
        let heard = async {
            while standing.answered().is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(REST, heard).await.expect("it is asked beside");
    })
    .await;
}

/// Home routers leave the SOA out of what they remember.
#[tokio::test]
async fn what_an_alias_leads_to_is_asked_once_though_nobody_says_that_there_is_nothing() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::LeadsToNothing).await;
        let listening = Listening::with(Forwarding {
            upstreams: vec![UpstreamConfig::from(upstream.address)],
            ..Forwarding::default()
        });
        for _remembered in 0..3 {
            assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 1));
        }
        assert_eq!(upstream.asked.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_alias_whose_target_nobody_answers_for_is_no_answer() {
    locally(async {
        let (first, other) =
            (FakeUpstream::start(Mood::LeadsOn).await, FakeUpstream::start(Mood::Fails).await);
        let listening = Listening::with(Forwarding {
            upstreams: vec![UpstreamConfig::from(other.address)],
            suffixes: vec![(
                Name::parse("corp.example").unwrap(),
                vec![UpstreamConfig::from(first.address)],
            )],
            ..Forwarding::default()
        });
        let reply = listening.ask("a.corp.example.").await;
        assert_eq!(outcome(&reply), (ResponseCode::ServFail, 0));
    })
    .await;
}

#[tokio::test]
async fn who_is_first_in_order_stays_so_after_one_name_that_it_cannot_resolve() {
    locally(async {
        let first = FakeUpstream::start(Mood::Fails).await;
        let other = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(Forwarding {
            upstreams: vec![first.address.into(), other.address.into()],
            mode: Mode::Strict,
            ..Forwarding::default()
        });
        assert_eq!(outcome(&listening.ask("broken.example.").await), (ResponseCode::NoError, 2));
        first.mood.set(Mood::Answers);
        for number in 0..8 {
            listening.ask(&format!("n{number}.example.")).await;
        }
        // The other one is asked where the first is silent for 400 ms: hardly each time.
        assert!(first.asked.get() >= 9 && other.asked.get() < 9);
    })
    .await;
}
