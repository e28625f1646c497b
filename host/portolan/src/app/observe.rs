//! What is kept of requests: the access log is opened, the exporter of spans is started, and both are
//! brought to their end.
//!
//! **Invariant:** both end after the workers, so nothing that these still say is lost.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use portolan_core::reason::ReasonFigures;
use portolan_net::http::{AccessLog, Ledger, Server, Tracing};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    config::Config,
    telemetry::otlp::{Exporter, WAITING},
};

/// How long the last spans may take.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Everything that the configuration wants to be kept. Within a runtime.
pub(super) async fn ledger(config: &Config) -> anyhow::Result<(Ledger, Option<Exporter>)> {
    let access_log = config.access_log.clone().map(|log| {
        let file = log.file.clone().unwrap_or_else(|| "standard output".into());
        let opened = AccessLog::open(log);
        opened.with_context(|| format!("cannot write the access log, {}", file.display()))
    });
    let mut ledger = Ledger {
        buckets: config.counting.buckets.clone(),
        reasons: Arc::<ReasonFigures>::default(),
        access_log: access_log.transpose()?,
        tracing: None,
    };
    let Some(traces) = config.traces.clone() else { return Ok((ledger, None)) };
    let (tracing, spans) = Tracing::new(traces.config, WAITING);
    ledger.tracing = Some(tracing.clone());
    let exporter = Exporter::start(traces.collector, tracing, spans).await;
    Ok((ledger, Some(exporter.context("cannot export spans")?)))
}

/// Writes and sends what is left, after the workers have ended.
pub(super) async fn finish(server: &Server, exporter: Option<Exporter>) {
    if let Some(exporter) = exporter {
        exporter.finish(LAST_SPANS).await;
    }
    let Some(log) = server.ledger().access_log.clone() else { return };
    // It waits for the disk, or for whoever reads our output: on a thread that the end of the process
    // need not wait for.
    let (done, closed) = oneshot::channel();
    let closing = move || {
        log.close();
        done.send(()).unwrap_or_default();
    };
    let spawned = thread::Builder::new().name("access-log-end".to_owned()).spawn(closing);
    if spawned.is_err() || timeout(LAST_LINES, closed).await.is_err() {
        tracing::warn!("the end of the access log was not written");
    }
}
