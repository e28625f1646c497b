//! Counters and durations, as numbers that only grow: whoever reads them twice has rates.

use portolan_core::{
    figure::Histogram, figure::TrafficFigures, plugin::PluginFigures, service::BackendFigures,
};
use serde::Serialize;

/// Durations in nanoseconds. A quantile is the upper bound of its bucket, or absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Durations {
    count: u64,
    sum: u64,
    p50: Option<u64>,
    p99: Option<u64>,
}

impl Durations {
    /// Reads a histogram.
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let quantile = |share| match histogram.quantile(share) {
            // Nothing recorded; or beyond the last bound, where the histogram knows no number.
            0 | u64::MAX => None,
            nanos => Some(nanos),
        };
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        Self { count: histogram.count(), sum: histogram.sum(), p50, p99 }
    }
}

/// Requests and their outcomes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traffic {
    requests: u64,
    /// By class of status: 1xx to 5xx.
    classes: [u64; 5],
    /// Answered with 502, 503 or 504 by Portolan itself.
    failures: u64,
    duration: Durations,
}

impl Traffic {
    /// Reads the figures of a router, service or entrypoint.
    pub(crate) fn of(figures: &TrafficFigures) -> Self {
        let classes = figures.classes();
        Self {
            requests: classes.iter().sum(),
            classes,
            failures: figures.failures(),
            duration: Durations::of(&figures.duration()),
        }
    }
}

/// What a backend has done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendTraffic {
    requests: u64,
    in_flight: u64,
    connect_failures: u64,
    failures: u64,
    duration: Durations,
}

impl BackendTraffic {
    /// Reads the figures of a backend.
    pub(crate) fn of(figures: &BackendFigures) -> Self {
        Self {
            requests: figures.requests.value(),
            in_flight: figures.in_flight.value(),
            connect_failures: figures.connect_failures.value(),
            failures: figures.failures.value(),
            duration: Durations::of(&figures.duration),
        }
    }
}

/// What a plugin has done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    calls: u64,
    duration: Durations,
    deadlines: u64,
    out_of_memory: u64,
    traps: u64,
    failures: u64,
    suspended: u64,
    instantiations: u64,
    instances: u64,
    memory: u64,
}

impl Calls {
    /// Reads the figures of a plugin.
    pub(crate) fn of(figures: &PluginFigures) -> Self {
        Self {
            calls: figures.calls.value(),
            duration: Durations::of(&figures.duration),
            deadlines: figures.deadlines.value(),
            out_of_memory: figures.out_of_memory.value(),
            traps: figures.traps.value(),
            failures: figures.failures.value(),
            suspended: figures.suspended.value(),
            instantiations: figures.instantiations.value(),
            instances: figures.instances.value(),
            memory: figures.memory.value(),
        }
    }
}
