//! When a backend is left alone, for how long, and how it comes back.

use std::time::Duration;

use super::*;

fn at(millis: u64) -> Moment {
    Moment::from_millis(1_000_000 + millis)
}

fn passive() -> Passive {
    Passive { max_failed_attempts: 2, max_ejection: Duration::from_secs(3), ..Passive::default() }
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_forgives() {
    let standing = Standing::default();
    assert_eq!(standing.failed(at(0), &passive()), None);
    standing.succeeded(at(1));
    assert_eq!(standing.failed(at(2), &passive()), None);
    assert_eq!(standing.failed(at(3), &passive()), Some(1000));
    assert!(standing.is_ejected(at(4)));
    assert_eq!(standing.ejected_for(at(503)), 500);
    assert!(!standing.is_ejected(at(1003)));
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let standing = Standing::default();
    assert_eq!(standing.failed(at(0), &passive()), None);
    assert_eq!(standing.failed(at(10_001), &passive()), None);
    assert_eq!(standing.failed(at(10_002), &passive()), Some(1000));
}

#[test]
fn each_time_is_twice_as_long_up_to_a_bound_until_it_is_well() {
    let standing = Standing::default();
    let mut now = 0;
    standing.failed(at(now), &passive());
    for expected in [1000, 2000, 3000, 3000] {
        // After the first time a single failure is enough.
        assert_eq!(standing.failed(at(now), &passive()), Some(expected));
        assert_eq!(standing.failed(at(now), &passive()), None, "it is left alone already");
        now += expected;
    }
    standing.succeeded(at(now));
    assert_eq!(standing.failed(at(now), &passive()), None);
    assert_eq!(standing.failed(at(now), &passive()), Some(1000));
}

#[test]
fn late_answers_do_not_end_a_rest() {
    let standing = Standing::default();
    standing.failed(at(0), &passive());
    standing.failed(at(0), &passive());
    standing.succeeded(at(10));
    assert!(standing.is_ejected(at(11)));
    assert_eq!(standing.failed(at(1000), &passive()), Some(2000));
}

#[test]
fn a_backend_that_comes_back_begins_with_a_small_share() {
    let standing = Standing::default();
    assert_eq!(standing.share(at(0), 1000), FULL / 10);
    assert_eq!(standing.share(at(500), 1000), FULL / 2);
    assert_eq!(standing.share(at(1000), 1000), FULL);
    assert!(standing.probe(Probed::Down, Some("no".into())));
    assert!(standing.probe(Probed::Up, None));
    assert_eq!(standing.share(at(5000), 1000), FULL / 10);
    assert!(!standing.probe(Probed::Up, None), "that is known");
    assert_eq!(standing.share(at(6000), 1000), FULL);
}

#[test]
fn what_is_known_of_the_speed_fades() {
    let standing = Standing::default();
    assert_eq!(standing.latency(at(0)), None);
    standing.answered(at(0), 8000);
    assert_eq!(standing.latency(at(0)), Some(8000));
    standing.answered(at(0), 16_000);
    assert_eq!(standing.latency(at(0)), Some(9000));
    assert_eq!(standing.latency(at(20_000)), Some(2250));
    assert_eq!(standing.latency(at(10_000_000)), Some(1));
}
