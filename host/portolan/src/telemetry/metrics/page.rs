//! The page that Prometheus reads: one family after another, each in one piece.
//!
//! **Invariant:** a family is written even when it has no series, so that every metric is found.

use std::{
    borrow::{Borrow, Cow},
    fmt,
};

use portolan_core::{
    figure::Histogram,
    metric::{Kind, Metric},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::{MetricType, exemplar::Exemplar},
};

/// The labels of a series.
pub(super) type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

pub(super) fn labels<'a, const N: usize>(pairs: [(&'static str, &'a str); N]) -> Labels<'a> {
    pairs.into_iter().map(|(key, value)| (key, Cow::from(value))).collect()
}

pub(super) fn label<'a>(key: &'static str, value: &'a str) -> Labels<'a> {
    labels([(key, value)])
}

/// The page as it grows: one family after another, each in one piece.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn gauge(&mut self, metric: &Metric, value: f64) -> fmt::Result {
        self.gauges(metric, [(Vec::new(), value)])
    }

    pub(super) fn gauges<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, value| row.encode_gauge(&value))
    }

    pub(super) fn counters<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, value| row.encode_counter(&value, NO_EXEMPLAR))
    }

    pub(super) fn seconds_total(&mut self, metric: &Metric, value: f64) -> fmt::Result {
        let rows = [(Vec::new(), value)];
        self.family(metric, rows, |row, value| row.encode_counter(&value, NO_EXEMPLAR))
    }

    pub(super) fn histograms<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, impl Borrow<Histogram>)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(of, histogram)| {
            let histogram = histogram.borrow();
            (of, (histogram.buckets().collect(), histogram.sum()))
        });
        self.durations(metric, rows)
    }

    /// Durations in buckets: bound in nanoseconds and count of each, the sum in nanoseconds.
    pub(super) fn durations<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, (Vec<(u64, u64)>, u64))>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, (buckets, nanos)| {
            let buckets: Vec<(f64, u64)> = buckets.into_iter().map(in_seconds).collect();
            // Of the same reading as the buckets: a sum that disagrees with them is an error.
            let count = buckets.iter().map(|(_, count)| count).sum();
            row.encode_histogram::<Labels<'_>>(nanos as f64 / 1e9, count, &buckets, None)
        })
    }

    fn family<'l, V>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, V)>,
        mut encode: impl FnMut(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        // The encoder puts `_total` behind the name of a counter.
        let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let mut family = self.0.encode_descriptor(name, metric.help, None, kind)?;
        for (of, value) in rows {
            match of.is_empty() {
                true => encode(&mut family, value)?,
                false => encode(&mut family.encode_family(&of)?, value)?,
            }
        }
        Ok(())
    }
}

const NO_EXEMPLAR: Option<&Exemplar<[(&str, &str); 0], u64>> = None;

fn in_seconds((nanos, count): (u64, u64)) -> (f64, u64) {
    let bound = if nanos == u64::MAX { f64::INFINITY } else { nanos as f64 / 1e9 };
    (bound, count)
}
