//! Which backend is next.
//!
//! Reading order: `turns` shares turns among weights, `hash` tells clients apart, `sticky` reads and
//! writes the cookie that keeps a client where it is, and [`Balancer`] puts strategies together.
//!
//! **Invariant:** choosing takes no lock and allocates nothing: it is an atomic addition and a look
//! into tables that were worked out when the service was built. What was found out since then
//! (probes, failures, requests under way) is read from atomics.

mod hash;
mod sticky;
#[cfg(test)]
mod tests;
mod tried;
mod turns;

pub use hash::{address_key, key, mark, mix};
pub use sticky::{Cookie, cookie};
pub use tried::Tried;
pub use turns::Turns;
pub(crate) use turns::weighted;

use std::cell::Cell;

use crate::{
    backend::Backend,
    moment::{Moment, millis},
    policy::{LoadBalancer, Strategy},
    standing::{FULL, Probed, Standing},
};

/// How many backends are compared with each other: a bound on what one choice costs.
const COMPARED: usize = 32;
/// How many turns are passed over before whoever may is taken.
const PASSES: usize = 64;

/// Chooses among the backends of a service.
#[derive(Debug, Default)]
pub struct Balancer {
    strategy: Strategy,
    turns: Turns,
    /// The places that have turns, each once.
    places: Box<[u32]>,
    /// For hashing: what each of `places` is, whatever its place.
    seeds: Box<[u64]>,
    /// Whether one of `places` has another weight than the others.
    weighted: bool,
    /// Milliseconds.
    slow_start: Option<u64>,
    /// The most requests under way at one backend.
    limit: Option<u64>,
    /// In percent.
    panic_threshold: u8,
}

/// For what a backend is chosen.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Backends that are out of the question.
    pub tried: &'a Tried,
    /// Now.
    pub now: Moment,
    /// Who asks, as a number; where clients are told apart.
    pub key: u64,
    /// Who may be chosen.
    pub among: Among,
}

/// Who may be chosen, of those that were not tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Among {
    /// Whoever is not left alone, and where these are too few the others, too.
    #[default]
    All,
    /// Whoever is not left alone.
    Open,
    /// Those of whom no failure is known.
    Well,
}

/// Who is asked of those that are left alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Panic {
    /// Nobody: there are others.
    None,
    /// Who accepts connections: too few of those are left, so it is more likely that the failures are
    /// not theirs.
    Reachable,
    /// Everybody: no connection can be made to any.
    All,
}

impl Panic {
    /// Whether a backend that is left alone is asked all the same.
    pub fn asks(self, standing: &Standing, now: Moment) -> bool {
        match self {
            Self::None => false,
            Self::Reachable => !standing.is_unreachable(now),
            Self::All => true,
        }
    }
}

/// Whether a client may stay with a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stay {
    /// It may.
    Yes,
    /// It may, when there is room.
    Full,
    /// It goes elsewhere.
    No,
}

impl Balancer {
    /// Works out everything about a choice that does not depend on the moment.
    pub fn new(backends: &[Backend], options: &LoadBalancer) -> Self {
        let weight = |backend: &Backend| if backend.is_usable() { backend.weight } else { 0 };
        let turning = || (0..).zip(backends).filter(|(_, backend)| weight(backend) > 0);
        let mut weights = turning().map(|(_, backend)| backend.weight);
        let first = weights.next();
        let seed = |backend: &Backend| match backend.place() {
            (scheme, authority, None) => hash::key_of(&[scheme.as_str(), authority]),
            (scheme, authority, Some(path)) => hash::key_of(&[scheme.as_str(), authority, path]),
        };
        let seeds = match options.strategy {
            Strategy::Hashed => turning().map(|(_, backend)| seed(backend)).collect(),
            Strategy::RoundRobin | Strategy::TwoChoices | Strategy::LeastTime => Box::default(),
        };
        Self {
            strategy: options.strategy,
            weighted: weights.any(|weight| Some(weight) != first),
            turns: Turns::new(backends.iter().map(weight)),
            places: turning().map(|(place, _)| place).collect(),
            seeds,
            slow_start: options.slow_start.map(millis).filter(|time| *time > 0),
            limit: options.limits.max_requests_per_backend,
            panic_threshold: options.passive.panic_threshold,
        }
    }

    /// The same, going on where another stopped: otherwise a service that changes often would
    /// send most requests to its first backend.
    #[must_use]
    pub fn after(self, previous: &Self) -> Self {
        self.turns.go_on(&previous.turns);
        self
    }

    /// The place of the next backend; `None` if none may be asked.
    pub fn next(&self, backends: &[Backend], ask: &Ask<'_>) -> Option<usize> {
        let choice = self.choice(backends, ask);
        match self.strategy {
            Strategy::RoundRobin => choice.in_turn(),
            Strategy::TwoChoices => choice.of_two(),
            Strategy::LeastTime => choice.fastest(),
            Strategy::Hashed => choice.hashed(),
        }
    }

    /// Whether so many backends are left alone that nobody is who accepts connections.
    pub fn panic(&self, backends: &[Backend], now: Moment) -> Panic {
        let (mut well, mut reachable, mut open) = (0_usize, 0_usize, 0_usize);
        for backend in backends.iter().filter(|backend| backend.is_well()) {
            let standing = &backend.figures.standing;
            well += 1;
            reachable += usize::from(!standing.is_unreachable(now));
            open += usize::from(!standing.is_avoided(now));
        }
        match open * 100 < well * usize::from(self.panic_threshold) || open == 0 {
            false => Panic::None,
            true if reachable > 0 => Panic::Reachable,
            true => Panic::All,
        }
    }

    /// Whether a backend that a client wants to stay with may be asked. One whose weight is 0
    /// takes no new clients but keeps those it has.
    pub fn may_stay(&self, backends: &[Backend], place: usize, ask: &Ask<'_>) -> Stay {
        let healthy = backends.get(place).is_some_and(|backend| backend.health.is_usable());
        match healthy && self.choice(backends, ask).is_asked(place) {
            false => Stay::No,
            true if self.has_room(backends, place) => Stay::Yes,
            true => Stay::Full,
        }
    }

    /// Whether some backend may be asked, be it that it has no room just now.
    pub fn may_wait(&self, backends: &[Backend], ask: &Ask<'_>) -> bool {
        let choice = self.choice(backends, ask);
        self.places.iter().any(|place| choice.is_asked(*place as usize))
    }

    fn has_room(&self, backends: &[Backend], place: usize) -> bool {
        let Some(limit) = self.limit else { return true };
        backends.get(place).is_some_and(|backend| backend.figures.in_flight.value() < limit)
    }

    fn choice<'a>(&'a self, backends: &'a [Backend], ask: &'a Ask<'_>) -> Choice<'a> {
        let (panic, largest) = (Cell::new(None), Cell::new(None));
        Choice { balancer: self, backends, ask, panic, largest }
    }
}

/// One choice.
struct Choice<'a> {
    balancer: &'a Balancer,
    backends: &'a [Backend],
    ask: &'a Ask<'a>,
    /// Who is asked of those that are left alone; worked out when it is first asked.
    panic: Cell<Option<Panic>>,
    /// The largest share that somebody takes; worked out when it is first asked.
    largest: Cell<Option<u64>>,
}

impl Choice<'_> {
    /// Whether a backend may be asked now.
    fn may(&self, place: usize) -> bool {
        self.balancer.has_room(self.backends, place) && self.is_asked(place)
    }

    /// The same, whether it has room or not.
    fn is_asked(&self, place: usize) -> bool {
        let Some(backend) = self.backends.get(place) else { return false };
        let standing = &backend.figures.standing;
        if standing.probed() == Probed::Down || self.ask.tried.contains(place) {
            return false;
        }
        let now = self.ask.now;
        match self.ask.among {
            Among::All => !standing.is_avoided(now) || self.panic().asks(standing, now),
            Among::Open => !standing.is_avoided(now),
            Among::Well => !standing.has_failed(),
        }
    }

    fn panic(&self) -> Panic {
        if let Some(known) = self.panic.get() {
            return known;
        }
        let panic = self.balancer.panic(self.backends, self.ask.now);
        self.panic.set(Some(panic));
        panic
    }

    /// The share of a backend's traffic that it takes while it starts.
    fn share(&self, place: usize) -> u64 {
        match (self.balancer.slow_start, self.backends.get(place)) {
            (Some(time), Some(backend)) => backend.figures.standing.share(self.ask.now, time),
            _ => FULL,
        }
    }

    /// The largest share among those who may be asked: where all of them start, nobody is there to
    /// spare them, and they share as if none did. Of very many a sample, spread over all.
    fn largest(&self, number: u64) -> u64 {
        if let Some(known) = self.largest.get() {
            return known;
        }
        let places = &self.balancer.places;
        let step = places.len().div_ceil(COMPARED).max(1);
        let sample = places.iter().skip(number as usize % step).step_by(step);
        let usable = sample.map(|place| *place as usize).filter(|place| self.may(*place));
        let mut largest = 0;
        for share in usable.map(|place| self.share(place)) {
            largest = largest.max(share);
            if largest >= FULL {
                break;
            }
        }
        self.largest.set(Some(largest));
        largest
    }

    /// Whether one takes its turn. One that starts passes turns over at random, so that it is not
    /// always the same client's.
    fn takes(&self, place: usize, number: u64) -> bool {
        if self.balancer.slow_start.is_none() {
            return true;
        }
        let share = self.share(place);
        share >= FULL || mix(number) % self.largest(number).max(share) < share
    }

    /// Who may not be asked loses the turn to the next: the others share it as weights say.
    fn in_turn(&self) -> Option<usize> {
        let turns = &self.balancer.turns;
        for _ in 0..turns.len().min(PASSES) {
            let (number, place) = turns.next()?;
            if self.may(place) && self.takes(place, number) {
                return Some(place);
            }
        }
        // By lot, not the first who may: after the same number of turns that is always the same.
        let (number, _) = turns.next()?;
        self.drawn(number, |place| self.may(place))
    }

    /// Requests under way, and `more`, for the share of the traffic.
    fn load(&self, place: usize, more: u64) -> u64 {
        let Some(backend) = self.backends.get(place) else { return u64::MAX };
        let under_way = backend.figures.in_flight.value() + more;
        let weight = u64::from(backend.weight) * self.share(place);
        under_way.saturating_mul(FULL << 24) / weight.max(1)
    }

    /// Two are drawn by weight, and the one with less to do is taken; of two that are idle the
    /// first, so that weights hold.
    fn of_two(&self) -> Option<usize> {
        let turns = &self.balancer.turns;
        let (number, _) = turns.next()?;
        let takes =
            |(random, place): &(u64, usize)| self.may(*place) && self.takes(*place, *random);
        let first = self.draws(number).find(takes).map(|(_, place)| place);
        let first = first.or_else(|| self.drawn(number, |place| self.may(place)))?;
        let other = |place| place != first && self.may(place);
        // One that starts has always less to do than its share: it is compared that often only.
        let second = self.drawn(!number, other).filter(|place| self.takes(*place, !number));
        match second {
            Some(second) if self.load(second, 0) < self.load(first, 0) => Some(second),
            _ => Some(first),
        }
    }

    /// A place that is drawn by weight from those that may be: who may not is drawn again, so that
    /// its turns do not all go to its neighbour.
    fn drawn(&self, seed: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
        let drawn = self.draws(seed).map(|(_, place)| place).find(|place| may(*place));
        drawn.or_else(|| self.balancer.turns.ahead().find(|place| may(*place)))
    }

    /// Places that are drawn by weight, each with the number that it was drawn by.
    fn draws(&self, seed: u64) -> impl Iterator<Item = (u64, usize)> {
        let draws = (0..PASSES as u64).map(move |draw| mix(mix(seed) ^ draw));
        draws.filter_map(|random| {
            let place = self.balancer.turns.starting(random as usize).next()?;
            Some((random, place))
        })
    }

    /// The time that a request would take there: what answers take, for all that are under way.
    fn fastest(&self) -> Option<usize> {
        let places = &self.balancer.places;
        let (number, _) = self.balancer.turns.next()?;
        let start = (number as usize).checked_rem(places.len())?;
        let (before, after) = places.split_at_checked(start)?;
        let compared = || {
            let all = after.iter().chain(before).map(|place| *place as usize);
            all.filter(|place| self.may(*place)).take(COMPARED)
        };
        let known = |place: usize| self.backends.get(place)?.figures.standing.latency(self.ask.now);
        // Of whom nothing is known, it is thought that he is like the others.
        let (sum, count) =
            compared().filter_map(known).fold((0_u64, 0), |(sum, n), time| (sum + time, n + 1));
        let usual = sum.checked_div(count).unwrap_or(1).max(1);
        // Of equals the first, which `min_by_key` gives; where it begins goes round.
        compared().min_by_key(|place| {
            let time = known(*place).unwrap_or(usual);
            u128::from(time) * u128::from(self.load(*place, 1))
        })
    }

    /// Every backend draws a number for this client, and the highest wins: when one goes, only its
    /// own clients go elsewhere (rendezvous hashing, Thaler and Ravishankar).
    fn hashed(&self) -> Option<usize> {
        let balancer = self.balancer;
        let draws = balancer.places.iter().zip(&balancer.seeds);
        let draws = draws.map(|(place, seed)| (*place as usize, mix(self.ask.key ^ seed)));
        if !balancer.weighted {
            let mut best: Option<(u64, usize)> = None;
            for (place, number) in draws {
                // Only who would win is looked at more closely: few of many.
                if best.is_none_or(|(known, _)| number > known) && self.may(place) {
                    best = Some((number, place));
                }
            }
            return best.map(|(_, place)| place);
        }
        let mut best: Option<(f64, usize)> = None;
        for (place, number) in draws {
            let weight = self.backends.get(place).map_or(0, |backend| backend.weight);
            let score = weighted(number, weight);
            if best.is_none_or(|(known, _)| score > known) && self.may(place) {
                best = Some((score, place));
            }
        }
        best.map(|(_, place)| place)
    }
}
