//! The exporter of spans: OTLP over HTTP, in protobuf, as every collector of OpenTelemetry takes it.
//!
//! Spans come from the workers, several of one request at a time; here they are gathered and sent. The
//! SDK of OpenTelemetry is not used: its spans cost every request allocations and its queue does not
//! say what it dropped; what is left of it is the eight messages in `message`.
//!
//! **Invariant:** a collector that is slow or away costs spans, which are counted, and nothing else.

mod message;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use portolan_net::http::{FinishedSpan, Tracing};
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// So many requests may wait to be exported.
pub(crate) const WAITING: usize = 2048;

/// So many spans are sent at once.
const BATCH: usize = 512;

/// So long spans wait for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// So long the collector may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How long is waited before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Where spans go, and who sends them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collector {
    /// Where it takes traces: `http://127.0.0.1:4318/v1/traces`.
    pub(crate) endpoint: Uri,
    /// What is sent with them, a key for instance.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Our name among other services.
    pub(crate) service: String,
    /// What else is said about us.
    pub(crate) attributes: Vec<(String, String)>,
}

/// The exporter at work.
pub(crate) struct Exporter {
    /// Ends with how many spans it could not deliver in time.
    task: JoinHandle<usize>,
    ending: oneshot::Sender<()>,
    /// Ends it though something is left.
    cut: oneshot::Sender<()>,
}

impl Exporter {
    /// Starts to export. Within a runtime.
    ///
    /// # Errors
    ///
    /// When the collector is to be spoken to encrypted, and this system trusts no authority.
    pub(crate) fn start(
        collector: Collector,
        tracing: Arc<Tracing>,
        spans: mpsc::Receiver<Vec<FinishedSpan>>,
    ) -> io::Result<Self> {
        let connector = connector(collector.endpoint.scheme_str() == Some("https"))?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let work = Work { collector, tracing, client, is_failing: false, in_hand: 0 };
        let ((ending, ended), (cut, is_cut)) = (oneshot::channel(), oneshot::channel());
        Ok(Self { task: tokio::spawn(work.run_until(spans, ended, is_cut)), ending, cut })
    }

    /// Sends what is there, and ends: after `limit` at the latest. What is left then is counted as lost.
    pub(crate) async fn finish(mut self, limit: Duration) {
        self.ending.send(()).unwrap_or_default();
        if timeout(limit, &mut self.task).await.is_ok() {
            return;
        }
        self.cut.send(()).unwrap_or_default();
        if let Ok(spans @ 1..) = self.task.await {
            tracing::warn!(
                spans,
                "the collector did not take the last spans in time: they are lost"
            );
        }
    }
}

struct Work {
    collector: Collector,
    tracing: Arc<Tracing>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Whether the last batch was lost: that is said once.
    is_failing: bool,
    /// So many spans were taken out of the queue and neither delivered nor counted as lost.
    in_hand: usize,
}

/// Why a batch was not taken.
enum Refused {
    /// Another attempt may succeed.
    Now(String),
    /// None will.
    Ever(String),
}

impl Work {
    /// Works until the end, or until it is cut; answers how many spans are lost by that.
    async fn run_until(
        mut self,
        mut spans: mpsc::Receiver<Vec<FinishedSpan>>,
        ended: oneshot::Receiver<()>,
        cut: oneshot::Receiver<()>,
    ) -> usize {
        tokio::select! {
            () = self.run(&mut spans, ended) => {}
            // Without an exporter that could cut it there is nobody who waits.
            _ = cut => {}
        }
        let waiting = std::iter::from_fn(|| spans.try_recv().ok());
        let left = self.in_hand + waiting.map(|more| more.len()).sum::<usize>();
        self.tracing.lost(left);
        left
    }

    async fn run(
        &mut self,
        spans: &mut mpsc::Receiver<Vec<FinishedSpan>>,
        mut ended: oneshot::Receiver<()>,
    ) {
        loop {
            let first = tokio::select! {
                some = spans.recv() => some,
                _ = &mut ended => break,
            };
            let Some(mut batch) = first else { return };
            self.in_hand = batch.len();
            let deadline = Instant::now() + PATIENCE;
            let mut is_ending = false;
            while batch.len() < BATCH && !is_ending {
                tokio::select! {
                    more = timeout_at(deadline, spans.recv()) => match more {
                        Ok(Some(more)) => {
                            self.in_hand += more.len();
                            batch.extend(more);
                        }
                        Ok(None) | Err(_) => break,
                    },
                    _ = &mut ended => is_ending = true,
                }
            }
            self.deliver(batch).await;
            if is_ending {
                break;
            }
        }
        let mut rest = Vec::new();
        while let Ok(more) = spans.try_recv() {
            self.in_hand += more.len();
            rest.extend(more);
        }
        for batch in rest.chunks(BATCH) {
            self.deliver(batch.to_vec()).await;
        }
    }

    /// Sends a batch, more than once if need be; counts it if it is lost.
    async fn deliver(&mut self, batch: Vec<FinishedSpan>) {
        let count = batch.len();
        let body = Bytes::from(message::request(&self.collector, batch).encode_to_vec());
        let mut pauses = PAUSES.into_iter();
        let error = loop {
            match (self.send(body.clone()).await, pauses.next()) {
                (Ok(()), _) => {
                    self.is_failing = false;
                    self.in_hand -= count;
                    return;
                }
                (Err(Refused::Now(_)), Some(pause)) => sleep(pause).await,
                (Err(Refused::Now(error) | Refused::Ever(error)), _) => break error,
            }
        };
        self.in_hand -= count;
        self.tracing.lost(count);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(endpoint = %self.collector.endpoint, error, "spans are lost");
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Refused> {
        let mut request = Request::post(self.collector.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| Refused::Ever(error.to_string()))?;
        request.headers_mut().extend(self.collector.headers.iter().cloned());
        let answer = timeout(LIMIT, self.client.request(request)).await;
        let answer = answer.map_err(|_elapsed| Refused::Now("no answer in time".to_owned()))?;
        let answer = answer.map_err(|error| Refused::Now(causes(&error)))?;
        let status = answer.status();
        if status.is_success() {
            // Read to its end, so that the connection can be used again.
            drop(Limited::new(answer.into_body(), 64 << 10).collect().await);
            return Ok(());
        }
        let error = format!("the collector answers {status}");
        // What OTLP says may be tried again.
        let is_passing = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]
        .contains(&status);
        Err(if is_passing { Refused::Now(error) } else { Refused::Ever(error) })
    }
}

/// Connects to a collector; where that is encrypted, trusts whom the system trusts.
fn connector(is_encrypted: bool) -> io::Result<HttpsConnector<HttpConnector>> {
    let provider = default_provider();
    if is_encrypted {
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        return Ok(builder.https_only().enable_http1().build());
    }
    // Never used; reading the trust store for nothing would take its time.
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(config);
    Ok(builder.https_or_http().enable_http1().build())
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    portolan_core::problem::Chain(error).to_string()
}
