//! What the data plane can tell the admin API.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, Version, header};
use portolan_core::{
    exchange::{Exchange, Peer, RequestHead},
    explain::Outcome as RouteOutcome,
    snapshot::Snapshot,
    zone::{NameView, Outcome as ZoneOutcome},
};
use portolan_net::{dns::DnsFigures, http::Server};

use crate::{
    admin::{
        explain::{Candidate, NameAnswer, NameOutcome, Outcome, Record},
        insight::{DnsName, Insight, Probe, Routing},
    },
    control::board::SharedBoard,
    telemetry::metrics::{DnsReading, EntrypointReading},
};

/// Reads snapshots and figures for the admin API.
pub(super) struct DataPlane {
    pub(super) http: Arc<Server>,
    pub(super) dns: Arc<DnsFigures>,
    pub(super) board: SharedBoard,
}

impl Insight for DataPlane {
    fn dns_names(&self, snapshot: &Snapshot) -> Vec<DnsName> {
        snapshot.zones.names().map(name).collect()
    }

    fn resolve(&self, snapshot: &Snapshot, host: &str) -> NameAnswer {
        let Some(found) = snapshot.zones.resolve(host) else {
            return NameAnswer {
                name: host.to_owned(),
                outcome: NameOutcome::NxDomain,
                records: Vec::new(),
                why: "this is not a name".to_owned(),
            };
        };
        NameAnswer {
            name: host.to_owned(),
            outcome: match found.outcome {
                ZoneOutcome::Answered => NameOutcome::Answered,
                ZoneOutcome::NoData => NameOutcome::NoData,
                ZoneOutcome::NoSuchName => NameOutcome::NxDomain,
                ZoneOutcome::NotSynced => NameOutcome::ServFail,
                ZoneOutcome::NotOurs => NameOutcome::Forwarded,
            },
            records: found.records.iter().filter_map(|text| record(text)).collect(),
            why: found.why,
        }
    }

    fn route(&self, snapshot: &Snapshot, request: &Probe) -> Routing {
        let Some(table) = snapshot.table(&request.entrypoint) else { return Routing::default() };
        let Some(exchange) = exchange(request) else { return Routing::default() };
        let looked = table.explain(&exchange);
        let candidates = looked.iter().map(|candidate| {
            let (outcome, reason) = match &candidate.outcome {
                RouteOutcome::Selected => (Outcome::Selected, "its rule is true".to_owned()),
                RouteOutcome::Shadowed { by } => {
                    (Outcome::Shadowed, format!("its rule is true, but `{by}` comes first"))
                }
                RouteOutcome::Failed { reason } => (Outcome::Mismatch, reason.clone()),
            };
            Candidate {
                router: candidate.router.name.to_string(),
                priority: candidate.router.priority,
                rule: candidate.router.rule.to_string(),
                outcome,
                reason,
            }
        });
        Routing { candidates: candidates.collect(), selected: table.select(&exchange).cloned() }
    }

    fn entrypoints(&self) -> Vec<EntrypointReading> {
        let reading = |(name, figures): (Arc<str>, Arc<portolan_net::http::EntrypointFigures>)| {
            EntrypointReading {
                protocol: self.protocol(&name),
                name,
                connections: figures.open_connections.value(),
                traffic: figures.traffic.clone(),
            }
        };
        self.http.figures().into_iter().map(reading).collect()
    }

    fn dns(&self) -> DnsReading {
        let figures = &self.dns;
        let outcomes = [
            ("answered", &figures.local),
            ("nxdomain", &figures.no_such_name),
            ("cached", &figures.cached),
            ("forwarded", &figures.forwarded),
            ("failed", &figures.failed),
            ("refused", &figures.refused),
            ("malformed", &figures.malformed),
        ];
        DnsReading {
            outcomes: outcomes.map(|(name, counter)| (name, counter.value())).to_vec(),
            duration: Some(self.dns.duration.clone()),
            cached: figures.cache_entries.value(),
        }
    }
}

impl DataPlane {
    fn protocol(&self, name: &str) -> &'static str {
        let board = self.board.load();
        let bound = board.entrypoints.iter().find(|bound| &*bound.name == name);
        bound.map_or("http", |bound| bound.protocol)
    }
}

fn name(view: NameView) -> DnsName {
    let origin = match view.instances {
        Some((usable, total)) => format!("{usable} of {total} instances"),
        None => String::new(),
    };
    DnsName {
        zone: view.zone.unwrap_or_default(),
        kind: view.kind.as_str(),
        records: view.records.iter().filter_map(|text| record(text)).collect(),
        name: view.name,
        origin,
    }
}

/// A record from its presentation form: TTL, type, data.
fn record(text: &str) -> Option<Record> {
    let (ttl, rest) = text.split_once(' ')?;
    let (rtype, data) = rest.split_once(' ')?;
    Some(Record { rtype: rtype.to_owned(), data: data.to_owned(), ttl: ttl.parse().ok()? })
}

/// The request that nobody sent, as routing would see it.
fn exchange(request: &Probe) -> Option<Exchange> {
    let tls = request.uri.scheme_str() == Some("https");
    let mut headers: HeaderMap = request.headers.clone();
    headers.remove(header::HOST);
    let (method, uri) = (request.method.clone(), request.uri.clone());
    let peer = Peer {
        address: SocketAddr::new(request.client, 0),
        tls,
        sni: request.uri.host().filter(|_| tls).map(|host| host.to_ascii_lowercase().into()),
    };
    let head = RequestHead::parse(method, uri, Version::HTTP_11, headers).ok()?;
    Some(Exchange::new(head, peer, request.entrypoint.clone()))
}
