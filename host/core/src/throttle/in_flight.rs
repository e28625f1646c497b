//! How many requests of a source may be under way at once: Traefik's `inFlightReq`.

use std::sync::Arc;

use super::{
    Key, Sources, Tally,
    seats::{Held, Seats},
    too_many,
};
use crate::exchange::Reply;

/// A limit, and the requests that are under way. Copies are about the same requests.
#[derive(Clone, Debug)]
pub struct InFlightLimit {
    /// So many requests of a source; at least one.
    pub amount: u64,
    /// Whose requests are counted together.
    pub sources: Sources,
    /// What it has done.
    pub tally: Arc<Tally>,
    pub(super) seats: Arc<Seats>,
}

impl InFlightLimit {
    /// A limit without any requests.
    pub fn new(amount: u64, sources: Sources) -> Self {
        Self { amount, sources, tally: Arc::default(), seats: Arc::default() }
    }

    /// Whether it makes sense; a sentence in lower case if not.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.amount {
            0 => Err("an amount of 0 lets nobody through".to_owned()),
            _ => Ok(()),
        }
    }

    /// Goes on where another stopped that was in its place: what is under way there counts, whatever the
    /// amount. After one that was no good it begins anew. Sources that are told apart otherwise are others.
    pub(crate) fn go_on(&mut self, before: &Self) {
        self.tally = before.tally.clone();
        if self.sources == before.sources {
            self.seats = before.seats.clone();
        }
    }

    /// A place for a request of a source, until that is dropped; `None`: there is none.
    pub fn take(&self, key: Key) -> Option<Held> {
        self.seats.take(key, self.amount)
    }

    /// The answer to one for which there is none.
    pub fn refusal() -> Reply {
        too_many()
    }
}
