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
/// A plugin that fails itself may cost a core each time, and seldom gets well by itself.
const LONGEST_PAUSE_OF_PLUGIN: Duration = Duration::from_secs(60);
/// The longest pause between two steps, whatever the provider says.
const LONGEST_REST: Duration = Duration::from_secs(3600);

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
                (Report::Step(step), rest.min(LONGEST_REST))
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
                let longest = match &error {
                    PollError::Call(_) => LONGEST_PAUSE_OF_PLUGIN,
                    _ => LONGEST_PAUSE,
                };
                pause = (pause * 2).min(longest);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use portolan_core::{
        item::Update,
        port::{CallError, PortFuture},
    };
    use tokio::time::Instant;

    use super::*;

    /// Answers what it was told to, and notes when it was asked.
    #[derive(Debug)]
    struct Answering {
        answer: fn() -> Result<Step, PollError>,
        asked: Mutex<Vec<Instant>>,
    }

    impl Provider for Answering {
        fn poll<'a>(
            &'a self,
            _cursor: Option<&'a [u8]>,
            _wait: Duration,
        ) -> PortFuture<'a, Result<Step, PollError>> {
            self.asked.lock().unwrap().push(Instant::now());
            Box::pin(async { (self.answer)() })
        }
    }

    /// The longest pause of a provider between two polls, in whole seconds.
    async fn longest_pause(answer: fn() -> Result<Step, PollError>) -> u64 {
        let provider = Arc::new(Answering { answer, asked: Mutex::default() });
        let (sender, mut events) = mpsc::channel(1);
        let (name, running) = (Arc::from("test"), (provider.clone() as _, String::new()));
        let _runner = Runner::start(1, name, running, None, sender);
        for _ in 0..15 {
            events.recv().await.unwrap();
        }
        let asked = provider.asked.lock().unwrap();
        asked.windows(2).map(|two| (two[1] - two[0]).as_secs()).max().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_asked_again_soon_and_a_plugin_that_fails_in_a_while() {
        let temporary = || Err(PollError::Temporary("away".to_owned()));
        assert_eq!(longest_pause(temporary).await, 2);
        let failing = || Err(PollError::Call(CallError::Suspended));
        let pause = longest_pause(failing).await;
        assert!((60..=75).contains(&pause), "{pause}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_provider_is_silent_for_weeks() {
        let step = || {
            Ok(Step {
                update: Update::Unchanged,
                cursor: Vec::new(),
                notices: Vec::new(),
                next_poll_ms: u32::MAX,
            })
        };
        assert_eq!(longest_pause(step).await, 3600);
    }
}
