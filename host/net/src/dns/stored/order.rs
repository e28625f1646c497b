//! Answers of which none is better than the others: who asks gets them in another order each time, as
//! from our own zones.

use portolan_core::zone::{QUESTION_POINTER, RecordType};

use super::{
    super::message::{Section, number},
    Place, Stored, rtype_of,
};

impl Stored {
    /// From now on its answers stand in another order each time. Those of an alias cannot: they stand
    /// behind it, and lead to each other.
    pub(in crate::dns) fn shuffled(self) -> Self {
        let is_asked = |place: &Place| {
            let start = usize::from(place.start);
            self.wire.get(start..start + QUESTION_POINTER.len()) == Some(&QUESTION_POINTER)
        };
        let is_shuffled = self.split().0.iter().all(is_asked);
        Self { is_shuffled, ..self }
    }

    /// The same, if they are nothing but addresses of the name that was asked for. Others may have names
    /// in them that lead from one to another, or signatures.
    pub(in crate::dns) fn shuffled_if_addresses(self) -> Self {
        let is_address = |rtype| matches!(rtype, RecordType::A | RecordType::AAAA);
        let is_asked = |place: &Place| rtype_of(&self.wire, place) == Some(self.rtype);
        match is_address(self.rtype) && self.split().0.iter().all(is_asked) {
            true => self.shuffled(),
            false => self,
        }
    }

    /// The answers, and what stands behind them.
    fn split(&self) -> (&[Place], &[Place]) {
        self.records
            .split_at(self.records.partition_point(|place| place.section == Section::Answer))
    }

    /// The records, their answers in an order that a random number chooses; 0: as they came.
    pub(super) fn in_order(&self, random: u32) -> impl Iterator<Item = &Place> {
        let (answers, others) = self.split();
        shuffled(answers, random).chain(others)
    }

    /// Where the owner of a record behind the answers stands in that order, if it is the target of one
    /// of them.
    pub(super) fn owner_in(&self, random: u32, record: &[u8]) -> Option<usize> {
        const POINTER: u16 = 0xc000;
        let pointer = number(record, 0).filter(|pointer| pointer & POINTER == POINTER)?;
        let (owner, (answers, _)) = (pointer & !POINTER, self.split());
        let mut at = usize::from(answers.first()?.start);
        for place in shuffled(answers, random) {
            if (place.start..place.end).contains(&owner) {
                return Some(at + usize::from(owner - place.start));
            }
            at += usize::from(place.end - place.start);
        }
        None
    }
}

/// Each is as often the first as any other, and the second does not depend on the first.
fn shuffled(answers: &[Place], random: u32) -> impl Iterator<Item = &Place> {
    let count = answers.len().max(1);
    let first = (random >> 16) as usize % count;
    let (before, after) = answers.split_at((random & 0xffff) as usize % count);
    let rotated = (after.iter().chain(before))
        .filter(move |place| answers.get(first).is_some_and(|first| first.start != place.start));
    answers.get(first).into_iter().chain(rotated)
}
