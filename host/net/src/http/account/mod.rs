//! What one request is noted as: in figures, in the access log, in its trace.
//!
//! An account is opened when the request comes and goes with it: to its response, whose body holds it
//! until the last byte was sent, or to the tunnel that it became.
//!
//! **Invariant:** it is closed exactly once, when it is dropped, so that nothing is forgotten, whatever
//! becomes of the connection. Without access log and tracing it allocates nothing, unless its service is
//! made of others.

mod close;
mod tally;
mod trail;

use std::{cell::Cell, net::IpAddr, rc::Rc, sync::Arc, time::Instant};

use http::{HeaderMap, Method, StatusCode, Version, header::ACCEPT, header::CONTENT_TYPE};
use portolan_core::{
    exchange::{Exchange, Headers, RequestHead, ResponseHead},
    figure::{Combination, Encryption, MethodLabel, ProtocolLabel, TrafficShard},
    hook::CallError,
    limit::Limit,
    middleware::Middleware,
    name::ObjectName,
    reason::Reason,
    router::{Observability, Router},
    service::{Backend, Service},
    throttle::Held,
};

use super::{
    access::{Entry, Pen, Side},
    arrived::Arrived,
    config::Trust,
    connection::Client,
    entrypoint::Door,
    forwarded,
    trace::{Recording, Step, TraceContext},
};
use trail::Stop;
pub(crate) use trail::{Notes, Stray};

/// The status of a request whose client went away, after nginx. It is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What one request is noted as.
#[derive(Debug)]
pub(crate) struct Account {
    door: Rc<Door>,
    peer: std::net::SocketAddr,
    /// The client behind the proxies that we trust, where it is written down.
    client: Option<IpAddr>,
    /// Whom the client's certificate is about.
    subject: Option<Rc<str>>,
    encryption: Option<(u32, Encryption)>,
    begin: Instant,
    method: MethodLabel,
    protocol: ProtocolLabel,
    /// What its headers say by which it is counted.
    combination: Combination,
    router: Option<Arc<TrafficShard>>,
    /// What is noted of it, as its router says, or its entrypoint.
    noted: Observability,
    origin: Option<Origin>,
    /// When its service answered, as long as nothing came after that.
    answered_at: Option<Instant>,
    head: Option<Head>,
    /// The code of gRPC, where that is spoken.
    grpc: Option<u16>,
    reason: Option<Reason>,
    retries: u32,
    request_bytes: Option<Rc<Cell<u64>>>,
    response_bytes: u64,
    /// How many there were before they were compressed, if they were.
    origin_bytes: Option<u64>,
    is_complete: bool,
    entry: Option<Box<Entry>>,
    /// The request in words, where somebody debugs.
    story: Option<Box<Story>>,
    context: Option<TraceContext>,
    recording: Option<Box<Recording>>,
    /// The places that it has where requests under way are limited.
    places: Places,
}

/// Mostly there is none, seldom more than one.
#[derive(Debug, Default)]
struct Places {
    first: Option<Held>,
    more: Vec<Held>,
}

/// What a line for those who debug is about.
#[derive(Debug)]
struct Story {
    /// Without the query, in which there may be secrets.
    request: String,
    router: Option<ObjectName>,
}

/// The head of the response.
#[derive(Clone, Copy, Debug)]
struct Head {
    status: StatusCode,
    nanos: u64,
    is_failure: bool,
    /// Whether it is ours, and nobody is there any more to get it.
    is_unseen: bool,
}

/// The part of a service.
#[derive(Debug)]
struct Origin {
    /// The service of the router.
    whole: Stop,
    /// Those within it that were passed, if it is made of others.
    parts: Vec<Stop>,
    /// How often a backend was asked.
    attempts: u32,
    /// What the backend answered.
    answered: Option<StatusCode>,
    /// What the service is noted with: that, or what we answer in its stead.
    status: StatusCode,
    /// When there was an answer.
    head_at: Option<Instant>,
}

impl Story {
    fn of(request: &Arrived) -> Self {
        let host = request.headers.host().and_then(|host| str::from_utf8(host).ok());
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or(host).unwrap_or_default();
        let request = format!("{} {host}{}", request.method, request.uri.path());
        Self { request, router: None }
    }
}

impl Account {
    /// Opens the account of a request, whose headers are as they came: those stay noted where it is not
    /// admitted.
    pub(crate) fn open(client: &Client, request: &Arrived) -> Box<Self> {
        let (edge, begin) = (&client.edge, Instant::now());
        let entry = edge.pen.as_ref().map(|pen| pen.begin(request));
        let mut account = Self::blank(client, begin, MethodLabel::of(&request.method), entry);
        account.combination = edge.combination(&request.headers, false);
        if tracing::enabled!(tracing::Level::DEBUG) {
            account.story = Some(Box::new(Story::of(request)));
        }
        if let Some(tracing) = &edge.config.ledger.tracing {
            let context = TraceContext::of(&request.headers, tracing, &edge.random);
            account.recording = context.is_sampled().then(|| {
                let (peer, tls) = (client.peer.address, client.peer.tls);
                let mut recording = Recording::begin(request, peer, tls, begin, tracing);
                recording.goes_on(&context, &request.headers);
                recording
            });
            account.context = Some(context);
        }
        account
    }

    /// Opens the account of what cannot be read as a request.
    pub(crate) fn unread(client: &Client) -> Box<Self> {
        let entry = client.edge.pen.as_ref().map(Pen::begin_unread);
        let mut account = Self::blank(client, Instant::now(), MethodLabel::Extension, entry);
        account.combination = client.edge.combination(&Headers::default(), false);
        account
    }

    fn blank(
        client: &Client,
        begin: Instant,
        method: MethodLabel,
        entry: Option<Box<Entry>>,
    ) -> Box<Self> {
        Box::new(Self {
            door: client.door.clone(),
            peer: client.peer.address,
            client: None,
            subject: client.subject.clone(),
            encryption: client.encryption,
            begin,
            method,
            protocol: ProtocolLabel::Http,
            combination: Combination::default(),
            router: None,
            noted: client.door.noted.load(),
            origin: None,
            answered_at: None,
            head: None,
            grpc: None,
            reason: None,
            retries: 0,
            request_bytes: None,
            response_bytes: 0,
            origin_bytes: None,
            is_complete: false,
            entry,
            story: None,
            context: None,
            recording: None,
            places: Places::default(),
        })
    }

    /// When the request came.
    pub(crate) fn begin(&self) -> Instant {
        self.begin
    }

    /// Notes who asks, as trusted proxies have it.
    pub(crate) fn behind(&mut self, headers: &Headers, trust: &Trust) {
        if self.entry.is_some() || self.recording.is_some() {
            self.client = forwarded::client_behind(headers, |proxy| trust.takes_headers_of(proxy));
        }
    }

    /// Notes what is spoken.
    pub(crate) fn protocol(&mut self, headers: &Headers, upgrade: Option<&[u8]>) {
        let (accepts, kind) = (headers.first(&ACCEPT), headers.first(&CONTENT_TYPE));
        self.protocol = ProtocolLabel::of(upgrade, accepts, kind);
    }

    /// Notes what it is as rules see it: what a client that is not trusted says of itself stands only in
    /// the lines of requests that are refused, and only these are counted by it.
    pub(crate) fn admitted(&mut self, exchange: &Exchange) {
        let headers = &exchange.request.headers;
        self.combination = self.door.edge.combination(headers, true);
        if let (Some(entry), Some(pen)) = (&mut self.entry, &self.door.edge.pen) {
            entry.admitted(headers, &pen.config().headers);
        }
        let tracing = self.door.edge.config.ledger.tracing.as_ref();
        if let (Some(recording), Some(tracing)) = (&mut self.recording, tracing) {
            recording.admitted(exchange);
            recording.request(headers, tracing.config());
        }
    }

    /// Forgets what is not to be told.
    fn leave_out(&mut self) {
        let [access_logs, _, tracing] = self.noted.wanted();
        if !access_logs {
            self.entry = None;
        }
        if !tracing {
            // Nor is the backend told of a span that nobody will see.
            (self.recording, self.context) = (None, None);
        }
    }

    /// Notes the router that takes it.
    pub(crate) fn router(&mut self, router: &Router) {
        self.router = Some(router.figures.shard(self.door.edge.worker).clone());
        self.noted = router.observability.or(self.noted);
        self.leave_out();
        if let Some(entry) = &mut self.entry {
            entry.router(&router.name);
        }
        if let Some(story) = &mut self.story {
            story.router = Some(router.name.clone());
        }
        if let Some(recording) = &mut self.recording {
            recording.router(router, self.noted.trace_verbosity, &self.door.edge.random);
        }
    }

    /// Notes that it goes on to a service, which learns of the trace; `at_once`: nothing was in between but
    /// what we do ourselves, which only a line with overhead tells apart.
    pub(crate) fn send(&mut self, service: &Service, exchange: &mut Exchange, at_once: bool) {
        let pen = self.door.edge.pen.as_ref().filter(|_| self.entry.is_some());
        let is_one = at_once && !pen.is_some_and(|pen| pen.config().tells_overhead());
        let begin = if is_one { self.begin } else { Instant::now() };
        self.origin = Some(Origin {
            whole: Stop::new(&service.figures, self.door.edge.worker, begin),
            parts: Vec::new(),
            attempts: 0,
            answered: None,
            status: StatusCode::BAD_GATEWAY,
            head_at: None,
        });
        if let Some(entry) = &mut self.entry {
            entry.service(&service.name);
        }
        if let Some(context) = &self.context {
            let edge = &self.door.edge;
            let tracing = edge.config.ledger.tracing.as_ref();
            let recording = self.recording.as_mut().zip(tracing);
            let span =
                recording.map(|(it, to)| it.send(&exchange.request, to.config(), &edge.random));
            context.put(&mut exchange.request.headers, span);
        }
    }

    /// Notes that it goes on to a service that another is made of.
    fn pass(&mut self, service: &Service) {
        let worker = self.door.edge.worker;
        if let Some(origin) = &mut self.origin {
            origin.parts.push(Stop::new(&service.figures, worker, Instant::now()));
        }
    }

    /// Such services.
    fn parts(&self) -> &[Stop] {
        self.origin.as_ref().map_or(&[], |origin| &origin.parts)
    }

    /// Notes that a backend of a service is asked; answers the span that it is to be told of, if that is
    /// another than the request names.
    fn attempt(&mut self, service: &Service, backend: &Backend) -> Option<(TraceContext, u64)> {
        if let Some(origin) = &mut self.origin {
            origin.attempts += 1;
        }
        let is_part = !self.parts().is_empty();
        if let Some(entry) = &mut self.entry {
            if is_part {
                entry.service(&service.name);
            }
            entry.backend(backend.scheme.as_str(), &backend.authority);
        }
        let recording = self.recording.as_mut()?;
        let span = recording.attempt(service, backend, &self.door.edge.random)?;
        Some((self.context?, span))
    }

    /// Notes whether it answered, and what was spoken.
    fn attempted(&mut self, version: Option<Version>, result: Result<&ResponseHead, Reason>) {
        let tracing = self.door.edge.config.ledger.tracing.as_ref();
        if let (Some(recording), Some(tracing)) = (&mut self.recording, tracing) {
            recording.attempted(version, result, tracing.config());
        }
    }

    /// Notes what a service answered, or what we answer in its stead.
    pub(crate) fn answered(&mut self, head: &ResponseHead) {
        let Some(origin) = &mut self.origin else { return };
        origin.status = noted(head, self.reason);
        let now = Instant::now();
        origin.head_at = Some(now);
        self.answered_at = Some(now);
        self.retries = origin.attempts.saturating_sub(1);
        if !head.local {
            origin.answered = Some(head.status);
            self.headers(Side::Origin, head);
        }
    }

    /// Notes why it was not answered as it was meant to be: the first reason is the one that counts.
    pub(crate) fn failed(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// Notes that it goes beyond a limit of its entrypoint.
    pub(crate) fn exceeded(&self, limit: Limit) {
        self.door.exceeded(limit);
    }

    /// Holds a place until all of the response was handed to the client, or nobody sends any more of it.
    pub(crate) fn hold(&mut self, held: Held) {
        match &mut self.places.first {
            None => self.places.first = Some(held),
            Some(_) => self.places.more.push(held),
        }
    }

    /// Now, for [`step`](Self::step): only who records steps looks at the clock.
    pub(crate) fn now(&self) -> Option<u64> {
        let recording = self.recording.as_ref().filter(|recording| recording.is_detailed())?;
        Some(recording.now())
    }

    /// Notes that code of a middleware has run.
    pub(crate) fn step(
        &mut self,
        begin: Option<u64>,
        step: Step,
        middleware: &Middleware,
        error: Option<&CallError>,
    ) {
        if let (Some(recording), Some(begin)) = (&mut self.recording, begin) {
            let error = error.map(ToString::to_string);
            recording.step(step, middleware, begin, error, &self.door.edge.random);
        }
    }

    /// Notes that another server is asked whether it may pass, which learns of the trace.
    pub(crate) fn ask(
        &mut self,
        middleware: &Middleware,
        authority: &Service,
        question: &mut RequestHead,
    ) {
        if let Some(context) = &self.context {
            let random = &self.door.edge.random;
            let recording = self.recording.as_mut();
            let span = recording.map(|it| it.ask(middleware, authority, question, random));
            context.put(&mut question.headers, span);
        }
    }

    /// Notes whether it answered.
    pub(crate) fn asked(&mut self, result: Result<&ResponseHead, Reason>) {
        if let Some(recording) = &mut self.recording {
            recording.asked(result.map(|head| head.status));
        }
    }

    /// Notes who the middlewares found to be the client, or else who it said that it is.
    pub(crate) fn entered(&mut self, exchange: &Exchange) {
        let Some(entry) = &mut self.entry else { return };
        let claimed = || exchange.attribute("auth.claimed");
        if let Some(name) = exchange.attribute("auth.subject").or_else(claimed) {
            entry.user(name);
        }
    }

    /// Notes that a plugin had the answer, which takes its time.
    pub(crate) fn left(&mut self) {
        self.answered_at = None;
    }

    /// Notes the head that the client gets.
    pub(crate) fn head(&mut self, head: &ResponseHead, method: &Method) {
        let status = noted(head, self.reason);
        let is_failure = head.local && matches!(status.as_u16(), 502..=504);
        // To ask for the time costs as much as to choose a route.
        let now = self.answered_at.unwrap_or_else(Instant::now);
        let is_unseen = head.local && self.reason == Some(Reason::ClientGone);
        self.head = Some(Head { status, nanos: between(self.begin, now), is_failure, is_unseen });
        // These have no content, whatever their headers say (RFC 9110, 6.4.1).
        let is_empty = status.is_informational() || matches!(status.as_u16(), 204 | 304);
        self.is_complete = is_empty || method == Method::HEAD;
        if self.protocol.is_grpc() {
            self.grpc = grpc_status(&head.headers);
        }
        self.headers(Side::Downstream, head);
        let tracing = self.door.edge.config.ledger.tracing.as_ref();
        if let (Some(recording), Some(tracing)) = (&mut self.recording, tracing) {
            recording.response(&head.headers, tracing.config());
        }
        let story = self.story.as_deref();
        tracing::debug!(
            request = story.map(|it| it.request.as_str()),
            router = story.and_then(|it| it.router.as_ref()).map(tracing::field::display),
            entrypoint = %self.door.name,
            client.address = %self.peer,
            http.response.status_code = status.as_u16(),
            reason = self.reason.map(Reason::as_str),
            nanos = nanos(self.begin),
            "request answered"
        );
    }

    /// A counter of the bytes that the client sends.
    pub(crate) fn request_bytes(&mut self) -> Rc<Cell<u64>> {
        self.request_bytes.get_or_insert_default().clone()
    }

    /// Notes that so many bytes of content are handed to the client.
    pub(crate) fn sent(&mut self, length: u64) {
        self.response_bytes += length;
    }

    /// Notes that so many bytes have been compressed to what was handed to the client.
    pub(crate) fn origin_sent(&mut self, length: u64) {
        self.origin_bytes = Some(length);
    }

    /// Notes that all of the response was handed to the client.
    pub(crate) fn ended(&mut self, trailers: Option<&HeaderMap>) {
        self.complete();
        self.grpc = trailers.and_then(grpc_status).or(self.grpc);
    }

    /// Nothing is to be sent any more.
    pub(crate) fn complete(&mut self) {
        self.is_complete = true;
        self.places = Places::default();
    }

    /// Notes what went through the tunnel that it became.
    pub(crate) fn tunnelled(&mut self, up: u64, down: u64) {
        let counter = self.request_bytes();
        counter.set(counter.get() + up);
        self.response_bytes += down;
    }

    fn headers(&mut self, side: Side, head: &ResponseHead) {
        if let (Some(entry), Some(pen)) = (&mut self.entry, &self.door.edge.pen) {
            entry.headers(side, &head.headers, &pen.config().headers);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

/// The status that an answer is noted with: that of a client that went away is written to nobody.
fn noted(head: &ResponseHead, reason: Option<Reason>) -> StatusCode {
    match reason {
        Some(Reason::ClientGone) if head.local => client_closed().unwrap_or(head.status),
        _ => head.status,
    }
}

/// What nginx notes where a client went away.
pub(crate) fn client_closed() -> Option<StatusCode> {
    StatusCode::from_u16(CLIENT_CLOSED_REQUEST).ok()
}

/// Nanoseconds since a moment.
pub(crate) fn nanos(begin: Instant) -> u64 {
    between(begin, Instant::now())
}

fn between(begin: Instant, end: Instant) -> u64 {
    u64::try_from(end.saturating_duration_since(begin).as_nanos()).unwrap_or(u64::MAX)
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok().filter(|code| *code < 1000)
}
