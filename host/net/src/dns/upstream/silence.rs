//! Whether a connection that is open is one still: what is between may have forgotten it, and then
//! the kernel believes in it for a quarter of an hour.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// Since when nothing has come on a connection though something was asked on it.
#[derive(Debug, Default)]
pub(super) struct Silence(Cell<Option<Instant>>);

impl Silence {
    /// Something was asked.
    pub(super) fn asked(&self) {
        if self.0.get().is_none() {
            self.0.set(Some(Instant::now()));
        }
    }

    /// Something came, for whomever.
    pub(super) fn heard(&self) {
        self.0.set(None);
    }

    /// Whether it lasts longer than anybody should wait: the next question takes another
    /// connection. Those who wait on this one go on waiting.
    pub(super) fn lasts(&self, patience: Duration) -> bool {
        self.0.get().is_some_and(|since| since.elapsed() > patience)
    }
}
