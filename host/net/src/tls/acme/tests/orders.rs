//! What becomes of orders when the authority is slow, busy or odd.

use std::time::Duration;

use http::Request;
use tokio::time::{Instant, advance};

use super::{Alone, DAY, authority::Authority, config, node, want};
use crate::tls::{
    acme::{
        desk::Desk,
        fetch::{Body, Fetch},
        resolver::{LOOKS, ORDERS, Outcome, Resolver},
        storage::Storage,
    },
    challenge::PATH,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Names that are wanted, looked for and not found.
async fn wanting(fetch: Fetch, names: &[&str]) -> Alone {
    let mut alone = node(fetch);
    alone.want(names);
    for _ in names {
        alone.turn().await;
    }
    alone
}

fn limited(seconds: u64) -> super::authority::Answer {
    let text = r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}"#;
    (429, vec![("retry-after", seconds.to_string())], text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_slow_authority_is_come_back_to_and_asked_for_one_order() {
    let authority = Authority::new();
    authority.plan().asked = "processing";
    authority.plan().retry = Some(2 * 60 * 60);
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert!(alone.problem().contains("is not done with the order"), "{}", alone.problem());
    // A second of it has passed in the world.
    assert!(alone.left() > 2 * HOUR - Duration::from_secs(10), "{:?}", alone.left());
    alone.want(&[]);
    alone.want(&["a.test"]);
    alone.turn().await;
    assert!(alone.turn().await.is_none(), "not even when its router comes back");

    // A start in between.
    alone.restart(authority.fetch());
    alone.want(&["a.test"]);
    alone.turn().await;
    advance(3 * HOUR).await;
    authority.decide("valid");
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 1));
    assert_eq!(alone.resolver.problems().count(), 0);
    let orders = alone.folder.path().join(alone.resolver.desk.place("orders"));
    assert_eq!(std::fs::read_dir(orders).unwrap().count(), 0, "it is done");
}

#[tokio::test(start_paused = true)]
async fn answers_stay_while_the_authority_may_ask() {
    let authority = Authority::new();
    authority.plan().made = "pending";
    authority.plan().retry = Some(600);
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    let path = format!("{PATH}token-0");
    let challenges = alone.challenges.clone();
    assert!(challenges.of_path(&path).await.is_some());
    advance(HOUR).await;
    alone.turn().await;
    assert!(challenges.of_path(&path).await.is_some());
    assert_eq!(authority.asked("/challenge/"), 1, "it knows since the first time");
    advance(HOUR).await;
    authority.decide("ready");
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 1));
    assert!(challenges.of_path(&path).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_an_order_was_made_waits_long_and_goes_on_with_it() {
    let authority = Authority::new();
    authority.plan().instead = Some(("/finalize", (500, Vec::new(), String::new())));
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert!(alone.left() >= Duration::from_secs(60), "{:?}", alone.left());
    for orders in [1, 1, 1, 2] {
        advance(2 * HOUR).await;
        assert!(alone.turn().await.is_some());
        assert_eq!(authority.orders(), orders);
    }
    authority.plan().instead = None;
    advance(DAY).await;
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_takes_none_of_our_nonces_costs_no_order() {
    let authority = Authority::new();
    let text = r#"{"type": "urn:ietf:params:acme:error:badNonce", "detail": "stale"}"#;
    authority.plan().instead = Some(("/finalize", (400, Vec::new(), text.to_owned())));
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert!(alone.problem().contains("badNonce"), "{}", alone.problem());
    authority.plan().instead = None;
    advance(HOUR).await;
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_came_to_nothing_is_not_gone_on_with() {
    let authority = Authority::new();
    authority.plan().made = "invalid";
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert!(alone.problem().contains("gave no reason"), "{}", alone.problem());
    authority.plan().made = "ready";
    advance(HOUR).await;
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_takes_longer_than_ten_minutes() {
    let authority = Authority::new();
    authority.plan().made = "pending";
    authority.plan().delay = Duration::from_secs(29);
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    let start = Instant::now();
    alone.turn().await;
    // As long as an answer took that came too late.
    assert!((600..630).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(alone.problem().contains("longer than 10 min"), "{}", alone.problem());
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_hangs_holds_up_no_look_into_the_storage() {
    let hanging = Fetch::through(|_: Request<Body>| std::future::pending());
    let names: Vec<_> = (0..9).map(|index| format!("{index}.test")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut alone = node(hanging);
    alone.want(&names[..8]);
    for _ in 0..8 {
        alone.turn().await;
    }
    let ordered = alone.resolver.due();
    assert_eq!(ordered.len(), ORDERS);
    assert!(alone.resolver.due().is_empty());
    assert_eq!(alone.resolver.next(), None, "the end of one is waited for");

    alone.keep("8.test", DAY, 90 * DAY);
    alone.want(&names);
    alone.turn().await;
    assert_eq!(alone.shown().len(), 1);

    let many: Vec<_> = (0..99).map(|index| format!("x{index}.test")).collect();
    alone.want(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(alone.resolver.due().len(), LOOKS);
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_orders_not_twice_nor_without_a_pause() {
    let authority = Authority::new();
    authority.plan().made = "invalid";
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    let due = alone.resolver.due().pop().unwrap();
    alone.want(&[]);
    assert_eq!(alone.resolver.problems().count(), 0);
    alone.want(&["a.test"]);
    assert!(alone.resolver.due().is_empty(), "somebody is at it");
    alone.want(&[]);
    let (outcome, pending) = alone.resolver.desk.clone().look_after(due).await;
    alone.resolver.take(&want("a.test"), outcome, pending, true);

    alone.want(&["a.test"]);
    alone.turn().await;
    assert!(alone.turn().await.is_none(), "there is a pause");
    assert_eq!(authority.orders(), 1);
    advance(Duration::from_secs(80)).await;
    alone.turn().await;
    assert_eq!(authority.orders(), 2);
    assert!(alone.left() >= Duration::from_secs(5 * 60), "it was the second time");

    // Not for ever.
    alone.want(&[]);
    advance(2 * DAY).await;
    alone.want(&[]);
    alone.want(&["a.test"]);
    alone.turn().await;
    alone.turn().await;
    assert!(alone.left() < Duration::from_secs(2 * 60), "it was the first time");
}

#[tokio::test(start_paused = true)]
async fn one_of_another_configuration_knows_what_is_running() {
    let authority = Authority::new();
    authority.plan().instead = Some(("/new", (500, Vec::new(), "{}".to_owned())));
    let mut before = wanting(authority.fetch(), &["a.test"]).await;
    let due = before.resolver.due().pop().unwrap();
    let mut after = node(authority.fetch());
    after.resolver.inherit(&mut before.resolver);
    after.want(&["a.test"]);
    assert!(after.resolver.due().is_empty(), "somebody is at it");
    let (outcome, pending) = before.resolver.desk.clone().look_after(due).await;
    assert!(matches!(outcome, Outcome::Failed(..)));
    after.resolver.take(&want("a.test"), outcome, pending, false);
    authority.plan().instead = None;
    after.turn().await;
    after.turn().await;
    assert_eq!(after.shown().len(), 1, "that the other could not do it costs no pause");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_an_authority_holds_for_all_and_for_each_as_long_as_told() {
    let authority = Authority::new();
    authority.plan().instead = Some(("/directory", limited(7 * 60 * 60)));
    let mut alone = wanting(authority.fetch(), &["a.test", "b.test"]).await;
    alone.turn().await;
    alone.turn().await;
    alone.want(&["a.test", "b.test", "c.test"]);
    alone.turn().await;
    assert!(alone.turn().await.is_none());
    assert_eq!(authority.plan().log.len(), 2);
    // Each of those that failed at once was told, and who came later waits as well.
    assert!(alone.left() > 7 * HOUR - Duration::from_secs(1), "{:?}", alone.left());
    assert!(alone.problems().contains("wants to be left alone"), "{}", alone.problems());
    // Somebody who knows better.
    authority.plan().instead = None;
    alone.resolver.retry();
    for _ in 0..3 {
        alone.turn().await;
    }
    assert_eq!(alone.shown().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_some_names_does_not_hold_up_others_for_days() {
    let authority = Authority::new();
    authority.plan().instead = Some(("/new", limited(34 * 60 * 60)));
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    authority.plan().instead = None;
    alone.want(&["a.test", "b.test"]);
    alone.turn().await;
    assert!(alone.turn().await.is_none(), "it may have been the account's");
    assert!(alone.left() <= HOUR);
    advance(HOUR).await;
    assert_eq!(alone.turn().await.as_deref(), Some("b.test"));
    assert!(alone.turn().await.is_none());
    assert_eq!(alone.shown().len(), 1);
    assert!(alone.left() > 32 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_cannot_answer_now_is_left_alone_as_long_as_it_says() {
    let authority = Authority::new();
    let away = (503, vec![("retry-after", "1200".to_owned())], "<html>".to_owned());
    authority.plan().instead = Some(("/nonce", away));
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert!((1199..=1500).contains(&alone.left().as_secs()), "{:?}", alone.left());
    assert!(alone.problem().contains("503"), "{}", alone.problem());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_due_when_it_comes_is_not_ordered_again_at_once() {
    let authority = Authority::new();
    authority.plan().age = 80 * DAY;
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    assert_eq!(alone.shown().len(), 1);
    assert!(alone.problems().contains("the clock of this machine"), "{}", alone.problems());
    assert!(alone.turn().await.is_none());
    // What others write changes nothing about it.
    alone.resolver.doubt();
    alone.turn().await;
    assert!(alone.turn().await.is_none());
    assert!(alone.left() > 8 * DAY);
    assert_eq!(authority.orders(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_have_counts_for_the_pause_only_if_it_is_not_due() {
    let authority = Authority::new();
    authority.plan().made = "invalid";
    let mut alone = wanting(authority.fetch(), &["a.test"]).await;
    alone.turn().await;
    for (age, shown, paused) in [(80, 1, true), (1, 1, false)] {
        alone.keep("a.test", age * DAY, 90 * DAY);
        alone.resolver.doubt();
        alone.turn().await;
        assert_eq!(alone.shown().len(), shown);
        assert_eq!(alone.resolver.problems().count() == 1, paused, "{age} days");
        assert!(alone.turn().await.is_none());
    }
    assert_eq!(authority.orders(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_of_all_kinds_are_made_beside() {
    let authority = Authority::new();
    let mut alone = node(authority.fetch());
    let mut config = config(alone.folder.path());
    config.key_type = crate::tls::acme::KeyType::Rsa2048;
    let storage = Storage::open(&config.storage).unwrap();
    let desk = Desk::new(config, storage, alone.challenges.clone(), Some(authority.fetch()));
    alone.resolver = Resolver::at(desk);
    alone.want(&["a.test"]);
    alone.turn().await;
    alone.turn().await;
    assert_eq!(alone.shown()[0].facts.key_type, "RSA");
}
