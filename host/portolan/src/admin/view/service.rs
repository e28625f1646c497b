//! Services in the shape of Traefik's API, with what is known of each backend.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use portolan_core::{
    moment::Moment,
    policy::Sticky,
    service::{Asked, Backend, Failover, Kind, Service, Weighted},
    snapshot::ServiceEntry,
    standing::Probed,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    figures::{BackendTraffic, Traffic},
    http::{Named, Ours, ours, users},
    load_balancer::{cookie, load_balancer, options, statuses},
};
use crate::admin::left_out::{ByService, LeftOut};

/// A service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceView {
    /// `loadBalancer`, `weighted`, `mirroring` or what it is.
    #[serde(flatten)]
    kind: Map<String, Value>,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    server_status: BTreeMap<String, &'static str>,
    portolan: Ours<ServiceExtra>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceExtra {
    backends: Vec<BackendView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic>,
    /// Requests that were sent to another backend because one failed.
    retries: u64,
    /// Requests that wait until there are fewer.
    waiting: usize,
    /// Whether a circuit breaker gives it a rest.
    resting: bool,
    /// How it treats its backends, where that is said in options of ours.
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
    /// Instances that are, or would be, among its backends and that nothing is sent to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
struct BackendView {
    url: String,
    weight: u32,
    /// In the catalog.
    health: &'static str,
    /// By our own probes; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    probed: Option<&'static str>,
    usable: bool,
    /// Why nothing is sent there.
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
    /// What speaks against it, where it is asked all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<String>,
    origin: String,
    traffic: BackendTraffic,
}

impl ServiceView {
    /// As in `/api/rawdata`.
    pub(crate) fn of(service: &ServiceEntry, left_out: &ByService<'_>) -> Self {
        let live = service.live.as_deref();
        let backends = live.map(|live| live.backends.as_slice()).unwrap_or_default();
        let now = Moment::of(Instant::now());
        let asked = live.map(|live| live.asked(now));
        let mut server_status = BTreeMap::new();
        for backend in backends {
            let status = server_status.entry(backend.url()).or_insert("DOWN");
            // Two instances at one address: it is up when one of them is.
            if asked.is_some_and(|asked| asked.out(backend).is_none()) {
                *status = "UP";
            }
        }
        let state = live.map(|live| &live.state);
        let extra = ServiceExtra {
            backends: asked.map_or_else(Vec::new, |asked| {
                backends.iter().map(|backend| BackendView::of(backend, asked)).collect()
            }),
            traffic: live.map(|live| Traffic::of(&live.figures)),
            retries: live.map_or(0, |live| live.figures.retries.value()),
            waiting: state.map_or(0, |state| state.queue.len()),
            resting: live.is_some_and(|live| live.rests(now).is_some()),
            options: live.map(|live| options(&live.load_balancer)).unwrap_or_default(),
            left_out: left_out.get(&service.entry.name.to_string()).to_vec(),
        };
        Self {
            kind: live.map(kind).unwrap_or_default(),
            status: service.entry.status.as_str(),
            used_by: users(&service.entry),
            error: service.entry.errors.clone(),
            server_status,
            portolan: ours(&service.entry, extra),
        }
    }

    /// As in lists.
    pub(crate) fn named(service: &ServiceEntry, left_out: &ByService<'_>) -> Named<Self> {
        let kind = service.live.as_ref().map(|live| live.kind.as_str().to_owned());
        Named::new(&service.entry.name, Self::of(service, left_out), kind)
    }
}

impl BackendView {
    fn of(backend: &Backend, asked: Asked) -> Self {
        let out = asked.out(backend);
        Self {
            url: backend.url(),
            weight: backend.weight,
            health: backend.health.as_str(),
            probed: match backend.figures.standing.probed() {
                Probed::Unknown => None,
                Probed::Up => Some("up"),
                Probed::Down => Some("down"),
            },
            usable: out.is_none(),
            out: out.map(|out| out.to_string()),
            failing: asked.failing(backend).map(|it| format!("{it}, asked all the same")),
            origin: (*backend.origin).to_owned(),
            traffic: BackendTraffic::of(&backend.figures),
        }
    }
}

/// What a service is, under Traefik's key.
fn kind(service: &Service) -> Map<String, Value> {
    let (key, value) = match &service.kind {
        Kind::Backends => ("loadBalancer", load_balancer(service)),
        Kind::Weighted(weighted) => {
            let key = if weighted.by_client { "highestRandomWeight" } else { "weighted" };
            (key, shared(weighted, service.load_balancer.sticky.as_ref()))
        }
        Kind::Mirroring(mirroring) => {
            let mirrors = mirroring.mirrors.iter().map(|mirror| {
                json!({ "name": mirror.service.name.to_string(), "percent": mirror.percent })
            });
            let value = json!({
                "service": mirroring.main.name.to_string(),
                "mirrors": mirrors.collect::<Vec<_>>(),
                "mirrorBody": mirroring.mirror_body,
                "maxBodySize": mirroring.max_body,
            });
            ("mirroring", value)
        }
        Kind::Failover(Failover { main, fallback, statuses: errors, max_body }) => {
            let name = |service: &Option<Arc<Service>>| {
                service.as_ref().map(|service| service.name.to_string())
            };
            let mut value = json!({ "service": name(main), "fallback": name(fallback) });
            if let (false, Some(map)) = (errors.is_empty(), value.as_object_mut()) {
                let errors = json!({ "status": statuses(errors), "maxRequestBodyBytes": max_body });
                map.insert("errors".to_owned(), errors);
            }
            ("failover", value)
        }
    };
    Map::from_iter([(key.to_owned(), value)])
}

fn shared(weighted: &Weighted, sticky: Option<&Sticky>) -> Value {
    let members = weighted
        .members
        .iter()
        .map(|member| json!({ "name": member.name.to_string(), "weight": member.weight }));
    let mut value = json!({ "services": members.collect::<Vec<_>>() });
    if let (Some(sticky), Some(map)) = (sticky, value.as_object_mut()) {
        map.insert("sticky".to_owned(), cookie(sticky));
    }
    value
}
