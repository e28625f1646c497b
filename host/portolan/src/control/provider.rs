//! Runs a provider: step after step, with the host's clock and back-off.

use std::{sync::Arc, time::Duration};

use portolan_core::{
    item::Step,
    port::{PollError, Provider},
};
use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

use super::event::Event;

/// How long a step may wait for news. Short, because after a snapshot restore Consul hides changes
/// for one whole wait.
const WAIT: Duration = Duration::from_secs(55);
/// The first pause after a failure; each next one is the double.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A source that comes back should be noticed soon; asking costs one refused connection.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a runner reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// A step was made.
    Step(Step),
    /// The source does not answer; the runner goes on trying.
    Failed(String),
    /// The runner has given up until something changes.
    GaveUp(String),
}

/// A provider that is running. Dropping it ends the provider's call.
#[derive(Debug)]
pub(super) struct Runner {
    /// Tells the reports of this runner from those of the one before.
    pub(super) id: u64,
    /// What the provider points at.
    pub(super) identity: String,
    task: AbortHandle,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runner {
    /// Runs a provider from a cursor on.
    pub(super) fn start(
        id: u64,
        name: Arc<str>,
        (provider, identity): (Arc<dyn Provider>, String),
        cursor: Option<Vec<u8>>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let task = tokio::spawn(run(id, name, provider, cursor, events));
        Self { id, identity, task: task.abort_handle() }
    }
}

async fn run(
    id: u64,
    name: Arc<str>,
    provider: Arc<dyn Provider>,
    mut cursor: Option<Vec<u8>>,
    events: mpsc::Sender<Event>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (report, rest) = match provider.poll(cursor.as_deref(), WAIT).await {
            Ok(step) => {
                pause = FIRST_PAUSE;
                cursor = Some(step.cursor.clone());
                let rest = Duration::from_millis(step.next_poll_ms.into());
                (Report::Step(step), rest)
            }
            Err(PollError::Permanent(reason)) => {
                report(&events, id, &name, Report::GaveUp(reason)).await;
                return;
            }
            Err(error) => {
                if let PollError::Resync(_) = error {
                    cursor = None;
                }
                let rest = jittered(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                (Report::Failed(reason(error)), rest)
            }
        };
        if !self::report(&events, id, &name, report).await {
            return;
        }
        sleep(rest).await;
    }
}

async fn report(
    events: &mpsc::Sender<Event>,
    runner: u64,
    name: &Arc<str>,
    report: Report,
) -> bool {
    events.send(Event::Provider { name: name.clone(), runner, report }).await.is_ok()
}

fn reason(error: PollError) -> String {
    match error {
        PollError::Temporary(reason) | PollError::Permanent(reason) => reason,
        PollError::Resync(reason) => format!("begins anew: {reason}"),
        PollError::Call(error) => format!("the plugin {error}"),
    }
}

/// Up to a quarter more, so that a cluster of us does not ask in step.
fn jittered(pause: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    pause + pause / 4 * (nanos % 1000) / 1000
}
