//! What the rooms that serve must be able to tell, as one trait: the admin API knows neither
//! sockets nor zones nor indices.
//!
//! **Invariant:** every question is answered from the snapshot that is handed over, so that one
//! page of the API never mixes two generations.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Uri};
use portolan_core::{router::Router, snapshot::Snapshot};

use super::explain::{Candidate, NameAnswer, Record};
use crate::telemetry::metrics::{DnsReading, EntrypointReading};

/// What the rooms that serve can tell. Called by the admin API only, never while a request or a
/// query is served.
pub(crate) trait Insight: Send + Sync + 'static {
    /// Every name that the zones of a snapshot have, in any order.
    fn dns_names(&self, snapshot: &Snapshot) -> Vec<DnsName>;

    /// What DNS answers for the addresses of a host: lower case, no trailing dot, not an IP.
    fn resolve(&self, snapshot: &Snapshot, host: &str) -> NameAnswer;

    /// Which routers an entrypoint looks at for a request, best first, and which one takes it.
    fn route(&self, snapshot: &Snapshot, request: &Probe) -> Routing;

    /// What each HTTP entrypoint has done so far.
    fn entrypoints(&self) -> Vec<EntrypointReading>;

    /// What DNS has done so far.
    fn dns(&self) -> DnsReading;
}

/// A name that DNS has, and its answers.
#[derive(Clone, Debug)]
pub(crate) struct DnsName {
    /// Without a trailing dot.
    pub(crate) name: String,
    /// The zone that it lies in.
    pub(crate) zone: String,
    /// `service`, `node`, `tag`, `router`, `static`: what it is made of.
    pub(crate) kind: &'static str,
    /// Its records.
    pub(crate) records: Vec<Record>,
    /// The instance, router or table that it comes from; empty when there are many.
    pub(crate) origin: String,
}

/// A request that nobody sent.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// The method.
    pub(crate) method: Method,
    /// Scheme (`http` or `https`), authority, path and query.
    pub(crate) uri: Uri,
    /// Its headers; `Host` is that of the URI.
    pub(crate) headers: HeaderMap,
    /// The address that it would come from.
    pub(crate) client: IpAddr,
    /// The entrypoint that it would come in by.
    pub(crate) entrypoint: Arc<str>,
}

/// Who takes a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routing {
    /// The routers that were looked at, in the order in which they were.
    pub(crate) candidates: Vec<Candidate>,
    /// The one that takes it.
    pub(crate) selected: Option<Arc<Router>>,
}
