//! `services.<name>.load-balancer`: how a service treats its backends.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{
    Flaw, ServiceSpec,
    reader::{Keys, Reader},
    service::{own_server, scheme, servers},
};
use crate::policy::{
    Breaker, CheckMode, HashOn, HealthCheck, Limits, LoadBalancer, Passive, Retry, SameSite,
    Sticky, Strategy, Timeouts,
};

const LOAD_BALANCER: Keys = Keys {
    known: &[
        "servers",
        "server",
        "pass-host-header",
        "strategy",
        "hash",
        "sticky",
        "slow-start",
        "health-check",
        "passive-health-check",
        "retry",
        "circuit-breaker",
        "limits",
        "timeouts",
        "servers-transport",
    ],
    // What is streamed is always handed on at once.
    foreign: &["response-forwarding"],
};
const HASH: Keys = Keys { known: &["client-ip", "header", "cookie"], foreign: &[] };
const STICKY: Keys = Keys { known: &["cookie"], foreign: &[] };
const COOKIE: Keys = Keys {
    known: &["name", "secure", "http-only", "same-site", "max-age", "path", "domain"],
    foreign: &[],
};
const HEALTH_CHECK: Keys = Keys {
    known: &[
        "path",
        "mode",
        "scheme",
        "port",
        "method",
        "status",
        "hostname",
        "headers",
        "follow-redirects",
        "interval",
        "unhealthy-interval",
        "timeout",
        "rise",
        "fall",
    ],
    foreign: &[],
};
const PASSIVE: Keys = Keys {
    known: &[
        "failure-window",
        "max-failed-attempts",
        "ejection",
        "max-ejection",
        "panic-threshold",
    ],
    foreign: &[],
};
const RETRY: Keys = Keys {
    known: &["attempts", "statuses", "on-reset", "max-body-size", "budget", "min-per-second"],
    foreign: &[],
};
const BREAKER: Keys =
    Keys { known: &["error-ratio", "window", "min-requests", "fallback-duration"], foreign: &[] };
const LIMITS: Keys = Keys {
    known: &["max-requests", "max-requests-per-backend", "queue", "queue-timeout"],
    foreign: &[],
};
const TIMEOUTS: Keys = Keys {
    known: &["connect", "response-header", "response-idle", "request-idle", "total"],
    foreign: &[],
};

pub(super) fn load_balancer(reader: &Reader<'_>, service: &mut ServiceSpec, flaws: &mut Vec<Flaw>) {
    let (mut options, mut hashed) = (LoadBalancer::default(), None);
    for (key, value) in reader.fields(&LOAD_BALANCER, flaws) {
        match key {
            "servers" => servers(&value, service, flaws),
            "server" => own_server(&value, service, flaws),
            "pass-host-header" => {
                options.pass_host_header = value.boolean(flaws).unwrap_or(true);
            }
            "strategy" => {
                options.strategy = value.word(&Strategy::NAMES, flaws).unwrap_or_default();
            }
            "hash" => {
                options.hash_on = hash_on(&value, flaws);
                hashed = Some(value);
            }
            "sticky" => options.sticky = sticky(&value, flaws),
            "slow-start" => options.slow_start = value.limit(flaws),
            "health-check" => options.health_check = health_check(&value, flaws),
            "passive-health-check" => options.passive = passive(&value, flaws),
            "retry" => options.retry = retry(&value, flaws),
            "circuit-breaker" => options.breaker = breaker(&value, flaws),
            "limits" => options.limits = limits(&value, flaws),
            "timeouts" => options.timeouts = timeouts(&value, flaws),
            _ => options.transport = value.text(flaws).filter(|name| !name.is_empty()),
        }
    }
    if let Some(hash) = hashed.filter(|_| options.strategy != Strategy::Hashed) {
        let strategy = options.strategy.as_str();
        let message = format!("with the strategy `{strategy}` nothing is hashed");
        hash.flaw_with(flaws, message, Some("add `strategy = \"hrw\"`".to_owned()));
    }
    service.options = options.into();
}

fn hash_on(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> HashOn {
    let mut on = Vec::new();
    for (key, value) in reader.fields(&HASH, flaws) {
        match key {
            "header" => on.extend(value.header_name(flaws).map(HashOn::Header)),
            "cookie" => on.extend(value.text(flaws).map(HashOn::Cookie)),
            _ => on.extend(value.boolean(flaws).filter(|yes| *yes).map(|_| HashOn::ClientIp)),
        }
    }
    if on.len() > 1 {
        reader.flaw(flaws, "clients are told apart by one thing, here are several".to_owned());
    }
    on.into_iter().next().unwrap_or_default()
}

pub(super) fn sticky(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Sticky> {
    if reader.is_off() {
        return None;
    }
    let fields = reader.fields(&STICKY, flaws);
    let Some((_, cookie)) = fields.into_iter().next() else {
        let hint = "add `sticky.cookie=true`".to_owned();
        reader.doubt_with(flaws, "without a cookie nobody is told apart".to_owned(), Some(hint));
        return None;
    };
    if cookie.is_off() {
        return None;
    }
    const SAME_SITE: [(&str, SameSite); 3] =
        [("none", SameSite::None), ("lax", SameSite::Lax), ("strict", SameSite::Strict)];
    let (mut sticky, mut same_site) = (Sticky::default(), None);
    for (key, value) in cookie.fields(&COOKIE, flaws) {
        match key {
            "name" => sticky.name = cookie_text(&value, flaws),
            "secure" => sticky.secure = value.boolean(flaws).unwrap_or_default(),
            "http-only" => sticky.http_only = value.boolean(flaws).unwrap_or_default(),
            "same-site" => {
                sticky.same_site = value.word(&SAME_SITE, flaws);
                same_site = Some(value);
            }
            "max-age" => {
                sticky.max_age = value.integer(flaws, "a number of seconds").unwrap_or_default();
            }
            "path" => sticky.path = cookie_text(&value, flaws),
            _ => sticky.domain = cookie_text(&value, flaws),
        }
    }
    if let (Some(SameSite::None), false, Some(place)) = (sticky.same_site, sticky.secure, same_site)
    {
        let message = "browsers refuse a cookie with `same-site = \"none\"` that is not `secure`";
        place.doubt(flaws, message.to_owned());
    }
    Some(sticky)
}

/// Part of a cookie: what would end it may not stand in it (RFC 6265, 4.1.1).
fn cookie_text(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<String> {
    let text = reader.text(flaws).filter(|text| !text.is_empty())?;
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ',' | '"' | '\\');
    if text.chars().all(is_plain) {
        return Some(text);
    }
    reader.flaw(flaws, format!("`{text}` may not stand in a cookie"));
    None
}

fn health_check(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<HealthCheck> {
    if reader.is_off() {
        return None;
    }
    const MODES: [(&str, CheckMode); 3] =
        [("http", CheckMode::Http), ("grpc", CheckMode::Grpc), ("tcp", CheckMode::Tcp)];
    let mut check = HealthCheck::default();
    let (mut unhealthy, mut of_http, mut limit) = (None, None, None);
    for (key, value) in reader.fields(&HEALTH_CHECK, flaws) {
        match key {
            "path" => check.path = path(&value, flaws).unwrap_or(check.path),
            "mode" => check.mode = value.word(&MODES, flaws).unwrap_or_default(),
            "scheme" => {
                let text = value.text(flaws);
                check.scheme = text.and_then(|text| scheme(&text, &value, flaws));
            }
            "port" => check.port = value.integer(flaws, "a port from 1 to 65535"),
            "method" => check.method = method(&value, flaws).unwrap_or_default(),
            "status" => check.status = status(&value, flaws),
            "hostname" => check.hostname = value.text(flaws).filter(|name| !name.is_empty()),
            "headers" => check.headers = value.headers(flaws),
            "follow-redirects" => {
                check.follow_redirects = value.boolean(flaws).unwrap_or(true);
            }
            "interval" => check.interval = value.period(flaws).unwrap_or(check.interval),
            "unhealthy-interval" => unhealthy = value.period(flaws),
            "timeout" => {
                check.timeout = value.period(flaws).unwrap_or(check.timeout);
                limit = Some(value.clone());
            }
            "rise" => check.rise = count(&value, flaws).unwrap_or(1),
            _ => check.fall = count(&value, flaws).unwrap_or(1),
        }
        if matches!(key, "path" | "method" | "status" | "headers" | "follow-redirects") {
            of_http = Some((key, value));
        }
    }
    check.unhealthy_interval = unhealthy.unwrap_or(check.interval);
    if let Some((key, value)) = of_http.filter(|_| check.mode == CheckMode::Tcp) {
        value
            .doubt(flaws, format!("a probe in the mode `tcp` sends nothing, so `{key}` is unused"));
    }
    if let Some(limit) = limit.filter(|_| check.timeout > check.interval) {
        limit.doubt(flaws, "a probe may take longer than it is to the next one".to_owned());
    }
    Some(check)
}

/// A path, perhaps with a query. Traefik takes one without the slash at its beginning too.
fn path(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<String> {
    let text = reader.text(flaws)?;
    let path = if text.starts_with('/') { text.clone() } else { format!("/{text}") };
    let is_url = text.contains("://") || text.starts_with("//");
    if !is_url && path.parse::<http::uri::PathAndQuery>().is_ok() {
        return Some(path);
    }
    reader.flaw(flaws, format!("`{text}` is not a path: a backend is asked at its own address"));
    None
}

fn method(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Method> {
    let text = reader.text(flaws)?;
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok();
    if method.is_none() {
        reader.flaw(flaws, format!("`{text}` is not a method"));
    }
    method
}

/// 0, as in Traefik: any that is well.
fn status(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<StatusCode> {
    let number: u16 = reader.integer(flaws, "a status code")?;
    let status = StatusCode::from_u16(number).ok();
    if status.is_none() && number != 0 {
        reader.flaw(flaws, format!("{number} is not a status code"));
    }
    status
}

fn count(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<u32> {
    let number: Option<u32> = reader.integer(flaws, "a number from 1 up");
    if number == Some(0) {
        reader.flaw(flaws, "expected a number from 1 up, found `0`".to_owned());
    }
    number.filter(|number| *number > 0)
}

fn passive(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Passive {
    if reader.is_off() {
        return Passive { enabled: false, ..Passive::default() };
    }
    // Whoever asks for it means what Traefik means by it.
    let mut passive = Passive { on_status: true, max_failed_attempts: 1, ..Passive::default() };
    let mut ejection = None;
    for (key, value) in reader.fields(&PASSIVE, flaws) {
        match key {
            "failure-window" => {
                passive.failure_window = value.period(flaws).unwrap_or(passive.failure_window);
            }
            "max-failed-attempts" => {
                passive.max_failed_attempts = count(&value, flaws).unwrap_or(1);
            }
            "ejection" => ejection = value.period(flaws),
            "max-ejection" => {
                passive.max_ejection = value.period(flaws).unwrap_or(passive.max_ejection);
            }
            _ => passive.panic_threshold = value.percent(flaws).unwrap_or(50),
        }
    }
    // In Traefik a backend is left alone until its failures have left the window.
    passive.ejection = ejection.unwrap_or(passive.failure_window);
    passive
}

fn retry(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Retry {
    if reader.is_off() {
        return Retry { attempts: 1, ..Retry::default() };
    }
    let mut retry = Retry::default();
    for (key, value) in reader.fields(&RETRY, flaws) {
        match key {
            "attempts" => retry.attempts = count(&value, flaws).unwrap_or(retry.attempts),
            "statuses" => retry.statuses = value.statuses(flaws),
            "on-reset" => retry.on_reset = value.boolean(flaws).unwrap_or_default(),
            "max-body-size" => retry.max_body = value.kept_bytes(flaws, retry.max_body),
            "budget" => {
                let percent = value.percent(flaws).map(u32::from);
                retry.budget_percent = percent.unwrap_or(retry.budget_percent);
            }
            _ => {
                let count = value.integer(flaws, "a number from 0 up");
                retry.budget_min = count.unwrap_or(retry.budget_min);
            }
        }
    }
    if !retry.repeats() && retry.max_body != Retry::default().max_body {
        let message = "no body is kept, since no request that was sent is sent again";
        reader.doubt(flaws, message.to_owned());
    }
    retry
}

fn breaker(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Breaker> {
    if reader.is_off() {
        return None;
    }
    let mut breaker = Breaker::default();
    for (key, value) in reader.fields(&BREAKER, flaws) {
        match key {
            "error-ratio" => {
                let percent = ratio(&value, flaws);
                breaker.error_percent = percent.unwrap_or(breaker.error_percent);
            }
            "window" => breaker.window = value.period(flaws).unwrap_or(breaker.window),
            "min-requests" => {
                breaker.min_requests = count(&value, flaws).unwrap_or(breaker.min_requests);
            }
            _ => breaker.fallback = value.period(flaws).unwrap_or(breaker.fallback),
        }
    }
    Some(breaker)
}

/// `0.5` and `"50%"` are one.
fn ratio(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<u32> {
    let text = reader.text(flaws)?;
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok(),
        None => text.trim().parse::<f64>().ok().map(|ratio| ratio * 100.0),
    };
    let percent = number.map(f64::round).filter(|percent| (1.0..=100.0).contains(percent));
    if percent.is_none() {
        reader.flaw(flaws, format!("expected a ratio from 0.01 to 1, found `{text}`"));
    }
    // From 1 to 100, so it fits.
    percent.map(|percent| percent as u32)
}

fn limits(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Limits {
    let mut limits = Limits::default();
    for (key, value) in reader.fields(&LIMITS, flaws) {
        match key {
            "max-requests" => limits.max_requests = count(&value, flaws).map(u64::from),
            "max-requests-per-backend" => {
                limits.max_requests_per_backend = count(&value, flaws).map(u64::from);
            }
            "queue" => {
                let count = value.integer::<u32>(flaws, "a number from 0 up");
                limits.queue = count.map_or(limits.queue, |count| count as usize);
            }
            _ => limits.queue_timeout = value.duration(flaws).unwrap_or(limits.queue_timeout),
        }
    }
    if !limits.any() {
        reader.doubt(
            flaws,
            "without `max-requests` or `max-requests-per-backend` nothing is \
                             limited"
                .to_owned(),
        );
    }
    limits
}

/// How long requests may take: of a service, or of a router.
pub(super) fn timeouts(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for (key, value) in reader.fields(&TIMEOUTS, flaws) {
        let place: &mut Option<Duration> = match key {
            "connect" => &mut timeouts.connect,
            "response-header" => &mut timeouts.response_header,
            "response-idle" => &mut timeouts.response_idle,
            "request-idle" => &mut timeouts.request_idle,
            _ => &mut timeouts.total,
        };
        // 0 is no limit, and is kept: a router may lift what its service says.
        *place = value.duration(flaws);
    }
    timeouts
}
