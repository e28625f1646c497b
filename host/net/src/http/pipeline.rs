//! The middlewares of a router: inwards in order, outwards in reverse.
//!
//! **Invariant:** a middleware that was entered is left, whoever answered: a further middleware,
//! the backend, or we ourselves because something failed.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use portolan_core::{
    edit::{self, Edit},
    exchange::{Exchange, Reply, ResponseHead, is_of_connection},
    forward_auth::ForwardAuth,
    hook::{CallError, Hooks, RequestVerdict, ResponseVerdict},
    middleware::{Action, Middleware, OnFailure},
    plan::{Place, Planned, Steps},
    router::Router,
};

use super::{
    account::Account,
    body::Body,
    complaint::About,
    edge::Edge,
    forward_auth::{self, Apart, Asked},
    page::Taste,
    recode::recode,
    rescue::HttpError,
    throttle::{self, Turn, Wait},
    trace::Step,
};
use crate::h1::is_bodiless;

/// Who was entered, outermost first, and what each is to do on the way back.
#[derive(Debug, Default)]
pub(crate) struct Entered(Vec<Way>);

#[derive(Debug, Default)]
struct Way {
    steps: Steps,
    /// What the request hook left for the response hook; `None`: that is not called.
    context: Option<u64>,
    /// What the request hook wants changed of the response, before that.
    later: Vec<Edit>,
}

/// A router, and the middlewares before it where the request came in.
#[derive(Clone, Copy)]
struct Route<'a> {
    router: &'a Router,
    chain: &'a [Arc<Middleware>],
}

/// What the middlewares made of a request.
#[derive(Debug)]
pub(crate) enum Inward {
    /// It goes on to the service.
    Continue,
    /// One of them answered.
    Reply(Reply),
    /// One of them failed.
    Fail(HttpError),
}

/// How far it goes inwards without waiting.
enum Reach<'a> {
    /// As far as it goes at all.
    Done(Inward),
    /// To another server that is asked, behind which the plan goes on.
    Ask(&'a Middleware, &'a ForwardAuth, Place),
    /// To one that lets it go on, only not yet.
    Wait(Wait<'a>, Place),
    /// To a middleware whose hook may take so long that it is called beside this thread.
    Aside(&'a Middleware, Arc<dyn Hooks>, Duration),
}

impl Entered {
    /// Whether there was nobody to enter.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its response hook is to be called, if there is a context, after these changes.
    fn back(&mut self, context: Option<u64>, later: Vec<Edit>) {
        if let Some(way) = self.0.last_mut() {
            way.context = context;
            way.later.extend(later);
        }
    }

    /// What the middleware that was entered last wants changed of the response.
    fn later(&mut self, change: Option<Edit>) {
        if let Some(way) = self.0.last_mut() {
            way.later.extend(change);
        }
    }
}

const ON: Reach<'_> = Reach::Done(Inward::Continue);

/// Inwards, outermost first.
pub(crate) async fn enter(
    edge: &Rc<Edge>,
    router: &Router,
    exchange: Box<Exchange>,
    mut apart: Apart<'_>,
    account: &mut Account,
) -> (Box<Exchange>, Entered, Inward) {
    let route = Route { router, chain: router.chain(&exchange.entrypoint) };
    let mut entered = Entered(Vec::with_capacity(route.chain.len()));
    let (mut exchange, mut reach) = inwards(edge, route, exchange, &mut entered, None, account);
    loop {
        let (returned, inward, from) = match reach {
            Reach::Done(inward) => return (exchange, entered, inward),
            Reach::Ask(middleware, authority, place) => {
                let asked = forward_auth::ask(
                    edge,
                    middleware,
                    authority,
                    &mut exchange,
                    &mut apart,
                    account,
                );
                let inward = match Box::pin(asked).await {
                    Ok(Asked::Passes(change)) => {
                        entered.later(change);
                        Inward::Continue
                    }
                    Ok(Asked::Refused(reply)) => Inward::Reply(reply),
                    Err(source) => Inward::Fail(HttpError::Authority {
                        middleware: middleware.name.clone(),
                        source,
                    }),
                };
                (exchange, inward, Some(place))
            }
            Reach::Wait(wait, place) => {
                Box::pin(wait.over()).await;
                (exchange, Inward::Continue, Some(place))
            }
            Reach::Aside(middleware, hooks, limit) => {
                let begin = account.now();
                let call =
                    edge.aside.call(hooks, limit, exchange, |hooks, it| hooks.on_request(it));
                let (exchange, verdict) = Box::pin(call).await;
                account.step(begin, Step::Request, middleware, verdict.as_ref().err());
                (exchange, decided(edge, middleware, &mut entered, verdict), None)
            }
        };
        exchange = returned;
        if !matches!(inward, Inward::Continue) {
            return (exchange, entered, inward);
        }
        (exchange, reach) = inwards(edge, route, exchange, &mut entered, from, account);
    }
}

/// Inwards from where we are, as far as that goes without waiting: on with the plan of the innermost
/// middleware so far, where there is a place in it, else with the next.
fn inwards<'a>(
    edge: &Edge,
    route: Route<'a>,
    mut exchange: Box<Exchange>,
    entered: &mut Entered,
    mut from: Option<Place>,
    account: &mut Account,
) -> (Box<Exchange>, Reach<'a>) {
    let done = entered.0.len().saturating_sub(usize::from(from.is_some()));
    for middleware in route.chain.iter().skip(done) {
        if middleware.is_closed() {
            let error = HttpError::closed_by(middleware);
            return (exchange, Reach::Done(Inward::Fail(error)));
        }
        let place = from.take().unwrap_or_else(|| {
            entered.0.push(Way::default());
            Place::default()
        });
        let Some(Way { steps, .. }) = entered.0.last_mut() else { break };
        match planned(route.router, middleware, place, steps, &mut exchange, account) {
            Reach::Done(Inward::Continue) => {}
            reach => return (exchange, reach),
        }
        let (returned, step) = hook(edge, route, middleware, exchange, entered, account);
        exchange = returned;
        match step {
            Reach::Done(Inward::Continue) => {}
            step => return (exchange, step),
        }
    }
    (exchange, ON)
}

/// On with a plan, as far as that goes without waiting.
fn planned<'a>(
    router: &Router,
    middleware: &'a Middleware,
    mut place: Place,
    steps: &mut Steps,
    exchange: &mut Exchange,
    account: &mut Account,
) -> Reach<'a> {
    loop {
        let (action, behind) = match middleware.interest.plan_request(place, steps, exchange) {
            Planned::Through => return ON,
            Planned::Reply(reply) => return Reach::Done(Inward::Reply(reply)),
            Planned::Pause(action, behind) => (action, behind),
        };
        let turn = match action {
            Action::ForwardAuth(authority) => return Reach::Ask(middleware, authority, behind),
            Action::RateLimit(limit) => throttle::pace(limit, router, exchange),
            Action::InFlight(limit) => throttle::place(limit, router, exchange, account),
            // It is done nowhere: who relies on it is not let through.
            _ => return Reach::Done(Inward::Fail(HttpError::closed_by(middleware))),
        };
        match turn {
            Turn::Now => place = behind,
            Turn::Later(wait) => return Reach::Wait(wait, behind),
            Turn::Never(reply) => return Reach::Done(Inward::Reply(reply)),
        }
    }
}

/// Asks the request hook of a middleware, if it wants this request.
fn hook<'a>(
    edge: &Edge,
    route: Route<'a>,
    middleware: &'a Middleware,
    mut exchange: Box<Exchange>,
    entered: &mut Entered,
    account: &mut Account,
) -> (Box<Exchange>, Reach<'a>) {
    let interest = &middleware.interest;
    let Some(hooks) = &interest.hooks else { return (exchange, ON) };
    if interest.when.as_ref().is_some_and(|when| !when.matches(&exchange)) {
        return (exchange, ON);
    }
    if !interest.on_request {
        if interest.on_response {
            entered.back(Some(0), Vec::new());
        }
        return (exchange, ON);
    }
    if exchange.router.is_none() {
        // Only hooks can read it, and its text is shared with other workers.
        exchange.router = Some(route.router.name.clone());
    }
    if let Some(limit) = interest.aside {
        return (exchange, Reach::Aside(middleware, hooks.clone(), limit));
    }
    let begin = account.now();
    let (exchange, verdict) = hooks.on_request(exchange);
    account.step(begin, Step::Request, middleware, verdict.as_ref().err());
    (exchange, Reach::Done(decided(edge, middleware, entered, verdict)))
}

/// What the request hook of the innermost middleware so far makes of a request.
fn decided(
    edge: &Edge,
    middleware: &Middleware,
    entered: &mut Entered,
    verdict: Result<RequestVerdict, CallError>,
) -> Inward {
    match verdict {
        Ok(RequestVerdict::Continue { context, response, later }) => {
            let is_called = response && middleware.interest.on_response;
            entered.back(is_called.then_some(context), later);
            Inward::Continue
        }
        Ok(RequestVerdict::Reply(reply)) => Inward::Reply(reply),
        Err(source) => match failed(edge, middleware, source) {
            Some(error) => Inward::Fail(error),
            None => Inward::Continue,
        },
    }
}

/// Outwards, innermost first. The response is in the exchange; `body` is its body.
pub(crate) async fn leave(
    edge: &Edge,
    router: &Router,
    entered: Entered,
    mut exchange: Box<Exchange>,
    body: &mut Body,
    taste: &Taste,
    account: &mut Account,
) -> Box<Exchange> {
    let chain = router.chain(&exchange.entrypoint);
    for (way, middleware) in entered.0.into_iter().zip(chain).rev() {
        edit::apply(way.later, &mut exchange);
        if let (Some(context), Some(hooks)) = (way.context, &middleware.interest.hooks) {
            let begin = account.now();
            let (returned, verdict) = match middleware.interest.aside {
                None => hooks.on_response(context, exchange),
                Some(limit) => {
                    let hook = move |hooks: &dyn Hooks, it| hooks.on_response(context, it);
                    Box::pin(edge.aside.call(hooks.clone(), limit, exchange, hook)).await
                }
            };
            account.step(begin, Step::Response, middleware, verdict.as_ref().err());
            account.left();
            exchange = returned;
            match verdict {
                Ok(ResponseVerdict::Continue) => {}
                Ok(ResponseVerdict::Replace(reply)) => replace(&mut exchange, body, reply),
                Err(source) => {
                    if let Some(error) = failed(edge, middleware, source) {
                        let (head, text) = edge.rescue(
                            &error,
                            taste,
                            account,
                            About { request: Some(&exchange.request), router: Some(router) },
                        );
                        exchange.response = Some(head);
                        *body = text;
                    }
                }
            }
        }
        if let Some(recoding) = middleware.interest.plan_response(way.steps, &mut exchange) {
            // It may wait for the first of the content.
            account.left();
            Box::pin(recode(recoding, &mut exchange, body)).await;
        }
    }
    exchange
}

fn replace(exchange: &mut Exchange, body: &mut Body, reply: Reply) {
    let (head, content) = respond(reply);
    exchange.response = Some(head);
    *body = content;
}

/// A reply as a response.
pub(crate) fn respond(reply: Reply) -> (ResponseHead, Body) {
    let mut headers = HeaderMap::with_capacity(reply.headers.len() + 4);
    // The framing is ours: a length that a plugin got wrong would put the connection out of step.
    for (name, value) in reply.headers.into_iter().filter(|(name, _)| !is_of_connection(name)) {
        headers.append(name, value);
    }
    (
        ResponseHead { status: reply.status, headers: headers.into(), local: true },
        // Such an answer has none (RFC 9110, 15.3.5 and 15.4.5).
        Body::full(if is_bodiless(reply.status) { Bytes::new() } else { reply.body }),
    )
}

/// What a failure of a plugin means for the request: an error, or nothing.
fn failed(edge: &Edge, middleware: &Middleware, source: CallError) -> Option<HttpError> {
    let error = HttpError::Middleware { middleware: middleware.name.clone(), source };
    match middleware.on_failure {
        OnFailure::Closed => Some(error),
        OnFailure::Open => {
            edge.complain(&error, About::default());
            None
        }
    }
}
