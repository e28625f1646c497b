//! The backends of a service: the servers that a file lists, or the instances of the catalog, some of
//! which may only be tried.

use std::sync::Arc;

use crate::{
    backend::Scheme,
    catalog::{Registered, Source},
    declare::{ServerSpec, ServiceSpec},
    item::{Health, Instance, Node},
};

/// A backend before it is known what it has done.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct BackendSpec {
    pub(super) scheme: Scheme,
    pub(super) authority: Arc<str>,
    pub(super) path: Option<Arc<str>>,
    pub(super) weight: u32,
    pub(super) health: Health,
    pub(super) origin: Arc<str>,
}

impl BackendSpec {
    /// Where it is, as `Backend::place`.
    pub(super) fn place(&self) -> (Scheme, &str, Option<&str>) {
        (self.scheme, &self.authority, self.path.as_deref())
    }
}

/// What an instance is for one of its services.
pub(super) struct Part {
    backends: Vec<BackendSpec>,
    /// For a canary: of a hundred requests, how many all canaries get.
    percent: Option<u8>,
}

impl Part {
    pub(super) fn of(
        source: Option<&Arc<Source>>,
        registered: &Registered,
        spec: &ServiceSpec,
    ) -> Self {
        Self {
            backends: own_backends(source, registered, spec),
            percent: registered.instance.canary.and_then(|canary| canary.percent),
        }
    }
}

/// Everybody's backends. Where some are canaries, weights are such that those get their part of the
/// traffic, however many there are.
pub(super) fn shared(parts: Vec<Part>) -> Vec<BackendSpec> {
    let Some(percent) = parts.iter().filter_map(|part| part.percent).max().map(u64::from) else {
        return parts.into_iter().flat_map(|part| part.backends).collect();
    };
    let sum = |canaries: bool| {
        let parts = parts.iter().filter(|part| part.percent.is_some() == canaries);
        parts.flat_map(|part| &part.backends).map(|backend| u64::from(backend.weight)).sum::<u64>()
    };
    // How much more a weight counts, so that the sums are as the part says.
    let (own, others) = match (sum(false), sum(true)) {
        (0, _) | (_, 0) => (1, 1),
        (trusted, tried) => reduced(trusted * percent, tried * (100 - percent.min(100))),
    };
    let backends =
        || parts.iter().flat_map(|part| part.backends.iter().map(move |one| (part, one)));
    let factor = |part: &Part| u128::from(if part.percent.is_some() { own } else { others });
    let weight = |(part, one): (&Part, &BackendSpec)| u128::from(one.weight) * factor(part);
    let scale = backends().map(weight).max().unwrap_or(0).div_ceil(u128::from(u32::MAX)).max(1);
    let scaled = |(part, one): (&Part, &BackendSpec)| {
        let weight = weight((part, one));
        // Rounded, but not to nothing.
        let weight = (weight / scale).max(u128::from(weight > 0));
        BackendSpec { weight: u32::try_from(weight).unwrap_or(u32::MAX), ..one.clone() }
    };
    backends().map(scaled).collect()
}

/// A ratio in smallest numbers.
fn reduced(one: u64, other: u64) -> (u64, u64) {
    let (mut divisor, mut rest) = (one, other);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (one / divisor.max(1), other / divisor.max(1))
}

pub(super) fn servers(spec: &ServiceSpec, origin: &Arc<str>, health: Health) -> Vec<BackendSpec> {
    let server = |server: &ServerSpec| BackendSpec {
        scheme: server.scheme,
        authority: server.authority.as_str().into(),
        path: server.path.as_deref().map(Arc::from),
        weight: server.weight,
        health,
        origin: origin.clone(),
    };
    spec.servers.iter().map(server).collect()
}

/// The backends that an instance is for one of its services.
fn own_backends(
    source: Option<&Arc<Source>>,
    Registered { instance, id: origin, .. }: &Registered,
    spec: &ServiceSpec,
) -> Vec<BackendSpec> {
    let health = instance.edge_health();
    if !spec.servers.is_empty() {
        return servers(spec, origin, health);
    }
    let node = match instance.address.is_empty() {
        true => source.and_then(|source| node_of(source, instance)),
        false => None,
    };
    let address = node.map_or(instance.address.as_str(), |node| node.address.as_str());
    let port = spec.port.unwrap_or(instance.port);
    if port == 0 || address.is_empty() {
        return Vec::new();
    }
    let authority = match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    };
    // What is out of use keeps the share that it will have when it comes back.
    let weight = spec.weight.unwrap_or_else(|| match health.is_usable() {
        true => instance.weight_when(health),
        false => instance.weight_passing,
    });
    let scheme = spec.scheme.unwrap_or_default();
    let (authority, origin) = (authority.into(), origin.clone());
    vec![BackendSpec { scheme, authority, path: None, weight, health, origin }]
}

fn node_of<'a>(source: &'a Source, instance: &Instance) -> Option<&'a Arc<Node>> {
    source.nodes.get(format!("{}/{}", instance.datacenter, instance.node).as_str())
}
