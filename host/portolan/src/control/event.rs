//! Everything that can change what is served. Closed on purpose.

use std::sync::Arc;

use portolan_core::problem::Problem;

use super::{plugins::Outcome, provider::Report};

/// Everything that can change what is served.
#[derive(Debug)]
pub(crate) enum Event {
    /// A provider made a step, or could not.
    Provider {
        /// The key under `[providers]`.
        name: Arc<str>,
        /// Which run of it speaks: one that was replaced is not heard.
        runner: u64,
        /// What it says.
        report: Report,
    },
    /// Keeping the state of a provider on disk did not work, or works again.
    Kept {
        /// The key under `[providers]`.
        provider: Arc<str>,
        /// What is the matter.
        outcome: Result<(), String>,
    },
    /// A plugin file was loaded, did not load, or is gone.
    Plugin(Outcome),
    /// Something else is wrong with certificates now, or nothing any more.
    Certificates(Vec<Problem>),
    /// Something else is wrong with the files of servers-transports now, or nothing any more.
    Transports(Vec<Problem>),
    /// Other upstreams of DNS than before do not answer.
    Upstreams(Vec<Problem>),
    /// An interface has another address, or a file that is no configuration was changed.
    Surroundings,
    /// `config.toml` changed.
    Config,
    /// SIGHUP: read everything again.
    Reload,
}
