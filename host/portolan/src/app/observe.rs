//! What is kept of requests: the access log is opened, the exporter of spans is started, and both are
//! brought to their end.
//!
//! **Invariant:** both end after the workers, so nothing that these still say is lost.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use portolan_core::reason::ReasonFigures;
use portolan_net::http::{AccessLog, Ledger, Server, Tracing};

use crate::{
    config::Config,
    telemetry::otlp::{Exporter, WAITING},
};

/// How long the last spans may take.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Everything that the configuration wants to be kept. Within a runtime.
pub(super) fn ledger(config: &Config) -> anyhow::Result<(Ledger, Option<Exporter>)> {
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
    let exporter = config.traces.clone().map(|traces| {
        let (tracing, spans) = Tracing::new(traces.config, WAITING);
        ledger.tracing = Some(tracing.clone());
        Exporter::start(traces.collector, tracing, spans).context("cannot export spans")
    });
    Ok((ledger, exporter.transpose()?))
}

/// Writes and sends what is left, after the workers have ended.
pub(super) async fn finish(server: &Server, exporter: Option<Exporter>) {
    if let Some(exporter) = exporter {
        exporter.finish(LAST_SPANS).await;
    }
    if let Some(log) = server.ledger().access_log.clone() {
        // It waits for the disk.
        drop(tokio::task::spawn_blocking(move || log.close()).await);
    }
}
