//! Upstream resolvers of DNS.

use portolan_core::moment::millis;
use portolan_net::dns::{Failure, KnownUpstream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::figures::Durations;

/// An item of `/api/dns/upstreams`. Ages are in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpstreamView {
    upstream: String,
    /// The keys of the configuration under which it stands.
    keys: Vec<String>,
    /// `unknown` before its first answer, `answering`, or `resting`: it does not answer, and is asked
    /// last.
    state: &'static str,
    /// For how long it has been resting.
    state_age: Option<u64>,
    /// Why it is.
    error: Option<String>,
    answer_age: Option<u64>,
    queries: u64,
    failures: Map<String, Value>,
    duration: Durations,
}

impl UpstreamView {
    /// All of them.
    pub(crate) fn all(upstreams: &[KnownUpstream]) -> Vec<Self> {
        upstreams.iter().map(Self::of).collect()
    }

    fn of(KnownUpstream { config, keys, standing }: &KnownUpstream) -> Self {
        let age = |at: Instant| millis(at.elapsed());
        let (lost, answered) = (standing.lost(), standing.answered());
        let failures =
            Failure::ALL.map(|it| (it.as_str().to_owned(), json!(standing.failures(it))));
        Self {
            upstream: config.to_string(),
            keys: keys.clone(),
            state: match (lost, answered) {
                (Some(_), _) => "resting",
                (None, Some(_)) => "answering",
                (None, None) => "unknown",
            },
            state_age: lost.map(age),
            error: standing.fault().map(|(_, fault)| fault.to_string()),
            answer_age: answered.map(age),
            queries: standing.asked.value(),
            failures: failures.into_iter().collect(),
            duration: Durations::of(&standing.duration),
        }
    }
}
