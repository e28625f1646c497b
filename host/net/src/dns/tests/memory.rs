//! What is remembered of upstreams, for how long, and when an old answer is better than none.

use std::time::Duration;

use hickory_proto::{op::ResponseCode, rr::RecordType};
use tokio::{net::UdpSocket, time::Instant};

use super::{
    super::{CacheConfig, Forwarding, Room},
    error,
    fake::{FakeUpstream, HERE, Listening, Mood, asking, forgetful, locally, outcome},
    name, question,
};

#[tokio::test]
async fn a_stale_answer_is_better_than_none_but_not_than_a_no() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(forgetful(&upstream));
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
        let listening = Listening::with(forgetful(&upstream));
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

/// RFC 8767, 5: who was silent is not waited for anew by everybody who asks.
#[tokio::test]
async fn where_upstreams_are_silent_one_waits_for_all_and_the_first_answer_ends_that() {
    async fn pass(seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(forgetful(&upstream));
        listening.ask("a.example.").await;
        upstream.mood.set(Mood::Drops);
        pass(2).await;
        assert_eq!(error(&listening.ask("a.example.").await), Some(3));
        // The question is over; that it failed is known for a while, and then it is asked again.
        pass(5).await;
        let asked = upstream.asked.get();
        while upstream.asked.get() == asked {
            let begin = Instant::now();
            let reply = listening.ask("a.example.").await;
            assert_eq!((outcome(&reply), error(&reply)), ((ResponseCode::NoError, 2), Some(3)));
            assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
        }
        upstream.mood.set(Mood::Answers);
        while error(&listening.ask("a.example.").await).is_some() {}
    })
    .await;
}

#[tokio::test]
async fn a_stale_answer_serves_where_there_is_no_room_to_ask() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Answers).await;
        let listening = Listening::with(Forwarding { room: Room(128), ..forgetful(&upstream) });
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
        let listening = Listening::with(Forwarding { cache, ..asking(&[&upstream]) });
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
