//! Sends a request to a backend and brings back the head of its response.
//!
//! A backend that does not accept costs the request nothing but time: another one is tried, up to
//! three. A connection that was kept open may turn out to be closed: then a new one is made, once,
//! if the request was not written, or can be sent twice.
//!
//! **Invariant:** a request that a backend may have acted upon is sent again only if that changes
//! nothing (RFC 9110, 9.2.2), and never once its body was touched.

use std::{cell::RefCell, future::Future, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri, Version,
    header::HOST,
    uri::{self, PathAndQuery, Scheme as UriScheme},
};
use hyper::client::conn::http2;
use portolan_core::{
    balance::Tried,
    exchange::{RequestHead, ResponseHead},
    service::{Backend, BackendFigures, Scheme, Service},
};
use tokio::time::timeout;

use super::{
    account::{Account, nanos},
    body::{Body, InFlight, RequestBody},
    dial::{Connected, DialError},
    edge::Edge,
    headers::{self, Hop},
    origin::Origin,
    pool::{Link, SendError, SendErrorKind},
    rescue::ForwardError,
    tunnel::Tunnel,
};
use crate::h1::{Line, Outgoing};

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
    request: &'a RequestHead,
    body: RequestBody,
    /// Where interim responses go.
    interim: Option<&'a RefCell<Line>>,
    /// The host, where it is not a header of the request.
    host: Option<HeaderValue>,
    /// What is said of our own connection.
    hop: HeaderMap,
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
    /// Whether not a byte of it was written, or the connection broke without a word from the
    /// backend.
    was_ignored: Ignored,
}

/// What a backend can have made of a request that got no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ignored {
    /// Nothing: it never had it.
    Surely,
    /// Perhaps nothing.
    Perhaps,
    /// It answered in part, or the fault is not the connection's.
    No,
}

/// Sends a request on. `interim` is where interim responses go, if the client can have them.
pub(crate) async fn forward(
    edge: &Edge,
    service: &Service,
    request: &RequestHead,
    hop: Hop,
    body: RequestBody,
    interim: Option<&RefCell<Line>>,
    account: &mut Account,
) -> Result<Answer, ForwardError> {
    let upgrade = hop.upgrade.is_some();
    let mut told = HeaderMap::new();
    headers::connect(&mut told, hop);
    let host =
        request.uri().authority().and_then(|_| HeaderValue::from_str(request.authority()).ok());
    let mut dispatch = Dispatch { edge, service, request, body, interim, host, hop: told, upgrade };
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
        let kept = match origin.take() {
            Some(link) => Some(self.over(link, backend, origin).await),
            None => match origin.shared() {
                Some(sender) => Some(self.over_shared(sender, backend, origin).await),
                None => None,
            },
        };
        match kept {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(lost)) if !self.may_repeat(lost.was_ignored) => {
                return Err(Failed::Lost(lost.error));
            }
            Some(Err(_)) | None => {}
        }
        let answer = match self.connect(origin).await.map_err(Failed::Dial)? {
            Connected::Alone(link) => self.over(link, backend, origin).await,
            Connected::Shared(sender) => self.over_shared(sender, backend, origin).await,
        };
        answer.map_err(|lost| Failed::Lost(lost.error))
    }

    /// Whether the request can be sent again.
    fn may_repeat(&self, ignored: Ignored) -> bool {
        let is_harmless = self.request.method.is_idempotent() && !self.upgrade;
        self.body.is_untouched()
            && match ignored {
                Ignored::Surely => true,
                Ignored::Perhaps => is_harmless && self.body.is_empty(),
                Ignored::No => false,
            }
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
        let body = std::mem::replace(&mut self.body, RequestBody::EMPTY);
        let begin = Begun::new(backend);
        let limit = self.edge.config.max_header_bytes;
        let sent = self
            .timed(backend, link.send(self.outgoing(origin), body, self.interim, limit))
            .await?;
        let response = match sent {
            Ok(response) => response,
            Err(SendError { source, has_heard, body }) => {
                self.body = body;
                return Err(lost(backend, source, has_heard));
            }
        };
        let in_flight = begin.answered();
        let head = answered(response.status, response.headers);
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            let body = Body::link(link, response.framing, in_flight);
            return Ok(Answer { head, body, tunnel: None });
        }
        if !self.upgrade {
            // It changed to something that nobody asked for.
            return Err(ForwardError::Upgrade { backend: backend.url() }.into());
        }
        let (stream, ahead) = link.into_stream();
        let tunnel = Tunnel { backend: stream, ahead, in_flight, account: None };
        Ok(Answer { head, body: Body::full(Bytes::new()), tunnel: Some(tunnel) })
    }

    /// Sends the request over an HTTP/2 connection.
    async fn over_shared(
        &mut self,
        mut sender: http2::SendRequest<RequestBody>,
        backend: &Backend,
        origin: &Origin,
    ) -> Result<Answer, Lost> {
        let request = self.absolute(origin);
        let begin = Begun::new(backend);
        let mut error = match self.timed(backend, sender.try_send_request(request)).await? {
            Ok(response) => {
                let in_flight = begin.answered();
                let (parts, incoming) = response.into_parts();
                let head = answered(parts.status, parts.headers);
                return Ok(Answer { head, body: Body::stream(incoming, in_flight), tunnel: None });
            }
            Err(error) => error,
        };
        let unsent = error.take_message();
        let source = error.into_error();
        if source.is_user() {
            return Err(ForwardError::Client(source.into()).into());
        }
        backend.figures.failures.increment();
        let was_ignored = if unsent.is_some() { Ignored::Surely } else { Ignored::Perhaps };
        if let Some(request) = unsent {
            self.body = request.into_body();
        }
        let error = ForwardError::Exchange { backend: backend.url(), source: source.into() };
        Err(Lost { error, was_ignored })
    }

    /// Waits for the head of the response, but not for ever.
    async fn timed<T>(
        &self,
        backend: &Backend,
        sending: impl Future<Output = T>,
    ) -> Result<T, Lost> {
        let Some(limit) = self.edge.config.response_timeout else { return Ok(sending.await) };
        timeout(limit, sending).await.map_err(|_elapsed| {
            backend.figures.failures.increment();
            ForwardError::Timeout { backend: backend.url(), limit }.into()
        })
    }

    /// The request as it is sent over HTTP/1.
    fn outgoing<'a>(&'a self, origin: &'a Origin) -> Outgoing<'a> {
        Outgoing {
            method: &self.request.method,
            target: self.request.target(),
            host: self.host(origin),
            headers: &self.request.headers,
            hop: &self.hop,
        }
    }

    /// The host that the backend is told, where it is not a header of the request.
    fn host<'a>(&'a self, origin: &'a Origin) -> Option<&'a HeaderValue> {
        match self.service.load_balancer.pass_host_header {
            true => self.host.as_ref(),
            false => Some(&origin.host),
        }
    }

    /// The request as it is sent over HTTP/2, which has the host in the target (RFC 9113, 8.3.1).
    fn absolute(&mut self, origin: &Origin) -> Request<RequestBody> {
        let host = self.host(origin).or_else(|| self.request.headers.get(HOST));
        let host = host.and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
        let mut parts = uri::Parts::default();
        parts.authority = Some(host.unwrap_or_else(|| origin.authority.clone()));
        parts.scheme = Some(match origin.scheme {
            Scheme::Https => UriScheme::HTTPS,
            Scheme::Http | Scheme::H2c => UriScheme::HTTP,
        });
        let target = self.request.uri().path_and_query().cloned();
        parts.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let body = std::mem::replace(&mut self.body, RequestBody::EMPTY);
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let mut headers = self.request.headers.clone();
        headers.remove(HOST);
        headers.extend(self.hop.iter().map(|(name, value)| (name.clone(), value.clone())));
        *request.headers_mut() = headers;
        request
    }
}

/// A request that was given to a backend.
struct Begun<'a> {
    figures: &'a Arc<BackendFigures>,
    begin: Instant,
    in_flight: InFlight,
}

impl<'a> Begun<'a> {
    fn new(backend: &'a Backend) -> Self {
        let figures = &backend.figures;
        figures.requests.increment();
        Self { figures, begin: Instant::now(), in_flight: InFlight::new(figures) }
    }

    /// The head of the response is there; the backend works until the body is, too.
    fn answered(self) -> InFlight {
        self.figures.duration.record(nanos(self.begin));
        self.in_flight
    }
}

impl From<ForwardError> for Lost {
    fn from(error: ForwardError) -> Self {
        Self { error, was_ignored: Ignored::No }
    }
}

fn lost(backend: &Backend, source: SendErrorKind, has_heard: bool) -> Lost {
    match source {
        SendErrorKind::Client(source) => ForwardError::Client(source).into(),
        SendErrorKind::Backend(source) => {
            backend.figures.failures.increment();
            let error = ForwardError::Exchange { backend: backend.url(), source: source.into() };
            Lost { error, was_ignored: if has_heard { Ignored::No } else { Ignored::Perhaps } }
        }
    }
}

fn answered(status: StatusCode, mut headers: HeaderMap) -> ResponseHead {
    headers::clean_response(status, &mut headers);
    ResponseHead { status, headers, local: false }
}
