//! A client for the few HTTP requests that the control plane makes: to certificate authorities and
//! to Consul.

use std::{
    fmt, fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, Problem};
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::timeout;

use crate::anchors::Anchors;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer that we ask for is longer.
const LIMIT: usize = 4 << 20;

/// Of a request.
pub(super) type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum FetchError {
    /// A file of authorities to trust cannot be used.
    #[error("authorities to trust in `{}`", path.display())]
    Roots { path: PathBuf, source: io::Error },
    /// The library refuses.
    #[error("set up TLS")]
    Setup(#[source] rustls::Error),
    /// The request makes no sense.
    #[error("request")]
    Request(#[from] http::Error),
    /// No connection, or none that lasted.
    #[error("no answer")]
    Client(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off, or was too long.
    #[error("answer")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// The other side says that it is too much (RFC 8555, 6.6; RFC 9110, 15.6.4).
#[derive(Debug, thiserror::Error)]
#[error("the answer is {status}")]
pub(super) struct TooMuch {
    pub(super) status: StatusCode,
    /// How long it asked us to wait.
    pub(super) wait: Option<Duration>,
    /// What it says of it.
    pub(super) problem: Option<Problem>,
}

type Answer = Result<(StatusCode, HeaderMap, Bytes), FetchError>;
/// Carries a request there, and the whole of the answer back.
type Carrier = dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// Makes requests. A clone shares connections.
#[derive(Clone)]
pub(super) struct Fetch(Arc<Carrier>);

impl Fetch {
    /// Trusts the authorities of a PEM file; without one, those that the system trusts.
    pub(super) fn new(roots: Option<&Path>) -> Result<Self, FetchError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Setup)?;
        let builder = match roots {
            Some(path) => {
                let verifier = trusted(path, &provider)?;
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            None => builder.with_root_certificates(system()),
        };
        let config = builder.with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .build();
        let client = Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
        Ok(Self::through(move |request| {
            let answer = client.request(request);
            async move {
                let (head, body) = answer.await?.into_parts();
                let body = Limited::new(body, LIMIT).collect().await.map_err(FetchError::Answer)?;
                Ok((head.status, head.headers, body.to_bytes()))
            }
        }))
    }

    /// Has its requests carried by this.
    pub(super) fn through<F>(carrier: impl Fn(Request<Body>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(carrier(request))))
    }

    /// One request, and the whole of the answer.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        patience: Option<Duration>,
    ) -> Answer {
        let patience = patience.unwrap_or(PATIENCE);
        let answer = (self.0)(request.map(|body| body.boxed()));
        timeout(patience, answer).await.unwrap_or(Err(FetchError::Timeout(patience)))
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}

impl HttpClient for Fetch {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let answer = (self.0)(request.map(|body| body.boxed()));
        Box::pin(async move {
            let answer = timeout(PATIENCE, answer).await;
            let answer = answer.unwrap_or(Err(FetchError::Timeout(PATIENCE)));
            let (status, headers, body) =
                answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            // An error of its own: what is asked for here may be no document that tells of it.
            if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
                let problem = serde_json::from_slice(&body).ok();
                let busy = TooMuch { status, wait: retry_after(&headers), problem };
                return Err(instant_acme::Error::Other(Box::new(busy)));
            }
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(BytesResponse::from(response))
        })
    }
}

/// How long to stay away (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            Some(until.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

fn system() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

fn trusted(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, FetchError> {
    let refuse = |source| FetchError::Roots { path: path.to_owned(), source };
    let text = fs::read(path).map_err(refuse)?;
    let mut anchors = Anchors::none();
    for cert in CertificateDer::pem_slice_iter(&text) {
        let cert = cert.map_err(|error| refuse(io::Error::other(error)))?;
        anchors.add(cert).map_err(|error| refuse(io::Error::other(error)))?;
    }
    if anchors.is_empty() {
        return Err(refuse(io::Error::other("there is no certificate in it")));
    }
    anchors.of_servers(provider).map_err(|error| refuse(io::Error::other(error)))
}
