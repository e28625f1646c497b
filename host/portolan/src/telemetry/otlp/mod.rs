//! The exporter of spans: OTLP over HTTP, in protobuf, as every collector of OpenTelemetry takes it.
//!
//! Spans come from the workers, several of one request at a time; here they are gathered and sent. The
//! SDK of OpenTelemetry is not used: its spans cost every request allocations and its queue does not
//! say what it dropped; what is left of it is the eight messages in `message`.
//!
//! **Invariant:** a collector that is slow or away costs spans, which are counted, and nothing else.

mod connect;
mod message;
mod resource;

use std::{
    env,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use portolan_core::policy::Transport;
use portolan_net::http::{FinishedSpan, Tracing};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use self::{connect::Wire, message::Resource};

/// So many requests may wait to be exported.
pub(crate) const WAITING: usize = 2048;

/// So many spans are sent at once.
const BATCH: usize = 512;

/// So long spans wait for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// So long the collector may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Where collectors take OTLP over gRPC.
const GRPC: u16 = 4317;

/// How long is waited before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Where spans go, and who sends them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collector {
    /// Where it takes traces: `http://127.0.0.1:4318/v1/traces`.
    pub(crate) endpoint: Uri,
    /// What is sent with them, a key for instance.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// How it is connected to where that is encrypted.
    pub(crate) transport: Transport,
    /// Our name among other services; `None`: as the environment says, or `portolan`.
    pub(crate) service: Option<String>,
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
    /// When the collector is to be spoken to encrypted, and what that takes cannot be read.
    pub(crate) async fn start(
        collector: Collector,
        tracing: Arc<Tracing>,
        spans: mpsc::Receiver<Vec<FinishedSpan>>,
    ) -> io::Result<Self> {
        let wire = Wire::new(&collector.endpoint, &collector.transport).await?;
        let about = resource::resource(&collector, |name| env::var(name).ok());
        let about = message::resource(about);
        let work = Work { collector, about, tracing, wire, is_failing: false, in_hand: 0 };
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
    /// Who we are.
    about: Resource,
    tracing: Arc<Tracing>,
    wire: Wire,
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
        let body = message::request(&self.about, batch).encode_to_vec();
        let body = compressed(&body);
        let mut pauses = PAUSES.into_iter();
        let error = loop {
            let sent = match &body {
                Ok(body) => self.send(body.clone()).await,
                Err(error) => Err(Refused::Ever(error.to_string())),
            };
            match (sent, pauses.next()) {
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
            let is_grpc = self.collector.endpoint.port_u16() == Some(GRPC);
            let hint = is_grpc.then_some("gRPC is not spoken: collectors take HTTP at port 4318");
            tracing::warn!(endpoint = %self.collector.endpoint, error, hint, "spans are lost");
        }
    }

    async fn send(&mut self, body: Bytes) -> Result<(), Refused> {
        let mut request = Request::post(self.collector.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "gzip")
            .header(USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| Refused::Ever(error.to_string()))?;
        request.headers_mut().extend(self.collector.headers.iter().cloned());
        let connections = self.wire.connections().await;
        let connections = connections.map_err(|error| Refused::Now(error.to_string()))?;
        let answer = timeout(LIMIT, connections.request(request)).await;
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

/// As a file of gzip: OTLP has every collector take it.
fn compressed(bytes: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    portolan_core::problem::Chain(error).to_string()
}
