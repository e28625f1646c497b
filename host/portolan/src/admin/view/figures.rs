//! Counters and durations, as numbers that only grow: whoever reads them twice has rates.

use portolan_core::{
    figure::Histogram, figure::TrafficFigures, plugin::PluginFigures, service::BackendFigures,
};
use serde::Serialize;

/// Durations in nanoseconds. A quantile is the upper bound of its bucket, or absent.
/// Beyond the last bound it is told which one it is above.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Durations {
    count: u64,
    sum: u64,
    p50: Option<u64>,
    p99: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_above: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_above: Option<u64>,
}

impl Durations {
    /// Reads a histogram.
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let quantile = |share| match histogram.quantile(share) {
            // Nothing recorded; or beyond the last bound, where the histogram knows no number.
            0 | u64::MAX => None,
            nanos => Some(nanos),
        };
        let above = |share| (histogram.quantile(share) == u64::MAX).then_some(histogram.longest());
        Self {
            count: histogram.count(),
            sum: histogram.sum(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p50_above: above(0.5),
            p99_above: above(0.99),
        }
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

#[cfg(test)]
mod tests {
    use portolan_net::dns::DnsFigures;

    use super::*;

    #[test]
    fn what_takes_longer_than_is_known_is_told_as_more_than_that() {
        let figures = DnsFigures::default();
        let told = || {
            let it = Durations::of(&figures.duration);
            (it.p50, it.p99, it.p50_above, it.p99_above)
        };
        // A question is under way for four seconds at most.
        figures.duration.record(4_000_000_000);
        let last = figures.duration.longest();
        assert_eq!(told(), (Some(last), Some(last), None, None));
        figures.duration.record(u64::MAX / 2);
        assert_eq!(told(), (Some(last), None, None, Some(last)));
    }
}
