//! What the data plane can tell the admin API.

use std::{sync::Arc, time::SystemTime};

use portolan_net::{dns::DnsFigures, http::Server};

use crate::{
    admin::insight::Insight,
    control::board::SharedBoard,
    telemetry::metrics::{CertificateReading, DnsReading, EntrypointReading},
};

/// Reads the figures of the data plane.
pub(super) struct DataPlane {
    pub(super) http: Arc<Server>,
    pub(super) dns: Arc<DnsFigures>,
    pub(super) board: SharedBoard,
}

impl Insight for DataPlane {
    fn entrypoints(&self) -> Vec<EntrypointReading> {
        let figures = self.http.figures().into_iter();
        figures
            .map(|(name, figures)| EntrypointReading {
                protocol: self.protocol(&name),
                connections: figures.open_connections.value(),
                traffic: figures.traffic.clone(),
                name,
            })
            .collect()
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

impl DataPlane {
    fn protocol(&self, name: &str) -> &'static str {
        let board = self.board.load();
        let bound = board.entrypoints.iter().find(|bound| &*bound.name == name);
        bound.map_or("http", |bound| bound.protocol)
    }
}
