//! Catalog providers.

use crate::{Failure, Notice, Plugin, Step, Update};

/// A source of services, routers and middlewares. The host owns the loop, the clock, the back-off
/// and the last good state; the provider owns one step.
pub trait Provider: Plugin {
    /// One step. Without a cursor the answer is an [`Update::Snapshot`]; with the cursor of the
    /// step before, it is what changed since. May wait up to `wait_ms` for news, should return as
    /// soon as there are some, and must return by then.
    ///
    /// # Errors
    ///
    /// [`Failure::Temporary`]: the last state stays and the host backs off and calls again.
    /// [`Failure::Resync`]: the cursor is no longer good, the host calls again without one.
    fn poll(&mut self, cursor: Option<Vec<u8>>, wait_ms: u32) -> Result<Step, Failure>;
}

impl Step {
    /// A step to be followed by the next at once.
    pub fn new(update: Update, cursor: Vec<u8>, notices: Vec<Notice>) -> Self {
        Self { update, cursor, notices, next_poll_ms: 0 }
    }
}

impl Notice {
    /// Something that was left out: where it stands, and why, in one sentence in lower case
    /// without a full stop.
    pub fn new(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), message: message.into() }
    }
}
