//! How a service treats its backends, as the API tells it: what Traefik has, and options of ours under
//! their names in the configuration. What is as it is without a word is left out.

use std::time::Duration;

use portolan_core::{
    policy::{
        Breaker, CheckMode, HashOn, HealthCheck, Limits, LoadBalancer, Passive, Retry, SameSite,
        Statuses, Sticky, Strategy, Timeouts,
    },
    service::Service,
};
use serde_json::{Map, Value, json};

/// What Traefik has.
pub(super) fn load_balancer(service: &Service) -> Value {
    let it = &*service.load_balancer;
    let servers = service.backends.iter();
    let servers = servers.map(|it| json!({ "url": it.url(), "weight": it.weight }));
    let mut map = Map::new();
    map.insert("servers".to_owned(), servers.collect());
    map.insert("passHostHeader".to_owned(), json!(it.pass_host_header));
    map.insert("strategy".to_owned(), json!(it.strategy.as_str()));
    let fails = it.passive.enabled && it.passive.on_status;
    let options = [
        ("sticky", it.sticky.as_ref().map(cookie)),
        ("healthCheck", it.health_check.as_ref().map(health)),
        ("passiveHealthCheck", fails.then(|| Value::Object(window(&it.passive)))),
        ("serversTransport", it.transport.as_ref().map(|name| json!(name))),
    ];
    map.extend(told(options));
    Value::Object(map)
}

/// What only we have.
pub(super) fn options(it: &LoadBalancer) -> Map<String, Value> {
    let usual = LoadBalancer::default();
    let options = [
        ("hash", hash(it)),
        ("slowStart", it.slow_start.map(time)),
        ("passiveHealthCheck", (it.passive != usual.passive).then(|| passive(&it.passive))),
        ("retry", (it.retry != usual.retry).then(|| retry(&it.retry))),
        ("circuitBreaker", it.breaker.as_ref().map(breaker)),
        ("limits", it.limits.any().then(|| limits(&it.limits))),
        ("timeouts", (it.timeouts != usual.timeouts).then(|| timeouts(&it.timeouts))),
    ];
    told(options).collect()
}

fn told<const N: usize>(
    options: [(&str, Option<Value>); N],
) -> impl Iterator<Item = (String, Value)> {
    options.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)))
}

pub(super) fn cookie(sticky: &Sticky) -> Value {
    let same_site = sticky.same_site.map(|same_site| match same_site {
        SameSite::None => "none",
        SameSite::Lax => "lax",
        SameSite::Strict => "strict",
    });
    let mut cookie = json!({
        "name": sticky.name,
        "secure": sticky.secure,
        "httpOnly": sticky.http_only,
        "sameSite": same_site,
        "maxAge": sticky.max_age,
        "path": sticky.path.as_deref().unwrap_or("/"),
    });
    say(&mut cookie, "domain", sticky.domain.as_ref().map(|it| json!(it)));
    json!({ "cookie": cookie })
}

/// Each as it is written: `500-599`, or one alone.
pub(super) fn statuses(statuses: &Statuses) -> Value {
    let range = statuses.0.iter().map(|range| match range.from == range.to {
        true => range.from.to_string(),
        false => format!("{}-{}", range.from, range.to),
    });
    range.collect()
}

/// Headers are left out: a probe may carry a token.
fn health(check: &HealthCheck) -> Value {
    let mut value = json!({
        "mode": match check.mode {
            CheckMode::Http => "http",
            CheckMode::Grpc => "grpc",
            CheckMode::Tcp => "tcp",
        },
        "path": check.path,
        "method": check.method.as_str(),
        "interval": time(check.interval),
        "unhealthyInterval": time(check.unhealthy_interval),
        "timeout": time(check.timeout),
        "followRedirects": check.follow_redirects,
        "rise": check.rise,
        "fall": check.fall,
    });
    say(&mut value, "scheme", check.scheme.map(|it| json!(it.as_str())));
    say(&mut value, "hostname", check.hostname.as_ref().map(|it| json!(it)));
    say(&mut value, "port", check.port.map(|it| json!(it)));
    say(&mut value, "status", check.status.map(|it| json!(it.as_u16())));
    value
}

fn hash(it: &LoadBalancer) -> Option<Value> {
    match &it.hash_on {
        _ if it.strategy != Strategy::Hashed => None,
        HashOn::ClientIp => None,
        HashOn::Header(name) => Some(json!({ "header": name.as_str() })),
        HashOn::Cookie(name) => Some(json!({ "cookie": name })),
    }
}

/// When a failure counts.
fn window(it: &Passive) -> Map<String, Value> {
    let attempts = ("maxFailedAttempts", Some(json!(it.max_failed_attempts)));
    told([("failureWindow", Some(time(it.failure_window))), attempts]).collect()
}

fn passive(it: &Passive) -> Value {
    if !it.enabled {
        return Value::Bool(false);
    }
    let mut map = window(it);
    map.extend(told([
        ("ejection", Some(time(it.ejection))),
        ("maxEjection", Some(time(it.max_ejection))),
        ("panicThreshold", Some(json!(it.panic_threshold))),
    ]));
    Value::Object(map)
}

fn retry(it: &Retry) -> Value {
    json!({
        "attempts": it.attempts,
        "statuses": statuses(&it.statuses),
        "onReset": it.on_reset,
        "maxBodySize": it.max_body,
        "budget": it.budget_percent,
        "minPerSecond": it.budget_min,
    })
}

fn breaker(it: &Breaker) -> Value {
    json!({
        "errorRatio": f64::from(it.error_percent) / 100.0,
        "window": time(it.window),
        "minRequests": it.min_requests,
        "fallbackDuration": time(it.fallback),
    })
}

fn limits(it: &Limits) -> Value {
    let mut value = json!({ "queue": it.queue, "queueTimeout": time(it.queue_timeout) });
    say(&mut value, "maxRequests", it.max_requests.map(|it| json!(it)));
    let each = it.max_requests_per_backend;
    say(&mut value, "maxRequestsPerBackend", each.map(|it| json!(it)));
    value
}

fn timeouts(it: &Timeouts) -> Value {
    let mut value = Value::Object(Map::new());
    say(&mut value, "connect", it.connect.map(time));
    say(&mut value, "responseHeader", it.response_header.map(time));
    say(&mut value, "responseIdle", it.response_idle.map(time));
    say(&mut value, "requestIdle", it.request_idle.map(time));
    say(&mut value, "total", it.total.map(time));
    value
}

fn say(of: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (of.as_object_mut(), value) {
        map.insert(key.to_owned(), value);
    }
}

pub(super) fn time(duration: Duration) -> Value {
    json!(format!("{duration:?}"))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use portolan_core::{name::ObjectName, policy::StatusRange, scheme::Scheme};

    use super::*;

    /// What is told beyond what always is: Traefik's, and ours.
    fn told(it: LoadBalancer) -> [Value; 2] {
        let ours = Value::Object(options(&it));
        let name = ObjectName::new("a", "test");
        let mut value = load_balancer(&Service::new(name, it, Vec::new()));
        for usual in ["servers", "passHostHeader", "strategy"] {
            assert!(value.as_object_mut().unwrap().remove(usual).is_some(), "{usual}");
        }
        [value, ours]
    }

    #[test]
    fn what_is_set_is_told_and_what_is_not_is_left_out() {
        assert_eq!(told(LoadBalancer::default()), [json!({}), json!({})]);
        let second = Some(Duration::from_secs(1));
        let all = LoadBalancer {
            strategy: Strategy::Hashed,
            hash_on: HashOn::Cookie("id".into()),
            sticky: Some(Sticky { domain: Some("a.local".into()), ..Sticky::default() }),
            slow_start: second,
            health_check: Some(HealthCheck {
                scheme: Some(Scheme::Https),
                port: Some(81),
                method: Method::HEAD,
                status: Some(StatusCode::NO_CONTENT),
                hostname: Some("h.local".into()),
                headers: vec![(http::header::AUTHORIZATION, "secret".parse().unwrap())],
                ..HealthCheck::default()
            }),
            passive: Passive { on_status: true, ..Passive::default() },
            retry: Retry {
                statuses: Statuses(vec![
                    StatusRange { from: 502, to: 504 },
                    StatusRange { from: 429, to: 429 },
                ]),
                ..Retry::default()
            },
            breaker: Some(Breaker::default()),
            limits: Limits { max_requests: Some(9), ..Limits::default() },
            timeouts: Timeouts {
                total: Some(Duration::ZERO),
                connect: second,
                ..Timeouts::default()
            },
            ..LoadBalancer::default()
        };
        let traefiks = json!({
            "sticky": { "cookie": {
                "name": null, "secure": false, "httpOnly": false, "sameSite": null, "maxAge": 0,
                "path": "/", "domain": "a.local",
            }},
            "healthCheck": {
                "mode": "http", "path": "/", "method": "HEAD", "interval": "30s",
                "unhealthyInterval": "30s", "timeout": "5s", "followRedirects": true, "rise": 1,
                "fall": 1, "scheme": "https", "hostname": "h.local", "port": 81, "status": 204,
            },
            "passiveHealthCheck": { "failureWindow": "10s", "maxFailedAttempts": 2 },
        });
        let ours = json!({
            "hash": { "cookie": "id" },
            "slowStart": "1s",
            "passiveHealthCheck": {
                "failureWindow": "10s", "maxFailedAttempts": 2, "ejection": "1s",
                "maxEjection": "60s", "panicThreshold": 50,
            },
            "retry": {
                "attempts": 3, "statuses": ["502-504", "429"], "onReset": false,
                "maxBodySize": 65536, "budget": 20, "minPerSecond": 3,
            },
            "circuitBreaker": {
                "errorRatio": 0.5, "window": "10s", "minRequests": 20, "fallbackDuration": "10s",
            },
            "limits": { "queue": 100, "queueTimeout": "1s", "maxRequests": 9 },
            "timeouts": { "connect": "1s", "total": "0ns" },
        });
        assert_eq!(told(all), [traefiks, ours]);
        let off = Passive { enabled: false, ..Passive::default() };
        let off = told(LoadBalancer { passive: off, ..LoadBalancer::default() });
        assert_eq!(off, [json!({}), json!({ "passiveHealthCheck": false })]);
    }
}
