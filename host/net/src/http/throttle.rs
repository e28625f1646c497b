//! Whether a source has asked too much: core counts, here is the clock.

use std::time::{Duration, Instant};

use portolan_core::{
    exchange::{Exchange, Reply},
    moment::Fine,
    router::Router,
    throttle::{InFlightLimit, Pace, RateLimit, Tally},
};

use super::account::Account;

/// What an action that counts says to a request.
pub(crate) enum Turn<'a> {
    /// It goes on.
    Now,
    /// It goes on a little later.
    Later(Wait<'a>),
    /// It is answered.
    Never(Reply),
}

/// A pause of a request. It counts among those that wait until it is over, or the client is gone.
pub(crate) struct Wait<'a> {
    duration: Duration,
    tally: &'a Tally,
}

/// Whether a request to a router comes at a time when its source may ask.
pub(crate) fn pace<'a>(limit: &'a RateLimit, router: &Router, exchange: &Exchange) -> Turn<'a> {
    let key = limit.sources.key(&router.name, exchange);
    match limit.take(key, Fine::of(Instant::now())) {
        Pace::Now => Turn::Now,
        Pace::After(duration) => Turn::Later(Wait::begin(duration, &limit.tally)),
        Pace::Never(wait) => {
            limit.tally.refused.increment();
            Turn::Never(RateLimit::refusal(wait))
        }
    }
}

/// Whether a request to a router gets a place among those under way. It goes to its account, and is given
/// back with that.
pub(crate) fn place<'a>(
    limit: &InFlightLimit,
    router: &Router,
    exchange: &Exchange,
    account: &mut Account,
) -> Turn<'a> {
    match limit.take(limit.sources.key(&router.name, exchange)) {
        Some(held) => {
            account.hold(held);
            Turn::Now
        }
        None => {
            limit.tally.refused.increment();
            Turn::Never(InFlightLimit::refusal())
        }
    }
}

impl<'a> Wait<'a> {
    fn begin(duration: Duration, tally: &'a Tally) -> Self {
        tally.waiting.increment();
        Self { duration, tally }
    }

    /// Waits until it is over.
    pub(crate) async fn over(self) {
        tokio::time::sleep(self.duration).await;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.tally.waiting.decrement();
    }
}
