//! HTTP requests of providers: one client for each binding, with its own connections.
//!
//! **Invariant:** a connection is opened only to an address that the grant covers, so one that is
//! used again is covered too.
//!
//! Requests run in tasks of their own. A host function runs on the guest's stack, which is too
//! small for a TLS handshake.

use std::{
    error::Error as _,
    fmt::Display,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use super::{origin::Origin, tls::Tls};

/// What became of a request: the answer with its content.
pub(crate) type Outcome = Result<Response<Bytes>, Failure>;

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Resolve(String),
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Tls(String),
    #[error("timed out")]
    Timeout,
    #[error("too large")]
    TooLarge,
    #[error("{0}")]
    Protocol(String),
}

/// Sends requests to granted origins.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    granted: Arc<[Origin]>,
    inner: legacy::Client<Connector, Full<Bytes>>,
}

/// A request under way. Dropping it ends the request.
#[expect(unreachable_pub, reason = "exported again by generated code")]
#[derive(Debug)]
pub struct Pending {
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

#[derive(Debug)]
enum State {
    UnderWay,
    Done(Outcome),
    Taken,
}

impl Client {
    /// A client for a grant. `tls` is what connections with https are made with.
    pub(crate) fn new(granted: Vec<Origin>, tls: Tls) -> Self {
        let granted: Arc<[Origin]> = granted.into();
        let connector = Connector { granted: granted.clone(), tls };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { granted, inner }
    }

    /// Whether requests to this URL are granted; if not, what is.
    pub(crate) fn check(&self, url: &Uri) -> Result<(), Failure> {
        if self.granted.iter().any(|origin| origin.covers(url)) {
            return Ok(());
        }
        Err(Failure::Denied(not_granted(&self.granted)))
    }

    /// The origin that a URL wants granted, if it is not; one without a scheme means `http`.
    pub(crate) fn refusal(&self, url: &str) -> Option<String> {
        let whole = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        // What is no URL at all is for the plugin to judge.
        let url: Uri = whole.parse().ok()?;
        let (scheme, authority) = (url.scheme_str()?, url.authority()?);
        self.check(&url).is_err().then(|| format!("{scheme}://{authority}"))
    }

    /// Starts a request that has been checked. `done` is told when it is over.
    pub(crate) fn start(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        max_body: usize,
        done: Arc<Notify>,
    ) -> Pending {
        let client = self.inner.clone();
        let state = Arc::new(Mutex::new(State::UnderWay));
        let slot = state.clone();
        let task = tokio::spawn(async move {
            let whole = async {
                let response = client.request(request).await.map_err(failure)?;
                collect(response, max_body).await
            };
            let outcome = tokio::time::timeout(timeout, whole).await;
            let outcome = outcome.unwrap_or(Err(Failure::Timeout));
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = State::Done(outcome);
            done.notify_waiters();
        });
        Pending { state, task: task.abort_handle() }
    }
}

impl Pending {
    /// Whether there is nothing more to wait for.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(*self.lock(), State::UnderWay)
    }

    /// The outcome, once.
    pub(crate) fn take(&self) -> Option<Outcome> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            before => {
                *state = before;
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn collect(response: Response<Incoming>, max_body: usize) -> Outcome {
    let (head, body) = response.into_parts();
    match Limited::new(body, max_body).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge),
        Err(error) => Err(Failure::Protocol(error.to_string())),
    }
}

/// Finds our own error below those of the client.
fn failure(error: legacy::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.clone();
        }
        source = cause.source();
    }
    let text = portolan_core::problem::Chain(&error).to_string();
    if error.is_connect() { Failure::Connect(text) } else { Failure::Protocol(text) }
}

fn not_granted(granted: &[Origin]) -> String {
    if granted.is_empty() {
        return "nothing is granted".to_owned();
    }
    let origins: Vec<String> = granted.iter().map(ToString::to_string).collect();
    format!("not granted; granted is {}", origins.join(", "))
}

/// Opens connections, after a look at the addresses.
#[derive(Clone, Debug)]
struct Connector {
    granted: Arc<[Origin]>,
    tls: Tls,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&url).await.map(TokioIo::new) })
    }
}

impl Connector {
    async fn connect(&self, url: &Uri) -> Result<Stream, Failure> {
        let host = url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        let is_tls = url.scheme() == Some(&Scheme::HTTPS);
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses = self.resolve(url, host, port).await?;
        let tcp = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| Failure::Connect(format!("{host}:{port}: {error}")))?;
        // It is a matter of latency only.
        _ = tcp.set_nodelay(true);
        if !is_tls {
            return Ok(Stream(Box::new(tcp)));
        }
        let bad = |error: &dyn Display| Failure::Tls(format!("{host}: {error}"));
        let name = self.tls.server_name(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| bad(&error))?;
        let config = self.tls.config().await.map_err(|error| bad(&error))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        tls.map(|tls| Stream(Box::new(tls))).map_err(|error| bad(&error))
    }

    /// The addresses of a host that the grant covers.
    async fn resolve(&self, url: &Uri, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Failure::Resolve(format!("{host}: {error}")))?;
        let covers = |address: &SocketAddr| {
            let covering = self.granted.iter().filter(|origin| origin.covers(url));
            covering.into_iter().any(|origin| origin.covers_address(address.ip()))
        };
        let (good, bad): (Vec<_>, Vec<_>) = found.partition(covers);
        match (good.is_empty(), bad.first()) {
            (false, _) => Ok(good),
            (true, None) => Err(Failure::Resolve(format!("{host}: no address"))),
            (true, Some(address)) => Err(Failure::Denied(format!(
                "{host} leads to {}, which a wildcard does not cover",
                address.ip()
            ))),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, encrypted or not.
struct Stream(Box<dyn Io>);

impl connect::Connection for Stream {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// How long an unused connection is kept: less than Consul and most servers keep theirs.
const IDLE: Duration = Duration::from_secs(60);
