//! What the data plane can tell the admin API.

use std::{sync::Arc, time::SystemTime};

use portolan_net::{dns::DnsFigures, http::Server};

use crate::{
    admin::insight::Insight,
    telemetry::metrics::{
        CertificateReading, DnsReading, EntrypointReading, HttpReading, Labelled,
    },
};

/// Reads the figures of the data plane.
pub(super) struct DataPlane {
    pub(super) http: Arc<Server>,
    pub(super) dns: Arc<DnsFigures>,
    pub(super) labels: Labelled,
}

impl Insight for DataPlane {
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
        }
    }

    fn dns(&self) -> DnsReading {
        let figures = &self.dns;
        let outcomes = [
            ("local", &figures.local),
            ("no_such_name", &figures.no_such_name),
            ("cached", &figures.cached),
            ("forwarded", &figures.forwarded),
            ("failed", &figures.failed),
            ("refused", &figures.refused),
            ("malformed", &figures.malformed),
        ];
        DnsReading {
            outcomes: outcomes.map(|(name, counter)| (name, counter.value())).to_vec(),
            duration: Some(figures.duration.clone()),
            cached: figures.cache_entries.value(),
        }
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
