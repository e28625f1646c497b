//! One request, start to end: admit, select, inwards, forward, outwards, note.
//!
//! **Invariant:** every request is answered exactly once, and noted by the entrypoint, and by the
//! router and the service that it met.

use std::{rc::Rc, sync::Arc, time::Instant};

use http::{Method, Request, Response, StatusCode, Version, request::Parts};
use hyper::body::Incoming;
use portolan_core::{
    exchange::{Exchange, Reply, RequestHead, ResponseHead},
    figure::TrafficFigures,
    router::Router,
};

use super::{
    body::{Body, RequestBody},
    connection::Client,
    forward::{forward, nanos},
    headers::{self, Hop},
    pipeline::{self, Inward},
    rescue::{HttpError, Page},
    send::Asker,
};

/// Answers a request.
pub(crate) async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Response<Body> {
    let begin = Instant::now();
    let busy = client.seat.begin();
    let serving = client.edge.serving();
    let (parts, incoming) = request.into_parts();
    let page = Page::of(&parts.headers);
    let mut noted = Noted { begin, entrypoint: &client.door.figures.traffic, router: None };
    let (head, body) = match admit(&client, parts) {
        Ok((exchange, hop)) => {
            let table = serving.table(&client.door.name);
            match table.and_then(|table| table.select(&exchange)) {
                Some(router) => {
                    noted.router = Some(router);
                    through(&client, router, exchange, hop, incoming, begin, page).await
                }
                None => client.edge.rescue(&HttpError::NoRouter, page),
            }
        }
        Err(error) => client.edge.rescue(&error, page),
    };
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        // A middleware may have put something else in place of what the backend agreed to.
        drop(client.tunnel.take());
    }
    noted.note(&head);
    let mut response = Response::new(body.until_sent(busy));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// The request as rules, plans and plugins see it.
fn admit(client: &Client, mut parts: Parts) -> Result<(Box<Exchange>, Hop), HttpError> {
    if parts.method == Method::CONNECT {
        return Err(HttpError::Connect);
    }
    let mut hop = headers::clean_request(&mut parts.headers);
    if parts.version != Version::HTTP_11 {
        hop.upgrade = None;
    }
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut parts.headers);
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    client.told.tell(&mut parts.headers, authority, hop.upgrade.is_some());
    let request = RequestHead::parse(parts.method, parts.uri, parts.version, parts.headers)
        .map_err(HttpError::Target)?;
    if request.authority().is_empty() && parts.version >= Version::HTTP_11 {
        return Err(HttpError::NoHost);
    }
    let exchange = Exchange::new(request, client.peer.clone(), client.door.name.clone());
    Ok((Box::new(exchange), hop))
}

/// Through the middlewares of a router to its service, and back.
async fn through(
    client: &Client,
    router: &Arc<Router>,
    exchange: Box<Exchange>,
    hop: Hop,
    incoming: Incoming,
    begin: Instant,
    page: Page,
) -> (ResponseHead, Body) {
    let edge = &client.edge;
    let (mut exchange, entered, inward) = pipeline::enter(edge, router, exchange);
    let answered = match (inward, &router.service) {
        (Inward::Reply(reply), _) => Ok(pipeline::respond(reply)),
        (Inward::Fail(error), _) => Err(error),
        (Inward::Continue, None) => Err(HttpError::NoService(router.name.clone())),
        (Inward::Continue, Some(service)) => {
            let (body, keep) = (RequestBody::of(incoming), entered.looks_back());
            let asker = Asker { ip: exchange.peer.address.ip(), begin };
            match forward(edge, service, &mut exchange, asker, hop, body, keep).await {
                Ok(answer) => {
                    client.tunnel.replace(answer.tunnel);
                    Ok((answer.head, answer.body))
                }
                Err(source) => Err(HttpError::Forward { service: service.name.clone(), source }),
            }
        }
    };
    let (head, mut body) = answered.unwrap_or_else(|error| edge.rescue(&error, page));
    if entered.is_empty() {
        return (head, body);
    }
    exchange.response = Some(head);
    let mut exchange = pipeline::leave(edge, router, &entered, exchange, &mut body, page);
    match exchange.response.take() {
        Some(head) => (head, body),
        None => pipeline::respond(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// Who notes a request.
struct Noted<'a> {
    begin: Instant,
    entrypoint: &'a TrafficFigures,
    router: Option<&'a Router>,
}

impl Noted<'_> {
    fn note(&self, head: &ResponseHead) {
        let nanos = nanos(self.begin);
        let is_failure = head.local && matches!(head.status.as_u16(), 502..=504);
        let router = self.router.map(|router| &*router.figures);
        let service = self.router.and_then(|router| router.service.as_ref());
        let service = service.map(|service| &*service.figures);
        for figures in [Some(self.entrypoint), router, service].into_iter().flatten() {
            figures.record(head.status, nanos);
            if is_failure {
                figures.failures.increment();
            }
        }
        tracing::debug!(
            http.response.status_code = head.status.as_u16(),
            http.route = self.router.map(|router| tracing::field::display(&router.name)),
            nanos,
            "request answered"
        );
    }
}
