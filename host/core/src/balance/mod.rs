//! Which backend is next: smooth weighted round robin over the usable ones.
//!
//! **Invariant:** choosing takes no lock: it is one atomic addition and a look into a schedule
//! that was worked out when the service was built.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::backend::Backend;

/// The longest schedule, unless there are more backends than that. Weights that need a longer
/// one are rounded, but none to nothing.
const MAX_TURNS: u64 = 1024;

/// Chooses among the usable backends of a service.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Places of backends, each as often as its weight says, spread evenly.
    schedule: Box<[u32]>,
    position: AtomicUsize,
}

/// The backends that were tried for one request.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    first: u64,
    others: Vec<usize>,
}

impl Balancer {
    /// Works out the turns of the usable backends.
    pub fn new(backends: &[Backend]) -> Self {
        let weight = |backend: &Backend| if backend.is_usable() { backend.weight } else { 0 };
        Self { schedule: schedule(backends.iter().map(weight)), position: AtomicUsize::new(0) }
    }

    /// The same, going on where another stopped: otherwise a service that changes often would
    /// send most requests to its first backend.
    #[must_use]
    pub fn after(self, previous: &Self) -> Self {
        self.position.store(previous.position.load(Relaxed), Relaxed);
        self
    }

    /// The place of the next backend that was not tried; `None` if there is none.
    pub fn next(&self, tried: &Tried) -> Option<usize> {
        let turns = self.schedule.len();
        let turn = self.position.fetch_add(1, Relaxed).checked_rem(turns)?;
        let (before, after) = self.schedule.split_at_checked(turn)?;
        after
            .iter()
            .chain(before)
            .map(|place| *place as usize)
            .find(|place| !tried.contains(*place))
    }
}

impl Tried {
    /// Notes a backend.
    pub fn insert(&mut self, place: usize) {
        match u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)) {
            Some(bit) => self.first |= bit,
            None => self.others.push(place),
        }
    }

    /// Whether a backend was tried.
    pub fn contains(&self, place: usize) -> bool {
        match u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)) {
            Some(bit) => self.first & bit != 0,
            None => self.others.contains(&place),
        }
    }

    /// Whether none was tried.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.others.is_empty()
    }
}

/// Every backend's turns, spread evenly, as nginx does it: each turn, every backend earns its
/// share, and the richest pays for the turn.
fn schedule(weights: impl Iterator<Item = u32>) -> Box<[u32]> {
    let weights: Vec<(u32, u64)> =
        (0..).zip(weights.map(u64::from)).filter(|(_, weight)| *weight > 0).collect();
    let shares = reduced(&weights);
    if shares.iter().all(|(_, share)| *share == 1) {
        return shares.into_iter().map(|(place, _)| place).collect();
    }
    let turns: i64 = shares.iter().map(|(_, share)| share).sum();
    let mut purses: Vec<(i64, i64, u32)> =
        shares.into_iter().map(|(place, share)| (0, share, place)).collect();
    let next_turn = |_| {
        purses.iter_mut().for_each(|(purse, share, _)| *purse += *share);
        // Of equals the first, which `max_by_key` gives when it comes last.
        let (purse, _, place) = purses.iter_mut().rev().max_by_key(|(purse, ..)| *purse)?;
        *purse -= turns;
        Some(*place)
    };
    (0..turns).filter_map(next_turn).collect()
}

/// Weights in smallest numbers, and none so large that the schedule grows over its bound.
fn reduced(weights: &[(u32, u64)]) -> Vec<(u32, i64)> {
    let divisor = weights.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let total = weights.iter().map(|(_, weight)| weight / divisor).sum::<u64>();
    let bound = MAX_TURNS.max(weights.len() as u64);
    let share = |weight: u64| match total <= bound {
        true => weight / divisor,
        false => (weight / divisor * bound / total).max(1),
    };
    // A share is at most the weight, which is a u32.
    weights.iter().map(|&(place, weight)| (place, share(weight) as i64)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
