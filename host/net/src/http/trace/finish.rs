//! The spans of a request that has ended, with the attributes of OpenTelemetry's conventions for HTTP
//! (1.37).
//!
//! **Invariant:** every span but the first has its parent among the others.

use std::{borrow::Cow, time::UNIX_EPOCH};

use http::{HeaderName, Version};
use portolan_core::reason::Reason;

use super::{
    config::Tracing,
    context::TraceContext,
    recording::{AttemptSpan, QuestionSpan, Recording, RouterSpan, Step, StepSpan},
    span::{FinishedSpan, SpanKind, Value},
};

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<'a> {
    /// Who asks, which trusted proxies before us may have said.
    pub(crate) client: std::net::IpAddr,
    pub(crate) entrypoint: &'a str,
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// Nanoseconds, altogether.
    pub(crate) nanos: u64,
}

type Attributes = Vec<(Cow<'static, str>, Value)>;

/// Methods that stand for themselves; others are `_OTHER`.
const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

impl Recording {
    /// Hands its spans over.
    pub(crate) fn finish(
        self: Box<Self>,
        context: &TraceContext,
        tracing: &Tracing,
        outcome: &Outcome<'_>,
    ) {
        let mut spans = Vec::with_capacity(2 + self.steps.len() + self.attempts.len());
        let router = self.router.as_ref().filter(|_| self.is_detailed());
        let inner = router.map_or(context.span, |router| router.id);
        spans.push(self.server_span(context, tracing, outcome));
        spans.extend(router.map(|router| self.router_span(router, context, outcome)));
        spans.extend(self.steps.iter().map(|step| self.step_span(step, inner, context)));
        let questions = self.questions.iter();
        spans.extend(questions.map(|it| self.question_span(it, inner, context, tracing, outcome)));
        spans.extend(self.attempts.iter().enumerate().map(|(before, attempt)| {
            let mut span = self.attempt_span(attempt, inner, context, tracing, outcome);
            if before > 0 {
                add(&mut span.attributes, "http.request.resend_count", before as u64);
            }
            span
        }));
        tracing.hand_over(spans);
    }

    fn span(
        &self,
        context: &TraceContext,
        id: u64,
        parent: Option<u64>,
        kind: SpanKind,
        (begin, end): (u64, u64),
    ) -> FinishedSpan {
        let start = self.start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(start.as_nanos()).unwrap_or_default();
        FinishedSpan {
            trace: context.trace,
            id,
            parent,
            flags: context.flags,
            state: self.state.clone(),
            name: String::new(),
            kind,
            start: start.saturating_add(begin),
            end: start.saturating_add(end.max(begin)),
            attributes: Vec::new(),
            error: None,
        }
    }

    fn server_span(
        &self,
        context: &TraceContext,
        tracing: &Tracing,
        outcome: &Outcome<'_>,
    ) -> FinishedSpan {
        let times = (0, outcome.nanos);
        let mut span = self.span(context, context.span, context.parent, SpanKind::Server, times);
        span.name = self.method().to_owned();
        let it = &mut span.attributes;
        self.add_request(it);
        add(it, "entry_point", outcome.entrypoint);
        add(it, "url.path", self.uri.path());
        if let Some(query) = self.uri.query() {
            add(it, "url.query", safe(query, &tracing.config.safe_query));
        }
        add(it, "url.scheme", self.scheme);
        let (host, port) = host_and_port(&self.authority);
        add(it, "server.address", host);
        if let Some(port) = port {
            add(it, "server.port", port);
        }
        add(it, "client.address", outcome.client.to_canonical().to_string());
        if outcome.client == self.peer.ip() {
            add(it, "client.port", u64::from(self.peer.port()));
        }
        add(it, "network.peer.address", self.peer.ip().to_canonical().to_string());
        add(it, "network.peer.port", u64::from(self.peer.port()));
        add(it, "network.protocol.version", version(self.version));
        if let Some(agent) = &self.user_agent {
            add(it, "user_agent.original", agent.as_str());
        }
        add(it, "http.request.body.size", outcome.request_bytes);
        add(it, "http.response.body.size", outcome.response_bytes);
        add_headers(it, "http.request.header.", &self.headers);
        add_headers(it, "http.response.header.", &self.response_headers);
        add(it, "http.response.status_code", u64::from(outcome.status));
        if let Some(router) = &self.router {
            add_router(it, router);
        }
        if let Some(error) = error(outcome.status, outcome.reason, 500) {
            add(it, "error.type", error.as_str());
            span.error = Some(error);
        }
        span
    }

    fn router_span(
        &self,
        router: &RouterSpan,
        context: &TraceContext,
        outcome: &Outcome<'_>,
    ) -> FinishedSpan {
        let (times, parent) = ((router.begin, outcome.nanos), Some(context.span));
        let mut span = self.span(context, router.id, parent, SpanKind::Internal, times);
        span.name = format!("router {}", router.name);
        let it = &mut span.attributes;
        add_router(it, router);
        if let Some(reason) = outcome.reason {
            add(it, "portolan.reason", reason.as_str());
        }
        span
    }

    fn step_span(&self, step: &StepSpan, parent: u64, context: &TraceContext) -> FinishedSpan {
        let times = (step.begin, step.end);
        let mut span = self.span(context, step.id, Some(parent), SpanKind::Internal, times);
        span.name = format!("middleware {}", step.middleware);
        let it = &mut span.attributes;
        add(it, "portolan.middleware.name", step.middleware.as_str());
        add(it, "portolan.plugin.name", step.plugin.as_str());
        let word = match step.step {
            Step::Request => "request",
            Step::Response => "response",
        };
        add(it, "portolan.middleware.step", word);
        span.error.clone_from(&step.error);
        span
    }

    /// Called as Traefik calls it.
    fn question_span(
        &self,
        question: &QuestionSpan,
        parent: u64,
        context: &TraceContext,
        tracing: &Tracing,
        outcome: &Outcome<'_>,
    ) -> FinishedSpan {
        let times = (question.begin, question.end.unwrap_or(outcome.nanos));
        let mut span = self.span(context, question.id, Some(parent), SpanKind::Client, times);
        span.name = "AuthRequest".to_owned();
        let it = &mut span.attributes;
        add(it, "portolan.middleware.name", question.middleware.as_str());
        add(it, "http.request.method", question.method.as_str());
        let (scheme, authority) = question.origin.split_once("://").unwrap_or(("http", ""));
        let (host, port) = host_and_port(authority);
        add(it, "server.address", host);
        add(it, "server.port", port.unwrap_or(if scheme == "https" { 443 } else { 80 }));
        let (path, query) = question.target.split_once('?').unwrap_or((&question.target, ""));
        let query = match query {
            "" => String::new(),
            query => format!("?{}", safe(query, &tracing.config.safe_query)),
        };
        add(it, "url.full", format!("{}{path}{query}", question.origin));
        add(it, "url.scheme", scheme);
        match question.result {
            Some(Ok(status)) => {
                add(it, "http.response.status_code", u64::from(status.as_u16()));
                // That somebody may not pass is no error of theirs.
                span.error = error(status.as_u16(), None, 500);
            }
            Some(Err(reason)) => span.error = Some(reason.as_str().to_owned()),
            None => {}
        }
        if let Some(error) = &span.error {
            add(it, "error.type", error.as_str());
        }
        span
    }

    fn attempt_span(
        &self,
        attempt: &AttemptSpan,
        parent: u64,
        context: &TraceContext,
        tracing: &Tracing,
        outcome: &Outcome<'_>,
    ) -> FinishedSpan {
        let times = (attempt.begin, attempt.end.unwrap_or(outcome.nanos));
        let mut span = self.span(context, attempt.id, Some(parent), SpanKind::Client, times);
        span.name = self.method().to_owned();
        let it = &mut span.attributes;
        self.add_request(it);
        let (host, port) = host_and_port(&attempt.authority);
        let port = port.unwrap_or(if attempt.scheme == "https" { 443 } else { 80 });
        // The peer is what the configuration says, as in Traefik: a name, where that is one.
        for name in ["server.address", "network.peer.address"] {
            add(it, name, host);
        }
        for name in ["server.port", "network.peer.port"] {
            add(it, name, port);
        }
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let query = match query {
            "" => String::new(),
            query => format!("?{}", safe(query, &tracing.config.safe_query)),
        };
        let AttemptSpan { scheme, authority, service, .. } = attempt;
        add(it, "portolan.service.name", service.as_str());
        add(it, "traefik.service.name", service.as_str());
        add(it, "url.full", format!("{scheme}://{authority}{path}{query}"));
        add(it, "url.scheme", *scheme);
        if let Some(spoken) = attempt.version {
            add(it, "network.protocol.version", version(spoken));
        }
        if let Some(agent) = &self.user_agent {
            add(it, "user_agent.original", agent.as_str());
        }
        add_headers(it, "http.request.header.", &self.sent_headers);
        add_headers(it, "http.response.header.", &attempt.headers);
        match attempt.result {
            Some(Ok(status)) => {
                add(it, "http.response.status_code", u64::from(status.as_u16()));
                span.error = error(status.as_u16(), None, 400);
            }
            Some(Err(reason)) => span.error = Some(reason.as_str().to_owned()),
            None => span.error = error(outcome.status, outcome.reason, 400),
        }
        if let Some(error) = &span.error {
            add(it, "error.type", error.as_str());
        }
        span
    }

    fn method(&self) -> &'static str {
        METHODS.into_iter().find(|known| *known == self.method.as_str()).unwrap_or("HTTP")
    }

    fn add_request(&self, attributes: &mut Attributes) {
        match self.method() {
            "HTTP" => {
                add(attributes, "http.request.method", "_OTHER");
                add(attributes, "http.request.method_original", self.method.as_str());
            }
            method => add(attributes, "http.request.method", method),
        }
    }
}

fn add(attributes: &mut Attributes, name: &'static str, value: impl Into<Value>) {
    attributes.push((name.into(), value.into()));
}

fn add_router(attributes: &mut Attributes, router: &RouterSpan) {
    // A rule is as low in cardinality as the template of a path.
    add(attributes, "http.route", router.rule.as_str());
    // Traefik's words for it, beside ours.
    for name in ["portolan.router.name", "traefik.router.name"] {
        add(attributes, name, router.name.as_str());
    }
    let Some(service) = &router.service else { return };
    for name in ["portolan.service.name", "traefik.service.name"] {
        add(attributes, name, service.as_str());
    }
}

fn add_headers(attributes: &mut Attributes, prefix: &str, headers: &[(HeaderName, Vec<String>)]) {
    attributes.extend(
        headers
            .iter()
            .map(|(name, lines)| (format!("{prefix}{name}").into(), Value::Texts(lines.clone()))),
    );
}

/// The word for what went wrong: our reason, else the status if it is as high as `from`.
fn error(status: u16, reason: Option<Reason>, from: u16) -> Option<String> {
    match reason {
        // A request that nobody takes is the client's error, not the server's.
        Some(_) | None if status < from => None,
        Some(reason) => Some(reason.as_str().to_owned()),
        None => Some(status.to_string()),
    }
}

/// The query with the values of parameters that are not known to be harmless replaced.
fn safe(query: &str, harmless: &[String]) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if !harmless.iter().any(|it| it == key) => format!("{key}=REDACTED"),
        Some(_) | None => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn host_and_port(authority: &str) -> (&str, Option<u64>) {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = authority.rfind(':').filter(|colon| *colon >= end_of_host);
    let (host, port) = match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, port)) => (host, port.trim_start_matches(':').parse().ok()),
        None => (authority, None),
    };
    (host.trim_matches(['[', ']']), port)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
