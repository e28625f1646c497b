//! Catalog providers.

use crate::{Failure, Found, Notice, Plugin, Step, Update, Wanted};

/// A source of services, routers and middlewares. The host owns the loop, the clock, the back-off
/// and the last good state; the provider owns one step.
pub trait Provider: Plugin {
    /// One step. Without a cursor the answer is an [`Update::Snapshot`] or an [`Update::Excerpt`]; with the cursor of the
    /// step before, it is what changed since. May wait up to `wait_ms` for news, should return as
    /// soon as there are some, and must return by then.
    ///
    /// # Errors
    ///
    /// [`Failure::Temporary`]: the last state stays and the host backs off and calls again.
    /// [`Failure::Resync`]: the cursor is no longer good, the host calls again without one.
    fn poll(&mut self, cursor: Option<Vec<u8>>, wait_ms: u32) -> Result<Step, Failure>;
}

/// A source that knows more than it reports, and looks it up when somebody asks. The host calls it
/// in another instance than the one that polls.
pub trait Lookup: Provider {
    /// Looks something up; `None`: there is no such thing. Somebody waits: three seconds are long.
    ///
    /// # Errors
    ///
    /// [`Failure::Temporary`] or any other: nobody can tell now.
    fn find(&mut self, wanted: Wanted) -> Result<Option<Found>, Failure>;
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
