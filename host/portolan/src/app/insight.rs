//! What the data plane can tell the admin API.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use portolan_core::{
    figure::{Counter, Histogram},
    zone::Name,
};
use portolan_net::{
    dns::{DnsFigures, Forwarding, Forwardings, Policies, Rewrites},
    http::Server,
    tls::TlsContext,
};

use crate::{
    admin::insight::Insight,
    telemetry::metrics::{
        CertificateReading, DnsReading, EntrypointReading, HttpReading, Labelled,
    },
};

/// Clients that are told of: those who ask most.
const MOST_CLIENTS: usize = 20;

/// Reads the figures of the data plane.
pub(super) struct DataPlane {
    pub(super) http: Arc<Server>,
    /// Of each worker.
    pub(super) dns: Arc<[Arc<DnsFigures>]>,
    pub(super) forwardings: Arc<Forwardings>,
    pub(super) policies: Arc<Policies>,
    pub(super) labels: Labelled,
}

impl Insight for DataPlane {
    fn flush_dns(&self, name: Option<Name>) {
        self.forwardings.flush(name);
    }

    fn entrypoints(&self) -> Vec<EntrypointReading> {
        let figures = self.http.figures().into_iter();
        figures
            .map(|(name, figures)| EntrypointReading {
                connections: figures.open_connections.value(),
                traffic: figures.traffic.clone(),
                handshake_failures: figures.handshake_failures.value(),
                limits: figures.limits.iter().collect(),
                name,
            })
            .collect()
    }

    fn http(&self) -> HttpReading {
        let ledger = self.http.ledger();
        let failures = ledger.reasons.iter();
        HttpReading {
            failures: failures.map(|(reason, count)| (reason.as_str(), count)).collect(),
            lines_dropped: ledger.access_log.as_ref().map(|log| log.dropped()),
            spans_dropped: ledger.tracing.as_ref().map(|tracing| tracing.dropped()),
            buckets: ledger.buckets.clone(),
            labels: self.labels,
            combinations: self.http.combinations(),
        }
    }

    fn dns(&self) -> DnsReading {
        let sum = |counter: fn(&DnsFigures) -> &Counter| {
            self.dns.iter().map(|figures| counter(figures).value()).sum()
        };
        DnsReading {
            outcomes: vec![
                ("local", sum(|it| &it.local)),
                ("no_such_name", sum(|it| &it.no_such_name)),
                ("cached", sum(|it| &it.cached)),
                ("forwarded", sum(|it| &it.forwarded)),
                ("failed", sum(|it| &it.failed)),
                ("refused", sum(|it| &it.refused)),
                ("limited", sum(|it| &it.limited)),
                ("malformed", sum(|it| &it.malformed)),
            ],
            transports: vec![
                ("udp", sum(|it| &it.udp)),
                ("tcp", sum(|it| &it.tcp)),
                ("tls", sum(|it| &it.tls)),
                ("https", sum(|it| &it.https)),
            ],
            duration: Some(Arc::new(Histogram::merged(
                DnsFigures::FIRST,
                self.dns.iter().map(|figures| &figures.duration),
            ))),
            details: vec![
                ("stale", sum(|it| &it.stale)),
                ("prefetched", sum(|it| &it.prefetched)),
                ("blocked", sum(|it| &it.blocked)),
                ("rebind", sum(|it| &it.rebinds)),
                ("upstream-failure", sum(|it| &it.upstream_failures)),
                ("unsent", sum(|it| &it.unsent)),
            ],
            cached_bytes: self.dns.iter().map(|figures| figures.cache_bytes.value()).sum(),
            waiting: self.dns.iter().map(|figures| figures.waiting.value()).sum(),
            cached: self.dns.iter().map(|figures| figures.cache_entries.value()).sum(),
            clients: clients(&self.dns),
            zones: zones(&self.dns),
            upstreams: self.forwardings.standings.all(),
        }
    }

    fn rewrites(&self) -> Arc<Rewrites> {
        self.policies.rewrites()
    }

    fn forwarding(&self) -> Arc<Forwarding> {
        self.forwardings.now()
    }

    fn tls(&self, entrypoint: &str) -> Option<Arc<TlsContext>> {
        self.http.keyring().of(entrypoint)
    }

    fn certificates(&self) -> Vec<CertificateReading> {
        let now = SystemTime::now();
        let certificates = self.http.keyring().certificates().into_iter();
        certificates
            .map(|certificate| CertificateReading {
                facts: certificate.facts.clone(),
                source: certificate.source.kind(),
                origin: certificate.source.to_string(),
                validity: certificate.validity(now),
            })
            .collect()
    }
}

/// Each zone, how often it was asked, and how often it had no such name.
fn zones(workers: &[Arc<DnsFigures>]) -> Vec<(String, u64, u64)> {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (zone, figures) in workers.iter().flat_map(|worker| worker.zones.all()) {
        let count = counts.entry(zone).or_default();
        count.0 += figures.questions.value();
        count.1 += figures.no_such_name.value();
    }
    counts.into_iter().map(|(zone, (asked, absent))| (zone, asked, absent)).collect()
}

/// Who has asked most, the first first.
fn clients(workers: &[Arc<DnsFigures>]) -> Vec<(IpAddr, u64)> {
    let mut counts: HashMap<IpAddr, u64> = HashMap::new();
    for (client, count) in workers.iter().flat_map(|figures| figures.clients.all()) {
        *counts.entry(client).or_default() += count;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(client, count)| (Reverse(*count), *client));
    counts.truncate(MOST_CLIENTS);
    counts
}
