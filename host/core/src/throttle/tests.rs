//! The limit against a bucket that is kept in the plain way, and the table against crowds.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use super::*;
use crate::{moment::Fine, name::ObjectName, rule::ClientStrategy, test_util};

const SECOND: u64 = 1_000_000_000;

fn sources(by: By) -> Sources {
    Sources { by, together: false }
}

fn limit(average: u64, period: Duration, burst: u64) -> RateLimit {
    let rate = Rate { average, period, burst };
    RateLimit::new(rate, sources(By::Client(ClientStrategy::PEER)))
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64 (Marsaglia, 2003)
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A bucket of tokens as a book has it.
struct Bucket {
    tokens: f64,
    at: u64,
}

impl Bucket {
    /// How long a request waits that comes now; it is counted if that is not longer than `patience`.
    fn take(&mut self, rate: &Rate, patience: f64, now: u64) -> f64 {
        let per_nano = rate.average as f64 / rate.period.as_nanos() as f64;
        self.tokens += (now - self.at) as f64 * per_nano;
        self.tokens = self.tokens.min(rate.burst as f64);
        self.at = now;
        let wait = ((1.0 - self.tokens) / per_nano).max(0.0);
        if wait <= patience {
            self.tokens -= 1.0;
        }
        wait
    }
}

#[test]
fn it_lets_pass_what_a_bucket_of_tokens_does() {
    let mut dice = Dice(0x5eed);
    for (average, period, burst) in
        [(10, 1, 1), (10, 1, 20), (1, 10, 1), (1, 3600, 5), (1000, 1, 100), (4, 60, 3)]
    {
        let limit = limit(average, Duration::from_secs(period), burst);
        let interval = period * SECOND / average;
        let patience = (interval / 2).min(SECOND / 2) as f64;
        let mut bucket = Bucket { tokens: burst as f64, at: SECOND };
        let mut now = SECOND;
        let mut paces = [0, 0, 0];
        for _ in 0..5000 {
            // Often as fast as it goes, at times with a long pause.
            let pause = if dice.roll(50 * burst) == 0 { interval * burst * 2 } else { interval };
            now += dice.roll(pause);
            let wait = bucket.take(&limit.rate, patience, now);
            let near = |took: Duration| (took.as_nanos() as f64 - wait).abs() < 2000.0;
            match limit.take(Key(7), Fine::from_nanos(now)) {
                Pace::Now => assert!(wait < 2000.0, "{wait} at {now}"),
                Pace::After(took) => assert!(near(took) && wait < patience + 2000.0, "{wait}"),
                Pace::Never(took) => assert!(near(took) && wait > patience - 2000.0, "{wait}"),
            }
            paces[match limit.take(Key(7 << 20), Fine::from_nanos(now)) {
                Pace::Now => 0,
                Pace::After(_) => 1,
                Pace::Never(_) => 2,
            }] += 1;
        }
        // Of an hour the half second is little in which who comes waits.
        let is_seldom = patience * 100.0 < interval as f64;
        assert!(paces[0] > 50 && paces[2] > 50 && (is_seldom || paces[1] > 50), "{paces:?}");
    }
}

#[test]
fn waiting_is_as_long_as_in_traefik() {
    let at = |limit: &RateLimit, nanos| limit.take(Key(1), Fine::from_nanos(SECOND + nanos));
    // Ten in a second: who comes up to 50 ms too early waits.
    let ten = limit(10, Duration::from_secs(1), 1);
    assert_eq!(at(&ten, 0), Pace::Now);
    assert_eq!(at(&ten, 49_000_000), Pace::Never(Duration::from_millis(51)));
    assert_eq!(at(&ten, 50_000_000), Pace::After(Duration::from_millis(50)));
    assert_eq!(at(&ten, 51_000_000), Pace::Never(Duration::from_millis(149)));
    // Less than one in a second: half a second.
    let slow = limit(1, Duration::from_secs(60), 1);
    assert_eq!(at(&slow, 0), Pace::Now);
    assert_eq!(at(&slow, 59 * SECOND), Pace::Never(Duration::from_secs(1)));
    assert_eq!(at(&slow, 59 * SECOND + SECOND / 2), Pace::After(Duration::from_millis(500)));
}

#[test]
fn nobody_waits_where_too_many_do() {
    let ten = limit(10, Duration::from_secs(1), 1);
    let now = Fine::from_nanos(SECOND);
    assert_eq!(ten.take(Key(1), now), Pace::Now);
    ten.tally.waiting.add(1024);
    let later = Fine::from_nanos(SECOND + 60_000_000);
    assert_eq!(ten.take(Key(1), later), Pace::Never(Duration::from_millis(40)));
    ten.tally.waiting.decrement();
    assert_eq!(ten.take(Key(1), later), Pace::After(Duration::from_millis(40)));
}

/// Many threads ask at one moment, each for the keys of its numbers in turn. Tells which pass.
fn crowd(limit: &RateLimit, key: impl Fn(u64) -> Key + Sync, passes: impl Fn(u64) + Sync) {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 1024;
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, key, passes) = (&barrier, &key, &passes);
            scope.spawn(move || {
                barrier.wait();
                for number in thread * ROUNDS..(thread + 1) * ROUNDS {
                    if limit.take(key(number), Fine::from_nanos(SECOND)) == Pace::Now {
                        passes(number);
                    }
                }
            });
        }
    });
}

#[test]
fn of_many_threads_no_more_pass_than_may() {
    for _ in 0..50 {
        let limit = limit(1, Duration::from_secs(1), 100);
        let passed = AtomicU64::new(0);
        crowd(
            &limit,
            |_| Key(3),
            |_| {
                passed.fetch_add(1, SeqCst);
            },
        );
        assert_eq!(passed.into_inner(), 100);
    }
}

#[test]
fn no_more_pass_while_the_table_grows() {
    let mut dice = Dice(0x9e37);
    for _ in 0..20 {
        let greedy: [u64; 64] = std::array::from_fn(|_| dice.roll(u64::MAX));
        let others: Vec<u64> = (0..4096).map(|_| dice.roll(u64::MAX)).collect();
        let limit = limit(1, Duration::from_secs(3600), 10);
        let before = limit.slots.room();
        let passed: [AtomicU64; 64] = std::array::from_fn(|_| AtomicU64::new(0));
        // Every second request is of one of a few, the others come once.
        let place = |number: u64| number as usize / 2 % greedy.len();
        let key = |number: u64| match number % 2 {
            0 => Key(greedy[place(number)]),
            _ => Key(others[number as usize / 2]),
        };
        crowd(&limit, key, |number| {
            passed[place(number)].fetch_add(1 - number % 2, SeqCst);
        });
        assert!(limit.slots.room() > before);
        // Who is charged while the table grows may be charged twice.
        let passed = passed.map(AtomicU64::into_inner);
        assert!(passed.iter().all(|count| *count <= 10), "{passed:?}");
        assert!(passed.iter().sum::<u64>() > 600, "{passed:?}");
    }
}

#[test]
fn who_is_displaced_from_a_full_table_gets_nothing_by_that() {
    let mut dice = Dice(0xfeed);
    let limit = limit(1, Duration::from_secs(3600), 2);
    let now = Fine::from_nanos(SECOND);
    let greedy = Key(dice.roll(u64::MAX));
    assert_eq!([limit.take(greedy, now), limit.take(greedy, now)], [Pace::Now; 2]);
    let wait = limit.take(greedy, now);
    assert!(matches!(wait, Pace::Never(_)));
    // Far more sources than there is room for, each of which uses all that it gets.
    for _ in 0..400_000 {
        let other = Key(dice.roll(u64::MAX));
        while limit.take(other, now) == Pace::Now {}
        assert!(matches!(limit.take(greedy, now), Pace::Never(_)));
    }
    assert_eq!(limit.slots.room(), 65_536);
    // Once it is due, there is room again.
    let later = Fine::from_nanos(SECOND + 7200 * SECOND);
    assert_eq!(limit.take(Key(dice.roll(u64::MAX)), later), Pace::Now);
}

#[test]
fn who_has_asked_nothing_lately_makes_room() {
    let mut dice = Dice(0xbee5);
    let limit = limit(1000, Duration::from_secs(1), 1);
    for number in 0..200_000 {
        // Each is forgotten a millisecond later, and there are a hundred in one.
        let now = Fine::from_nanos(SECOND + number * 10_000);
        assert_eq!(limit.take(Key(dice.roll(u64::MAX)), now), Pace::Now);
    }
    assert!(limit.slots.room() < 65_536, "{}", limit.slots.room());
}

#[test]
fn a_source_is_what_it_is_said_to_be() {
    let of = |by: By, together: bool, router: &str, host: &str, header: &str| {
        let mut exchange = test_util::exchange(&format!("GET http://{host}/"));
        exchange.peer.address = std::net::SocketAddr::new(header.parse().unwrap(), 1);
        exchange.request.headers.insert("x-key", header.parse().unwrap());
        Sources { by, together }.key(&ObjectName::new(router, "test"), &exchange)
    };
    let header = || By::Header("x-key".parse().unwrap());
    for by in [By::Client(ClientStrategy::PEER), header()] {
        let of = |router, host, header| of(by.clone(), false, router, host, header);
        assert_eq!(of("r", "a", "10.0.0.1"), of("r", "b", "10.0.0.1"));
        assert_ne!(of("r", "a", "10.0.0.1"), of("r", "a", "10.0.0.2"));
        assert_ne!(of("r", "a", "10.0.0.1"), of("s", "a", "10.0.0.1"), "each router by itself");
    }
    assert_eq!(of(By::Host, false, "r", "a", "::1"), of(By::Host, false, "r", "A.:80", "10.0.0.1"));
    assert_ne!(
        of(By::Host, false, "r", "a", "10.0.0.1"),
        of(By::Host, false, "r", "b", "10.0.0.1")
    );
    assert_eq!(of(header(), true, "r", "a", "10.0.0.1"), of(header(), true, "s", "a", "10.0.0.1"));
}

#[test]
fn a_limit_goes_on_unless_it_is_another() {
    let now = Fine::from_nanos(SECOND);
    let old = limit(1, Duration::from_secs(60), 1);
    old.tally.refused.increment();
    assert_eq!(old.take(Key(1), now), Pace::Now);
    for (average, expected) in [(1, Pace::Never(Duration::from_secs(60))), (2, Pace::Now)] {
        let mut new = limit(average, Duration::from_secs(60), 1);
        new.go_on(&old);
        assert_eq!(new.take(Key(1), now), expected);
        assert_eq!(new.tally.refused.value(), 1);
    }
}

#[test]
fn a_refusal_says_when_to_come_again() {
    let reply = RateLimit::refusal(Duration::from_micros(1_200_100));
    assert_eq!(reply.status, 429);
    let header = |name: &str| {
        let line = reply.headers.iter().find(|(header, _)| header == name);
        line.map(|(_, value)| value.to_str().unwrap())
    };
    assert_eq!((header("retry-after"), header("x-retry-in")), (Some("2"), Some("1.201s")));
}
