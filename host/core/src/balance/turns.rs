//! Turns, shared as weights say and spread evenly: smooth weighted round robin.
//!
//! **Invariant:** a turn is one atomic addition and a look into a schedule, so threads share turns
//! without waiting for each other.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The longest schedule, unless there are more places than that. Weights that need a longer
/// one are rounded, but none to nothing.
pub(super) const MAX_TURNS: u64 = 1024;

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    /// Places, each as often as its weight says, spread evenly.
    pub(super) schedule: Box<[u32]>,
    position: AtomicUsize,
}

impl Turns {
    /// Works out the turns of places with these weights.
    pub fn new(weights: impl Iterator<Item = u32>) -> Self {
        Self { schedule: schedule(weights), position: AtomicUsize::new(0) }
    }

    /// Goes on where another stopped.
    pub(super) fn go_on(&self, previous: &Self) {
        self.position.store(previous.position.load(Relaxed), Relaxed);
    }

    /// The same, going on where another stopped.
    #[must_use]
    pub fn after(self, previous: &Self) -> Self {
        self.go_on(previous);
        self
    }

    /// How many turns there are until they come again.
    pub(super) fn len(&self) -> usize {
        self.schedule.len()
    }

    /// The number of the next turn, and whose it is; `None` if nobody has turns.
    pub(super) fn next(&self) -> Option<(u64, usize)> {
        let turn = self.position.fetch_add(1, Relaxed);
        let place = self.schedule.get(turn.checked_rem(self.schedule.len())?)?;
        Some((turn as u64, *place as usize))
    }

    /// The next place that may have a turn. Who may not loses it to the next.
    pub fn next_that(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let passed = (0..self.len()).map_while(|_| self.next()).map(|(_, place)| place);
        passed.into_iter().find(|place| may(*place))
    }

    /// All turns from the next one on, without taking any.
    pub(super) fn ahead(&self) -> impl Iterator<Item = usize> + '_ {
        self.starting(self.position.load(Relaxed))
    }

    /// All turns from one on.
    pub(super) fn starting(&self, start: usize) -> impl Iterator<Item = usize> + '_ {
        let start = start.checked_rem(self.schedule.len()).unwrap_or(0);
        let (before, after) = self.schedule.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).map(|place| *place as usize)
    }
}

/// The score of a place that drew a number, such that the highest score is as often one's own as
/// the weight says (weighted rendezvous hashing).
pub(crate) fn weighted(number: u64, weight: u32) -> f64 {
    // From 0 to 1, neither of them: 53 bits are exact.
    let drawn = ((number >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(weight) / -drawn.ln()
}

/// Every backend's turns, spread evenly, as nginx does it: each turn, every backend earns its
/// share, and the richest pays for the turn.
fn schedule(weights: impl Iterator<Item = u32>) -> Box<[u32]> {
    let weights: Vec<(u32, u64)> =
        (0..).zip(weights.map(u64::from)).filter(|(_, weight)| *weight > 0).collect();
    if let [(place, _)] = *weights {
        return [place].into();
    }
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
