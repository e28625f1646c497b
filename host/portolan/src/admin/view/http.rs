//! Routers and middlewares in the shapes of Traefik's API.

use portolan_core::{
    declare::TlsSpec,
    name::{ObjectName, camel, fold},
    router::{Observability, TraceVerbosity},
    snapshot::{Entry, MiddlewareEntry, RouterEntry},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::figures::Traffic;
use crate::admin::secret;

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
    /// As far as the router says.
    #[serde(skip_serializing_if = "Option::is_none")]
    observability: Option<Value>,
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
    pub(crate) fn of(router: &RouterEntry) -> Self {
        let entrypoints: Vec<String> =
            router.entrypoints.iter().map(|name| (**name).to_owned()).collect();
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
            observability: router.live.as_ref().and_then(|live| observability(live.observability)),
            status: router.entry.status.as_str(),
            error: router.entry.errors.clone(),
            portolan: ours(&router.entry, extra),
        }
    }

    /// As in lists.
    pub(crate) fn named(router: &RouterEntry) -> Named<Self> {
        let mut named = Named::new(&router.entry.name, Self::of(router), None);
        // As text too: the greatest priorities are no exact numbers in JavaScript.
        named.priority_text = Some(router.priority.to_string());
        named
    }
}

/// What a router says of what is noted; `None`: nothing.
fn observability(said: Observability) -> Option<Value> {
    let Observability { access_logs, metrics, tracing, trace_verbosity } = said;
    let verbosity = TraceVerbosity::WORDS.iter().find(|(_, it)| Some(*it) == trace_verbosity);
    let all = [
        ("accessLogs", access_logs.map(Value::from)),
        ("metrics", metrics.map(Value::from)),
        ("tracing", tracing.map(Value::from)),
        ("traceVerbosity", verbosity.map(|(word, _)| Value::from(*word))),
    ];
    let said = all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let said = Map::from_iter(said);
    (!said.is_empty()).then_some(Value::Object(said))
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
}

impl MiddlewareView {
    /// As in `/api/rawdata`.
    pub(crate) fn of(middleware: &MiddlewareEntry) -> Self {
        let live = middleware.live.as_deref();
        let extra = MiddlewareExtra {
            plugin: (*middleware.plugin).to_owned(),
            does: live.map(crate::admin::explain::does).unwrap_or_default(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_router_says_of_what_is_noted_is_shown_and_no_more() {
        assert_eq!(observability(Observability::default()), None);
        let said = Observability {
            tracing: Some(false),
            trace_verbosity: Some(TraceVerbosity::Detailed),
            ..Observability::default()
        };
        let shown = json!({ "tracing": false, "traceVerbosity": "detailed" });
        assert_eq!(observability(said), Some(shown));
    }
}
