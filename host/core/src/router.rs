//! A router: a rule, the middlewares behind it, and the service behind those.

use std::sync::Arc;

use crate::{
    figure::{Counter, Histogram},
    middleware::Middleware,
    name::ObjectName,
    rule::Predicate,
    service::Service,
};

/// Requests that went through a router, a service or an entrypoint, and their outcomes.
#[derive(Debug)]
pub struct TrafficFigures {
    /// Answers by the first digit of their status: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub responses: [Counter; 5],
    /// From the first byte of the request to the head of the response.
    pub duration: Histogram,
    /// Requests answered with 502, 503 or 504 by Portolan itself.
    pub failures: Counter,
}

impl Default for TrafficFigures {
    fn default() -> Self {
        Self {
            responses: Default::default(),
            duration: Histogram::starting_at(100_000),
            failures: Counter::default(),
        }
    }
}

impl TrafficFigures {
    /// Records an answer.
    pub fn record(&self, status: http::StatusCode, nanos: u64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[class].increment();
        self.duration.record(nanos);
    }
}

/// A router that works: everything it names is there.
#[derive(Debug)]
pub struct Router {
    /// Its name.
    pub name: ObjectName,
    /// The rule as written.
    pub rule: Arc<str>,
    /// The rule as compiled.
    pub predicate: Predicate,
    /// Explicit, or the length of the rule's text (Traefik's default).
    pub priority: i64,
    /// The entrypoints that it serves.
    pub entrypoints: Vec<Arc<str>>,
    /// Outermost first.
    pub middlewares: Vec<Arc<Middleware>>,
    /// Where requests go; `None` when a middleware answers them all.
    pub service: Option<Arc<Service>>,
    /// Whether it answers on encrypted connections only.
    pub tls: bool,
    /// Requests and their outcomes. Kept when the snapshot changes and the router stays.
    pub figures: Arc<TrafficFigures>,
}
