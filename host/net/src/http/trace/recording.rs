//! What is recorded of one request that is sampled, while it is under way.
//!
//! **Invariant:** moments are nanoseconds since the request began, of one clock, so that no span ends
//! before it starts.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use http::{HeaderName, Method, StatusCode, Uri, Version, header::USER_AGENT};
use portolan_core::{
    exchange::{Exchange, Headers, RequestHead, ResponseHead},
    middleware::Middleware,
    reason::Reason,
    router::{Router, TraceVerbosity},
    service::{Backend, Scheme, Service},
};

use crate::random::Random;

use super::{
    super::arrived::Arrived,
    config::{TraceConfig, Tracing},
    context::{TRACESTATE, TraceContext, id},
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
    /// As the client spoke: to us, or to a proxy before us that is trusted.
    pub(super) scheme: &'static str,
    pub(super) state: String,
    pub(super) headers: Vec<(HeaderName, Vec<String>)>,
    pub(super) response_headers: Vec<(HeaderName, Vec<String>)>,
    pub(super) router: Option<RouterSpan>,
    pub(super) steps: Vec<StepSpan>,
    pub(super) questions: Vec<QuestionSpan>,
    /// What the service is asked for.
    pub(super) target: String,
    /// What it is told, of that which is captured.
    pub(super) sent_headers: Vec<(HeaderName, Vec<String>)>,
    /// The span of the first attempt, which the request names before a backend is chosen.
    first: Option<u64>,
    pub(super) attempts: Vec<AttemptSpan>,
    verbosity: TraceVerbosity,
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

/// Another server that was asked whether the request may pass.
#[derive(Debug)]
pub(super) struct QuestionSpan {
    pub(super) id: u64,
    pub(super) begin: u64,
    /// `None`: its answer was not waited for.
    pub(super) end: Option<u64>,
    pub(super) middleware: String,
    pub(super) method: Method,
    /// The URL up to its path.
    pub(super) origin: String,
    pub(super) target: String,
    pub(super) result: Option<Result<StatusCode, Reason>>,
}

/// A backend that was asked.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    pub(super) id: u64,
    pub(super) begin: u64,
    /// The service that the backend belongs to.
    pub(super) service: String,
    /// `None`: its answer went to the client, until that had all of it.
    pub(super) end: Option<u64>,
    pub(super) scheme: &'static str,
    pub(super) authority: String,
    /// What was spoken, if there was a connection.
    pub(super) version: Option<Version>,
    /// The answer, or why there was none; `None`: it was not waited for.
    pub(super) result: Option<Result<StatusCode, Reason>>,
    /// What it answered with, of that which is captured.
    pub(super) headers: Vec<(HeaderName, Vec<String>)>,
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
        request: &Arrived,
        peer: SocketAddr,
        is_encrypted: bool,
        begin: Instant,
        tracing: &Tracing,
    ) -> Box<Self> {
        let text = |name: &HeaderName| {
            let value = request.headers.first(name)?;
            Some(String::from_utf8_lossy(value).into_owned())
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
            scheme: if is_encrypted { "https" } else { "http" },
            state: String::new(),
            headers: captured(&request.headers, &tracing.config.request_headers),
            response_headers: Vec::new(),
            router: None,
            steps: Vec::new(),
            questions: Vec::new(),
            target: String::new(),
            sent_headers: Vec::new(),
            first: None,
            attempts: Vec::new(),
            verbosity: tracing.config.verbosity,
        })
    }

    /// What other systems say of the trace, if it is the one that the request came with (W3C Trace Context,
    /// 3.3): several lines are one list.
    pub(crate) fn goes_on(&mut self, context: &TraceContext, headers: &Headers) {
        if context.parent.is_some() {
            let lines: Vec<_> = headers.values(&TRACESTATE).collect();
            self.state = String::from_utf8_lossy(&lines.join(&b","[..])).into_owned();
        }
    }

    /// It is a request, of which more is known than that it came.
    pub(crate) fn admitted(&mut self, exchange: &Exchange) {
        self.scheme = exchange.scheme();
    }

    /// A router takes the request; it, or its entrypoint, may have said how much is to be told.
    pub(crate) fn router(
        &mut self,
        router: &Router,
        verbosity: Option<TraceVerbosity>,
        random: &Random,
    ) {
        self.verbosity = verbosity.unwrap_or(self.verbosity);
        self.router = Some(RouterSpan {
            id: id(random),
            begin: self.now(),
            name: router.name.to_string(),
            rule: (*router.rule).to_owned(),
            service: router.service.as_ref().map(|service| service.name.to_string()),
        });
    }

    /// Whether there are spans of router and middlewares.
    pub(crate) fn is_detailed(&self) -> bool {
        self.verbosity == TraceVerbosity::Detailed
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

    /// Another server is asked whether the request may pass; answers the span.
    pub(crate) fn ask(
        &mut self,
        middleware: &Middleware,
        authority: &Service,
        question: &RequestHead,
        random: &Random,
    ) -> u64 {
        let id = id(random);
        self.questions.push(QuestionSpan {
            id,
            begin: self.now(),
            end: None,
            middleware: middleware.name.to_string(),
            method: question.method.clone(),
            origin: authority.backends.first().map(Backend::url).unwrap_or_default(),
            target: question.target().to_owned(),
            result: None,
        });
        id
    }

    /// It answered, or did not.
    pub(crate) fn asked(&mut self, result: Result<StatusCode, Reason>) {
        let now = self.now();
        if let Some(question) = self.questions.last_mut() {
            (question.end, question.result) = (Some(now), Some(result));
        }
    }

    /// The request goes on to a service; answers the span of its first attempt.
    pub(crate) fn send(
        &mut self,
        request: &RequestHead,
        config: &TraceConfig,
        random: &Random,
    ) -> u64 {
        request.target().clone_into(&mut self.target);
        self.sent_headers = captured(&request.headers, &config.request_headers);
        *self.first.insert(id(random))
    }

    /// A backend is asked; answers the span if it is another than the request names.
    pub(crate) fn attempt(
        &mut self,
        service: &Service,
        backend: &Backend,
        random: &Random,
    ) -> Option<u64> {
        let now = self.now();
        if let Some(before) = self.attempts.last_mut() {
            before.end.get_or_insert(now);
        }
        let first = self.first.take();
        let id = first.unwrap_or_else(|| id(random));
        self.attempts.push(AttemptSpan {
            id,
            begin: now,
            end: None,
            service: service.name.to_string(),
            scheme: if backend.scheme == Scheme::Https { "https" } else { "http" },
            authority: (*backend.authority).to_owned(),
            version: None,
            result: None,
            headers: Vec::new(),
        });
        first.is_none().then_some(id)
    }

    /// It answered, or did not.
    pub(crate) fn attempted(
        &mut self,
        version: Option<Version>,
        result: Result<&ResponseHead, Reason>,
        config: &TraceConfig,
    ) {
        let now = self.now();
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.version = version;
            attempt.end = result.is_err().then_some(now);
            if let Ok(head) = result {
                attempt.headers = captured(&head.headers, &config.response_headers);
            }
            attempt.result = Some(result.map(|head| head.status));
        }
    }

    /// The headers of the request, when it is known which of them may be believed.
    pub(crate) fn request(&mut self, headers: &Headers, config: &TraceConfig) {
        self.headers = captured(headers, &config.request_headers);
    }

    /// The headers of the response that the client gets.
    pub(crate) fn response(&mut self, headers: &Headers, config: &TraceConfig) {
        self.response_headers = captured(headers, &config.response_headers);
    }
}

fn captured(headers: &Headers, wanted: &[HeaderName]) -> Vec<(HeaderName, Vec<String>)> {
    let of = |name: &HeaderName| {
        let lines = headers.values(name);
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        (!lines.is_empty()).then(|| (name.clone(), lines))
    };
    wanted.iter().filter_map(of).collect()
}
