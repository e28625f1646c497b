//! What is recorded of one request that is sampled, while it is under way.
//!
//! **Invariant:** moments are nanoseconds since the request began, of one clock, so that no span ends
//! before it starts.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderName, Method, Uri, Version, header::USER_AGENT, request::Parts};
use portolan_core::{
    middleware::Middleware,
    router::Router,
    service::{Backend, Service},
};

use crate::random::Random;

use super::{
    config::{TraceConfig, Tracing},
    context::{TRACESTATE, id},
};

/// What is recorded of one request.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(super) begin: Instant,
    pub(super) start: SystemTime,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) authority: String,
    pub(super) user_agent: Option<String>,
    pub(super) peer: SocketAddr,
    pub(super) is_encrypted: bool,
    pub(super) state: String,
    pub(super) headers: Vec<(HeaderName, Vec<String>)>,
    pub(super) response_headers: Vec<(HeaderName, Vec<String>)>,
    pub(super) router: Option<RouterSpan>,
    pub(super) steps: Vec<StepSpan>,
    pub(super) backend: Option<BackendSpan>,
}

#[derive(Debug)]
pub(super) struct RouterSpan {
    pub(super) id: u64,
    pub(super) begin: u64,
    pub(super) name: String,
    pub(super) rule: String,
    pub(super) service: Option<String>,
}

#[derive(Debug)]
pub(super) struct StepSpan {
    pub(super) id: u64,
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) middleware: String,
    pub(super) plugin: String,
    pub(super) step: Step,
    pub(super) error: Option<String>,
}

#[derive(Debug)]
pub(super) struct BackendSpan {
    pub(super) id: u64,
    pub(super) begin: u64,
    /// The service that the backend belongs to.
    pub(super) service: Option<String>,
    pub(super) scheme: &'static str,
    pub(super) authority: String,
    pub(super) target: String,
}

/// When a middleware is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// On the way in.
    Request,
    /// On the way back.
    Response,
}

impl Recording {
    /// Begins to record.
    pub(crate) fn begin(
        request: &Parts,
        peer: SocketAddr,
        is_encrypted: bool,
        begin: Instant,
        tracing: &Tracing,
    ) -> Box<Self> {
        let text = |name: &HeaderName| {
            let value = request.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let authority = request.uri.authority().map(|authority| authority.to_string());
        Box::new(Self {
            begin,
            start: SystemTime::now(),
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            authority: authority.or_else(|| text(&http::header::HOST)).unwrap_or_default(),
            user_agent: text(&USER_AGENT),
            peer,
            is_encrypted,
            state: text(&TRACESTATE).unwrap_or_default(),
            headers: captured(&request.headers, &tracing.config.request_headers),
            response_headers: Vec::new(),
            router: None,
            steps: Vec::new(),
            backend: None,
        })
    }

    /// A router takes the request.
    pub(crate) fn router(&mut self, router: &Router, random: &Random) {
        self.router = Some(RouterSpan {
            id: id(random),
            begin: self.now(),
            name: router.name.to_string(),
            rule: (*router.rule).to_owned(),
            service: router.service.as_ref().map(|service| service.name.to_string()),
        });
    }

    /// Now, in nanoseconds since the request began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Code of a middleware has run since `begin`.
    pub(crate) fn step(
        &mut self,
        step: Step,
        middleware: &Middleware,
        begin: u64,
        error: Option<String>,
        random: &Random,
    ) {
        let end = self.now();
        self.steps.push(StepSpan {
            id: id(random),
            begin,
            end,
            middleware: middleware.name.to_string(),
            plugin: (*middleware.plugin).to_owned(),
            step,
            error,
        });
    }

    /// The request goes on to a service; answers the id of that span.
    pub(crate) fn send(&mut self, target: &str, random: &Random) -> u64 {
        let id = id(random);
        let target = target.to_owned();
        let (scheme, authority) = ("http", String::new());
        let (begin, service) = (self.now(), None);
        self.backend = Some(BackendSpan { id, begin, service, scheme, authority, target });
        id
    }

    /// A backend of a service is asked.
    pub(crate) fn backend(&mut self, service: &Service, backend: &Backend) {
        if let Some(span) = &mut self.backend {
            span.service = Some(service.name.to_string());
            span.scheme = backend.scheme.as_str();
            span.authority = (*backend.authority).to_owned();
        }
    }

    /// The headers of the request, when it is known which of them may be believed.
    pub(crate) fn request(&mut self, headers: &HeaderMap, config: &TraceConfig) {
        self.headers = captured(headers, &config.request_headers);
    }

    /// The headers of the response that the client gets.
    pub(crate) fn response(&mut self, headers: &HeaderMap, config: &TraceConfig) {
        self.response_headers = captured(headers, &config.response_headers);
    }
}

fn captured(headers: &HeaderMap, wanted: &[HeaderName]) -> Vec<(HeaderName, Vec<String>)> {
    let of = |name: &HeaderName| {
        let lines = headers.get_all(name).iter();
        let lines: Vec<_> =
            lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
        (!lines.is_empty()).then(|| (name.clone(), lines))
    };
    wanted.iter().filter_map(of).collect()
}
