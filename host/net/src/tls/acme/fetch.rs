//! A client for the few HTTP requests that the control plane makes: to certificate authorities and
//! to Consul.

use std::{
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::timeout;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer that we ask for is longer.
const LIMIT: usize = 4 << 20;

type Body = BoxBody<Bytes, std::convert::Infallible>;

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

/// Makes requests. A clone shares connections.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// Until when the other side last asked us to wait.
    wait: Arc<Mutex<Option<SystemTime>>>,
}

impl Fetch {
    /// Trusts the authorities of a PEM file; without one, those that the system trusts.
    pub(super) fn new(roots: Option<&Path>) -> Result<Self, FetchError> {
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Setup)?
            .with_root_certificates(trusted(roots)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, wait: Arc::default() })
    }

    /// One request, and the whole of the answer.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        patience: Option<Duration>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let patience = patience.unwrap_or(PATIENCE);
        let answer = async {
            let response = self.client.request(request.map(|body| body.boxed())).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LIMIT).collect().await.map_err(FetchError::Answer)?;
            Ok((head.status, head.headers, body.to_bytes()))
        };
        timeout(patience, answer).await.unwrap_or(Err(FetchError::Timeout(patience)))
    }

    /// How long the other side asked us to wait, from now on; forgotten when told.
    pub(super) fn told_to_wait(&self) -> Option<Duration> {
        let until = self.wait.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        until.duration_since(SystemTime::now()).ok()
    }
}

impl HttpClient for Fetch {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let answer = self.client.request(request.map(|body| body.boxed()));
        let wait = self.wait.clone();
        Box::pin(async move {
            let refuse = |error: FetchError| instant_acme::Error::Other(Box::new(error));
            let answer = timeout(PATIENCE, answer).await;
            let response = answer
                .map_err(|_elapsed| refuse(FetchError::Timeout(PATIENCE)))?
                .map_err(|error| refuse(error.into()))?;
            if let Some(until) = retry_after(&response) {
                *wait.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            }
            Ok(BytesResponse::from(response))
        })
    }
}

/// When to come back, if the answer is that it was too much (RFC 8555, 6.6; RFC 9110, 10.2.3).
fn retry_after(response: &Response<Incoming>) -> Option<SystemTime> {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if !busy.contains(&response.status()) {
        return None;
    }
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok(),
    }
}

fn trusted(roots: Option<&Path>) -> Result<RootCertStore, FetchError> {
    let mut store = RootCertStore::empty();
    let Some(path) = roots else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let refuse = |source| FetchError::Roots { path: path.to_owned(), source };
    let text = fs::read(path).map_err(refuse)?;
    for cert in CertificateDer::pem_slice_iter(&text) {
        let cert = cert.map_err(|error| refuse(io::Error::other(error)))?;
        store.add(cert).map_err(|error| refuse(io::Error::other(error)))?;
    }
    if store.is_empty() {
        return Err(refuse(io::Error::other("there is no certificate in it")));
    }
    Ok(store)
}
