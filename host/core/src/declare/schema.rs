//! The schema of `[http]`: routers, services, middlewares, transports.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    Declared, DomainSpec, Flaw, MiddlewareSpec, RouterSpec, TlsSpec,
    astray::{self, PROTECTING},
    options::timeouts,
    reader::{Keys, Reader, boolean},
    service::service,
    transport::transport,
};
use crate::{
    middleware::OnFailure,
    name::fold,
    problem::Severity,
    router::{Observability, TraceVerbosity},
    rule::{Expression, Rule},
};

pub(super) const ROOT: Keys = Keys {
    known: &["routers", "services", "middlewares", "servers-transports"],
    foreign: &["models"],
};
const ROUTER: Keys = Keys {
    known: &[
        "rule",
        "service",
        "middlewares",
        "entrypoints",
        "priority",
        "tls",
        "timeouts",
        "rule-syntax",
        "parent-refs",
        "observability",
    ],
    foreign: &[],
};
const OBSERVABILITY: Keys =
    Keys { known: &["access-logs", "metrics", "tracing", "trace-verbosity"], foreign: &[] };
const TLS: Keys = Keys { known: &["options", "cert-resolver", "domains"], foreign: &[] };
const DOMAIN: Keys = Keys { known: &["main", "sans"], foreign: &[] };

/// Reads what `[http]` holds. `pointer` is where `http` stands: it begins every pointer.
pub fn read(http: &Value, pointer: &str) -> Declared {
    let mut declared = Declared::default();
    let mut flaws = Vec::new();
    for (key, part) in Reader::root(http, pointer).fields(&ROOT, &mut flaws) {
        for (name, reader) in part.entries(&mut flaws) {
            let Some(name) = object_name(name, &reader, &mut flaws) else { continue };
            match key {
                "routers" => {
                    let router = router(&name, &reader, &mut flaws);
                    declared.routers.push((name, router));
                }
                "services" => declared.services.push((name, service(&reader, &mut flaws))),
                "servers-transports" => {
                    declared.transports.push((name, transport(&reader, &mut flaws)));
                }
                _ => declared.middlewares.push((name, middleware(&reader, &mut flaws))),
            }
        }
    }
    declared.flaws = flaws;
    declared
}

/// `@` joins a name and its provider, so it may not stand in a name.
fn object_name(name: &str, reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Arc<str>> {
    if name.is_empty() || name.contains('@') {
        reader.flaw(flaws, format!("`{name}` is not a name: it is empty or holds an `@`"));
        return None;
    }
    Some(name.into())
}

fn router(name: &str, reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> RouterSpec {
    let mut router =
        RouterSpec { is_doubtful: astray::is_doubtful(reader, &ROUTER), ..RouterSpec::default() };
    let before = flaws.len();
    let mut syntax = None;
    let fields = reader.fields(&ROUTER, flaws);
    astray::explain(name, reader, &ROUTER, flaws.get_mut(before..).unwrap_or_default());
    for (key, value) in fields {
        let before = flaws.len();
        match key {
            "rule" => router.rule = value.text(flaws).filter(|rule| !rule.trim().is_empty()),
            "service" => router.service = value.text(flaws),
            "middlewares" => router.middlewares = value.list(flaws),
            "entrypoints" => router.entrypoints = value.list(flaws),
            "priority" => {
                let priority = value.integer(flaws, "a whole number");
                router.priority = priority.filter(|priority| *priority != 0);
            }
            // After the rule.
            "rule-syntax" => syntax = Some(value),
            "parent-refs" => {
                let message = "routers below others are not supported";
                let hint = "write the parent's rule and middlewares here".to_owned();
                value.flaw_with(flaws, message.to_owned(), Some(hint));
            }
            "observability" => router.observability = observability(&value, flaws),
            "timeouts" => router.timeouts = Some(Box::new(timeouts(&value, flaws))),
            _ => router.tls = tls(&value, flaws),
        }
        let new = flaws.get(before..).unwrap_or_default();
        let is_wrong = new.iter().any(|flaw| flaw.severity == Severity::Error);
        router.is_doubtful |= is_wrong && (key == "rule" || PROTECTING.contains(&key));
    }
    if let Some(syntax) = syntax {
        router.is_doubtful |= !is_of_traefik_3(&syntax, router.rule.as_deref(), flaws);
    }
    router
}

/// Whether a rule is written as Traefik 3 has it, whatever `ruleSyntax` says.
fn is_of_traefik_3(syntax: &Reader<'_>, rule: Option<&str>, flaws: &mut Vec<Flaw>) -> bool {
    let Some(name) = syntax.text(flaws) else { return false };
    let is_old = match fold(&name).as_str() {
        "" | "v3" | "default" => return true,
        "v2" => true,
        _ => false,
    };
    let message = format!("rules are read as `v3`, and not as `{name}`");
    let parsed = rule.and_then(|rule| Rule::parse(rule).ok());
    if is_old && parsed.is_some_and(|rule| means_the_same_in_2(rule.expression())) {
        let hint = "this rule means the same in both: leave out `ruleSyntax`";
        syntax.doubt_with(flaws, message, Some(hint.to_owned()));
        return true;
    }
    let hint = "write the rule as Traefik 3 has it (a list is several calls with `||`, `Headers` is `Header`, \
        a pattern is a regular expression), and leave out `ruleSyntax`";
    syntax.flaw_with(flaws, message, Some(hint.to_owned()));
    false
}

/// Whether Traefik 2 takes the same requests: only calls whose argument is the same thing in both.
fn means_the_same_in_2(expression: &Expression) -> bool {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(means_the_same_in_2),
        Expression::Not(inner) => means_the_same_in_2(inner),
        Expression::Call(call) => {
            let is_same = ["Host", "Path", "PathPrefix", "Method", "ClientIP"];
            let mut args = call.args.iter();
            is_same.contains(&call.name.as_str())
                && args.len() == 1
                // Patterns of Traefik 2, and a wildcard, which it does not have.
                && args.all(|arg| !arg.value.contains(['{', '}', '*']))
        }
    }
}

fn observability(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Observability {
    let mut noted = Observability::default();
    for (key, value) in reader.fields(&OBSERVABILITY, flaws) {
        match key {
            "access-logs" => noted.access_logs = value.boolean(flaws),
            "metrics" => noted.metrics = value.boolean(flaws),
            "tracing" => noted.tracing = value.boolean(flaws),
            _ => noted.trace_verbosity = value.word(&TraceVerbosity::WORDS, flaws),
        }
    }
    noted
}

/// `true`, `false`, or a table. In a tag any word but `true` says no, as in Traefik.
fn tls(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<TlsSpec> {
    let mut tls = TlsSpec::default();
    if let Value::String(word) = reader.value {
        let is_on = word.is_empty() || word.eq_ignore_ascii_case("true");
        if !is_on && boolean(word) != Some(false) {
            let message =
                format!("only `true` says that there is TLS: `{word}` says that there is none");
            reader.doubt(flaws, message);
        }
        return is_on.then_some(tls);
    }
    if !matches!(reader.value, Value::Object(_)) {
        return reader.boolean(flaws).unwrap_or(false).then_some(tls);
    }
    let bare = |text: String| text.split('@').next().unwrap_or_default().trim().to_owned();
    let named = |text: Option<String>| text.map(bare).filter(|name| !name.is_empty());
    for (key, value) in reader.fields(&TLS, flaws) {
        match key {
            "options" => tls.options = named(value.text(flaws)),
            "cert-resolver" => tls.resolver = named(value.text(flaws)),
            _ => {
                let domains = value.elements(flaws);
                tls.domains = domains.iter().filter_map(|one| domain(one, flaws)).collect();
            }
        }
    }
    Some(tls)
}

fn domain(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<DomainSpec> {
    let (mut main, mut sans) = (None, Vec::new());
    for (key, value) in reader.fields(&DOMAIN, flaws) {
        match key {
            "main" => main = value.text(flaws).filter(|name| !name.trim().is_empty()),
            _ => sans = value.list(flaws),
        }
    }
    // As in Traefik any name will do, and a place in the list that no tag speaks of is none.
    let main = main.or_else(|| sans.first().cloned());
    if main.is_none() && !reader.value.is_null() {
        // It is about certificates, and not about who may pass.
        reader.doubt(flaws, "the domain has no name".to_owned());
    }
    let lower = |name: String| name.trim().to_ascii_lowercase();
    Some(DomainSpec { main: lower(main?), sans: sans.into_iter().map(lower).collect() })
}

/// `middlewares.<name>`: one plugin with its configuration, and what happens when it fails.
fn middleware(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> MiddlewareSpec {
    let (mut plugins, mut on_failure) = (Vec::new(), OnFailure::default());
    let mut time_limit = None;
    for (key, value) in reader.all_entries(flaws) {
        match fold(key).as_str() {
            "onfailure" | "timelimit" if value.value.is_null() => (),
            "onfailure" => on_failure = failure_policy(&value, flaws).unwrap_or_default(),
            "timelimit" => time_limit = limit(&value, flaws),
            // Traefik's own spelling for plugins that are not built in.
            "plugin" if value.value.is_object() => plugins.extend(value.all_entries(flaws)),
            _ => plugins.push((key, value)),
        }
    }
    // The name alone says which plugin it is, `whoami:`, unless another one has options.
    if plugins.iter().any(|(_, config)| !config.value.is_null()) {
        plugins.retain(|(_, config)| !config.value.is_null());
    }
    if plugins.len() > 1 {
        let names: Vec<_> = plugins.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!("a middleware is one plugin, here are {}", names.join(" and "));
        reader.flaw(flaws, message);
        plugins.clear();
    } else if plugins.is_empty() {
        reader.flaw(flaws, "the middleware names no plugin".to_owned());
    }
    let plugin = plugins.pop();
    MiddlewareSpec {
        plugin: plugin.as_ref().map(|(plugin, _)| (*plugin).to_owned()),
        pointer: plugin.as_ref().map_or(&reader.pointer, |(_, config)| &config.pointer).clone(),
        config: Arc::new(plugin.map_or(Value::Null, |(_, config)| plugin_config(config.value))),
        on_failure,
        time_limit,
    }
}

/// A plugin without options is written as an empty table, or `= true` in a tag.
fn plugin_config(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(true) => Value::Object(Map::new()),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Value::Object(Map::new()),
        other => other.clone(),
    }
}

/// How long one hook may take. Less than a millisecond cannot be measured; for more than a minute
/// nobody waits.
fn limit(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Duration> {
    let limit = reader.written_duration(flaws)?;
    if (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&limit) {
        return Some(limit);
    }
    reader.flaw(flaws, format!("a time limit is 1ms to 60s, found {limit:?}"));
    None
}

fn failure_policy(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<OnFailure> {
    match reader.text(flaws)?.to_ascii_lowercase().as_str() {
        "closed" => Some(OnFailure::Closed),
        "open" => Some(OnFailure::Open),
        other => {
            reader.flaw(flaws, format!("expected `closed` or `open`, found `{other}`"));
            None
        }
    }
}
