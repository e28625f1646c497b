//! From a service to an answer: which service of a service, which backend of those, and what when
//! that one fails.
//!
//! **Invariant:** a request is sent again only if nobody can have acted upon it, or doing so twice
//! changes nothing (RFC 9110, 9.2.2) and was asked for, within the service's budget. Only a router may ask for
//! more, that what changes something is sent again, too.

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_core::{
    moment::{Moment, millis},
    policy::{Breaker, Terms},
    service::{Backend, Circuit, Failover, Gate, Kind, Service},
};
use tokio::time::{sleep, timeout};

use super::{
    account::Notes,
    choice::{self, Choice, Claimed, keep},
    edge::Edge,
    errand::{Asker, Errand},
    forward::{Answer, Dispatch, Failed, Ignored, response_limit},
    mirror::{self, discard},
    outcome,
    rescue::ForwardError,
};

/// For so long a request looks for a backend that accepts connections beyond its attempts: where many are
/// silent, each takes the time of a connection.
const SEARCH: Duration = Duration::from_secs(30);

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
    let is_limited =
        total.or(request_idle).or_else(|| response_limit(edge, service, &errand)).is_some();
    if is_limited {
        errand.progress = errand.body.timed();
    }
    let progress = errand.progress.clone();
    let (newer, asked) = (OnceCell::new(), Cell::new(None));
    // Made where it is waited for: what is moved has two places in a future.
    let mut result = match total {
        None => attempts(edge, service, &newer, errand, notes, &asked).await,
        Some(limit) => {
            let attempts = attempts(edge, service, &newer, errand, notes, &asked);
            match Box::pin(timeout(limit, attempts)).await {
                Ok(result) => result,
                // A client that does not come to an end is not the backend's fault.
                Err(_elapsed) if progress.is_some_and(|it| it.is_up_to_client()) => {
                    Err(ForwardError::Slow)
                }
                Err(_elapsed) => Err(match asked.get() {
                    Some((backend, begun)) => {
                        backend.figures.failures.increment();
                        let error = ForwardError::Timeout { backend: backend.url(), limit };
                        outcome::lost(service, backend, begun, &error);
                        error
                    }
                    // All of the time it waited for a place.
                    None => ForwardError::Full,
                }),
            }
        }
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

/// Tries backends, one after the other, until one answers. `newer` holds the service if that changed while
/// the request waited. `asked`: the backend that is tried now, and when it was chosen.
async fn attempts<'a>(
    edge: &Rc<Edge>,
    service: &'a Service,
    newer: &'a OnceCell<Arc<Service>>,
    errand: Box<Errand<'_>>,
    mut notes: Notes<'_>,
    asked: &Cell<Option<(&'a Backend, Moment)>>,
) -> Result<Answer, ForwardError> {
    let (service, mut choice, mut next) = choice::first(edge, service, newer, &errand).await?;
    let terms = Terms::of(errand.retries, &service.load_balancer.retry);
    let repeats = terms.repeats(&errand.head.method) && !errand.upgrade;
    let asker = errand.asker;
    let mut dispatch = Dispatch::new(edge, service, errand);
    if repeats {
        dispatch.record_body(terms.max_body());
    }
    // A poor answer, which is better than none. In a box, as few carry one.
    let mut best: Option<Box<(usize, Answer)>> = None;
    let mut failure = ForwardError::NoBackend;
    let begin = next.as_ref().map(|it| it.begun);
    // Attempts that are left, this one included, and whether the last backend accepted no connection.
    let (mut left, mut is_refused) = (terms.attempts(), false);
    for attempt in 1_u32.. {
        if attempt > 1 {
            // A poor answer is better than to wait for another.
            let may_wait = best.is_none();
            let refused = std::mem::take(&mut is_refused);
            // In a box, as few come here.
            let search = Search { edge, service, terms, asker, is_refused: refused, may_wait };
            next = Box::pin(search.following(&mut choice, &mut left)).await?;
        }
        let Some(Claimed { place, claim, begun }) = next.take() else { break };
        let Some(backend) = service.backends.get(place) else { break };
        choice.tries(place);
        asked.set(Some((backend, begun)));
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
        let may_repeat = || left > 1 && may_repeat(service);
        let attempted = dispatch.attempt(backend, &origin).await.map_err(|failed| match failed {
            Failed::Dial(source) => (ForwardError::Dial { backend: backend.url(), source }, None),
            Failed::Lost(lost) => (lost.error, Some(lost.ignored)),
        });
        let result = attempted.as_ref().map(|answer| &answer.head);
        notes.attempted(dispatch.version, result.map_err(|(error, _)| error.reason()));
        match attempted {
            Ok(answer) => {
                outcome::answered(service, backend, begun, answer.head.status, dispatch.took);
                // What came before is no better.
                discard(best.take().map(|best| best.1), None);
                let is_poor = terms.is_poor(answer.head.status);
                match spare.filter(|it| is_poor && it.is_fresh() && may_repeat()) {
                    Some(spare) => dispatch.rewind(spare),
                    None => return Ok(choice.settled(service, place, answer)),
                }
                best = Some(Box::new((place, answer)));
            }
            Err((error, None)) => {
                if !error.is_ours() {
                    outcome::not_connected(service, backend, begun);
                    is_refused = terms.attempts() > 1 && begin.is_some_and(is_recent);
                }
                let may = terms.on_network_error() || terms.is_poor(error.status());
                failure = error;
                if !may {
                    break;
                }
            }
            Err((error, Some(ignored))) => {
                outcome::lost(service, backend, begun, &error);
                let is_unsent = ignored == Ignored::Surely && terms.on_network_error();
                let is_listed = !error.is_of_client() && terms.is_poor(error.status());
                let may = ignored != Ignored::No && terms.on_reset() || is_listed;
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
        Some((place, answer)) => Ok(choice.settled(service, place, answer)),
        None => Err(failure),
    }
}

/// A look for the backend that is tried next.
struct Search<'a> {
    edge: &'a Edge,
    service: &'a Service,
    terms: Terms<'a>,
    asker: Asker,
    /// The last one accepted no connection.
    is_refused: bool,
    /// One that is full is waited for.
    may_wait: bool,
}

impl Search<'_> {
    /// The backend that is tried next; `None`: there is none, or enough were tried. One that accepted no connection
    /// costs an attempt only if nobody else is likely to. Who was tried is tried again only where the router
    /// says how often, and after the pause that it wants.
    async fn following(
        &self,
        choice: &mut Choice,
        left: &mut u32,
    ) -> Result<Option<Claimed>, ForwardError> {
        let Self { edge, service, .. } = *self;
        let is_late = |pause| {
            let limit = self.terms.said().and_then(|said| said.timeout);
            limit.is_some_and(|limit| self.asker.begin.elapsed() + pause >= limit)
        };
        if is_late(Duration::ZERO) {
            return Ok(None);
        }
        if self.is_refused
            && let Some(found) = choice.elsewhere(service)
        {
            return Ok(Some(found));
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            if !self.is_refused {
                return Ok(None);
            }
            // Whoever accepts connections may only be full.
            choice.insist();
        } else if let Some(said) = self.terms.said() {
            let pause = said.pause(*left);
            if is_late(pause) {
                return Ok(None);
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        let found = choice.next(edge, service, self.may_wait).await?;
        if found.is_some() || self.terms.said().is_none() || *left == 0 {
            return Ok(found);
        }
        choice.begin_again();
        choice.next(edge, service, self.may_wait).await
    }
}

/// Whether a request may look on for a backend that accepts a connection.
fn is_recent(begin: Moment) -> bool {
    let now = Moment::of(Instant::now());
    now.as_millis().saturating_sub(begin.as_millis()) < millis(SEARCH)
}

/// Whether a request that was sent may be sent once more. Takes that from the budget.
fn may_repeat(service: &Service) -> bool {
    let requests = service.backends.iter().map(|it| it.figures.requests.value()).sum();
    let retry = &service.load_balancer.retry;
    service.state.budget.take(Moment::of(Instant::now()), requests, retry)
}
