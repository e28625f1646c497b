//! What upstreams are not asked, and what they are not believed.

use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};

use super::{
    super::{BlockList, Filter, Forwarding, Listed, Mode, Rebind},
    answers,
    demand::Source,
    error,
    fake::{FakeUpstream, Listening, Mood, all, asking, locally, outcome},
    name,
};

#[tokio::test]
async fn addresses_of_ours_are_not_believed_of_names_outside() {
    locally(async {
        let upstream = FakeUpstream::start(Mood::LeadsInside).await;
        let rebind_exempt = vec![name("exempt.example")];
        let listening = Listening::with(Forwarding {
            suffixes: vec![(name("corp.example"), all(&[&upstream]))],
            filter: Filter { rebind: Rebind::All, rebind_exempt, ..Filter::default() },
            ..asking(&[&upstream])
        });
        let inside = ["203.0.113.1".to_owned(), "10.0.0.7".to_owned()];
        for _cached in 0..2 {
            let reply = listening.ask("evil.example.").await;
            // RFC 8914, 4.16: blocked.
            assert_eq!((answers(&reply), error(&reply)), (inside[..1].to_vec(), Some(15)));
        }
        assert_eq!(listening.world.figures.rebinds.value(), 1);
        let sorted = |reply: &Message| {
            let mut told = answers(reply);
            told.sort_unstable_by(|one, other| other.cmp(one));
            told
        };
        for asked in ["a.exempt.example.", "a.corp.example."] {
            assert_eq!(sorted(&listening.ask(asked).await), inside, "{asked}");
        }
        // Nor by an alias that leads to one who may say so of itself.
        upstream.mood.set(Mood::LeadsOnInside);
        let rebind_exempt = vec![name("www.example.com")];
        listening.world.forwarding.set(Forwarding {
            filter: Filter { rebind: Rebind::All, rebind_exempt, ..Filter::default() },
            ..asking(&[&upstream])
        });
        assert_eq!(sorted(&listening.ask("www.example.com.").await), inside);
        let told = answers(&listening.ask("evil.example.").await);
        assert_eq!(told, ["www.example.com.", "203.0.113.1"]);
        upstream.mood.set(Mood::LeadsInside);
        listening.world.forwarding.set(Forwarding {
            filter: Filter { rebind: Rebind::All, ..Filter::default() },
            ..asking(&[&upstream])
        });
        // Behind an alias of ours neither.
        let reply = listening.ask("outside.home.arpa.").await;
        assert_eq!(answers(&reply), ["www.example.com.", "203.0.113.1"]);
        assert_eq!(error(&reply), Some(15));
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
            filter: Filter { blocked, domain_needed: true, ..Filter::default() },
            ..asking(&[&upstream])
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
            Forwarding { filter, ..asking(&[&upstream]) }
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
            Forwarding { suffixes, filter, ..asking(&[&target]) }
        };
        let listening = Listening::with(settings(&[]));
        listening.world.forwarding.look_up_with(Source::of(&["www.example.com"]));
        let alias = ["www.example.com.".to_owned()];
        for (blocked, count) in [(&[][..], 3), (&["www.example.com"], 1), (&[], 3)] {
            listening.world.forwarding.set(settings(blocked));
            for asked in ["a.corp.example.", "db.query.consul.", "outside.home.arpa."] {
                let told = answers(&listening.ask(asked).await);
                assert_eq!((&told[..1], told.len()), (&alias[..], count), "{asked}: {told:?}");
            }
        }
    })
    .await;
}
