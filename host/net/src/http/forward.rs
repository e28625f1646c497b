//! Sends a request to a backend and brings back the head of its response.
//!
//! A backend that does not accept costs the request nothing but time: another one is tried, up to
//! three. A connection that was kept open may turn out to be closed: then a new one is made, once,
//! if the request was not written, or can be sent twice.
//!
//! **Invariant:** a request that a backend may have acted upon is sent again only if that changes
//! nothing (RFC 9110, 9.2.2), and never once its body was touched.

use std::{future::Future, rc::Rc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::HOST,
    uri::{self, PathAndQuery, Scheme as UriScheme},
};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use portolan_core::{
    balance::Tried,
    exchange::{Exchange, ResponseHead},
    service::{Backend, Scheme, Service},
};
use tokio::time::timeout;

use super::{
    account::{Account, nanos},
    body::{BackendBody, Body, InFlight, RequestBody},
    dial::{Connected, DialError},
    edge::Edge,
    headers::{self, Hop},
    origin::Origin,
    pool::Link,
    rescue::ForwardError,
    tunnel::Tunnel,
};

/// How many backends are tried for one request.
const BACKENDS: usize = 3;

/// What a backend answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The backend agreed to change the protocol.
    pub(crate) tunnel: Option<Tunnel>,
}

/// A request on its way, and what is needed to send it.
struct Dispatch<'a> {
    edge: &'a Edge,
    service: &'a Service,
    request: Request<RequestBody>,
    /// The client wants to change the protocol.
    upgrade: bool,
}

/// Why an attempt gave no answer.
enum Failed {
    /// There is no connection; the request was not touched.
    Dial(DialError),
    /// It is lost.
    Lost(ForwardError),
}

/// A request that was sent in vain.
struct Lost {
    error: ForwardError,
    /// The request, if not a byte of it was written.
    unsent: Option<Request<RequestBody>>,
    /// Whether the connection broke without a word from the backend.
    may_repeat: bool,
}

/// Sends a request on. `keep` leaves its headers in the exchange for those who look back.
pub(crate) async fn forward(
    edge: &Edge,
    service: &Service,
    exchange: &mut Exchange,
    hop: Hop,
    body: RequestBody,
    keep: bool,
    account: &mut Account,
) -> Result<Answer, ForwardError> {
    let upgrade = hop.upgrade.is_some();
    let request = compose(exchange, hop, body, keep);
    let mut dispatch = Dispatch { edge, service, request, upgrade };
    let mut tried = Tried::default();
    let mut failure = ForwardError::NoBackend;
    for _ in 0..BACKENDS {
        let Some(place) = service.balancer.next(&tried) else { break };
        let Some(backend) = service.backends.get(place) else { break };
        tried.insert(place);
        let Some(origin) = edge.pool.origin(backend) else {
            failure = ForwardError::Address(backend.url());
            continue;
        };
        account.attempt(backend);
        match dispatch.attempt(backend, &origin).await {
            Ok(answer) => return Ok(answer),
            Err(Failed::Lost(error)) => return Err(error),
            Err(Failed::Dial(source)) => {
                backend.figures.connect_failures.increment();
                failure = ForwardError::Dial { backend: backend.url(), source };
            }
        }
    }
    Err(failure)
}

impl Dispatch<'_> {
    /// Sends the request to one backend: over a connection that is there already, and if that
    /// turns out to be dead, over a new one.
    async fn attempt(&mut self, backend: &Backend, origin: &Rc<Origin>) -> Result<Answer, Failed> {
        if let Some(link) = origin.take() {
            let spare = self.spare();
            match self.over(link, backend, origin).await {
                Ok(answer) => return Ok(answer),
                Err(lost) => self.request = lost.recover(spare).map_err(Failed::Lost)?,
            }
        } else if let Some(sender) = origin.shared() {
            match self.over_shared(sender, backend, origin).await {
                Ok(answer) => return Ok(answer),
                Err(lost) => self.request = lost.recover(None).map_err(Failed::Lost)?,
            }
        }
        let answer = match self.connect(origin).await.map_err(Failed::Dial)? {
            Connected::Alone(link) => self.over(link, backend, origin).await,
            Connected::Shared(sender) => self.over_shared(sender, backend, origin).await,
        };
        answer.map_err(|lost| Failed::Lost(lost.error))
    }

    /// A new connection, within the time that is allowed for one.
    async fn connect(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let limit = self.edge.config.connect_timeout;
        let connecting = async {
            if origin.scheme != Scheme::H2c {
                return self.dial(origin).await;
            }
            // One connection will do for all who wait for it.
            let _turn = origin.dialing.lock().await;
            match origin.shared() {
                Some(sender) => Ok(Connected::Shared(sender)),
                None => self.dial(origin).await,
            }
        };
        timeout(limit, connecting).await.unwrap_or(Err(DialError::Timeout(limit)))
    }

    async fn dial(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let connected = self.edge.dialer.dial(origin).await?;
        if let Connected::Shared(sender) = &connected {
            origin.share(sender.clone());
        }
        Ok(connected)
    }

    /// Sends the request over an HTTP/1 connection.
    async fn over(
        &mut self,
        mut link: Box<Link>,
        backend: &Backend,
        origin: &Origin,
    ) -> Result<Answer, Lost> {
        let request = self.aimed(origin, Version::HTTP_11);
        let timed = self.timed(backend, link.send(request)).await;
        let (response, in_flight) = timed.map_err(|lost| lost.after(link.has_heard()))?;
        let (head, incoming) = answered(response);
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            let body = Body::backend(BackendBody::new(incoming, Some(link), in_flight));
            return Ok(Answer { head, body, tunnel: None });
        }
        match link.into_stream().await.filter(|_| self.upgrade) {
            Some((backend, ahead)) => {
                let tunnel = Tunnel { backend, ahead, in_flight, account: None };
                Ok(Answer { head, body: Body::full(Bytes::new()), tunnel: Some(tunnel) })
            }
            // It changed to something that nobody asked for.
            None => Err(ForwardError::Upgrade { backend: backend.url() }.into()),
        }
    }

    /// Sends the request over an HTTP/2 connection.
    async fn over_shared(
        &mut self,
        mut sender: http2::SendRequest<RequestBody>,
        backend: &Backend,
        origin: &Origin,
    ) -> Result<Answer, Lost> {
        let request = self.aimed(origin, Version::HTTP_2);
        let timed = self.timed(backend, sender.try_send_request(request)).await;
        let (response, in_flight) = timed?;
        let (head, incoming) = answered(response);
        let body = Body::backend(BackendBody::new(incoming, None, in_flight));
        Ok(Answer { head, body, tunnel: None })
    }

    /// Waits for the head of the response, and notes how that went.
    async fn timed(
        &self,
        backend: &Backend,
        sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
    ) -> Result<(Response<Incoming>, InFlight), Lost> {
        let figures = &backend.figures;
        let begin = Instant::now();
        figures.requests.increment();
        let in_flight = InFlight::new(figures);
        let sent = match self.edge.config.response_timeout {
            None => sending.await,
            Some(limit) => match timeout(limit, sending).await {
                Ok(sent) => sent,
                Err(_elapsed) => {
                    figures.failures.increment();
                    return Err(ForwardError::Timeout { backend: backend.url(), limit }.into());
                }
            },
        };
        match sent {
            Ok(response) => {
                figures.duration.record(nanos(begin));
                Ok((response, in_flight))
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let source = error.into_error();
                if source.is_user() {
                    return Err(ForwardError::Client(source).into());
                }
                figures.failures.increment();
                let error = ForwardError::Exchange { backend: backend.url(), source };
                Err(Lost { error, unsent, may_repeat: true })
            }
        }
    }

    /// Takes the request, aimed at an origin.
    fn aimed(&mut self, origin: &Origin, version: Version) -> Request<RequestBody> {
        let mut request = std::mem::replace(&mut self.request, Request::new(RequestBody::Empty));
        *request.version_mut() = version;
        if request.uri().authority().is_some() {
            relative(&mut request);
        }
        if !self.service.load_balancer.pass_host_header {
            request.headers_mut().insert(HOST, origin.host.clone());
        }
        if version == Version::HTTP_2 {
            absolute(&mut request, origin);
        }
        request
    }

    /// The same request again, where sending it twice does no harm.
    fn spare(&self) -> Option<Request<RequestBody>> {
        let is_empty = matches!(self.request.body(), RequestBody::Empty);
        if !is_empty || !self.request.method().is_idempotent() || self.upgrade {
            return None;
        }
        let mut spare = Request::new(RequestBody::Empty);
        *spare.method_mut() = self.request.method().clone();
        *spare.uri_mut() = self.request.uri().clone();
        *spare.headers_mut() = self.request.headers().clone();
        Some(spare)
    }
}

impl Lost {
    /// The same, after the connection was looked at: once a backend has said a word, it has
    /// acted.
    fn after(self, has_heard: bool) -> Self {
        Self { may_repeat: self.may_repeat && !has_heard, ..self }
    }

    /// The request, if it can be sent again.
    fn recover(
        self,
        spare: Option<Request<RequestBody>>,
    ) -> Result<Request<RequestBody>, ForwardError> {
        let spare = spare.filter(|_| self.may_repeat);
        self.unsent.or(spare).ok_or(self.error)
    }
}

impl From<ForwardError> for Lost {
    fn from(error: ForwardError) -> Self {
        Self { error, unsent: None, may_repeat: false }
    }
}

fn answered(response: Response<Incoming>) -> (ResponseHead, Incoming) {
    let (mut parts, incoming) = response.into_parts();
    headers::clean_response(parts.status, &mut parts.headers);
    (ResponseHead { status: parts.status, headers: parts.headers, local: false }, incoming)
}

/// The request as it is sent on, in the form of HTTP/1.
fn compose(
    exchange: &mut Exchange,
    hop: Hop,
    body: RequestBody,
    keep: bool,
) -> Request<RequestBody> {
    let head = &mut exchange.request;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    let authority = head.uri().authority().map(|_| head.authority());
    let host = authority.and_then(|authority| authority.parse().ok());
    *request.uri_mut() = match host {
        // Origin form already.
        None => head.uri().clone(),
        Some(_) => origin_form(head.uri().path_and_query()),
    };
    let mut headers: HeaderMap = match keep {
        true => head.headers.clone(),
        false => std::mem::take(&mut head.headers),
    };
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    headers::connect(&mut headers, hop);
    *request.headers_mut() = headers;
    request
}

fn origin_form(target: Option<&PathAndQuery>) -> Uri {
    let target = target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(target);
    // A path alone is a valid URI.
    Uri::from_parts(parts).unwrap_or_default()
}

/// HTTP/2 has the host in the target (RFC 9113, 8.3.1).
fn absolute(request: &mut Request<RequestBody>, origin: &Origin) {
    let host = request.headers_mut().remove(HOST);
    let host = host.and_then(|host| uri::Authority::from_maybe_shared(host).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(host.unwrap_or_else(|| origin.authority.clone()));
    parts.scheme = Some(match origin.scheme {
        Scheme::Https => UriScheme::HTTPS,
        Scheme::Http | Scheme::H2c => UriScheme::HTTP,
    });
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// What [`absolute`] did, undone: the request was aimed at an HTTP/2 connection that died.
fn relative(request: &mut Request<RequestBody>) {
    let authority = request.uri().authority().map(uri::Authority::as_str);
    let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
    *request.uri_mut() = origin_form(request.uri().path_and_query());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}
