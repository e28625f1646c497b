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
    assert_eq!(standing.failed(at(0), at(0), &passive()), None);
    standing.succeeded(at(1));
    assert_eq!(standing.failed(at(2), at(2), &passive()), None);
    assert_eq!(standing.failed(at(3), at(3), &passive()), Some(1000));
    assert!(standing.is_ejected(at(4)));
    assert_eq!(standing.ejected_for(at(503)), 500);
    assert!(!standing.is_ejected(at(1003)));
}

#[test]
fn failures_far_apart_do_not_add_up() {
    let standing = Standing::default();
    assert_eq!(standing.failed(at(0), at(0), &passive()), None);
    assert_eq!(standing.failed(at(10_001), at(10_001), &passive()), None);
    assert_eq!(standing.failed(at(10_002), at(10_002), &passive()), Some(1000));
}

#[test]
fn each_time_is_twice_as_long_up_to_a_bound_until_it_is_well() {
    let standing = Standing::default();
    let mut now = 0;
    standing.failed(at(now), at(now), &passive());
    for expected in [1000, 2000, 3000, 3000] {
        // After the first time a single failure is enough.
        assert_eq!(standing.failed(at(now), at(now), &passive()), Some(expected));
        assert_eq!(standing.failed(at(now), at(now), &passive()), None, "it is left alone already");
        now += expected;
    }
    standing.succeeded(at(now));
    assert_eq!(standing.failed(at(now), at(now), &passive()), None);
    assert_eq!(standing.failed(at(now), at(now), &passive()), Some(1000));
}

#[test]
fn late_answers_do_not_end_a_rest() {
    let standing = Standing::default();
    standing.failed(at(0), at(0), &passive());
    standing.failed(at(0), at(0), &passive());
    standing.succeeded(at(10));
    assert!(standing.is_ejected(at(11)));
    assert_eq!(standing.failed(at(1000), at(1000), &passive()), Some(2000));
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

#[test]
fn one_request_at_a_time_tries_what_was_left_alone() {
    let standing = Standing::default();
    assert_eq!(standing.admit(at(0)), Admission::Free);
    standing.failed(at(0), at(0), &passive());
    standing.failed(at(0), at(0), &passive());
    assert_eq!(standing.admit(at(999)), Admission::Refused);
    assert!(!standing.is_avoided(at(1000)), "the next may try");
    let Admission::Trial(trial) = standing.admit(at(1000)) else { panic!("none is under way") };
    assert_eq!(standing.admit(at(1001)), Admission::Refused);
    assert!(standing.is_avoided(at(1001)) && standing.is_on_trial(at(1001)));
    // Its client leaves.
    standing.give_up_trial(trial);
    let Admission::Trial(next) = standing.admit(at(1002)) else { panic!("it was given back") };
    standing.give_up_trial(trial);
    assert!(standing.is_on_trial(at(1003)), "that was another one");
    // It fails, and later one succeeds.
    assert_eq!(standing.failed(at(1002), at(1500), &passive()), Some(2000));
    standing.give_up_trial(next);
    assert!(standing.is_avoided(at(3499)));
    assert!(matches!(standing.admit(at(3500)), Admission::Trial(_)));
    standing.succeeded(at(3501));
    assert_eq!(standing.admit(at(3501)), Admission::Free);
    assert!(!standing.is_avoided(at(3501)));
}

#[test]
fn a_trial_that_takes_its_time_is_not_waited_for_alone() {
    let standing = Standing::default();
    standing.failed(at(0), at(0), &passive());
    standing.failed(at(0), at(0), &passive());
    assert!(matches!(standing.admit(at(1000)), Admission::Trial(_)));
    assert_eq!(standing.admit(at(1000 + TRIAL - 1)), Admission::Refused);
    assert!(matches!(standing.admit(at(1000 + TRIAL)), Admission::Trial(_)));
}

#[test]
fn what_began_before_the_end_of_a_rest_says_nothing_of_what_comes_after_it() {
    let standing = Standing::default();
    standing.failed(at(0), at(0), &passive());
    standing.failed(at(0), at(0), &passive());
    // Connections that were begun before, and are given up only now.
    for now in [1000, 2000, 9000] {
        assert_eq!(standing.failed(at(999), at(now), &passive()), None);
    }
    assert!(!standing.is_ejected(at(1000)));
    assert_eq!(standing.failed(at(1000), at(6000), &passive()), Some(2000));
}
