//! What an explanation says, as JSON: written by the admin API, read by the command line.
//!
//! **Invariant:** additions only. A command line of one version asks a process of another.

use serde::{Deserialize, Serialize};

use crate::admin::left_out::LeftOut;

/// Why a request goes where it goes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// What was asked.
    pub(crate) request: Question,
    /// What DNS says of the host; absent when the host is an IP address.
    pub(crate) dns: Option<NameAnswer>,
    /// The entrypoint that it would come in by, and its address.
    pub(crate) entrypoint: Option<Place>,
    /// The handshake before it; absent where nothing is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Handshake>,
    /// The routers that were looked at, best first.
    pub(crate) candidates: Vec<Candidate>,
    /// The one that takes it.
    pub(crate) router: Option<String>,
    /// Its middlewares, outermost first.
    pub(crate) middlewares: Vec<Step>,
    /// Where it goes; absent when a middleware answers.
    pub(crate) service: Option<ServiceShare>,
    /// Instances that could be backends, or have a router, and that HTTP leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<LeftOut>,
    /// One sentence: what the client gets.
    pub(crate) verdict: String,
    /// The same in a word, where no backend and no middleware answers: that of the access log and of
    /// `portolan_http_failures_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The snapshot that was asked.
    pub(crate) generation: u64,
}

/// What was asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    /// The method.
    pub(crate) method: String,
    /// The URL, with its scheme.
    pub(crate) url: String,
    /// Header lines.
    pub(crate) headers: Vec<(String, String)>,
    /// The address that it would come from; empty: 127.0.0.1.
    pub(crate) client: String,
    /// The entrypoint; empty: that of the scheme.
    pub(crate) entrypoint: String,
}

/// A name and where it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Place {
    /// The entrypoint.
    pub(crate) name: String,
    /// Its bound address.
    pub(crate) address: String,
}

/// A handshake that asks for a host.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshake {
    /// The name of the TLS options that it has.
    pub(crate) options: String,
    /// Of the client: `unasked`, `optional`, `required`.
    pub(crate) client_certificate: String,
    /// Why it is refused, whatever the client shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// What DNS says of a host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct NameAnswer {
    /// The host.
    pub(crate) name: String,
    /// What kind of answer it is.
    pub(crate) outcome: NameOutcome,
    /// Its address records, and aliases on the way.
    pub(crate) records: Vec<Record>,
    /// One phrase: what it comes from.
    pub(crate) why: String,
}

/// What kind of answer DNS gives.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NameOutcome {
    /// With records.
    Answered,
    /// The name is there, without addresses.
    NoData,
    /// There is no such name.
    NxDomain,
    /// Not of our zones: an upstream resolver is asked, if there is one.
    Forwarded,
    /// Looked up in a source of the catalog when somebody asks.
    OnDemand,
    /// We cannot know yet.
    ServFail,
}

/// A DNS record in presentation form.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Record {
    /// `A`, `AAAA`, `SRV`, ...
    #[serde(rename = "type")]
    pub(crate) rtype: String,
    /// `10.0.0.7`, `1 1 8080 host.`
    pub(crate) data: String,
    /// Seconds.
    pub(crate) ttl: u32,
}

/// A router that was looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Candidate {
    /// As `name@provider`.
    pub(crate) router: String,
    /// Explicit, or the length of the rule.
    pub(crate) priority: i64,
    /// The rule as written.
    pub(crate) rule: String,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// One sentence: the first part of the rule that is false, or who came before.
    pub(crate) reason: String,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It takes the request.
    Selected,
    /// Its rule is true, but another comes before it.
    Shadowed,
    /// Its rule is false.
    Mismatch,
    /// Its rule is not asked: it is disabled, or of another entrypoint.
    Skipped,
}

/// A middleware on the way.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    /// As `name@provider`.
    pub(crate) middleware: String,
    /// The plugin that it is a use of.
    pub(crate) plugin: String,
    /// The chains by which it came there, as `name@provider`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chains: Vec<String>,
    /// What it does, in words, in order.
    pub(crate) does: Vec<String>,
    /// Whether code of the plugin runs, or all is planned.
    pub(crate) runs_code: bool,
}

/// The service that a request is for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ServiceShare {
    /// As `name@provider`.
    pub(crate) name: String,
    /// All its backends.
    pub(crate) backends: Vec<BackendShare>,
    /// What a sticky cookie of the request says, one sentence for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stays: Vec<String>,
    /// Where a hash of the client leads the request, one sentence for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leads: Vec<String>,
    /// The backend that it is led to, where nothing else has a say in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<String>,
    /// For how many milliseconds its circuit breaker lets nothing pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rests: Option<u64>,
}

/// A backend and its part of the traffic.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct BackendShare {
    /// `http://10.0.0.7:8080`.
    pub(crate) url: String,
    /// `passing`, `warning`, `critical`, `maintenance`.
    pub(crate) health: String,
    /// Whether it may be chosen.
    pub(crate) usable: bool,
    /// Whether requests to it failed lately, and it is asked since there is none better.
    #[serde(default)]
    pub(crate) failing: bool,
    /// Of a hundred requests, how many it gets.
    pub(crate) percent: u32,
    /// The instance or table that declares it.
    pub(crate) origin: String,
}
