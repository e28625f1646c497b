//! When plugins are asked again that failed while they read the configuration of a middleware: a
//! trap or a time limit may have been the fault of that moment.

use std::{future::pending, time::Duration};

use portolan_core::assemble::Unsettled;
use tokio::time::{Instant, sleep_until};

/// The pause before whoever was not asked in one turn is asked in the next.
const NEXT: Duration = Duration::from_millis(100);
/// The first pause after a failure; each next one is the double.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// While a plugin is asked everything else waits, perhaps for a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// When to ask again.
#[derive(Debug)]
pub(super) struct Again {
    due: Option<Instant>,
    pause: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self { due: None, pause: FIRST_PAUSE }
    }
}

impl Again {
    /// A snapshot was made, with these plugins failing.
    pub(super) fn follow(&mut self, unsettled: Unsettled) {
        let now = Instant::now();
        match unsettled {
            Unsettled::Nothing => *self = Self::default(),
            Unsettled::NotAsked => {
                let next = now + NEXT;
                self.due = Some(self.due.map_or(next, |due| due.min(next)));
            }
            Unsettled::Failed if self.due.is_none() => {
                self.due = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            Unsettled::Failed => (),
        }
    }

    /// Returns when it is time to ask again. May be dropped and called anew.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// They are being asked now.
    pub(super) fn begin(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_while_a_plugin_goes_on_failing() {
        let mut again = Again::default();
        let mut pauses = Vec::new();
        let states = [Unsettled::NotAsked, Unsettled::NotAsked].into_iter();
        for unsettled in states.chain([Unsettled::Failed; 8]) {
            again.follow(unsettled);
            // Other snapshots in between change nothing.
            again.follow(unsettled);
            let begun = Instant::now();
            again.due().await;
            pauses.push(begun.elapsed().as_millis());
            again.begin();
        }
        let seconds = [5, 10, 20, 40, 80, 160, 300, 300].map(|it| it * 1000);
        // The clock of tokio goes by whole milliseconds.
        let rounded: Vec<_> = pauses.iter().map(|it| it / 10 * 10).collect();
        assert_eq!(rounded, [&[100, 100][..], &seconds].concat());
        again.follow(Unsettled::Nothing);
        again.follow(Unsettled::Failed);
        let begun = Instant::now();
        again.due().await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
