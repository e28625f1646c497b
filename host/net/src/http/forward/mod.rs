//! Sends a request to one backend and brings back the head of its response.
//!
//! A connection that was kept open may turn out to be closed: then a new one is made, once, if the
//! request can be sent twice. One that nobody has looked at, which over HTTP/2 a backend says, is sent
//! again in any case, some times.
//!
//! **Invariant:** a request that a backend may have acted upon is sent again only if that changes
//! nothing (RFC 9110, 9.2.2), and never with less of its body.

mod http2;

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use portolan_core::{
    exchange::{Headers, ResponseHead},
    service::{Backend, Service},
};
use tokio::time::timeout;

use super::{
    account::nanos,
    body::{Awaited, Body, Progress, RequestBody, RestLimits},
    claim::InFlight,
    dial::{Connected, DialError},
    edge::Edge,
    errand::Errand,
    headers,
    origin::Origin,
    outcome,
    pool::{Link, SendError, SendErrorKind},
    rescue::ForwardError,
    stall::Stall,
    trace::TraceContext,
    tunnel::Tunnel,
};
use crate::h1::Outgoing;

/// So often a request is sent again that nobody has looked at. A backend that says goodbye to a connection
/// behind some requests (nginx's `keepalive_requests`) may do so to one request several times.
const MOST_REPEATS: usize = 5;
/// What a backend answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The backend agreed to change the protocol.
    pub(crate) tunnel: Option<Box<Tunnel>>,
}

impl Answer {
    /// Limits how long its body may pause, and when it must be over.
    pub(crate) fn watch(&mut self, idle: Option<Duration>, deadline: Option<tokio::time::Instant>) {
        if let Some(stall) = Stall::new(idle, deadline) {
            let body = std::mem::replace(&mut self.body, Body::full(Bytes::new()));
            self.body = body.watched(Some(stall), deadline);
        }
    }
}

/// A request on its way to one backend after the other, and what is needed to send it.
pub(crate) struct Dispatch<'a> {
    edge: &'a Edge,
    service: &'a Service,
    errand: Box<Errand<'a>>,
    /// Whether it never had a body: one that is sent is gone from the errand, too.
    is_bodiless: bool,
    /// The claim on the backend; it goes with the answer.
    pub(crate) in_flight: Option<InFlight>,
    /// Nanoseconds that the answer took.
    pub(crate) took: u64,
    /// What is spoken with the backend, if there was a connection.
    pub(crate) version: Option<Version>,
}

/// Why an attempt gave no answer.
pub(crate) enum Failed {
    /// There is no connection; the request was not touched.
    Dial(DialError),
    /// It was sent in vain.
    Lost(Box<Lost>),
}

/// A request that was sent in vain.
pub(crate) struct Lost {
    pub(crate) error: ForwardError,
    /// What the backend can have made of it.
    pub(crate) ignored: Ignored,
}

/// What a backend can have made of a request that got no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ignored {
    /// Nothing: it never had it.
    Surely,
    /// Perhaps nothing.
    Perhaps,
    /// It answered in part, or the fault is not the connection's.
    No,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(edge: &'a Edge, service: &'a Service, mut errand: Box<Errand<'a>>) -> Self {
        if let Some(idle) = errand.timeout(service, |it| it.request_idle) {
            let body = std::mem::replace(&mut errand.body, RequestBody::EMPTY);
            errand.body = body.watched(idle);
        }
        let is_bodiless = errand.body.is_empty();
        Self { edge, service, errand, is_bodiless, in_flight: None, took: 0, version: None }
    }

    /// The next attempt is this part of its trace.
    pub(crate) fn belongs(&mut self, context: &TraceContext, span: u64) {
        context.put(&mut self.errand.head.to_mut().headers, Some(span));
    }

    /// Records the body on its way, so that it can be sent again.
    pub(crate) fn record_body(&mut self, limit: u64) {
        self.errand.record_body(limit);
    }

    /// The body once more, if it is recorded.
    pub(crate) fn spare(&self) -> Option<RequestBody> {
        self.errand.body.copy()
    }

    /// The next attempt begins with the body's beginning.
    pub(crate) fn rewind(&mut self, mut spare: RequestBody) {
        spare.begin();
        self.errand.body = spare;
    }
}

impl Dispatch<'_> {
    /// Sends the request to one backend: over a connection that is there already, and if that
    /// turns out to be dead, over a new one.
    pub(crate) async fn attempt(
        &mut self,
        backend: &Backend,
        origin: &Rc<Origin>,
    ) -> Result<Answer, Failed> {
        self.version = None;
        self.errand.progress.iter().for_each(Progress::begin_again);
        // A new connection cannot turn out to be dead, and an upgrade would not give a kept one back.
        let mut kept = match self.errand.upgrade {
            true => None,
            false => {
                let alone = origin.take().map(Connected::Alone);
                alone.or_else(|| origin.shared().map(Connected::Shared))
            }
        };
        let mut repeats = 0..MOST_REPEATS;
        loop {
            let is_kept = kept.is_some();
            let connected = match kept.take() {
                Some(connected) => connected,
                // Seldom, and large: a request that needs no connection carries nothing of it.
                None => {
                    let connected = Box::pin(self.dial(origin)).await.map_err(Failed::Dial)?;
                    outcome::connected(self.service, backend);
                    connected
                }
            };
            self.version = Some(match connected {
                Connected::Alone(_) => Version::HTTP_11,
                Connected::Shared(_) => Version::HTTP_2,
            });
            let answer = match connected {
                Connected::Alone(link) => self.over(link, backend, origin).await,
                Connected::Shared(lease) => self.over_shared(lease, backend, origin).await,
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(lost) if self.may_repeat(lost.ignored, is_kept) && repeats.next().is_some() => {
                }
                Err(lost) => return Err(Failed::Lost(Box::new(lost))),
            }
        }
    }

    /// Whether the request can be sent to the same backend again.
    fn may_repeat(&self, ignored: Ignored, is_kept: bool) -> bool {
        match ignored {
            Ignored::Surely => true,
            Ignored::Perhaps => {
                is_kept && self.errand.head.method.is_idempotent() && self.is_bodiless
            }
            Ignored::No => false,
        }
    }

    /// A new connection, for which others that nobody uses are closed where there is nothing else to make it of.
    async fn dial(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        match self.connect(origin).await {
            Err(error) if error.is_ours() && self.edge.pool.close_idle() => {
                self.connect(origin).await
            }
            connected => connected,
        }
    }

    /// A new connection, within the time that is allowed for one.
    async fn connect(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let transport = self.service.transport.as_ref();
        let of_transport = || transport.and_then(|(_, transport)| transport.dial_timeout);
        let own = self.errand.timeout(self.service, |it| it.connect).or_else(of_transport);
        let limit = own.unwrap_or(self.edge.config.connect_timeout);
        let dialer = &self.edge.dialer;
        let connecting = async {
            if self.errand.upgrade {
                return dialer.dial_alone(origin).await;
            }
            if origin.is_shared.get() == Some(false) {
                return dialer.dial(origin).await;
            }
            // One connection will do for all who wait for it, unless it turns out that it will not.
            let turn = origin.dialing.lock().await;
            if let Some(lease) = origin.shared() {
                return Ok(Connected::Shared(lease));
            }
            let _turn = Some(turn).filter(|_| origin.is_shared.get() != Some(false));
            dialer.dial(origin).await
        };
        timeout(limit, connecting).await.unwrap_or(Err(DialError::Timeout(limit)))
    }

    /// Sends the request over an HTTP/1 connection.
    async fn over(
        &mut self,
        mut link: Box<Link>,
        backend: &Backend,
        origin: &Origin,
    ) -> Result<Answer, Lost> {
        let body = std::mem::replace(&mut self.errand.body, RequestBody::EMPTY);
        let begin = begun(backend);
        let limit = self.edge.config.max_response_head;
        let sent = {
            let interim = self.errand.interim;
            let head = self.outgoing(backend, origin);
            self.timed(backend, pin!(link.send(head, body, interim, limit))).await?
        };
        let response = match sent {
            Ok(response) => response,
            Err(SendError { source, has_heard, body }) => {
                self.errand.body = body;
                return Err(lost(backend, source, has_heard));
            }
        };
        let in_flight = self.answered(backend, begin)?;
        let head = cleaned(response.status, response.headers);
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            if !link.is_sent() {
                let room = self.errand.timeout(self.service, |it| it.request_idle);
                link.limits = RestLimits { room, deadline: None };
            }
            let body = Body::link(link, response.framing, in_flight);
            return Ok(Answer { head, body, tunnel: None });
        }
        if !headers::is_offered(&self.errand.hop, &head.headers) {
            return Err(ForwardError::Upgrade { backend: backend.url() }.into());
        }
        let (stream, ahead) = link.into_stream();
        let tunnel = Tunnel { backend: stream, ahead, in_flight, account: None };
        Ok(Answer { head, body: Body::full(Bytes::new()), tunnel: Some(Box::new(tunnel)) })
    }

    /// Waits for the head of the response, but not for ever: as long as it may take from the end of
    /// the request on, and as long as the request may pause where it is the backend that takes no more
    /// of it. How long the client pauses is looked at elsewhere: an upload may last.
    ///
    /// What it waits for stays where it is: each place that it passed through would be as large.
    async fn timed<T>(
        &self,
        backend: &Backend,
        sending: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Lost> {
        let head = response_limit(self.edge, self.service, &self.errand);
        let idle = self.errand.timeout(self.service, |it| it.request_idle);
        match head.into_iter().chain(idle).min() {
            Some(shortest) => Box::pin(self.within(shortest, head, backend, sending)).await,
            None => Ok(sending.await),
        }
    }

    /// Waits as long as the backend takes a part of the request within the `shortest` time, and then for the
    /// head of its response.
    async fn within<T>(
        &self,
        shortest: Duration,
        head: Option<Duration>,
        backend: &Backend,
        mut sending: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Lost> {
        let (begin, mut left) = (Instant::now(), shortest);
        loop {
            if let Ok(sent) = timeout(left, sending.as_mut()).await {
                return Ok(sent);
            }
            let awaited = self.errand.progress.as_ref().map(Progress::awaited);
            let (since, limit) = match awaited.unwrap_or(Awaited::Answer(begin)) {
                Awaited::Client => {
                    left = shortest;
                    continue;
                }
                Awaited::Room(since) => (since, shortest),
                Awaited::Answer(since) => match head {
                    Some(head) => (since, head),
                    None => return Ok(sending.await),
                },
            };
            left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                backend.figures.failures.increment();
                return Err(ForwardError::Timeout { backend: backend.url(), limit }.into());
            }
        }
    }

    /// The head of the response is there. The backend works until the body is, too.
    fn answered(&mut self, backend: &Backend, begin: Instant) -> Result<InFlight, Lost> {
        self.took = nanos(begin);
        backend.figures.duration.record(self.took);
        // There is one for every attempt.
        let claim = self.in_flight.take();
        Ok(claim.unwrap_or_else(|| InFlight::unlimited(&backend.figures)))
    }

    /// The request as it is sent over HTTP/1.
    fn outgoing<'a>(&'a self, backend: &'a Backend, origin: &'a Origin) -> Outgoing<'a> {
        let target = self.errand.head.target();
        Outgoing {
            method: &self.errand.head.method,
            base: base(backend, target),
            target,
            host: self.host(origin),
            headers: &self.errand.head.headers,
            hop: &self.errand.hop,
        }
    }

    /// The host that the backend is told, where it is not a header of the request. HTTP/1.0 may name none,
    /// and each version that we speak to backends has to (RFC 9112, 3.2).
    fn host<'a>(&'a self, origin: &'a Origin) -> Option<&'a HeaderValue> {
        let passes = self.service.load_balancer.pass_host_header;
        match self.errand.host.as_ref().filter(|_| passes) {
            Some(host) => Some(host),
            None if passes && self.errand.head.headers.host().is_some() => None,
            None => Some(&origin.host),
        }
    }
}

/// What goes before a target, if that is a path.
fn base<'a>(backend: &'a Backend, target: &str) -> &'a str {
    backend.path.as_deref().filter(|_| target.starts_with('/')).unwrap_or_default()
}

/// How long the head of the response may take.
pub(super) fn response_limit(
    edge: &Edge,
    service: &Service,
    errand: &Errand<'_>,
) -> Option<Duration> {
    let transport = service.transport.as_ref();
    let of_transport = || transport.and_then(|(_, transport)| transport.response_header_timeout);
    let own = errand.said(service, |it| it.response_header).or_else(of_transport);
    own.or(edge.config.response_timeout).filter(|limit| !limit.is_zero())
}

/// Notes that a request is given to a backend.
fn begun(backend: &Backend) -> Instant {
    backend.figures.requests.increment();
    Instant::now()
}

impl From<ForwardError> for Lost {
    fn from(error: ForwardError) -> Self {
        Self { error, ignored: Ignored::No }
    }
}

fn lost(backend: &Backend, source: SendErrorKind, has_heard: bool) -> Lost {
    match source {
        SendErrorKind::Client(source) if source.is_slow() => ForwardError::Slow.into(),
        SendErrorKind::Client(source) => ForwardError::Client(source).into(),
        SendErrorKind::Backend(source) => {
            backend.figures.failures.increment();
            let error = ForwardError::Exchange { backend: backend.url(), source: source.into() };
            Lost { error, ignored: if has_heard { Ignored::No } else { Ignored::Perhaps } }
        }
    }
}

fn cleaned(status: StatusCode, mut headers: Headers) -> ResponseHead {
    // Lines are those of the message already.
    if headers.lines().is_none() {
        headers::clean_response(status, &mut headers);
    }
    ResponseHead { status, headers, local: false }
}
