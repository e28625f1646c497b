//! Routers and middlewares in the shapes of Traefik's API.

use std::sync::Arc;

use portolan_core::{
    declare::TlsSpec,
    middleware::Middleware,
    name::{ObjectName, camel, fold},
    snapshot::{Entry, MiddlewareEntry, RouterEntry},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{entrypoint::observability, figures::Traffic};
use crate::{
    admin::{explain, secret},
    control::board::EntrypointReport,
};

/// What every object has in lists, and not in `/api/rawdata`, where the name is the key.
#[derive(Debug, Serialize)]
pub(crate) struct Named<T> {
    #[serde(flatten)]
    inner: T,
    name: String,
    provider: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(rename = "priorityStr", skip_serializing_if = "Option::is_none")]
    priority_text: Option<String>,
}

impl<T> Named<T> {
    pub(super) fn new(name: &ObjectName, inner: T, kind: Option<String>) -> Self {
        let provider = (*name.provider).to_owned();
        Self { inner, name: name.to_string(), provider, kind, priority_text: None }
    }
}

/// What we add to every object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ours<T> {
    origin: String,
    #[serde(flatten)]
    more: T,
}

/// A router.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouterView {
    entry_points: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    middlewares: Vec<String>,
    /// As it is written. Traefik always has one; it is empty where a middleware answers everything.
    service: String,
    rule: String,
    priority: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Value>,
    observability: Value,
    status: &'static str,
    using: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error: Vec<String>,
    portolan: Ours<RouterExtra>,
}

#[derive(Debug, Serialize)]
struct RouterExtra {
    /// As `name@provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic>,
}

impl RouterView {
    /// As in `/api/rawdata`.
    pub(crate) fn of(router: &RouterEntry, all: &[EntrypointReport]) -> Self {
        let entrypoints: Vec<String> =
            router.entrypoints.iter().map(|name| (**name).to_owned()).collect();
        let said = router.live.as_ref().map(|live| live.observability).unwrap_or_default();
        let noted = all.iter().filter(|it| router.entrypoints.contains(&it.name));
        let noted = noted.filter_map(|it| Some(it.configured.as_ref()?.observability));
        let noted: Vec<_> = noted.collect();
        let extra = RouterExtra {
            service: router.service.clone(),
            hosts: router.hosts.to_vec(),
            traffic: router.live.as_ref().map(|live| Traffic::of(&live.figures)),
        };
        Self {
            using: entrypoints.clone(),
            entry_points: entrypoints,
            middlewares: router.middlewares.clone(),
            service: router.reference.as_deref().unwrap_or_default().to_owned(),
            rule: (*router.rule).to_owned(),
            priority: router.priority,
            tls: router.tls.as_deref().map(tls),
            observability: observability(said, &noted),
            status: router.entry.status.as_str(),
            error: router.entry.errors.clone(),
            portolan: ours(&router.entry, extra),
        }
    }

    /// As in lists.
    pub(crate) fn named(router: &RouterEntry, all: &[EntrypointReport]) -> Named<Self> {
        let mut named = Named::new(&router.entry.name, Self::of(router, all), None);
        // As text too: the greatest priorities are no exact numbers in JavaScript.
        named.priority_text = Some(router.priority.to_string());
        named
    }
}

/// A middleware. Its configuration stands under the name of its plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MiddlewareView {
    #[serde(flatten)]
    config: Map<String, Value>,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error: Vec<String>,
    portolan: Ours<MiddlewareExtra>,
}

#[derive(Debug, Serialize)]
struct MiddlewareExtra {
    plugin: String,
    /// What it does, in words, when it works.
    does: Vec<String>,
    /// How many requests it has refused, if it counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
}

impl MiddlewareView {
    /// As in `/api/rawdata`.
    pub(crate) fn of(middleware: &MiddlewareEntry) -> Self {
        let refused = middleware.live.as_ref().and_then(|live| live.interest.refused());
        let plugin = (*middleware.plugin).to_owned();
        let extra = MiddlewareExtra { plugin, does: does(middleware), refused };
        let config = secret::hidden(&middleware.config);
        // One that names no plugin, or several, has no configuration either.
        let config = (camel(&middleware.plugin), config);
        Self {
            config: Map::from_iter([config].into_iter().filter(|(plugin, _)| !plugin.is_empty())),
            status: middleware.entry.status.as_str(),
            used_by: users(&middleware.entry),
            error: middleware.entry.errors.clone(),
            portolan: ours(&middleware.entry, extra),
        }
    }

    /// As in lists.
    pub(crate) fn named(middleware: &MiddlewareEntry) -> Named<Self> {
        let kind = Some(fold(&middleware.plugin));
        Named::new(&middleware.entry.name, Self::of(middleware), kind)
    }
}

/// What it does, in words; of a chain, what each of its members does.
fn does(middleware: &MiddlewareEntry) -> Vec<String> {
    let member = |it: &Arc<Middleware>| {
        let lines = explain::does(it).into_iter();
        lines.map(|line| format!("`{}` {line}", it.name)).collect::<Vec<_>>()
    };
    match (&middleware.chain, &middleware.live) {
        (Some(members), _) => members.iter().flat_map(member).collect(),
        (None, Some(live)) => explain::does(live),
        (None, None) => Vec::new(),
    }
}

/// As Traefik shows it: what is not said is left away.
fn tls(spec: &TlsSpec) -> Value {
    let mut shown = Map::new();
    let texts = [("options", &spec.options), ("certResolver", &spec.resolver)];
    for (key, text) in texts {
        shown.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    if !spec.domains.is_empty() {
        let domains = spec.domains.iter();
        let domains = domains.map(|domain| json!({ "main": domain.main, "sans": domain.sans }));
        shown.insert("domains".to_owned(), domains.collect());
    }
    Value::Object(shown)
}

pub(super) fn ours<T>(entry: &Entry, more: T) -> Ours<T> {
    Ours { origin: (*entry.origin).to_owned(), more }
}

/// As the API writes them.
pub(super) fn users(entry: &Entry) -> Vec<String> {
    entry.used_by.keys().map(ToString::to_string).collect()
}
