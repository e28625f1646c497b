//! From a service to an answer: which service of a service, which backend of those, and what when
//! that one fails.
//!
//! **Invariant:** a request is sent again only if nobody can have acted upon it, or doing so twice
//! changes nothing (RFC 9110, 9.2.2) and was asked for, within the service's budget.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    future::Future,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use portolan_core::{
    balance::{Ask, Cookie, Tried, cookie, key},
    exchange::RequestHead,
    moment::Moment,
    policy::{Breaker, HashOn, LoadBalancer, Strategy, Timeouts},
    service::{Backend, Circuit, Failover, Gate, Kind, Service},
};
use tokio::time::timeout;

use super::{
    account::Notes,
    body::{Progress, RequestBody},
    claim::{InFlight, Seat, in_line},
    edge::Edge,
    forward::{Answer, Dispatch, Failed, Ignored, response_limit},
    headers::{self, Hop},
    mirror::{self, discard},
    outcome,
    rescue::ForwardError,
};
use crate::h1::Line;

/// Who asks, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) ip: IpAddr,
    pub(crate) begin: Instant,
}

/// A request on its way to a service. In a box where it is handed on: each that it passes through
/// would else have a copy in its future.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) head: Cow<'a, RequestHead>,
    pub(crate) body: RequestBody,
    pub(crate) asker: Asker,
    /// The host, where it is not a header of the request.
    pub(crate) host: Option<HeaderValue>,
    /// What is said of our own connection.
    pub(crate) hop: HeaderMap,
    /// Where interim responses go, if the client can have them.
    pub(crate) interim: Option<&'a RefCell<Line>>,
    /// The client wants to change the protocol.
    pub(crate) upgrade: bool,
    /// Whether somebody looks at the headers of the response, or they pass as they are.
    pub(crate) looks: bool,
    /// How long it may take, where its router says so.
    pub(crate) timeouts: Option<&'a Timeouts>,
    /// How its body gets on, where somebody asks; `None`: there is none.
    pub(crate) progress: Option<Progress>,
}

/// Sends a request to a service, whatever that is made of.
pub(crate) async fn send(
    edge: &Rc<Edge>,
    service: &Service,
    errand: Box<Errand<'_>>,
    notes: Notes<'_>,
) -> Result<Answer, ForwardError> {
    match &service.kind {
        Kind::Backends => deliver(edge, service, errand, notes).await,
        kind => compound(edge, kind, errand, notes).await,
    }
}

/// Sends a request to a service that is made of others. Boxed, since those may be, too.
fn compound<'a>(
    edge: &'a Rc<Edge>,
    kind: &'a Kind,
    mut errand: Box<Errand<'a>>,
    notes: Notes<'a>,
) -> Pin<Box<dyn Future<Output = Result<Answer, ForwardError>> + 'a>> {
    Box::pin(async move {
        match kind {
            Kind::Backends => Err(ForwardError::NoBackend),
            Kind::Weighted(weighted) => {
                let (headers, client) = (&errand.head.headers, errand.asker.key());
                let place = weighted.choose(headers, client, errand.asker.now());
                let kept = weighted.cookie.as_ref().map(|cookie| (cookie, cookie.place(headers)));
                let member = place.and_then(|place| weighted.members.get(place));
                let service = member.and_then(|member| member.service.as_deref());
                let mut answer =
                    part(edge, service.ok_or(ForwardError::NoBackend)?, errand, notes).await?;
                if let (Some((cookie, kept)), Some(place)) = (kept, place)
                    && kept != Some(place)
                {
                    keep(&mut answer, cookie, place);
                }
                Ok(answer)
            }
            Kind::Mirroring(mirroring) => {
                mirror::copies(edge, mirroring, &mut errand, &notes);
                part(edge, &mirroring.main, errand, notes).await
            }
            Kind::Failover(failover) => fail_over(edge, failover, errand, notes).await,
        }
    })
}

/// Sends a request to a service that another is made of.
async fn part(
    edge: &Rc<Edge>,
    service: &Service,
    errand: Box<Errand<'_>>,
    mut notes: Notes<'_>,
) -> Result<Answer, ForwardError> {
    notes.pass(service);
    send(edge, service, errand, notes).await
}

async fn fail_over(
    edge: &Rc<Edge>,
    failover: &Failover,
    mut errand: Box<Errand<'_>>,
    mut notes: Notes<'_>,
) -> Result<Answer, ForwardError> {
    let (first, second) = failover.choose(errand.asker.now());
    let first = first.ok_or(ForwardError::NoBackend)?;
    let Some(second) = second else { return part(edge, first, errand, notes).await };
    let by_status = !failover.statuses.is_empty() && !errand.upgrade;
    // Also where nothing is to be kept: of what nobody had nothing was read.
    errand.record_body(if by_status { failover.max_body } else { 0 });
    let Some(mut spare) = errand.copy() else { return part(edge, first, errand, notes).await };
    let depth = notes.depth();
    match part(edge, first, errand, notes.again()).await {
        Ok(answer) if by_status && failover.statuses.contains(answer.head.status) => {
            if !spare.body.is_fresh() {
                return Ok(answer);
            }
            let mut stray = notes.part_with(depth);
            stray.answered(&answer.head);
            discard(Some(answer), Some(stray));
        }
        Ok(answer) => return Ok(answer),
        // Sent once more only if nobody had it, or what the client would get is one of those statuses.
        Err(error)
            if error.is_unsent()
                || by_status
                    && !error.is_of_client()
                    && failover.statuses.contains(error.status()) =>
        {
            if !spare.body.is_fresh() {
                return Err(error);
            }
            notes.part_with(depth).failed(&error);
        }
        Err(error) => return Err(error),
    }
    spare.body.begin();
    part(edge, second, spare, notes).await
}

/// Sends a request to one of the backends of a service, within its limits.
async fn deliver(
    edge: &Rc<Edge>,
    service: &Service,
    mut errand: Box<Errand<'_>>,
    notes: Notes<'_>,
) -> Result<Answer, ForwardError> {
    let (options, asker) = (&service.load_balancer, errand.asker);
    let circuit = &service.state.circuit;
    let gate = options.breaker.as_ref().map(|breaker| circuit.gate(asker.now(), breaker));
    if let Some(Gate::Open(millis)) = gate {
        return Err(ForwardError::Resting { millis });
    }
    let passing = Passing(circuit, gate);
    let total = errand.timeout(service, |it| it.total);
    let response_idle = errand.timeout(service, |it| it.response_idle);
    let request_idle = errand.timeout(service, |it| it.request_idle);
    let is_limited = total.or(request_idle).or(response_limit(edge, service, &errand)).is_some();
    if is_limited {
        errand.progress = errand.body.timed();
    }
    let progress = errand.progress.clone();
    let asked = Cell::new(None);
    let attempts = attempts(edge, service, errand, notes, &asked);
    let mut result = match total {
        None => attempts.await,
        Some(limit) => match Box::pin(timeout(limit, attempts)).await {
            Ok(result) => result,
            // A client that does not come to an end is not the backend's fault.
            Err(_elapsed) if progress.is_some_and(|it| it.is_up_to_client()) => {
                Err(ForwardError::Slow)
            }
            Err(_elapsed) => Err(match asked.get() {
                Some(backend) => {
                    backend.figures.failures.increment();
                    let error = ForwardError::Timeout { backend: backend.url(), limit };
                    outcome::lost(service, backend, &error);
                    error
                }
                // All of the time it waited for a place.
                None => ForwardError::Full,
            }),
        },
    };
    if let Ok(answer) = &mut result {
        let deadline = total.map(|total| tokio::time::Instant::from_std(asker.begin) + total);
        answer.watch(response_idle, deadline);
    }
    if let (Some(gate), Some(breaker)) = (passing.passed(), &options.breaker) {
        note(service, breaker, gate, &result);
    }
    result
}

/// A request that a circuit breaker let pass. One whose client leaves shows nothing.
struct Passing<'a>(&'a Circuit, Option<Gate>);

impl Passing<'_> {
    /// It came to an end.
    fn passed(mut self) -> Option<Gate> {
        self.1.take()
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.1 {
            self.0.give_up(gate);
        }
    }
}

/// Tells a circuit breaker what became of a request.
fn note(service: &Service, breaker: &Breaker, gate: Gate, result: &Result<Answer, ForwardError>) {
    let circuit = &service.state.circuit;
    let failed = match result {
        Ok(answer) => answer.head.status.is_server_error(),
        Err(ForwardError::Client(_) | ForwardError::Slow | ForwardError::Full) => {
            return circuit.give_up(gate);
        }
        Err(_) => true,
    };
    if circuit.note(Moment::of(Instant::now()), breaker, gate, failed) {
        tracing::warn!(service = %service.name, open = circuit.is_open(), "circuit breaker");
    }
}

/// Tries backends, one after the other, until one answers. `asked`: the one that is tried now.
async fn attempts<'a>(
    edge: &Rc<Edge>,
    service: &'a Service,
    errand: Box<Errand<'_>>,
    mut notes: Notes<'_>,
    asked: &Cell<Option<&'a Backend>>,
) -> Result<Answer, ForwardError> {
    let retry = &service.load_balancer.retry;
    let mut choice = Choice::of(service, &errand).await?;
    let repeats = retry.repeats() && errand.head.method.is_idempotent() && !errand.upgrade;
    let mut dispatch = Dispatch::new(edge, service, errand);
    if repeats {
        dispatch.record_body(retry.max_body);
    }
    // A poor answer, which is better than none. In a box, as few carry one.
    let mut best: Option<Box<(usize, Answer)>> = None;
    let mut failure = ForwardError::NoBackend;
    for attempt in 1..=retry.attempts {
        let Some((place, claim)) = choice.claim(attempt).await? else { break };
        let Some(backend) = service.backends.get(place) else { break };
        choice.tried.insert(place);
        asked.set(Some(backend));
        let Some(origin) = edge.pool.origin(backend, &service.transport) else {
            failure = ForwardError::Address(backend.url());
            continue;
        };
        if attempt > 1 {
            service.figures.retries.increment();
        }
        dispatch.in_flight = Some(claim);
        let span = notes.attempt(service, backend);
        if let Some((context, span)) = span {
            dispatch.belongs(&context, span);
        }
        let spare = if repeats { dispatch.spare() } else { None };
        let may_repeat = || attempt < retry.attempts && choice.may_repeat();
        let attempted = dispatch.attempt(backend, &origin).await.map_err(|failed| match failed {
            Failed::Dial(source) => (ForwardError::Dial { backend: backend.url(), source }, None),
            Failed::Lost(lost) => (lost.error, Some(lost.ignored)),
        });
        let result = attempted.as_ref().map(|answer| answer.head.status);
        notes.attempted(dispatch.version, result.map_err(|(error, _)| error.reason()));
        match attempted {
            Ok(answer) => {
                outcome::answered(service, backend, answer.head.status, dispatch.took);
                // What came before is no better.
                discard(best.take().map(|best| best.1), None);
                let is_poor = retry.statuses.contains(answer.head.status);
                match spare.filter(|it| is_poor && it.is_fresh() && may_repeat()) {
                    Some(spare) => dispatch.rewind(spare),
                    None => return Ok(choice.settled(place, answer)),
                }
                best = Some(Box::new((place, answer)));
            }
            Err((error, None)) => {
                outcome::not_connected(service, backend);
                failure = error;
            }
            Err((error, Some(ignored))) => {
                outcome::lost(service, backend, &error);
                let is_unsent = ignored == Ignored::Surely;
                let may = ignored != Ignored::No && retry.on_reset;
                failure = error;
                if !is_unsent {
                    match spare.filter(|it| may && it.is_fresh() && may_repeat()) {
                        Some(spare) => dispatch.rewind(spare),
                        None => break,
                    }
                }
            }
        }
        dispatch.in_flight = None;
    }
    match best.map(|best| *best) {
        Some((place, answer)) => Ok(choice.settled(place, answer)),
        None => Err(failure),
    }
}

/// The choice among the backends of a service, for one request.
struct Choice<'a> {
    service: &'a Service,
    asker: Asker,
    /// Who asks, as a number; where clients are told apart.
    key: u64,
    /// The backend that the client was sent to before.
    kept: Option<usize>,
    tried: Tried,
    seat: Option<Rc<Seat>>,
}

impl<'a> Choice<'a> {
    /// Takes a place in the service.
    async fn of(service: &'a Service, errand: &Errand<'_>) -> Result<Self, ForwardError> {
        let seat = Seat::take(service).await.map_err(|_full| ForwardError::Full)?;
        let headers = &errand.head.headers;
        Ok(Self {
            service,
            asker: errand.asker,
            key: told_apart(&service.load_balancer, errand),
            kept: service.cookie.as_ref().and_then(|cookie| cookie.place(headers)),
            tried: Tried::default(),
            seat: seat.map(Rc::new),
        })
    }

    /// The next backend, with a claim on it. Where all are full one is waited for.
    async fn claim(&self, attempt: u32) -> Result<Option<(usize, InFlight)>, ForwardError> {
        let now = match attempt {
            1 => self.asker.now(),
            _ => Moment::of(Instant::now()),
        };
        let claimed = self.try_claim(now);
        let limits = &self.service.load_balancer.limits;
        let may_wait = limits.max_requests_per_backend.is_some() && self.tried.is_empty();
        if claimed.is_some() || !may_wait || !self.service.is_well() {
            return Ok(claimed);
        }
        let take = || self.try_claim(Moment::of(Instant::now()));
        let claimed = in_line(&self.service.state, limits, take).await;
        claimed.map(Some).map_err(|_full| ForwardError::Full)
    }

    fn try_claim(&self, now: Moment) -> Option<(usize, InFlight)> {
        let Service { balancer, backends, load_balancer, .. } = self.service;
        let ask = Ask { tried: &self.tried, now, key: self.key };
        let kept = self.kept.filter(|place| balancer.may_stay(backends, *place, &ask));
        let place = kept.or_else(|| balancer.next(backends, &ask))?;
        let limit = load_balancer.limits.max_requests_per_backend;
        let claim = InFlight::claim(&backends.get(place)?.figures, limit, &self.seat)?;
        Some((place, claim))
    }

    /// Whether a request that was sent may be sent once more. Takes that from the budget.
    fn may_repeat(&self) -> bool {
        let requests = self.service.backends.iter().map(|it| it.figures.requests.value()).sum();
        let retry = &self.service.load_balancer.retry;
        self.service.state.budget.take(Moment::of(Instant::now()), requests, retry)
    }

    /// The answer, which tells the client where to come back to.
    fn settled(&self, place: usize, mut answer: Answer) -> Answer {
        if let Some(cookie) = &self.service.cookie
            && self.kept != Some(place)
        {
            keep(&mut answer, cookie, place);
        }
        answer
    }
}

/// Tells the client where to come back to.
fn keep(answer: &mut Answer, cookie: &Cookie, place: usize) {
    if let Some(line) = cookie.header(place) {
        answer.head.headers.add(&SET_COOKIE, &line);
    }
}

/// Who asks, as a number; 0 where nobody is told apart.
fn told_apart(options: &LoadBalancer, errand: &Errand<'_>) -> u64 {
    if options.strategy != Strategy::Hashed {
        return 0;
    }
    let headers = &errand.head.headers;
    let told = match &options.hash_on {
        HashOn::ClientIp => None,
        HashOn::Header(name) => headers.first(name).map(key),
        HashOn::Cookie(name) => cookie(headers, name).map(|value| key(value.as_bytes())),
    };
    told.unwrap_or_else(|| errand.asker.key())
}

impl Asker {
    /// The client as a number.
    fn key(self) -> u64 {
        match self.ip {
            IpAddr::V4(ip) => key(&ip.octets()),
            IpAddr::V6(ip) => key(&ip.octets()),
        }
    }

    fn now(self) -> Moment {
        Moment::of(self.begin)
    }
}

impl<'a> Errand<'a> {
    /// A request as it leaves the middlewares, and how long its router lets it take.
    pub(crate) fn of(
        head: &'a RequestHead,
        asker: Asker,
        hop: Hop,
        body: RequestBody,
        interim: Option<&'a RefCell<Line>>,
        looks: bool,
        timeouts: Option<&'a Timeouts>,
    ) -> Box<Self> {
        let upgrade = hop.upgrade.is_some();
        let mut told = HeaderMap::new();
        headers::connect(&mut told, hop);
        let authority = head.uri().authority().map(|_| head.authority());
        let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
        let (head, hop) = (Cow::Borrowed(head), told);
        let progress = None;
        Box::new(Self { head, body, asker, host, hop, interim, upgrade, looks, timeouts, progress })
    }

    /// One of the limits: that of the router, else that of the service.
    pub(crate) fn timeout(
        &self,
        service: &Service,
        of: impl Fn(&Timeouts) -> Option<Duration>,
    ) -> Option<Duration> {
        let own = self.timeouts.and_then(&of);
        own.or_else(|| of(&service.load_balancer.timeouts))
    }

    /// Records the body on its way, so that it can be copied.
    pub(crate) fn record_body(&mut self, limit: u64) {
        let body = std::mem::replace(&mut self.body, RequestBody::EMPTY);
        self.body = body.recorded(limit);
    }

    /// The same again; `None` where the body can be read only once.
    pub(crate) fn copy(&self) -> Option<Box<Self>> {
        let body = self.body.copy()?;
        let mut copy = self.bodiless();
        copy.body = body;
        Some(copy)
    }

    /// The same again, without its body.
    pub(crate) fn bodiless(&self) -> Box<Self> {
        let Self { asker, interim, upgrade, looks, timeouts, .. } = *self;
        let (head, host, hop) = (self.head.clone(), self.host.clone(), self.hop.clone());
        let (body, progress) = (RequestBody::EMPTY, None);
        Box::new(Self { head, body, asker, host, hop, interim, upgrade, looks, timeouts, progress })
    }

    /// The same, for those who outlive the request. Nobody hears of it before it is over.
    pub(crate) fn into_owned(self) -> Box<Errand<'static>> {
        let Self { head, body, asker, host, hop, upgrade, looks, .. } = self;
        let head = Cow::Owned(head.into_owned());
        let (interim, timeouts, progress) = (None, None, None);
        Box::new(Errand {
            head,
            body,
            asker,
            host,
            hop,
            interim,
            upgrade,
            looks,
            timeouts,
            progress,
        })
    }
}
