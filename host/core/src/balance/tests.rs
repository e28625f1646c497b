//! Turns are shared as weights say, by one thread and by many.

use std::sync::Arc;

use super::*;
use crate::{backend::Scheme, item::Health};

fn backends(weights: &[u32]) -> Vec<Backend> {
    let backend = |weight: &u32| Backend {
        scheme: Scheme::Http,
        authority: "10.0.0.1:80".into(),
        weight: *weight,
        health: Health::Passing,
        origin: "test".into(),
        figures: Arc::default(),
    };
    weights.iter().map(backend).collect()
}

fn turns(balancer: &Balancer, count: usize) -> String {
    let tried = Tried::default();
    let name = |place| char::from(b'a' + u8::try_from(place).unwrap());
    (0..count).map(|_| balancer.next(&tried).map_or('-', name)).collect()
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
        let balancer = Balancer::new(&backends(weights));
        assert_eq!(turns(&balancer, expected.len()), expected, "{weights:?}");
    }
}

#[test]
fn only_usable_backends_have_turns() {
    let mut all = backends(&[1, 1, 1, 1]);
    all[1].health = Health::Critical;
    all[2].health = Health::Maintenance;
    all[3].health = Health::Warning;
    assert_eq!(turns(&Balancer::new(&all), 4), "adad");
    all[0].health = Health::Critical;
    all[3].health = Health::Critical;
    assert_eq!(Balancer::new(&all).next(&Tried::default()), None);
}

#[test]
fn no_backend_waits_much_longer_than_its_share() {
    for weights in [&[1, 1][..], &[3, 2], &[10, 7, 1], &[100, 33, 5, 1], &[1, 2, 3, 4, 5]] {
        let balancer = Balancer::new(&backends(weights));
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for turn in 1..=total {
            counts[balancer.next(&Tried::default()).unwrap()] += 1;
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
    let balancer = Balancer::new(&backends(&[u32::MAX, 1, u32::MAX / 2]));
    assert!(balancer.schedule.len() <= MAX_TURNS as usize + 3);
    let count = |wanted| balancer.schedule.iter().filter(|place| **place == wanted).count();
    assert!(count(1) >= 1);
    assert!(count(0).abs_diff(2 * count(2)) < 10);
    // More backends than turns: each has one.
    let many = Balancer::new(&backends(&vec![1_000_003; 5000]));
    assert_eq!(many.schedule.len(), 5000);
}

#[test]
fn what_was_tried_is_not_tried_again() {
    let balancer = Balancer::new(&backends(&[1; 70]));
    let mut tried = Tried::default();
    assert!(tried.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    while let Some(place) = balancer.next(&tried) {
        assert!(seen.insert(place), "{place} comes twice");
        tried.insert(place);
    }
    assert_eq!(seen.len(), 70);
    assert!(!tried.is_empty() && tried.contains(69) && !tried.contains(70));
}

#[test]
fn a_rebuilt_service_goes_on_where_it_was() {
    let old = Balancer::new(&backends(&[1, 1, 1]));
    assert_eq!(turns(&old, 2), "ab");
    let new = Balancer::new(&backends(&[1, 1, 1])).after(&old);
    assert_eq!(turns(&new, 3), "cab");
}

#[test]
fn threads_share_the_turns() {
    let balancer = Balancer::new(&backends(&[1, 1, 1, 1]));
    let picked: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| turns(&balancer, 1000))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all = picked.concat();
    for name in ['a', 'b', 'c', 'd'] {
        assert_eq!(all.chars().filter(|turn| *turn == name).count(), 1000);
    }
}
