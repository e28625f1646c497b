//! When a certificate is renewed, and when a failed order is tried again.

use std::{
    hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState},
    time::{Duration, SystemTime},
};

use crate::tls::Certificate;

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// However long a certificate lives, it is not renewed earlier before its end than this.
const EARLIEST: Duration = Duration::from_secs(30 * DAY);
/// The part of a certificate's life over which renewals are spread: one in so many.
const SPREAD: u32 = 30;

/// Seconds until the next attempt, after so many failures in a row, when the authority said no.
/// Let's Encrypt bears five refusals of a name per hour.
const REFUSED: [u64; 8] =
    [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY];
/// The same when it did not come to an answer, which costs the authority nothing.
const UNREACHABLE: [u64; 6] = [5, 10, 30, MINUTE, 5 * MINUTE, 10 * MINUTE];
/// The same when it is not done yet: its answer is fetched later, and nothing ordered anew.
const SLOW: [u64; 5] = [MINUTE / 2, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR];

/// How an order failed, as far as the next attempt is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::tls) enum Failure {
    /// The authority, or our storage, could not be asked.
    Unreachable,
    /// The authority needs longer than we stayed for.
    Slow,
    /// The authority said no.
    Refused,
    /// The authority said that it was too much.
    Limited,
}

/// When a certificate is renewed: after two thirds of its life, but at most thirty days before its
/// end, and a little earlier by chance, so that certificates made together are not renewed
/// together. All nodes and restarts come to the same moment.
pub(super) fn renewal(certificate: &Certificate) -> SystemTime {
    let life = certificate.life();
    let before_end = (life / 3).min(EARLIEST);
    let mut hasher = DefaultHasher::new();
    certificate.facts.serial.hash(&mut hasher);
    let chance = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    certificate.facts.not_after - before_end - (life / SPREAD).mul_f64(chance)
}

/// How long nothing is ordered after a certificate that is due as soon as it comes; `None`: it is
/// not. Without it a wrong clock, or an odd authority, would mean one order after the other.
pub(super) fn respite(certificate: &Certificate, now: SystemTime) -> Option<Duration> {
    let tenth = certificate.life() / 10;
    let left = renewal(certificate).duration_since(now).unwrap_or_default();
    (left < tenth || tenth.is_zero()).then(|| tenth.max(Duration::from_secs(HOUR)))
}

/// How long to wait after a number of failures in a row; the last one counts. `wanted` is what the
/// authority asked for.
pub(super) fn pause(failure: Failure, failures: u32, wanted: Option<Duration>) -> Duration {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let steps: &[u64] = match failure {
        Failure::Unreachable => &UNREACHABLE,
        Failure::Slow => &SLOW,
        Failure::Refused => &REFUSED,
        Failure::Limited => &[HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY],
    };
    let step = steps.get(place).or_else(|| steps.last()).copied().unwrap_or(DAY);
    let step = Duration::from_secs(step).max(wanted.unwrap_or_default().min(EARLIEST));
    // Up to a quarter longer: nodes that failed together shall not come back together.
    let chance = RandomState::new().hash_one(step) % 1000;
    step + step.mul_f64(chance as f64 / 4000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::living;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_or_thirty_days_before_its_end() {
        for (days, from, to) in [(90, 57, 60), (365, 322, 335), (6, 3, 4)] {
            let now = SystemTime::now();
            let certificate = living(now, Duration::from_secs(days * DAY));
            let moment = renewal(&certificate).duration_since(now).unwrap().as_secs();
            // Certificates know no fractions of a second.
            let range = from * DAY - 1..=to * DAY + 1;
            assert!(range.contains(&moment), "{days}: {}", moment / DAY);
        }
    }

    #[test]
    fn one_that_is_due_when_it_comes_is_given_time() {
        let now = SystemTime::now();
        let day = Duration::from_secs(DAY);
        let respite = |age: u32, life| respite(&living(now - age * day, life), now);
        assert_eq!(respite(0, 90 * day), None);
        assert_eq!(respite(70, 90 * day), Some(9 * day));
        // Nine seconds are enough to be renewed in time.
        assert_eq!(respite(0, Duration::from_secs(9)), None);
        assert_eq!(respite(1, Duration::from_secs(9)), Some(Duration::from_secs(HOUR)));
    }

    #[test]
    fn pauses_grow_and_the_authority_is_obeyed() {
        let seconds = |failure, failures, wanted| {
            pause(failure, failures, Option::map(wanted, Duration::from_secs)).as_secs()
        };
        assert!((5..=7).contains(&seconds(Failure::Unreachable, 1, None)));
        assert!((30..=38).contains(&seconds(Failure::Slow, 1, None)));
        assert!((600..=750).contains(&seconds(Failure::Slow, 1, Some(600))));
        assert!((60..=75).contains(&seconds(Failure::Refused, 1, None)));
        assert!((DAY..=DAY * 5 / 4).contains(&seconds(Failure::Refused, 99, None)));
        assert!((HOUR..=HOUR * 5 / 4).contains(&seconds(Failure::Limited, 1, None)));
        assert!((7200..=9000).contains(&seconds(Failure::Limited, 1, Some(7200))));
    }
}
