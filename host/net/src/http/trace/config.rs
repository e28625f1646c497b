//! What is traced, and where spans go.
//!
//! **Invariant:** the queue to the exporter is bounded.

use std::sync::Arc;

use http::HeaderName;
use portolan_core::{figure::Counter, router::TraceVerbosity};
use tokio::sync::mpsc;

use super::span::FinishedSpan;

/// What is traced.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// Of requests that belong to no trace yet, the share that is sampled: 0 to 1. For others the
    /// one who began the trace has decided.
    pub sample_rate: f64,
    /// How many spans there are of a request whose router does not say.
    pub verbosity: TraceVerbosity,
    /// Headers of requests that become attributes.
    pub request_headers: Vec<HeaderName>,
    /// Headers of responses that become attributes.
    pub response_headers: Vec<HeaderName>,
    /// Query parameters whose values are told; those of others are `REDACTED`.
    pub safe_query: Vec<String>,
}

/// The way of spans out of the workers.
#[derive(Debug)]
pub struct Tracing {
    pub(super) config: TraceConfig,
    queue: mpsc::Sender<Vec<FinishedSpan>>,
    dropped: Counter,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            sample_rate: 1.0,
            verbosity: TraceVerbosity::default(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            safe_query: Vec::new(),
        }
    }
}

impl Tracing {
    /// The way in, and the end from which an exporter takes the spans of one request after another.
    /// At most `waiting` requests wait there.
    pub fn new(
        config: TraceConfig,
        waiting: usize,
    ) -> (Arc<Self>, mpsc::Receiver<Vec<FinishedSpan>>) {
        let (queue, receiver) = mpsc::channel(waiting);
        (Arc::new(Self { config, queue, dropped: Counter::default() }), receiver)
    }

    /// What is traced.
    pub fn config(&self) -> &TraceConfig {
        &self.config
    }

    /// Spans that were lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// Counts spans that an exporter could not deliver.
    pub fn lost(&self, spans: usize) {
        self.dropped.add(spans as u64);
    }

    pub(super) fn hand_over(&self, spans: Vec<FinishedSpan>) {
        let count = spans.len();
        if self.queue.try_send(spans).is_err() {
            self.lost(count);
        }
    }

    /// Whether a trace that begins here is sampled: decided by its id, so that everybody who
    /// decides by the same rate decides alike (OpenTelemetry's `TraceIdRatioBased`).
    pub(super) fn samples(&self, trace: u128) -> bool {
        let rate = self.config.sample_rate;
        // The lower 63 bits are taken as a number between 0 and 1.
        let number = (trace as u64 >> 1) as f64 / (1_u64 << 63) as f64;
        rate >= 1.0 || number < rate
    }
}
