//! Turns are shared as weights say, by one thread and by many; who is out gets none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, header::COOKIE};

use super::{turns::MAX_TURNS, *};
use crate::{
    backend::Scheme,
    exchange::Headers,
    item::Health,
    policy::{SameSite, Sticky},
    standing::Admission,
};

fn backends(weights: &[u32]) -> Vec<Backend> {
    let backend = |(place, weight): (usize, &u32)| Backend {
        scheme: Scheme::Http,
        authority: format!("10.0.{}.{}:80", place / 250, place % 250).into(),
        path: None,
        weight: *weight,
        health: Health::Passing,
        origin: "test".into(),
        figures: Arc::default(),
    };
    weights.iter().enumerate().map(backend).collect()
}

const NOW: Moment = Moment::from_millis(1_000_000);

fn balancer(backends: &[Backend]) -> Balancer {
    Balancer::new(backends, &LoadBalancer::default())
}

fn by(strategy: Strategy) -> LoadBalancer {
    LoadBalancer { strategy, ..LoadBalancer::default() }
}

fn ask(tried: &Tried, key: u64) -> Ask<'_> {
    Ask { tried, now: NOW, key, among: Among::All }
}

fn turns(balancer: &Balancer, backends: &[Backend], count: usize) -> String {
    let tried = Tried::default();
    let name = |place| char::from(b'a' + u8::try_from(place).unwrap());
    (0..count).map(|_| balancer.next(backends, &ask(&tried, 0)).map_or('-', name)).collect()
}

/// How often each backend is chosen, for clients 0, 1, 2 and so on.
fn shares(options: &LoadBalancer, backends: &[Backend], count: u64) -> Vec<u64> {
    let balancer = Balancer::new(backends, options);
    let mut shares = vec![0; backends.len()];
    for client in 0..count {
        let key = key(&client.to_be_bytes());
        if let Some(place) = balancer.next(backends, &ask(&Tried::default(), key)) {
            shares[place] += 1;
        }
    }
    shares
}

fn eject(backend: &Backend) {
    let passive = crate::policy::Passive::default();
    let standing = &backend.figures.standing;
    while standing.failed(NOW, NOW, &passive).is_none() {}
}

fn down(backend: &Backend) {
    backend.figures.standing.probe(Probed::Down, None);
}

#[test]
fn turns_are_as_weighted_and_spread() {
    for (weights, expected) in [
        (&[][..], "--"),
        (&[1], "aaa"),
        (&[7], "aaa"),
        (&[1, 1, 1], "abcabc"),
        (&[5, 5, 5], "abcabc"),
        (&[2, 1], "abaaba"),
        (&[3, 1], "aabaaaba"),
        (&[5, 1, 1], "aabacaa"),
        (&[1, 5, 1], "bbabcbb"),
        (&[4, 2], "abaaba"),
        (&[0, 1, 0], "bbb"),
        (&[0, 0], "--"),
    ] {
        let all = backends(weights);
        assert_eq!(turns(&balancer(&all), &all, expected.len()), expected, "{weights:?}");
    }
}

#[test]
fn only_usable_backends_have_turns() {
    let mut all = backends(&[1, 1, 1, 1]);
    all[1].health = Health::Critical;
    all[2].health = Health::Maintenance;
    all[3].health = Health::Warning;
    assert_eq!(turns(&balancer(&all), &all, 4), "adad");
    all[0].health = Health::Critical;
    all[3].health = Health::Critical;
    assert_eq!(turns(&balancer(&all), &all, 1), "-");
}

#[test]
fn no_backend_waits_much_longer_than_its_share() {
    for weights in [&[1, 1][..], &[3, 2], &[10, 7, 1], &[100, 33, 5, 1], &[1, 2, 3, 4, 5]] {
        let all = backends(weights);
        let balancer = balancer(&all);
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for turn in 1..=total {
            counts[balancer.next(&all, &ask(&Tried::default(), 0)).unwrap()] += 1;
            for (count, weight) in counts.iter().zip(weights) {
                let due = f64::from(turn) * f64::from(*weight) / f64::from(total);
                assert!((f64::from(*count) - due).abs() <= 1.5, "{weights:?} turn {turn}");
            }
        }
        assert_eq!(counts, weights);
    }
}

#[test]
fn wild_weights_are_rounded_but_not_to_nothing() {
    let turns = Turns::new([u32::MAX, 1, u32::MAX / 2].into_iter());
    assert!(turns.schedule.len() <= MAX_TURNS as usize + 3);
    let count = |wanted| turns.schedule.iter().filter(|place| **place == wanted).count();
    assert!(count(1) >= 1);
    assert!(count(0).abs_diff(2 * count(2)) < 10);
    // More backends than turns: each has one.
    assert_eq!(Turns::new(vec![1_000_003; 5000].into_iter()).schedule.len(), 5000);
}

#[test]
fn whatever_the_strategy_what_was_tried_is_not_tried_again() {
    for (_, strategy) in Strategy::NAMES {
        let all = backends(&[1; 70]);
        let balancer = Balancer::new(&all, &by(strategy));
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        let mut seen = BTreeSet::new();
        while let Some(place) = balancer.next(&all, &ask(&tried, 7)) {
            assert!(seen.insert(place), "{strategy:?}: {place} comes twice");
            tried.insert(place);
        }
        let reached = if strategy == Strategy::LeastTime { COMPARED } else { 70 };
        assert!(seen.len() >= reached, "{strategy:?}: {}", seen.len());
        assert!(!tried.contains(70));
    }
}

#[test]
fn a_rebuilt_service_goes_on_where_it_was() {
    let all = backends(&[1, 1, 1]);
    let old = balancer(&all);
    assert_eq!(turns(&old, &all, 2), "ab");
    let new = balancer(&all).after(&old);
    assert_eq!(turns(&new, &all, 3), "cab");
}

#[test]
fn threads_share_the_turns() {
    let all = backends(&[1, 1, 1, 1]);
    let balancer = balancer(&all);
    let picked: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| turns(&balancer, &all, 1000))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let picked = picked.concat();
    for name in ['a', 'b', 'c', 'd'] {
        assert_eq!(picked.chars().filter(|turn| *turn == name).count(), 1000);
    }
}

#[test]
fn who_is_down_gets_nothing_and_the_others_share_it_as_they_weigh() {
    let all = backends(&[2, 1, 1, 4]);
    down(&all[3]);
    for (_, strategy) in Strategy::NAMES {
        let shares = shares(&by(strategy), &all, 4000);
        assert_eq!(shares[3], 0, "{strategy:?}");
        let due = [2000, 1000, 1000];
        let near = shares.iter().zip(due).all(|(share, due)| share.abs_diff(due) < 150);
        // By time all are alike as long as nothing is known of them: load decides, not turns.
        assert!(near || strategy == Strategy::LeastTime, "{strategy:?}: {shares:?}");
    }
    all[..3].iter().for_each(down);
    for (_, strategy) in Strategy::NAMES {
        assert_eq!(shares(&by(strategy), &all, 10), [0; 4], "{strategy:?}");
    }
}

#[test]
fn who_fails_is_left_alone_but_never_most_of_them() {
    let all = backends(&[1; 4]);
    eject(&all[0]);
    assert_eq!(shares(&by(Strategy::RoundRobin), &all, 300), [0, 100, 100, 100]);
    eject(&all[1]);
    assert_eq!(shares(&by(Strategy::RoundRobin), &all, 300), [0, 0, 150, 150]);
    // Three of four: it is not their fault, so it is as if nobody was left alone.
    eject(&all[2]);
    assert_eq!(shares(&by(Strategy::RoundRobin), &all, 400), [100; 4]);
    let mut stern = by(Strategy::RoundRobin);
    stern.passive.panic_threshold = 0;
    assert_eq!(shares(&stern, &all, 400), [0, 0, 0, 400]);
    // But the last one goes on whatever was asked for.
    eject(&all[3]);
    assert_eq!(shares(&stern, &all, 400), [100; 4]);
    // Those that are down do not count.
    let two = backends(&[1; 3]);
    down(&two[2]);
    eject(&two[0]);
    assert_eq!(shares(&by(Strategy::RoundRobin), &two, 100), [0, 100, 0]);
    // When the rest is over it is as before.
    let later = Moment::from_millis(NOW.as_millis() + 1000);
    let (fresh, tried) = (balancer(&two), Tried::default());
    let places: Vec<_> =
        (0..4).filter_map(|_| fresh.next(&two, &Ask { now: later, ..ask(&tried, 0) })).collect();
    assert_eq!(places, [0, 1, 0, 1]);
}

#[test]
fn of_two_the_one_with_less_to_do() {
    let all = backends(&[1, 1, 1, 1]);
    all[2].figures.in_flight.add(1000);
    let shares = shares(&by(Strategy::TwoChoices), &all, 4000);
    assert_eq!(shares[2], 0, "it always loses: {shares:?}");
    assert!(shares.iter().filter(|share| **share > 1100).count() == 3, "{shares:?}");
    // One that weighs three times as much may have three times as much to do.
    let two = backends(&[1, 3]);
    two[0].figures.in_flight.add(10);
    two[1].figures.in_flight.add(25);
    assert_eq!(self::shares(&by(Strategy::TwoChoices), &two, 100), [0, 100]);
    two[1].figures.in_flight.add(15);
    assert_eq!(self::shares(&by(Strategy::TwoChoices), &two, 100), [100, 0]);
}

#[test]
fn the_fastest_for_what_it_has_to_do() {
    let all = backends(&[1, 1, 1]);
    for (backend, time) in all.iter().zip([8_000_000, 1_000_000, 2_000_000]) {
        backend.figures.standing.answered(NOW, time);
    }
    let options = by(Strategy::LeastTime);
    assert_eq!(shares(&options, &all, 10), [0, 10, 0]);
    all[1].figures.in_flight.add(3);
    assert_eq!(shares(&options, &all, 10), [0, 0, 10]);
    // One of which nothing is known is thought to be like the others.
    let unknown = backends(&[1, 1]);
    unknown[0].figures.standing.answered(NOW, 1_000_000);
    assert_eq!(shares(&options, &unknown, 10), [5, 5]);
    unknown[1].figures.in_flight.add(1);
    assert_eq!(shares(&options, &unknown, 10), [10, 0]);
    // One that was slow is asked again when nobody knows whether it still is.
    let later = Moment::from_millis(NOW.as_millis() + 600_000);
    let balancer = Balancer::new(&all[..1], &options);
    let tried = Tried::default();
    assert_eq!(balancer.next(&all[..1], &Ask { now: later, ..ask(&tried, 0) }), Some(0));
}

#[test]
fn hashing_sends_a_client_to_the_same_backend_and_moves_only_who_must() {
    let all = backends(&[1; 10]);
    let options = by(Strategy::Hashed);
    let places = |backends: &[Backend]| -> Vec<Option<Arc<str>>> {
        let balancer = Balancer::new(backends, &options);
        let tried = Tried::default();
        (0..10_000_u64)
            .map(|client| {
                let place = balancer.next(backends, &ask(&tried, key(&client.to_be_bytes())))?;
                Some(backends[place].authority.clone())
            })
            .collect()
    };
    let before = places(&all);
    assert_eq!(before, places(&all));
    let mut counts = BTreeMap::new();
    before.iter().for_each(|place| *counts.entry(place.clone()).or_insert(0) += 1);
    assert!(counts.values().all(|count: &u32| (850..1150).contains(count)), "{counts:?}");
    // In another order, and with one fewer: the clients of the others stay.
    let mut fewer: Vec<_> = all.iter().rev().cloned().collect();
    let gone = fewer.remove(4).authority;
    let after = places(&fewer);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before.as_ref() == Some(&gone));
    }
    // One that is down for a while, too.
    down(&all[2]);
    let moved = before.iter().zip(places(&all)).filter(|(before, after)| *before != after).count();
    assert_eq!(moved, counts[&Some(all[2].authority.clone())] as usize);
}

#[test]
fn hashing_tells_backends_apart_by_their_paths() {
    let mut all = backends(&[1, 1]);
    let same = all[0].authority.clone();
    for (backend, path) in all.iter_mut().zip(["/a", "/b"]) {
        (backend.authority, backend.path) = (same.clone(), Some(path.into()));
    }
    let shares = shares(&by(Strategy::Hashed), &all, 10_000);
    assert!(shares[0].abs_diff(5000) < 300, "{shares:?}");
}

#[test]
fn hashing_heeds_weights() {
    let shares = shares(&by(Strategy::Hashed), &backends(&[1, 3, 0]), 10_000);
    assert!(shares[0].abs_diff(2500) < 200 && shares[2] == 0, "{shares:?}");
}

#[test]
fn a_backend_that_starts_takes_a_part_of_its_share() {
    for strategy in [Strategy::RoundRobin, Strategy::TwoChoices] {
        let all = backends(&[1, 1]);
        let slow = LoadBalancer { slow_start: Some(Duration::from_secs(10)), ..by(strategy) };
        // The first has been there for long, the second begins.
        all[0].figures.standing.share(Moment::from_millis(1), 10_000);
        let share = shares(&slow, &all, 4000)[1];
        let told = "about a tenth of one, to nine tenths";
        assert!((200..600).contains(&share), "{strategy:?}, {told}: {share}");
        // Nor is one that starts the better for having nothing to do.
        all[0].figures.in_flight.add(1);
        let share = shares(&slow, &all, 4000)[1];
        assert!(share < 800, "{strategy:?}: {share}");
    }
}

#[test]
fn backends_that_start_together_take_turns_as_if_none_started() {
    let slow =
        LoadBalancer { slow_start: Some(Duration::from_secs(10)), ..by(Strategy::RoundRobin) };
    let fresh = backends(&[1, 1, 2]);
    assert_eq!(turns(&Balancer::new(&fresh, &slow), &fresh, 8), "cabccabc");
    // Who is further on than the others takes more, whatever is between that and all.
    let ahead = backends(&[1, 1]);
    ahead[0].figures.standing.share(Moment::from_millis(NOW.as_millis() - 4000), 10_000);
    let share = shares(&slow, &ahead, 4000)[1];
    assert!((600..1000).contains(&share), "about a quarter of four, to four: {share}");
    // One that is full but cannot be asked is nobody's measure.
    let left = backends(&[1, 1, 1]);
    left[0].figures.standing.share(Moment::from_millis(1), 10_000);
    down(&left[0]);
    assert_eq!(turns(&Balancer::new(&left, &slow), &left, 6), "bcbcbc");
    // Of very many some are looked at.
    let many = backends(&[1; 500]);
    assert!(shares(&slow, &many, 1000).iter().all(|share| *share == 2));
}

#[test]
fn where_hardly_anyone_may_the_lot_decides_and_not_the_gap_before_him() {
    let all = backends(&[1; 200]);
    all[2..].iter().for_each(down);
    let shares = shares(&by(Strategy::RoundRobin), &all, 2000);
    assert!(shares[0] > 400 && shares[1] > 400, "{} and {}", shares[0], shares[1]);
}

#[test]
fn a_backend_that_is_full_is_passed_over() {
    let all = backends(&[1, 1]);
    let mut limited = LoadBalancer::default();
    limited.limits.max_requests_per_backend = Some(2);
    all[0].figures.in_flight.add(2);
    assert_eq!(shares(&limited, &all, 10), [0, 10]);
    all[1].figures.in_flight.add(2);
    assert_eq!(shares(&limited, &all, 10), [0, 0]);
}

fn cookies(value: &str) -> Headers {
    let mut headers = Headers::default();
    headers.insert(COOKIE, HeaderValue::from_str(value).unwrap());
    headers
}

#[test]
fn the_cookie_is_traefiks() {
    // `printf _TRAEFIK_BACKEND_s@consul | sha1sum`, `printf http://10.0.0.2:80 | sha256sum`.
    let urls = || ["http://10.0.0.1:80", "http://10.0.0.2:80"].map(str::to_owned).into_iter();
    let cookie = Cookie::new("s@consul", &Sticky::default(), urls());
    let pair = "_81e10=e0c6f0ca44f87f06";
    assert_eq!(cookie.header(1).unwrap(), format!("{pair}; Path=/"));
    assert_eq!(cookie.place(&cookies(&format!("a=b; {pair}; c"))), Some(1));
    assert_eq!(cookie.place(&cookies("a=b")), None);
    assert_eq!(cookie.place(&cookies(&format!("{}=0123456789abcdef", cookie.name()))), None);
    assert_eq!(cookie.header(2), None);
    let all = Sticky {
        name: Some("lb".to_owned()),
        secure: true,
        http_only: true,
        same_site: Some(SameSite::Strict),
        max_age: 60,
        path: Some("/x".to_owned()),
        domain: Some("a.local".to_owned()),
    };
    let line = Cookie::new("s", &all, ["x".to_owned()].into_iter()).header(0).unwrap();
    // The SHA-256 of "x" begins with 2d711642b726b044.
    let attributes = "Path=/x; Domain=a.local; Max-Age=60; HttpOnly; Secure; SameSite=Strict";
    assert_eq!(line.to_str().unwrap(), format!("lb=2d711642b726b044; {attributes}"));
}

#[test]
fn a_client_stays_with_a_backend_of_weight_0_and_not_with_one_that_is_down() {
    let mut all = backends(&[0, 1, 1]);
    let balancer = balancer(&all);
    let tried = Tried::default();
    assert!(balancer.may_stay(&all, 0, &ask(&tried, 0)) == Stay::Yes);
    down(&all[1]);
    assert!(balancer.may_stay(&all, 1, &ask(&tried, 0)) == Stay::No);
    all[2].health = Health::Critical;
    assert!(balancer.may_stay(&all, 2, &ask(&tried, 0)) == Stay::No);
}

#[test]
fn who_is_tried_again_is_left_to_one_request_unless_there_are_too_few_others() {
    let all = backends(&[1, 1]);
    eject(&all[0]);
    let later = Moment::from_millis(NOW.as_millis() + 1000);
    let balancer = balancer(&all);
    let tried = Tried::default();
    let ask = Ask { now: later, ..ask(&tried, 0) };
    let chosen = || (0..10).map(|_| balancer.next(&all, &ask).unwrap()).sum::<usize>();
    assert_eq!(chosen(), 5, "it may be tried");
    let standing = &all[0].figures.standing;
    assert!(matches!(standing.admit(later), Admission::Trial(_)));
    assert_eq!(chosen(), 10);
    assert_eq!(balancer.may_stay(&all, 0, &ask), Stay::No);
    // With nobody else, those who come meanwhile go there, too.
    down(&all[1]);
    assert_eq!(chosen(), 0);
    assert_eq!(balancer.panic(&all, later), Panic::Reachable);
}

#[test]
fn who_accepts_no_connections_is_left_alone_while_others_do() {
    let all = backends(&[1, 1, 1, 1]);
    let balancer = balancer(&all);
    let asked = || turns(&balancer, &all, 8).chars().collect::<BTreeSet<_>>();
    let dialed = |place: usize, is_reached| all[place].figures.standing.dialed(is_reached);
    for (place, backend) in all.iter().enumerate().take(3) {
        dialed(place, false);
        eject(backend);
    }
    assert_eq!((asked(), balancer.panic(&all, NOW)), (['d'].into(), Panic::Reachable));
    // It answers badly, and so do too many of those who answer at all.
    eject(&all[3]);
    assert_eq!((asked(), balancer.panic(&all, NOW)), (['d'].into(), Panic::Reachable));
    dialed(1, true);
    assert_eq!(asked(), ['b', 'd'].into());
    dialed(1, false);
    dialed(3, false);
    assert_eq!((asked(), balancer.panic(&all, NOW)), (['a', 'b', 'c', 'd'].into(), Panic::All));
}

#[test]
fn after_one_that_accepts_no_connection_come_those_who_are_well() {
    let all = backends(&[1, 1, 1]);
    let balancer = balancer(&all);
    let tried = Tried::default();
    let next = |among| {
        let ask = Ask { among, ..ask(&tried, 0) };
        let mut places: Vec<_> = (0..9).map(|_| balancer.next(&all, &ask)).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    eject(&all[0]);
    eject(&all[1]);
    assert_eq!(next(Among::All), [Some(0), Some(1), Some(2)], "most are out");
    assert_eq!(next(Among::Open), [Some(2)]);
    let passive = crate::policy::Passive::default();
    all[2].figures.standing.failed(NOW, NOW, &passive);
    assert_eq!(next(Among::Open), [Some(2)]);
    assert_eq!(next(Among::Well), [None]);
}

#[test]
fn one_that_is_full_is_told_from_one_that_is_out() {
    let mut options = LoadBalancer::default();
    options.limits.max_requests_per_backend = Some(1);
    let all = backends(&[1, 1]);
    let balancer = Balancer::new(&all, &options);
    let mut tried = Tried::default();
    tried.insert(1);
    all[0].figures.in_flight.increment();
    assert_eq!(balancer.next(&all, &ask(&tried, 0)), None);
    assert_eq!(balancer.may_stay(&all, 0, &ask(&tried, 0)), Stay::Full);
    assert!(balancer.may_wait(&all, &ask(&tried, 0)));
    down(&all[0]);
    assert_eq!(balancer.may_stay(&all, 0, &ask(&tried, 0)), Stay::No);
    assert!(!balancer.may_wait(&all, &ask(&tried, 0)));
}
