//! Response rate limiting: who forges the address of a victim cannot make us shout at it.
//!
//! **Invariant:** the memory is fixed. Networks that share a place share their share too: strangers
//! may get less than they are due, never more.

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    net::IpAddr,
};

use hashbrown::DefaultHashBuilder;
use tokio::time::Instant;

use super::policy::RateLimit;

const PLACES: usize = 4096;

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowance {
    /// It is sent.
    Full,
    /// It is sent without answers, cut short.
    Short,
    /// It is not sent.
    Nothing,
}

/// How many replies each network has been sent lately.
pub(super) struct Limiter {
    hasher: DefaultHashBuilder,
    begin: Instant,
    places: RefCell<Box<[Place]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    second: u32,
    sent: u32,
    beyond: u32,
}

impl Limiter {
    pub(super) fn new() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            begin: Instant::now(),
            places: RefCell::new(vec![Place::default(); PLACES].into()),
        }
    }

    /// Counts a reply to a client.
    pub(super) fn ask(&self, limit: RateLimit, client: IpAddr, now: Instant) -> Allowance {
        let mut hasher = self.hasher.build_hasher();
        match client.to_canonical() {
            IpAddr::V4(client) => client.octets().get(..3).hash(&mut hasher),
            IpAddr::V6(client) => client.octets().get(..7).hash(&mut hasher),
        }
        let mut places = self.places.borrow_mut();
        let at = hasher.finish() as usize % PLACES;
        let Some(place) = places.get_mut(at) else { return Allowance::Full };
        let second = now.saturating_duration_since(self.begin).as_secs() as u32;
        if place.second != second {
            *place = Place { second, sent: 0, beyond: place.beyond };
        }
        if place.sent < limit.per_second {
            place.sent += 1;
            return Allowance::Full;
        }
        place.beyond = place.beyond.wrapping_add(1);
        match limit.slip {
            0 => Allowance::Nothing,
            slip if place.beyond.is_multiple_of(slip) => Allowance::Short,
            _ => Allowance::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_network_gets_its_share_of_each_second() {
        let limiter = Limiter::new();
        let limit = RateLimit { per_second: 3, slip: 2 };
        let ask = |client: &str| limiter.ask(limit, client.parse().unwrap(), Instant::now());
        use Allowance::{Full, Nothing, Short};
        let one = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].map(ask);
        assert_eq!(one, [Full, Full, Full, Nothing, Short]);
        assert_eq!(ask("2001:db8:1:2::1"), Full);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask("192.0.2.9"), Full);
    }
}
