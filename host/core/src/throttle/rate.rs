//! How many requests a source may make in a time: Traefik's `rateLimit`.
//!
//! It is a bucket of `burst` tokens, into which one falls in each `period / average`; but what is kept
//! is one number, the moment at which the bucket is full again (GCRA, ITU-T I.371: the "theoretical arrival
//! time"), which says the same.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, header::RETRY_AFTER};

use super::{Key, Sources, Tally, slots::Slots, too_many};
use crate::{
    exchange::Reply,
    moment::{Fine, nanos},
};

const X_RETRY_IN: HeaderName = HeaderName::from_static("x-retry-in");

/// Traefik lets wait for half of the time between two requests, and no longer than this.
const LONGEST_WAIT: u64 = 500_000_000;

/// About so many requests may wait at a middleware; of one source no more than one ever does.
const MOST_WAITING: u64 = 1024;

/// How many requests there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// So many requests; at least one.
    pub average: u64,
    /// In this time; longer than nothing.
    pub period: Duration,
    /// So many may come at once, after a while without any; at least one.
    pub burst: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// It goes on.
    Now,
    /// It goes on after this time.
    After(Duration),
    /// It is refused: it would have to wait for this time.
    Never(Duration),
}

/// A limit, and what sources have left of it. Copies are about the same sources.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// How much each may ask.
    pub rate: Rate,
    /// Whose requests are counted together.
    pub sources: Sources,
    /// What it has done.
    pub tally: Arc<Tally>,
    pub(super) slots: Arc<Slots>,
}

impl Rate {
    /// Nanoseconds between two requests.
    fn interval(&self) -> u64 {
        (nanos(self.period) / self.average.max(1)).max(1)
    }

    /// Who has to wait no longer than this does; Traefik's `maxDelay`.
    fn patience(&self) -> u64 {
        (self.interval() / 2).min(LONGEST_WAIT)
    }

    /// How long a request has to wait that comes now, and the moment at which the share is whole again
    /// after it, if it was to be at `due`.
    fn next(&self, due: u64, now: u64) -> (u64, u64) {
        let (interval, due) = (self.interval(), due.max(now));
        let ahead = interval.saturating_mul(self.burst.max(1) - 1);
        ((due - now).saturating_sub(ahead), due.saturating_add(interval))
    }
}

impl RateLimit {
    /// A limit of which nobody has used anything.
    pub fn new(rate: Rate, sources: Sources) -> Self {
        Self { rate, sources, tally: Arc::default(), slots: Arc::default() }
    }

    /// Whether limit and sources make sense; a sentence in lower case if not.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.rate {
            Rate { average: 0, .. } => Err("an average of 0 lets nobody through".to_owned()),
            Rate { burst: 0, .. } => Err("a burst of 0 lets nobody through".to_owned()),
            Rate { period: Duration::ZERO, .. } => Err("a period lasts some time".to_owned()),
            _ => Ok(()),
        }
    }

    /// Goes on where another stopped that was in its place. Who had used its share of another limit begins
    /// anew.
    pub(crate) fn go_on(&mut self, before: &Self) {
        self.tally = before.tally.clone();
        if (self.rate, &self.sources) == (before.rate, &before.sources) {
            self.slots = before.slots.clone();
        }
    }

    /// Whether a request of a source goes on, which is counted if it does.
    pub fn take(&self, key: Key, now: Fine) -> Pace {
        let has_room = self.tally.waiting.value() < MOST_WAITING;
        let patience = if has_room { self.rate.patience() } else { 0 };
        let now = now.as_nanos();
        self.slots.charge(key, now, |due| {
            let (wait, next) = self.rate.next(due, now);
            let duration = Duration::from_nanos(wait);
            match wait {
                0 => (Some(next), Pace::Now),
                _ if wait <= patience => (Some(next), Pace::After(duration)),
                _ => (None, Pace::Never(duration)),
            }
        })
    }

    /// The answer to who would have to wait so long.
    pub fn refusal(wait: Duration) -> Reply {
        let after = HeaderValue::from(nanos(wait).div_ceil(1_000_000_000));
        let mut reply = too_many();
        reply.headers.push((RETRY_AFTER, after));
        let exactly = HeaderValue::try_from(in_words(wait)).ok();
        reply.headers.extend(exactly.map(|exactly| (X_RETRY_IN, exactly)));
        reply
    }
}

/// A duration as Go writes it (`1h2m3.5s`, `20ms`), in whole milliseconds from the next one on: what is shorter
/// would have a letter that no header should.
fn in_words(duration: Duration) -> String {
    let millis = nanos(duration).div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    let mut text = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    text.push_str(&seconds.to_string());
    if rest > 0 {
        text.push_str(format!(".{rest:03}").trim_end_matches('0'));
    }
    text + "s"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_duration_is_written_as_go_writes_it() {
        for (micros, text) in [
            (1, "1ms"),
            (999_000, "999ms"),
            (999_001, "1s"),
            (1_500_000, "1.5s"),
            (61_020_000, "1m1.02s"),
            (3_600_000_000, "1h0m0s"),
            (90_061_000_000, "25h1m1s"),
        ] {
            assert_eq!(super::in_words(Duration::from_micros(micros)), text);
        }
    }
}
