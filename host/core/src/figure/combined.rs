//! Requests of one object on one worker, told apart by what their headers say.
//!
//! They are counted beside what is counted anyway, and what is not told apart is counted here too: so
//! all of it together is as much as there.
//!
//! **Invariant:** what is counted never becomes less while one configuration lasts, whatever it is told
//! apart by; a reading that does would be taken for a restart.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    Counter,
    cells::Cells,
    combination::{Combination, Combinations, OTHERS},
};

/// Combinations are few, as a rule, and have the first numbers: room for them is made in pieces.
const PIECE: usize = 32;

type Kinds = Cells<Counter, 1>;
type Piece = [Kinds; PIECE];

/// Requests by combination and kind of answer.
#[derive(Debug)]
pub(super) struct Combined {
    combinations: Arc<Combinations>,
    /// What was counted before anything was told apart by these.
    before: Vec<(u32, u64)>,
    others: Kinds,
    pieces: Box<[OnceLock<Box<Piece>>]>,
    /// How many series it has, of those that there may be.
    series: AtomicU64,
}

impl Combined {
    pub(super) fn new(combinations: &Arc<Combinations>, before: Vec<(u32, u64)>) -> Self {
        let numbers = combinations.wanted().limit as usize + OTHERS as usize + 1;
        Self {
            combinations: combinations.clone(),
            before,
            others: Cells::default(),
            pieces: (0..numbers.div_ceil(PIECE)).map(|_| OnceLock::new()).collect(),
            series: AtomicU64::new(0),
        }
    }

    /// Whether it is these that are told apart.
    pub(super) fn is_of(&self, combinations: &Combinations) -> bool {
        std::ptr::eq(&*self.combinations, combinations)
    }

    /// Counts a request whose answer was of this kind. Answers whether there was room to tell it apart.
    pub(super) fn count(&self, kind: u32, combination: Combination) -> bool {
        let number = self.combinations.number_of(combination);
        let is_apart = Combinations::is_apart(number);
        let apart = if is_apart { self.counter(kind, number) } else { None };
        let is_beyond = apart.is_none() && number != OTHERS;
        apart.unwrap_or_else(|| self.others.get_or_make(kind, Counter::default)).increment();
        !is_beyond
    }

    /// The counter of a series; it is made if there is room.
    fn counter(&self, kind: u32, number: u32) -> Option<&Counter> {
        let number = number as usize;
        let place = self.pieces.get(number / PIECE)?;
        let known = place.get().and_then(|piece| piece[number % PIECE].get(kind));
        if known.is_some() {
            return known;
        }
        if !self.combinations.take_series() {
            return None;
        }
        self.series.fetch_add(1, Relaxed);
        let piece = place.get_or_init(Box::default);
        Some(piece[number % PIECE].get_or_make(kind, Counter::default))
    }

    /// How many requests there were: kind, number of the combination, count. One may come twice.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        let before = self.before.iter().map(|(kind, count)| (*kind, OTHERS, *count));
        let others = self.others.iter().map(|(kind, count)| (kind, OTHERS, count.value()));
        let pieces = self.pieces.iter().zip((0..).step_by(PIECE));
        let apart = pieces.filter_map(|(place, first)| Some((place.get()?, first)));
        let apart = apart.flat_map(|(piece, first)| piece.iter().zip(first..)).flat_map(
            |(kinds, number)| kinds.iter().map(move |(kind, count)| (kind, number, count.value())),
        );
        before.chain(others).chain(apart)
    }
}

impl Drop for Combined {
    fn drop(&mut self) {
        self.combinations.give_back(self.series.load(Relaxed));
    }
}
