//! Which backend is next: smooth weighted round robin over the usable ones.
//!
//! **Invariant:** choosing takes no lock: it is one atomic addition and a look into a schedule
//! that was worked out when the service was built.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::backend::Backend;

/// The longest schedule, unless there are more backends than that. Weights that need a longer
/// one are rounded, but none to nothing.
const MAX_TURNS: u64 = 4096;

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

/// Every backend's turns, spread evenly: the next turn is always that of the backend whose share
/// falls due first.
fn schedule(weights: impl Iterator<Item = u32>) -> Box<[u32]> {
    let weights: Vec<(u32, u64)> = (0..)
        .zip(weights)
        .filter(|(_, weight)| *weight > 0)
        .map(|(place, weight)| (place, weight.into()))
        .collect();
    let shares = reduced(&weights);
    let turns = shares.iter().map(|(_, share)| share).sum::<u64>();
    // Turn k of a backend with share s falls due at (2k + 1) / 2s; `scale` makes that whole.
    let due = |k: u64, share: u64| (2 * k + 1) * (1 << 32) / share;
    let mut heap: BinaryHeap<_> = shares
        .iter()
        .map(|&(place, share)| Reverse((due(0, share), Reverse(share), place, 0)))
        .collect();
    let mut schedule = Vec::with_capacity(turns as usize);
    while let Some(Reverse((_, Reverse(share), place, k))) = heap.pop() {
        schedule.push(place);
        if k + 1 < share {
            heap.push(Reverse((due(k + 1, share), Reverse(share), place, k + 1)));
        }
    }
    schedule.into()
}

/// Weights in smallest numbers, and none so large that the schedule grows over its bound.
fn reduced(weights: &[(u32, u64)]) -> Vec<(u32, u64)> {
    let divisor = weights.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let total = weights.iter().map(|(_, weight)| weight / divisor).sum::<u64>();
    let bound = MAX_TURNS.max(weights.len() as u64);
    let share = |weight: u64| match total <= bound {
        true => weight / divisor,
        false => (weight / divisor * bound / total).max(1),
    };
    weights.iter().map(|&(place, weight)| (place, share(weight))).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
