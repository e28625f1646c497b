//! Entrypoints, as they are bound and as they are configured.

use portolan_core::router::{Observability, TraceVerbosity};
use portolan_net::{
    http::{Limits, RedirectConfig, RedirectTarget},
    tls::TlsConfig,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{figures::Traffic, load_balancer::time};
use crate::{
    config::model::Entrypoint,
    control::board::{Board, EntrypointReport},
    telemetry::metrics::EntrypointReading,
};

/// A bound address; an item of `/api/entrypoints`.
#[derive(Debug, Serialize)]
pub(crate) struct EntrypointView {
    pub(crate) name: String,
    address: String,
    /// Traefik's keys for what is configured.
    #[serde(flatten)]
    configured: Map<String, Value>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic>,
}

impl EntrypointView {
    /// All of them, with what those that serve HTTP have done.
    pub(crate) fn all(board: &Board, readings: &[EntrypointReading]) -> Vec<Self> {
        let of = |report: &EntrypointReport| Self {
            configured: report.configured.as_deref().map(configured).unwrap_or_default(),
            ..Self::of(report, readings)
        };
        board.entrypoints.iter().map(of).collect()
    }

    /// The same, without what is configured.
    pub(super) fn brief(board: &Board, readings: &[EntrypointReading]) -> Vec<Self> {
        board.entrypoints.iter().map(|report| Self::of(report, readings)).collect()
    }

    fn of(report: &EntrypointReport, readings: &[EntrypointReading]) -> Self {
        let reading = readings.iter().find(|reading| reading.name == report.name);
        Self {
            name: (*report.name).to_owned(),
            address: report.address.to_string(),
            configured: Map::new(),
            protocol: report.protocol,
            connections: reading.map(|reading| reading.connections),
            traffic: reading.map(|reading| Traffic::of(&reading.traffic)),
        }
    }

    /// Whether it serves HTTP: routers are for these.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.protocol, "http" | "https")
    }
}

/// As Traefik writes it (`static.EntryPoint`), which leaves out what is not there.
fn configured(entrypoint: &Entrypoint) -> Map<String, Value> {
    let texts = |all: &mut dyn Iterator<Item = String>| {
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then(|| json!(all))
    };
    let limits = &entrypoint.limits;
    let trusted = texts(&mut entrypoint.forwarded_headers.iter().map(ToString::to_string));
    let connection = texts(&mut entrypoint.connection.iter().map(ToString::to_string));
    let forwarded = [("trustedIPs", trusted), ("connection", connection)];
    let proxies = texts(&mut entrypoint.proxy_protocol.iter().map(ToString::to_string));
    let http = [
        ("redirections", entrypoint.redirect.as_ref().map(redirections)),
        ("middlewares", texts(&mut entrypoint.middlewares.iter().cloned())),
        ("tls", entrypoint.tls.as_ref().map(tls)),
        ("encodeQuerySemicolons", yes(limits.encode_query_semicolons)),
        ("sanitizePath", Some(json!(true))),
        ("maxHeaderBytes", Some(json!(limits.max_header_bytes))),
    ];
    let http2 = json!({ "maxConcurrentStreams": limits.http2.max_concurrent_streams });
    let all = [
        ("asDefault", yes(entrypoint.is_default)),
        ("transport", Some(transport(limits))),
        ("proxyProtocol", proxies.map(|proxies| json!({ "trustedIPs": proxies }))),
        ("forwardedHeaders", Some(object(forwarded))),
        ("http", Some(object(http))),
        ("http2", Some(http2)),
        ("observability", Some(observability(entrypoint.observability, &[]))),
    ];
    named(all)
}

fn transport(limits: &Limits) -> Value {
    let timeouts = &limits.timeouts;
    let responding = json!({
        "readTimeout": time(timeouts.request_stall),
        "writeTimeout": time(timeouts.response_stall),
        "idleTimeout": time(timeouts.idle),
    });
    object([
        ("respondingTimeouts", Some(responding)),
        ("keepAliveMaxTime", limits.keep_alive_max_time.map(time)),
        ("keepAliveMaxRequests", limits.keep_alive_max_requests.map(Value::from)),
    ])
}

fn redirections(redirect: &RedirectConfig) -> Value {
    let to = match &redirect.to {
        RedirectTarget::Entrypoint(name) => (**name).to_owned(),
        RedirectTarget::Port(port) => format!(":{port}"),
    };
    let entrypoint = [
        ("to", Some(json!(to))),
        ("scheme", Some(json!(redirect.scheme.to_string()))),
        ("permanent", yes(redirect.permanent)),
        ("priority", redirect.priority.map(Value::from)),
    ];
    json!({ "entryPoint": object(entrypoint) })
}

fn tls(tls: &TlsConfig) -> Value {
    object([
        ("options", tls.options.as_deref().map(Value::from)),
        ("certResolver", tls.resolver.as_deref().map(Value::from)),
    ])
}

/// What is noted of requests: as is said, else as the entrypoints say, else everything. It is always whole,
/// as in Traefik: readers take what is not there for `false`.
pub(super) fn observability(said: Observability, entrypoints: &[Observability]) -> Value {
    let flag = |of: fn(&Observability) -> Option<bool>| {
        let told = || entrypoints.iter().map(|it| of(it).unwrap_or(true)).reduce(|a, b| a || b);
        of(&said).or_else(told).unwrap_or(true)
    };
    let verbosity = said.trace_verbosity;
    let verbosity = verbosity.or_else(|| entrypoints.iter().find_map(|it| it.trace_verbosity));
    let verbosity = verbosity.unwrap_or_default();
    let word = TraceVerbosity::WORDS.iter().find(|(_, it)| *it == verbosity);
    json!({
        "accessLogs": flag(|it| it.access_logs),
        "metrics": flag(|it| it.metrics),
        "tracing": flag(|it| it.tracing),
        "traceVerbosity": word.map(|(word, _)| *word),
    })
}

/// What is `false` is left out.
fn yes(flag: bool) -> Option<Value> {
    flag.then_some(Value::Bool(true))
}

fn object<const N: usize>(all: [(&str, Option<Value>); N]) -> Value {
    Value::Object(named(all))
}

fn named<const N: usize>(all: [(&str, Option<Value>); N]) -> Map<String, Value> {
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn what_is_noted_of_a_router_is_said_whole() {
        let nothing = Observability::default();
        let usual = json!({
            "accessLogs": true, "metrics": true, "tracing": true, "traceVerbosity": "minimal",
        });
        assert_eq!(observability(nothing, &[]), usual);
        let quiet = Observability {
            access_logs: Some(false),
            trace_verbosity: Some(TraceVerbosity::Detailed),
            ..nothing
        };
        let said = Observability { tracing: Some(false), ..nothing };
        let shown = json!({
            "accessLogs": false, "metrics": true, "tracing": false, "traceVerbosity": "detailed",
        });
        assert_eq!(observability(said, &[quiet]), shown);
        // A router that says so itself wins; one of two entrypoints that log is a log.
        let loud = Observability { access_logs: Some(true), ..nothing };
        assert_eq!(observability(loud, &[quiet])["accessLogs"], true);
        assert_eq!(observability(nothing, &[quiet, nothing])["accessLogs"], true);
    }

    #[test]
    fn an_entrypoint_is_shown_with_traefiks_keys() {
        let config = config(
            "data-dir = \"d\"\n[entrypoints.web]\naddress = \"127.0.0.1:0\"\n\
             redirect = { to = \"websecure\" }\nforwarded-headers = { trusted-ips = [\"10.0.0.0/8\"] }\n\
             [entrypoints.websecure]\naddress = \"127.0.0.1:0\"\nas-default = true\n\
             middlewares = [\"a\"]\nobservability = { metrics = false }\n\
             limits = { keep-alive-max-requests = 7 }\ntls = true\n",
        );
        let [web, websecure] = &config.entrypoints[..] else { panic!("{config:?}") };
        let timeouts =
            json!({ "readTimeout": "60s", "writeTimeout": "60s", "idleTimeout": "180s" });
        let shown = json!({
            "transport": { "respondingTimeouts": timeouts },
            "forwardedHeaders": { "trustedIPs": ["10.0.0.0/8"] },
            "http": {
                "redirections": {
                    "entryPoint": { "to": "websecure", "scheme": "https", "permanent": true },
                },
                "sanitizePath": true, "maxHeaderBytes": 131_072,
            },
            "http2": { "maxConcurrentStreams": 250 },
            "observability": observability(Observability::default(), &[]),
        });
        assert_eq!(Value::Object(configured(web)), shown);
        let shown = configured(websecure);
        assert_eq!(shown["asDefault"], true);
        assert_eq!(shown["transport"]["keepAliveMaxRequests"], 7);
        assert_eq!(shown["http"]["tls"], json!({}));
        assert_eq!(shown["http"]["middlewares"], json!(["a"]));
        assert_eq!(shown["observability"]["metrics"], false);
    }
}
