//! Names that are not ours: who is asked, and how.

use std::time::Duration;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use tokio::{net::UdpSocket, time::timeout};

use super::{
    super::{Forwarding, Mode, Place, Protocol, UpstreamConfig},
    fake::{FakeUpstream, HERE, Listening, Mood, all, asking, locally, outcome},
    name, question,
};

#[tokio::test]
async fn a_suffix_has_its_own_upstreams_or_none() {
    locally(async {
        let (global, corp, deep) = (
            FakeUpstream::start(Mood::Answers).await,
            FakeUpstream::start(Mood::Answers).await,
            FakeUpstream::start(Mood::Answers).await,
        );
        let listening = Listening::with(Forwarding {
            suffixes: vec![
                (name("corp.example"), all(&[&corp])),
                (name("deep.corp.example"), all(&[&deep])),
                (name("lan"), Vec::new()),
            ],
            ..asking(&[&global])
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
            let listening = Listening::with(Forwarding { mode, ..asking(&[&one, &other]) });
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
