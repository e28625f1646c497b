//! Sends a request to one backend and brings back the head of its response.
//!
//! A connection that was kept open may turn out to be closed: then a new one is made, once, if the
//! request was not written, or can be sent twice.
//!
//! **Invariant:** a request that a backend may have acted upon is sent again only if that changes
//! nothing (RFC 9110, 9.2.2), and never once its body was touched.

use std::{
    error::Error as _,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

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
    exchange::{Exchange, ResponseHead},
    service::{Backend, Scheme, Service},
};
use tokio::time::timeout;

use super::{
    body::{BackendBody, Body, RequestBody},
    claim::InFlight,
    dial::{Connected, DialError},
    edge::Edge,
    headers::{self, Hop},
    origin::Origin,
    pool::Link,
    rescue::ForwardError,
    send::{Asker, Errand, send},
    stall::{BodyError, Stall},
    tunnel::Tunnel,
};

/// What a backend answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// The backend agreed to change the protocol.
    pub(crate) tunnel: Option<Tunnel>,
}

impl Answer {
    /// Limits how long its body may pause, and when it must be over.
    pub(crate) fn watch(&mut self, idle: Option<Duration>, deadline: Option<tokio::time::Instant>) {
        if let Some(stall) = Stall::new(idle, deadline) {
            let body = std::mem::replace(&mut self.body, Body::full(Bytes::new()));
            self.body = body.watched(Some(stall));
        }
    }
}

/// A request on its way to one backend after the other, and what is needed to send it.
pub(crate) struct Dispatch<'a> {
    edge: &'a Edge,
    service: &'a Service,
    pub(crate) request: Request<RequestBody>,
    /// The client wants to change the protocol.
    upgrade: bool,
    /// The claim on the backend; it goes with the answer.
    pub(crate) in_flight: Option<InFlight>,
    /// Nanoseconds that the answer took.
    pub(crate) took: u64,
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
    /// The request, if not a byte of it was written.
    pub(crate) unsent: Option<Request<RequestBody>>,
    /// Whether the connection broke without a word from the backend.
    pub(crate) may_repeat: bool,
}

/// Sends a request on. `keep` leaves its headers in the exchange for those who look back.
pub(crate) async fn forward(
    edge: &Rc<Edge>,
    service: &Service,
    exchange: &mut Exchange,
    asker: Asker,
    hop: Hop,
    body: RequestBody,
    keep: bool,
) -> Result<Answer, ForwardError> {
    let upgrade = hop.upgrade.is_some();
    let request = compose(exchange, hop, body, keep);
    send(edge, service, Errand { request, asker, upgrade }).await
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(edge: &'a Edge, service: &'a Service, errand: Errand) -> Self {
        let Errand { mut request, upgrade, .. } = errand;
        if let Some(idle) = service.load_balancer.timeouts.request_idle {
            let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
            *request.body_mut() = match (body, Stall::new(Some(idle), None)) {
                (RequestBody::Client(incoming), Some(stall)) => {
                    RequestBody::Watched(incoming, stall)
                }
                (body, _) => body,
            };
        }
        Self { edge, service, request, upgrade, in_flight: None, took: 0 }
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
        if let Some(link) = origin.take() {
            let spare = self.spare();
            match self.over(link, backend, origin).await {
                Ok(answer) => return Ok(answer),
                Err(lost) => self.request = lost.recover(spare)?,
            }
        } else if let Some(sender) = origin.shared() {
            match self.over_shared(sender, backend, origin).await {
                Ok(answer) => return Ok(answer),
                Err(lost) => self.request = lost.recover(None)?,
            }
        }
        let answer = match self.connect(origin).await.map_err(Failed::Dial)? {
            Connected::Alone(link) => self.over(link, backend, origin).await,
            Connected::Shared(sender) => self.over_shared(sender, backend, origin).await,
        };
        answer.map_err(|lost| Failed::Lost(Box::new(lost)))
    }

    /// A new connection, within the time that is allowed for one.
    async fn connect(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let transport = self.service.transport.as_ref();
        let of_transport = || transport.and_then(|(_, transport)| transport.dial_timeout);
        let own = self.service.load_balancer.timeouts.connect.or_else(of_transport);
        let limit = own.unwrap_or(self.edge.config.connect_timeout);
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
                let tunnel = Tunnel { backend, ahead, in_flight };
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
        &mut self,
        backend: &Backend,
        sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
    ) -> Result<(Response<Incoming>, InFlight), Lost> {
        let figures = &backend.figures;
        let begin = Instant::now();
        figures.requests.increment();
        let sent = match self.response_limit() {
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
                self.took = nanos(begin);
                figures.duration.record(self.took);
                // There is one for every attempt.
                let claim = self.in_flight.take().or_else(|| InFlight::claim(figures, None, &None));
                claim.map(|claim| (response, claim)).ok_or(ForwardError::NoBackend.into())
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let source = error.into_error();
                if source.is_user() {
                    let cause = source.source().and_then(|cause| cause.downcast_ref());
                    let is_slow = matches!(cause, Some(BodyError::Stalled(_)));
                    let error =
                        if is_slow { ForwardError::Slow } else { ForwardError::Client(source) };
                    return Err(error.into());
                }
                figures.failures.increment();
                let error = ForwardError::Exchange { backend: backend.url(), source };
                Err(Lost { error, unsent, may_repeat: true })
            }
        }
    }

    /// How long the head of the response may take.
    fn response_limit(&self) -> Option<Duration> {
        let transport = self.service.transport.as_ref();
        let of_transport =
            || transport.and_then(|(_, transport)| transport.response_header_timeout);
        let own = self.service.load_balancer.timeouts.response_header.or_else(of_transport);
        own.or(self.edge.config.response_timeout)
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
        let may = self.request.method().is_idempotent() && !self.upgrade;
        if may { copy(&self.request) } else { None }
    }
}

/// The same request again; `None` where its body can be read only once.
pub(crate) fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let body = match request.body() {
        RequestBody::Empty => RequestBody::Empty,
        RequestBody::Client(_) | RequestBody::Watched(..) => return None,
        RequestBody::Replay(kept) => RequestBody::Replay(Box::new(kept.copy()?)),
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

impl Lost {
    /// The same, after the connection was looked at: once a backend has said a word, it has
    /// acted.
    fn after(self, has_heard: bool) -> Self {
        Self { may_repeat: self.may_repeat && !has_heard, ..self }
    }

    /// The request, if it can be sent again.
    fn recover(
        mut self,
        spare: Option<Request<RequestBody>>,
    ) -> Result<Request<RequestBody>, Failed> {
        let spare = spare.filter(|_| self.may_repeat);
        self.unsent.take().or(spare).ok_or_else(|| Failed::Lost(Box::new(self)))
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

/// Nanoseconds since a moment.
pub(crate) fn nanos(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
