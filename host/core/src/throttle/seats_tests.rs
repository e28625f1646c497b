//! Places against crowds.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use super::*;

fn limit(amount: u64) -> InFlightLimit {
    InFlightLimit::new(amount, Sources { by: By::Host, together: false })
}

/// Keys that share no set if they can help it.
fn key(number: u64) -> Key {
    Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn a_place_is_there_again_once_it_is_given_back() {
    let limit = limit(2);
    let (one, two) = (limit.take(key(1)), limit.take(key(1)));
    assert!(one.is_some() && two.is_some() && limit.take(key(1)).is_none());
    assert!(limit.take(key(2)).is_some(), "another source");
    drop(one);
    let three = limit.take(key(1));
    assert!(three.is_some() && limit.take(key(1)).is_none());
    drop((two, three));
    assert_eq!(limit.seats.all(), 0);
}

#[test]
fn of_a_crowd_there_are_never_more_than_may_and_nothing_is_left_behind() {
    for amount in [1, 2, 5] {
        let limit = limit(amount);
        let inside: [AtomicI64; 4] = Default::default();
        let (passed, barrier) = (AtomicU64::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (limit, inside, passed, barrier) = (&limit, &inside, &passed, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..5000 {
                        let source = (thread + round) % 4;
                        // Others of the same sets, so that ways come and go.
                        let _others = limit.take(Key(0x51 << 32 | round << 24));
                        let Some(held) = limit.take(Key(source << 40)) else { continue };
                        let now = inside[source as usize].fetch_add(1, SeqCst) + 1;
                        assert!(now <= amount as i64, "{now} of {amount}");
                        passed.fetch_add(1, SeqCst);
                        inside[source as usize].fetch_sub(1, SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!(passed.into_inner() > 1000);
        assert_eq!(limit.seats.all(), 0);
    }
}

#[test]
fn there_is_room_for_many_sources_and_an_end_of_it() {
    let limit = limit(1);
    // Two in each way of the largest level: some find none.
    let held: Vec<_> = (0..1 << 17).map(|number| limit.take(key(number))).collect();
    let inside = held.iter().flatten().count();
    assert!((60_000..1 << 17).contains(&inside), "{inside}");
    for (number, held) in held.iter().enumerate() {
        assert!(held.is_none() || limit.take(key(number as u64)).is_none());
    }
    drop(held);
    assert_eq!(limit.seats.all(), 0);
    assert!(limit.take(key(1 << 20)).is_some());
}

#[test]
fn what_is_under_way_counts_after_a_change_of_the_amount() {
    let old = limit(2);
    let (one, two) = (old.take(key(1)), old.take(key(1)));
    for (amount, has_room) in [(1, false), (2, false), (3, true)] {
        let mut new = limit(amount);
        new.go_on(&old);
        assert_eq!(new.take(key(1)).is_some(), has_room, "{amount}");
    }
    let mut other = InFlightLimit::new(2, Sources { by: By::Host, together: true });
    other.go_on(&old);
    assert!(other.take(key(1)).is_some(), "sources that are told apart otherwise are others");
    let mut less = limit(1);
    less.go_on(&old);
    drop((one, two));
    assert!(less.take(key(1)).is_some());
    assert_eq!(old.seats.all(), 0);
}
