//! By what requests are counted: into which buckets they go, and by which of their headers.
//!
//! **Invariant:** one request is counted by one tally, wherever it is counted.

use std::{
    cell::{Cell, Ref},
    sync::Arc,
};

use portolan_core::figure::{Answer, Buckets, Combination, Combinations, TrafficShard};

use crate::http::edge::Edge;

/// By what one request is counted.
pub(super) struct Tally<'a> {
    buckets: &'a Buckets,
    /// What is told apart now; `None`: nothing.
    combinations: Ref<'a, Option<Arc<Combinations>>>,
    combination: Combination,
    /// Whether there was no room to tell it apart.
    is_beyond: Cell<bool>,
}

impl<'a> Tally<'a> {
    /// Of a request whose headers said this.
    pub(super) fn of(edge: &'a Edge, combination: Combination) -> Self {
        Self {
            buckets: &edge.config.ledger.buckets,
            combinations: edge.combinations.borrow(),
            combination,
            is_beyond: Cell::new(false),
        }
    }

    /// Counts the answer of an object.
    pub(super) fn count(&self, shard: &TrafficShard, answer: &Answer) {
        if let Some(combinations) = &*self.combinations
            && !shard.combine(answer.key, combinations, self.combination)
        {
            self.is_beyond.set(true);
        }
        shard.record(answer, self.buckets);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        if let Some(combinations) = &*self.combinations
            && self.is_beyond.get()
            && combinations.went_beyond()
        {
            tracing::warn!(
                limit = combinations.wanted().limit,
                "more combinations of values of `metrics.header-labels` than are told apart: the \
                 others are counted as `other` (`metrics.header-label-limit`)"
            );
        }
    }
}
