//! One request, start to end: admit, select, inwards, forward, outwards, note.
//!
//! **Invariant:** every request is answered exactly once, and noted by the entrypoint, and by the
//! router and the services that it met.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{CONTENT_TYPE, UPGRADE},
};
use portolan_core::{
    exchange::{Exchange, Headers, Reply, RequestHead, ResponseHead},
    router::Router,
    target::BadTarget,
};

use crate::tls::CHALLENGE_PATH;

use super::{
    account::{Account, Notes},
    arrived::Arrived,
    body::{Body, Content, RequestBody},
    complaint::About,
    connection::Client,
    errand::{Asker, Errand},
    forward_auth::Apart,
    forwarded::client_behind,
    headers::{self, Hop},
    interim::Interim,
    page::Taste,
    pipeline::{self, Inward},
    redirect::Redirect,
    rescue::HttpError,
    send::send,
};

/// Answers a request. What it is made of is looked at before the future is made, which has less to carry.
pub(crate) fn answer(
    client: Rc<Client>,
    mut arrived: Arrived,
    content: Content,
) -> impl Future<Output = (ResponseHead, Body)> {
    let busy = client.seat.begin();
    let mut account = Account::open(&client, &arrived);
    let (taste, method) = (Taste::of(&arrived.headers), arrived.method.clone());
    let beside = Beside { content, interim: arrived.interim.take() };
    let admitted = admit(&client, arrived, &mut account);
    async move {
        let (mut head, body) = match admitted {
            Ok((exchange, hop)) => {
                route(&client, exchange, hop, beside, &taste, &mut account).await
            }
            Err(Refused { error, request }) => {
                let about = About { request: request.as_deref(), router: None };
                client.edge.rescue(&error, &taste, &mut account, about)
            }
        };
        let is_switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        // A middleware may have put something else in place of what the backend agreed to.
        if !is_switching && client.tunnel.take().is_some() {
            head.headers.remove(UPGRADE);
        }
        account.head(&head, &method);
        let account = if is_switching { hand_over(&client, account) } else { Some(account) };
        (head, body.until_sent(busy, account))
    }
}

/// What belongs to a request beside its head.
struct Beside {
    content: Content,
    /// Where interim responses go.
    interim: Option<Interim>,
}

/// Answers what was admitted: here, or by its router.
async fn route(
    client: &Client,
    mut exchange: Box<Exchange>,
    hop: Hop,
    beside: Beside,
    taste: &Taste,
    account: &mut Account,
) -> (ResponseHead, Body) {
    if is_ours(client, &exchange.request)
        && let Some(answer) = Box::pin(before_routing(client, &exchange)).await
    {
        return answer;
    }
    let serving = client.edge.serving();
    let table = serving.table(&client.door.name);
    let selected = table.and_then(|table| table.select(&exchange));
    if let Some(redirect) = redirect(client, &exchange)
        && redirect.is_before(selected.map(|router| &**router))
    {
        return redirect.answer(&exchange.request);
    }
    headers::hide_upgrade(&mut exchange.request.headers, &hop);
    client.told.add_peer(&mut exchange.request.headers);
    let about = About { request: Some(&exchange.request), router: None };
    match selected {
        Some(router) if is_misdirected(client, router) => {
            let about = About { router: Some(router), ..about };
            client.edge.rescue(&HttpError::Misdirected, taste, account, about)
        }
        Some(router) => {
            account.router(router);
            through(client, router, exchange, hop, beside, taste, account).await
        }
        None => client.edge.rescue(&HttpError::NoRouter, taste, account, about),
    }
}

/// Whether a router, or else the entrypoint, wants to know who the client is, and the handshake did not ask:
/// its host may be one that no handshake tells of, such as a pattern.
fn is_misdirected(client: &Client, router: &Router) -> bool {
    let Some(tls) = &client.door.tls else { return false };
    !tls.lets_pass(client.shown.as_deref(), router.tls_options.as_deref())
}

/// Refuses what is not, or not completely, a request.
pub(crate) fn refuse(client: &Client, error: &HttpError) -> (ResponseHead, Body) {
    let busy = client.seat.begin();
    let mut account = Account::unread(client);
    let taste = Taste::of(&Headers::default());
    let (head, body) = client.edge.rescue(error, &taste, &mut account, About::default());
    account.head(&head, &Method::GET);
    (head, body.until_sent(busy, Some(account)))
}

/// The account of a request that becomes a tunnel ends with that.
fn hand_over(client: &Client, account: Box<Account>) -> Option<Box<Account>> {
    match &mut *client.tunnel.borrow_mut() {
        Some(tunnel) => {
            tunnel.account = Some(account);
            None
        }
        None => Some(account),
    }
}

/// How often a request may come to one of us: Portolans may stand behind each other, but where a
/// service leads back to an entrypoint, one request would become all that the machine can take.
const MOST_VISITS: usize = 8;

/// A request that is not admitted, and as what it was read, if it could be.
struct Refused {
    error: HttpError,
    request: Option<Box<RequestHead>>,
}

impl From<HttpError> for Refused {
    fn from(error: HttpError) -> Self {
        Self { error, request: None }
    }
}

/// The request as rules, plans and plugins see it.
fn admit(
    client: &Client,
    arrived: Arrived,
    account: &mut Account,
) -> Result<(Box<Exchange>, Hop), Refused> {
    let (request, hop) = read(client, arrived, account)?;
    if let Err(error) = let_in(client, &request) {
        return Err(Refused { error, request: Some(Box::new(request)) });
    }
    let exchange = Exchange::new(request, client.peer.clone(), client.door.name.clone());
    account.admitted(&exchange);
    Ok((Box::new(exchange), hop))
}

/// The head of a request, without what was said of its connection, and with what is told of its client.
fn read(
    client: &Client,
    mut arrived: Arrived,
    account: &mut Account,
) -> Result<(RequestHead, Hop), HttpError> {
    if arrived.method == Method::CONNECT {
        return Err(HttpError::Connect);
    }
    // Beside an absolute target too (RFC 9112, 3.2).
    if arrived.version == Version::HTTP_11 && arrived.headers.host().is_none() {
        return Err(HttpError::NoHost);
    }
    if arrived.uri.path() == "*" && arrived.method != Method::OPTIONS {
        return Err(HttpError::Target(BadTarget::Path));
    }
    if let Some(fault) = arrived.fault {
        return Err(HttpError::Malformed(fault));
    }
    let is_seen = |name: &HeaderName| client.door.trust.load().connection.contains(name);
    let mut hop = headers::clean_request(&mut arrived.headers, client.told.is_trusted, is_seen);
    if hop.visits >= MOST_VISITS {
        return Err(HttpError::Loop);
    }
    if arrived.version != Version::HTTP_11 {
        hop.upgrade = None;
    }
    account.protocol(&arrived.headers, hop.upgrade.as_ref().map(HeaderValue::as_bytes));
    if client.told.is_trusted {
        account.behind(&arrived.headers, &client.door.trust.load());
    }
    let authority = arrived.uri.authority().map(http::uri::Authority::as_str);
    client.told.tell(&mut arrived.headers, authority, hop.is_websocket());
    headers::show_upgrade(&mut arrived.headers, &hop);
    let Arrived { method, uri, version, headers, .. } = arrived;
    let request = RequestHead::parse(method, uri, version, headers);
    let mut request = request.map_err(HttpError::Target)?;
    if client.limits.encode_query_semicolons {
        request.encode_query_semicolons();
    }
    Ok((request, hop))
}

/// Whether this entrypoint takes such a request, over such a connection.
fn let_in(client: &Client, request: &RequestHead) -> Result<(), HttpError> {
    if !client.limits.encoded_characters.allow(request.uri().path()) {
        return Err(HttpError::EncodedCharacter);
    }
    // Old clients need not name one, but where to could they be redirected?
    let needs_host = request.version >= Version::HTTP_11 || client.door.redirect.is_some();
    if needs_host && !request.has_authority() {
        return Err(HttpError::NoHost);
    }
    if let Some(tls) = &client.door.tls
        && tls.turns_away(client.peer.sni.as_deref(), client.shown.as_deref(), request.host())
    {
        return Err(HttpError::Misdirected);
    }
    Ok(())
}

/// Whether the entrypoint may have an answer of its own.
fn is_ours(client: &Client, request: &RequestHead) -> bool {
    let is_first = client.door.redirect.as_ref().is_some_and(|redirect| redirect.is_first());
    is_first || request.path().starts_with(CHALLENGE_PATH)
}

/// The redirect of the entrypoint. Who came to a proxy before us as is wanted is not sent there once more.
fn redirect<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Redirect> {
    client.door.redirect.as_deref().filter(|it| !it.is_there(exchange.scheme()))
}

/// What the entrypoint itself answers: the challenges of certificate authorities, and a redirect that
/// comes before every router.
async fn before_routing(client: &Client, exchange: &Exchange) -> Option<(ResponseHead, Body)> {
    let request = &exchange.request;
    if request.path().starts_with(CHALLENGE_PATH)
        && let Some(answer) = client.door.keyring.challenges().of_path(request.path()).await
    {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let head = ResponseHead { status: StatusCode::OK, headers: headers.into(), local: true };
        return Some((head, Body::full(Bytes::copy_from_slice(answer.as_bytes()))));
    }
    let redirect = redirect(client, exchange).filter(|redirect| redirect.is_first());
    redirect.map(|redirect| redirect.answer(request))
}

/// Through the middlewares of a router to its service, and back.
async fn through(
    client: &Client,
    router: &Arc<Router>,
    exchange: Box<Exchange>,
    hop: Hop,
    beside: Beside,
    taste: &Taste,
    account: &mut Account,
) -> (ResponseHead, Body) {
    let edge = &client.edge;
    // Middlewares may change what proxies say.
    let ip = asking(client, router, &exchange);
    let Beside { mut content, interim } = beside;
    let patience = client.limits.timeouts.request_stall;
    let apart = Apart { hop: &hop, content: &mut content, patience };
    let (mut exchange, entered, inward) =
        pipeline::enter(edge, router, exchange, apart, account).await;
    account.entered(&exchange);
    let answered = match (inward, &router.service) {
        (Inward::Reply(reply), _) => Ok(pipeline::respond(reply)),
        (Inward::Fail(error), _) => Err(error),
        (Inward::Continue, None) => Err(HttpError::without_service(router)),
        (Inward::Continue, Some(service)) => {
            headers::hide_seen(&mut exchange.request.headers, &hop);
            account.send(service, &mut exchange, entered.is_empty());
            let body = RequestBody::of(content, account, patience);
            let asker = Asker { ip, begin: account.begin() };
            let retry = router.retry(&exchange.entrypoint);
            let retries = retry.and_then(|it| it.interest.retry.as_deref());
            let said = (router.timeouts.as_deref(), retries);
            let errand = Errand::of(&exchange.request, asker, hop, body, interim.as_ref(), said);
            match send(edge, service, errand, Notes::Account(account)).await {
                Ok(answer) => {
                    account.answered(&answer.head);
                    client.tunnel.replace(answer.tunnel);
                    Ok((answer.head, answer.body))
                }
                Err(source) => {
                    let error = HttpError::Forward { service: service.name.clone(), source };
                    let about = About { request: Some(&exchange.request), router: Some(router) };
                    let (head, body) = edge.rescue(&error, taste, account, about);
                    account.answered(&head);
                    Ok((head, body))
                }
            }
        }
    };
    let (head, mut body) = answered.unwrap_or_else(|error| {
        let about = About { request: Some(&exchange.request), router: Some(router) };
        edge.rescue(&error, taste, account, about)
    });
    let maps = &edge.buffers.maps;
    if entered.is_empty() {
        maps.give(std::mem::take(&mut exchange.request.headers));
        return (head, body);
    }
    exchange.response = Some(head);
    let left = pipeline::leave(edge, router, entered, exchange, &mut body, taste, account);
    let mut exchange = left.await;
    maps.give(std::mem::take(&mut exchange.request.headers));
    match exchange.response.take() {
        Some(head) => (head, body),
        None => pipeline::respond(Reply::empty(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// Who asks, for a service that tells clients apart: the one whom the proxies that we trust speak for.
fn asking(client: &Client, router: &Router, exchange: &Exchange) -> IpAddr {
    let tells_apart = || router.service.as_ref().is_some_and(|it| it.tells_clients_apart());
    let behind = (client.told.is_trusted && tells_apart()).then(|| {
        let trust = client.door.trust.load();
        client_behind(&exchange.request.headers, |proxy| trust.takes_headers_of(proxy))
    });
    behind.flatten().unwrap_or_else(|| exchange.peer.address.ip())
}
