//! The overview: how many of everything, and how it is.

use std::time::Instant;

use portolan_core::{
    moment::Moment,
    problem::Severity,
    snapshot::{Entry, ServiceEntry, Snapshot, Status},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    age, certificate::CertificateView, entrypoint::EntrypointView, problem::all_problems, stamp,
};
use crate::{
    admin::{insight::Insight, secret},
    control::board::Board,
    telemetry::metrics::{CertificateReading, DnsReading},
};

/// `/api/overview`.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    http: Protocol,
    tcp: Value,
    udp: Value,
    certificates: Totals,
    features: Value,
    providers: Vec<String>,
    portolan: Ours,
}

#[derive(Debug, Serialize)]
struct Protocol {
    routers: Totals,
    services: Totals,
    middlewares: Totals,
}

/// How many there are, and how many of them are doubtful or out of use.
#[derive(Debug, Default, Serialize)]
struct Totals {
    total: usize,
    warnings: usize,
    errors: usize,
}

impl Totals {
    fn of(certificates: &[CertificateReading]) -> Self {
        let all = CertificateView::all(certificates);
        let count = |status| all.iter().filter(|it| it.status == status).count();
        Self { total: all.len(), warnings: count("warning"), errors: count("disabled") }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ours {
    version: &'static str,
    generation: u64,
    started: String,
    published: String,
    published_age: u64,
    config_file: String,
    config_loaded: String,
    config_error: Option<String>,
    problems: [usize; 2],
    providers: Vec<ProviderBrief>,
    plugins: Totals,
    entrypoints: Vec<EntrypointView>,
    backends: Backends,
    /// Services that are asked for and have nobody to answer: no backend is usable, or they rest.
    silent: usize,
    dns: DnsView,
    /// Requests that were not answered as they were meant to be, by reason; those that occurred.
    failures: serde_json::Map<String, Value>,
    /// Lines of the access log, and spans, that were lost; null where there are none.
    lost: [Option<u64>; 2],
}

#[derive(Debug, Serialize)]
struct ProviderBrief {
    name: String,
    state: &'static str,
    since: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Backends {
    total: usize,
    usable: usize,
    in_flight: u64,
}

/// What DNS has done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsView {
    outcomes: serde_json::Map<String, Value>,
    transports: serde_json::Map<String, Value>,
    clients: Vec<Value>,
    zones: Vec<Value>,
    events: serde_json::Map<String, Value>,
    cached: u64,
    cached_bytes: u64,
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<super::figures::Durations>,
}

impl DnsView {
    /// Reads what DNS has done.
    pub(crate) fn of(dns: &DnsReading) -> Self {
        let counts = |counts: &[(&'static str, u64)]| {
            counts.iter().map(|(word, count)| ((*word).to_owned(), json!(count))).collect()
        };
        let clients = dns.clients.iter();
        let clients = clients.map(|(client, count)| json!({ "address": client, "queries": count }));
        let zones = dns.zones.iter().map(|(zone, queries, absent)| {
            json!({ "zone": zone, "queries": queries, "noSuchName": absent })
        });
        Self {
            outcomes: counts(&dns.outcomes),
            transports: counts(&dns.transports),
            clients: clients.collect(),
            zones: zones.collect(),
            events: counts(&dns.details),
            cached: dns.cached,
            cached_bytes: dns.cached_bytes,
            waiting: dns.waiting,
            duration: dns.duration.as_deref().map(super::figures::Durations::of),
        }
    }
}

impl Overview {
    /// Counts everything.
    pub(crate) fn of(snapshot: &Snapshot, board: &Board, insight: &dyn Insight) -> Self {
        let (entrypoints, http, dns) = (insight.entrypoints(), insight.http(), insight.dns());
        let certificates = insight.certificates();
        let problems = all_problems(snapshot, board);
        let count = |severity| problems.iter().filter(|it| it.severity == severity).count();
        let plugins = Totals {
            total: board.plugins.len(),
            warnings: board
                .plugins
                .iter()
                .filter(|it| it.info.is_some() && (it.error.is_some() || it.deleted))
                .count(),
            errors: board.plugins.iter().filter(|it| it.info.is_none()).count(),
        };
        let providers = board.providers.iter();
        Self {
            http: Protocol {
                routers: totals(snapshot.routers.iter().map(|it| &it.entry)),
                services: totals(snapshot.services.iter().map(|it| &it.entry)),
                middlewares: totals(snapshot.middlewares.iter().map(|it| &it.entry)),
            },
            // Traefik has these sections; its dashboard and exporters read them.
            tcp: json!({ "routers": none(), "services": none(), "middlewares": none() }),
            udp: json!({ "routers": none(), "services": none() }),
            certificates: Totals::of(&certificates),
            features: json!({
                "tracing": if http.spans_dropped.is_some() { "OpenTelemetry" } else { "" },
                "metrics": "Prometheus",
                "accessLog": http.lines_dropped.is_some(),
            }),
            providers: providers.clone().map(|provider| (*provider.name).to_owned()).collect(),
            portolan: Ours {
                version: env!("CARGO_PKG_VERSION"),
                generation: snapshot.generation,
                started: stamp(board.started),
                published: stamp(board.published),
                published_age: age(board.published),
                config_file: board.config_file.clone(),
                config_loaded: stamp(board.config_loaded),
                config_error: board.config_error.as_deref().map(secret::hidden_in_lines),
                problems: [count(Severity::Error), count(Severity::Warning)],
                providers: providers
                    .map(|provider| ProviderBrief {
                        name: (*provider.name).to_owned(),
                        state: provider.state.as_str(),
                        since: age(provider.since),
                    })
                    .collect(),
                plugins,
                entrypoints: EntrypointView::brief(board, &entrypoints),
                backends: backends(snapshot),
                silent: silent(snapshot),
                dns: DnsView::of(&dns),
                failures: http
                    .failures
                    .iter()
                    .filter(|(_, count)| *count > 0)
                    .map(|(reason, count)| ((*reason).to_owned(), json!(count)))
                    .collect(),
                lost: [http.lines_dropped, http.spans_dropped],
            },
        }
    }
}

fn totals<'a>(entries: impl Iterator<Item = &'a Entry>) -> Totals {
    let mut totals = Totals::default();
    for entry in entries {
        totals.total += 1;
        match entry.status {
            Status::Enabled => {}
            Status::Warning => totals.warnings += 1,
            Status::Disabled => totals.errors += 1,
        }
    }
    totals
}

fn none() -> Value {
    json!({ "total": 0, "warnings": 0, "errors": 0 })
}

fn backends(snapshot: &Snapshot) -> Backends {
    let services = snapshot.services.iter().filter_map(|entry| entry.live.as_ref());
    let mut sum = Backends::default();
    let now = Moment::of(Instant::now());
    for service in services {
        let asked = service.asked(now);
        for backend in &service.backends {
            sum.total += 1;
            sum.usable += usize::from(asked.out(backend).is_none());
            sum.in_flight += backend.figures.in_flight.value();
        }
    }
    sum
}

/// How many services that are asked for have nobody to answer.
fn silent(snapshot: &Snapshot) -> usize {
    let now = Moment::of(Instant::now());
    let is_silent = |service: &ServiceEntry| {
        let live = service.live.as_ref();
        !service.entry.used_by.is_empty() && live.is_some_and(|live| !live.answers(now))
    };
    snapshot.services.iter().filter(|service| is_silent(service)).count()
}
