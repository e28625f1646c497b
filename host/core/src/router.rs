//! A router: a rule, the middlewares behind it, and the service behind those.

use std::sync::Arc;

use crate::{
    figure::TrafficFigures, middleware::Middleware, name::ObjectName, policy::Timeouts,
    rule::Predicate, service::Service,
};

/// What is noted of the requests of a router, or of an entrypoint where its routers do not say
/// (Traefik's `observability`). What is off is off for the entrypoint and the service of such a request
/// as well. `None`: as is usual.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Observability {
    /// Lines in the access log.
    pub access_logs: Option<bool>,
    /// Figures of answers.
    pub metrics: Option<bool>,
    /// Spans.
    pub tracing: Option<bool>,
    /// How many of those there are of a request.
    pub trace_verbosity: Option<TraceVerbosity>,
}

/// Of what there are spans (Traefik's `traceVerbosity`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TraceVerbosity {
    /// Of the request, and of each attempt to have a backend answer it.
    #[default]
    Minimal,
    /// Of the router and of the middlewares that run code as well.
    Detailed,
}

impl TraceVerbosity {
    /// Both, with their words.
    pub const WORDS: [(&'static str, Self); 2] =
        [("minimal", Self::Minimal), ("detailed", Self::Detailed)];
}

impl Observability {
    /// Nothing is noted.
    pub const NONE: Self = Self {
        access_logs: Some(false),
        metrics: Some(false),
        tracing: Some(false),
        trace_verbosity: None,
    };

    /// The same, where it does not say with what is usual elsewhere.
    pub fn or(self, usual: Self) -> Self {
        Self {
            access_logs: self.access_logs.or(usual.access_logs),
            metrics: self.metrics.or(usual.metrics),
            tracing: self.tracing.or(usual.tracing),
            trace_verbosity: self.trace_verbosity.or(usual.trace_verbosity),
        }
    }

    /// Whether there are lines, figures and spans: all, where nobody says.
    pub fn wanted(self) -> [bool; 3] {
        [self.access_logs, self.metrics, self.tracing].map(|wanted| wanted.unwrap_or(true))
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
    /// Its own, outermost first: what requests meet is [`Router::chain`].
    pub middlewares: Vec<Arc<Middleware>>,
    /// For each entrypoint that has middlewares of its own: those, and the router's behind them.
    pub chains: Vec<(Arc<str>, Vec<Arc<Middleware>>)>,
    /// The last of its middlewares that says how requests are tried again.
    pub retry: Option<Arc<Middleware>>,
    /// The same of entrypoints, for routers that have none.
    pub retries: Vec<(Arc<str>, Arc<Middleware>)>,
    /// Where requests go; `None` when a middleware answers them all, or it does not work.
    pub service: Option<Arc<Service>>,
    /// Why its service does not work: half a sentence for people. `None`: it works, or there is none.
    pub lack: Option<Arc<str>>,
    /// Whether its service is `noop@internal`: what its middlewares leave is answered with 418, as in
    /// Traefik.
    pub is_noop: bool,
    /// Whether it answers on encrypted connections only.
    pub tls: bool,
    /// The `[tls.options]` that it wants of the handshake; `None`: whatever its entrypoint has.
    pub tls_options: Option<Arc<str>>,
    /// How long its requests may take, where that is not as its service says.
    pub timeouts: Option<Box<Timeouts>>,
    /// What is noted of its requests.
    pub observability: Observability,
    /// Requests and their outcomes. Kept when the snapshot changes and the router stays.
    pub figures: Arc<TrafficFigures>,
}

impl Router {
    /// The middlewares that requests of an entrypoint meet, outermost first.
    pub fn chain<'a>(&'a self, entrypoint: &str) -> &'a [Arc<Middleware>] {
        let own = self.chains.iter().find(|(name, _)| **name == *entrypoint);
        own.map_or(&self.middlewares, |(_, chain)| chain)
    }

    /// Which middleware says how requests of an entrypoint are tried again, where one does. It is the
    /// innermost; in Traefik each of them repeats what those within it do.
    pub fn retry(&self, entrypoint: &str) -> Option<&Arc<Middleware>> {
        let ahead = || self.retries.iter().find(|(name, _)| **name == *entrypoint);
        self.retry.as_ref().or_else(|| ahead().map(|(_, middleware)| middleware))
    }
}
