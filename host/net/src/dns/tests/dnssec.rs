//! What is passed on of DNSSEC: signatures to who asks for them, and who says that it has checked.

use hickory_proto::{op::Message, rr::RecordType};

use super::{
    super::{CacheConfig, Filter, Forwarding, Rebind},
    fake::{FakeUpstream, Listening, Mood, locally},
    question,
};

/// A question with the bits of these letters: DNSSEC (`o`), `a`uthentic, `c`hecking disabled.
fn asked(name: &str, bits: &str) -> Message {
    let mut asked = question(name, RecordType::A, bits.contains('o').then_some(1232));
    if let Some(edns) = &mut asked.edns {
        edns.set_dnssec_ok(true);
    }
    asked.metadata.authentic_data = bits.contains('a');
    asked.metadata.checking_disabled = bits.contains('c');
    asked
}

/// The bits of a reply, with `s` when a signature came along.
fn bits(reply: &Message) -> String {
    let wants_dnssec = reply.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    let is_signed = reply.answers.iter().any(|it| it.record_type() == RecordType::RRSIG);
    [
        (is_signed, 's'),
        (wants_dnssec, 'o'),
        (reply.metadata.authentic_data, 'a'),
        (reply.metadata.checking_disabled, 'c'),
    ]
    .iter()
    .filter_map(|(is_set, letter)| is_set.then_some(*letter))
    .collect()
}

// RFC 6840, 5.7 and 5.8; RFC 4035, 3.2.
#[tokio::test]
async fn signatures_and_their_bits_go_to_who_asks_for_them() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Checks).await;
        let listening = Listening::start(&[&upstream]);
        // What one is told out of memory does not depend on who asked before.
        for _ in 0..2 {
            for (wishes, told) in [
                ("", ""),
                ("o", "soa"),
                ("a", "a"),
                ("oa", "soa"),
                ("c", "c"),
                ("oc", "soc"),
                ("oac", "soc"),
                ("", ""),
            ] {
                let reply = listening.send(&asked("a.example.", wishes)).await;
                assert_eq!(bits(&reply), told, "to {wishes:?}: {reply}");
            }
        }
        // With DO and CD, or not: AD changes nothing, since it is always asked for.
        assert_eq!(upstream.asked.get(), 4);
        listening.send(&asked("b.example.", "oc")).await;
        let last = Message::from_vec(&upstream.last.borrow()).unwrap();
        assert_eq!(bits(&last), "oac");
        listening.send(&asked("c.example.", "")).await;
        let last = Message::from_vec(&upstream.last.borrow()).unwrap();
        assert_eq!(bits(&last), "a");
    })
    .await;
}

#[tokio::test]
async fn nothing_of_ours_is_said_to_be_checked() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Checks).await;
        let listening = Listening::start(&[&upstream]);
        for (name, told) in [
            ("box.home.arpa.", "oc"),
            ("absent.home.arpa.", "oc"),
            // Nor an alias of ours, though its target was.
            ("outside.home.arpa.", "soc"),
        ] {
            let reply = listening.send(&asked(name, "oac")).await;
            assert_eq!(bits(&reply), told, "{name}: {reply}");
            let reply = listening.send(&asked(name, "oa")).await;
            assert_eq!(bits(&reply), told.replace('c', ""), "{name}: {reply}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_we_take_something_out_of_was_checked_no_more() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::ChecksInside).await;
        let listening = Listening::with(Forwarding {
            upstreams: vec![upstream.address.into()],
            filter: Filter { rebind: Rebind::All, ..Filter::default() },
            ..Forwarding::default()
        });
        let reply = listening.send(&asked("evil.example.", "o")).await;
        assert_eq!((bits(&reply).as_str(), reply.answers.len()), ("so", 2), "{reply}");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_was_checked_no_more() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::Checks).await;
        let cache = CacheConfig { max_ttl: 1, ..CacheConfig::default() };
        let upstreams = vec![upstream.address.into()];
        let listening = Listening::with(Forwarding { upstreams, cache, ..Forwarding::default() });
        let ask = async || listening.send(&asked("a.example.", "o")).await;
        assert_eq!(bits(&ask().await), "soa");
        upstream.mood.set(Mood::Fails);
        let stale = loop {
            let reply = ask().await;
            if reply.answers[0].ttl == 30 {
                break reply;
            }
        };
        assert_eq!(bits(&stale), "so");
    })
    .await;
}
