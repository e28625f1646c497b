//! By what requests are told apart: status, method and protocol, or the class of status, and what their
//! headers say, where that is wanted.
//!
//! **Invariant:** whatever requests are told apart by, all of them are there.

use std::{borrow::Cow, collections::BTreeMap};

use portolan_core::figure::{AnswerKey, Combinations, TrafficFigures};

use super::page::Labels;

pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// By which headers requests are told apart.
pub(super) struct Apart<'a> {
    by: &'a Combinations,
    /// By the number of a combination.
    values: Vec<&'a [Box<str>]>,
}

impl<'a> Apart<'a> {
    pub(super) fn by(by: &'a Combinations) -> Self {
        Self { by, values: by.values() }
    }

    /// Requests of an object by status, method and protocol.
    pub(super) fn by_kind(
        &self,
        of: &Labels<'a>,
        figures: &TrafficFigures,
    ) -> Vec<(Labels<'a>, u64)> {
        self.rows(figures, |key| key, |key| kind(of, key))
    }

    /// Requests of an object by class of status.
    pub(super) fn by_class(
        &self,
        of: &Labels<'a>,
        figures: &TrafficFigures,
    ) -> Vec<(Labels<'a>, u64)> {
        self.rows(figures, |key| CLASSES[key.class() - 1], |it| class(of, it))
    }

    /// What it says of one combination; `None`: it came a moment ago, and is told the next time.
    fn labels(&self, number: u32) -> Option<impl Iterator<Item = (&'a str, Cow<'a, str>)>> {
        let values = *self.values.get(number as usize)?;
        let labels = self.by.wanted().labels.iter().zip(values);
        Some(labels.map(|(label, value)| (&*label.name, Cow::from(&**value))))
    }

    /// Rows by anything that kinds of answers have in common.
    fn rows<K: Ord>(
        &self,
        figures: &TrafficFigures,
        of: impl Fn(AnswerKey) -> K,
        labels: impl Fn(K) -> Labels<'a>,
    ) -> Vec<(Labels<'a>, u64)> {
        let mut sum = BTreeMap::<_, u64>::new();
        for ((key, number), count) in figures.combined(self.by) {
            *sum.entry((of(key), number)).or_default() += count;
        }
        let rows = sum.into_iter().filter_map(|((key, number), count)| {
            let said = self.labels(number)?;
            Some((labels(key).into_iter().chain(said).collect(), count))
        });
        rows.collect()
    }
}

/// The labels of an object and those of a kind of answer.
pub(super) fn kind<'a>(of: &Labels<'a>, key: AnswerKey) -> Labels<'a> {
    let kind = [
        ("code", key.code.to_string().into()),
        ("method", key.method.as_str().into()),
        ("protocol", key.protocol.as_str().into()),
    ];
    and(of, kind)
}

/// The labels of an object and that of a class.
pub(super) fn class<'a>(of: &Labels<'a>, class: &'static str) -> Labels<'a> {
    and(of, [("class", class.into())])
}

/// Labels and more of them.
pub(super) fn and<'a, const N: usize>(
    of: &Labels<'a>,
    more: [(&'static str, Cow<'a, str>); N],
) -> Labels<'a> {
    of.iter().cloned().chain(more).collect()
}
