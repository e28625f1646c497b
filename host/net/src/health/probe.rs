//! One probe: a connection, a request, a verdict.

use std::{future::Future, io, pin::pin};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{HOST, LOCATION, USER_AGENT},
    uri::{Authority, PathAndQuery},
};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    policy::{CheckMode, HealthCheck},
    service::{Backend, Scheme},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::grpc;
use crate::{
    shortage::is_ours,
    transport::{Trust, Way},
};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// Why a backend is not well, as people read it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("no answer: {0}")]
    Http(#[source] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[source] http::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("gRPC: {0}")]
    Grpc(String),
}

impl Failure {
    /// Whether it tells of us, and nothing of the backend.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Connect(error) | Self::Tls(error) if is_ours(error))
    }
}

/// Where probes of a backend go.
pub(super) struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    /// As in `Host`.
    authority: Authority,
    way: Way,
}

/// A connection, plain or encrypted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// Where probes of a backend go; `None` when its address is none.
    pub(super) fn of(backend: &Backend, check: &HealthCheck, way: &Way) -> Option<Self> {
        let own: Authority = backend.authority.parse().ok()?;
        let scheme = check.scheme.unwrap_or(backend.scheme);
        let port = check.port.or_else(|| own.port_u16()).unwrap_or(match scheme {
            Scheme::Https => 443,
            Scheme::Http | Scheme::H2c => 80,
        });
        let host = own.host();
        let authority = match &check.hostname {
            Some(name) => name.clone(),
            None => scheme.host_of(&format!("{host}:{port}")).to_owned(),
        };
        Some(Self {
            scheme,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: authority.parse().ok()?,
            way: way.clone(),
        })
    }

    /// Looks whether the backend is well.
    pub(super) async fn probe(&self, check: &HealthCheck, trust: &Trust) -> Result<(), Failure> {
        match check.mode {
            CheckMode::Tcp => self.connect().await.map(drop),
            CheckMode::Grpc => {
                let (stream, _) = self.open(trust).await?;
                grpc::check(stream, self.request(check, grpc::PATH, grpc::question())?).await
            }
            CheckMode::Http => self.http(check, trust).await,
        }
    }

    async fn http(&self, check: &HealthCheck, trust: &Trust) -> Result<(), Failure> {
        let mut path = check.path.clone();
        for _ in 0..=REDIRECTS {
            let request = self.request(check, &path, Bytes::new())?;
            let (stream, h2) = self.open(trust).await?;
            let response = match h2 || self.scheme == Scheme::H2c {
                true => over_h2(stream, request, |response| async { Ok(response) }).await?,
                false => over_h1(stream, request).await?,
            };
            match self.redirect(&response).filter(|_| check.follow_redirects) {
                Some(next) => path = next,
                None => return judge(response.status(), check),
            }
        }
        Err(Failure::Status(StatusCode::LOOP_DETECTED))
    }

    /// Where a redirect leads, if that is the same backend.
    fn redirect(&self, response: &Response<Incoming>) -> Option<String> {
        if !response.status().is_redirection() {
            return None;
        }
        let to: Uri = response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
        let is_own = |authority: &Authority| {
            self.scheme.host_of(authority.as_str()).eq_ignore_ascii_case(self.authority.as_str())
        };
        let same = to.authority().is_none_or(is_own);
        let target = to.path_and_query().map(PathAndQuery::as_str);
        target.filter(|path| same && path.starts_with('/')).map(str::to_owned)
    }

    fn request(
        &self,
        check: &HealthCheck,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let is_grpc = check.mode == CheckMode::Grpc;
        let scheme = if self.scheme == Scheme::Https { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build();
        let mut request = Request::builder()
            .method(if is_grpc { http::Method::POST } else { check.method.clone() })
            .uri(uri.map_err(Failure::Request)?)
            .body(Full::new(body))
            .map_err(Failure::Request)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static("portolan-health-check"));
        headers.extend(check.headers.iter().cloned());
        if is_grpc {
            grpc::describe(headers);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        TcpStream::connect((self.host.as_str(), self.port)).await.map_err(Failure::Connect)
    }

    /// A connection, and whether HTTP/2 was agreed upon.
    async fn open(&self, trust: &Trust) -> Result<(Box<dyn Stream>, bool), Failure> {
        let stream = self.connect().await?;
        if self.scheme != Scheme::Https {
            return Ok((Box::new(stream), false));
        }
        let config = trust.config(&self.way).await.map_err(Failure::Tls)?;
        let own = self.way.as_ref().and_then(|(_, transport)| transport.server_name.clone());
        let name = ServerName::try_from(own.unwrap_or_else(|| self.host.clone()));
        let name = name.map_err(|error| Failure::Tls(io::Error::other(error)))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(Failure::Tls)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), h2))
    }
}

fn judge(status: StatusCode, check: &HealthCheck) -> Result<(), Failure> {
    let is_well = match check.status {
        Some(wanted) => status == wanted,
        None => (200..400).contains(&status.as_u16()),
    };
    if is_well { Ok(()) } else { Err(Failure::Status(status)) }
}

/// The head of the response over HTTP/1.
async fn over_h1(
    stream: Box<dyn Stream>,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Failure> {
    // HTTP/1 has the host in a header, and the path alone in the target.
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    if let Some(Ok(host)) = host.map(HeaderValue::try_from) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Failure::Http)?;
    let exchange = async { sender.send_request(request).await.map_err(Failure::Http) };
    beside(connection, exchange).await
}

/// What is made of the response over HTTP/2.
pub(super) async fn over_h2<T, F>(
    stream: Box<dyn Stream>,
    mut request: Request<Full<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    *request.version_mut() = Version::HTTP_2;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Failure::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(Failure::Http)?;
        read(response).await
    };
    beside(connection, exchange).await
}

/// An exchange, with the connection that carries it.
async fn beside<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    exchange: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        outcome = &mut exchange => outcome,
        ended = connection => {
            ended.map_err(Failure::Http)?;
            // It was closed after the answer, or without one.
            exchange.await
        }
    }
}
