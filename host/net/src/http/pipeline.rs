//! The middlewares of a router: inwards in order, outwards in reverse.
//!
//! **Invariant:** a middleware that was entered is left, whoever answered: a further middleware,
//! the backend, or we ourselves because something failed.

use http::HeaderMap;
use portolan_core::{
    edit::is_of_connection,
    exchange::{Exchange, Reply, ResponseHead},
    hook::{CallError, RequestVerdict, ResponseVerdict},
    middleware::{Middleware, OnFailure},
    plan::Steps,
    router::Router,
};

use super::{
    account::Account, body::Body, edge::Edge, page::Taste, rescue::HttpError, trace::Step,
};

/// Who was entered, outermost first, and what each is to do on the way back.
#[derive(Debug, Default)]
pub(crate) struct Entered(Vec<Way>);

#[derive(Clone, Copy, Debug)]
struct Way {
    steps: Steps,
    /// What the request hook left for the response hook; `None`: that is not called.
    context: Option<u64>,
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

impl Entered {
    /// Whether there was nobody to enter.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Inwards, outermost first.
pub(crate) fn enter(
    edge: &Edge,
    router: &Router,
    mut exchange: Box<Exchange>,
    account: &mut Account,
) -> (Box<Exchange>, Entered, Inward) {
    let mut entered = Entered(Vec::with_capacity(router.middlewares.len()));
    for middleware in &router.middlewares {
        let (steps, reply) = middleware.interest.plan_request(&mut exchange);
        entered.0.push(Way { steps, context: None });
        if let Some(reply) = reply {
            return (exchange, entered, Inward::Reply(reply));
        }
        let (returned, inward) = hook(edge, router, middleware, exchange, &mut entered, account);
        exchange = returned;
        match inward {
            Inward::Continue => {}
            Inward::Reply(_) | Inward::Fail(_) => return (exchange, entered, inward),
        }
    }
    (exchange, entered, Inward::Continue)
}

/// Asks the request hook of a middleware, if it wants this request.
fn hook(
    edge: &Edge,
    router: &Router,
    middleware: &Middleware,
    mut exchange: Box<Exchange>,
    entered: &mut Entered,
    account: &mut Account,
) -> (Box<Exchange>, Inward) {
    let interest = &middleware.interest;
    let Some(hooks) = &interest.hooks else { return (exchange, Inward::Continue) };
    if interest.when.as_ref().is_some_and(|when| !when.matches(&exchange)) {
        return (exchange, Inward::Continue);
    }
    let mut back = |context| {
        if let Some(way) = entered.0.last_mut() {
            way.context = Some(context);
        }
    };
    if !interest.on_request {
        if interest.on_response {
            back(0);
        }
        return (exchange, Inward::Continue);
    }
    if exchange.router.is_none() {
        // Only hooks can read it, and its text is shared with other workers.
        exchange.router = Some(router.name.clone());
    }
    let begin = account.now();
    let (exchange, verdict) = hooks.on_request(exchange);
    account.step(begin, Step::Request, middleware, verdict.as_ref().err());
    let inward = match verdict {
        Ok(RequestVerdict::Continue { context, response }) => {
            if response && interest.on_response {
                back(context);
            }
            Inward::Continue
        }
        Ok(RequestVerdict::Reply(reply)) => Inward::Reply(reply),
        Err(source) => match failed(edge, middleware, source) {
            Some(error) => Inward::Fail(error),
            None => Inward::Continue,
        },
    };
    (exchange, inward)
}

/// Outwards, innermost first. The response is in the exchange; `body` is its body.
pub(crate) fn leave(
    edge: &Edge,
    router: &Router,
    entered: &Entered,
    mut exchange: Box<Exchange>,
    body: &mut Body,
    taste: &Taste,
    account: &mut Account,
) -> Box<Exchange> {
    for (way, middleware) in entered.0.iter().zip(&router.middlewares).rev() {
        if let (Some(context), Some(hooks)) = (way.context, &middleware.interest.hooks) {
            let begin = account.now();
            let (returned, verdict) = hooks.on_response(context, exchange);
            account.step(begin, Step::Response, middleware, verdict.as_ref().err());
            exchange = returned;
            match verdict {
                Ok(ResponseVerdict::Continue) => {}
                Ok(ResponseVerdict::Replace(reply)) => replace(&mut exchange, body, reply),
                Err(source) => {
                    if let Some(error) = failed(edge, middleware, source) {
                        let (head, text) = edge.rescue(&error, taste, account);
                        exchange.response = Some(head);
                        *body = text;
                    }
                }
            }
        }
        middleware.interest.plan_response(way.steps, &mut exchange);
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
    (ResponseHead { status: reply.status, headers, local: true }, Body::full(reply.body))
}

/// What a failure of a plugin means for the request: an error, or nothing.
fn failed(edge: &Edge, middleware: &Middleware, source: CallError) -> Option<HttpError> {
    let error = HttpError::Middleware { middleware: middleware.name.clone(), source };
    match middleware.on_failure {
        OnFailure::Closed => Some(error),
        OnFailure::Open => {
            edge.complain(&error);
            None
        }
    }
}
