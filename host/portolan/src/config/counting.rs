//! `[metrics]`: how requests are counted and told.
//!
//! **Invariant:** a label of the operator's never stands twice in a series, nor is it one that a scrape
//! would be refused for.

use portolan_core::{
    figure::{Buckets, HeaderLabel, HeaderLabels},
    metric,
};
use toml::Spanned;

use super::{
    observe::header_name,
    read::{Named, Reading, listed, table},
    report::Finding,
    schema::unplaced,
};
use crate::telemetry::metrics::Labelled;

table! {
    /// `[metrics]`
    pub(super) struct Metrics {
        /// Upper bounds in seconds.
        buckets: Spanned<Vec<f64>> = unplaced(vec![0.1, 0.3, 1.2, 5.0]),
        entrypoint_labels: bool = true,
        router_labels: bool = false,
        service_labels: bool = true,
        /// Labels, and the headers that say their values.
        header_labels: Named<Spanned<String>> = Named(Vec::new()),
        /// The most combinations of these values.
        header_label_limit: Spanned<u32> = unplaced(HeaderLabels::default().limit),
    }
}

/// How requests are counted and told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counting {
    /// Durations of whole requests.
    pub(crate) buckets: Buckets,
    /// What is told under Traefik's names.
    pub(crate) labels: Labelled,
}

/// How requests are counted, and by which of their headers; the latter may change at any time.
pub(super) fn counting(metrics: Metrics, reading: &mut Reading<'_>) -> (Counting, HeaderLabels) {
    let bounds = metrics.buckets.get_ref();
    let grow = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    let is_time = |bound: &f64| bound.is_finite() && *bound > 0.0 && *bound < 1e6;
    let fits = !bounds.is_empty() && bounds.len() <= Buckets::MOST;
    if !(grow && fits && bounds.iter().all(is_time)) {
        let finding = Finding::error(metrics.buckets.span(), "`metrics.buckets` make no histogram");
        let hint =
            format!("1 to {} upper bounds in seconds, each above the one before", Buckets::MOST);
        reading.add(finding.hint(hint));
    }
    let counting = Counting {
        buckets: Buckets::new(bounds.iter().map(|seconds| (seconds * 1e9).round() as u64)),
        labels: Labelled {
            entrypoints: metrics.entrypoint_labels,
            routers: metrics.router_labels,
            services: metrics.service_labels,
        },
    };
    (counting, header_labels(metrics.header_labels.0, &metrics.header_label_limit, reading))
}

fn header_labels(
    named: Vec<(Spanned<String>, Spanned<String>)>,
    limit: &Spanned<u32>,
    reading: &mut Reading<'_>,
) -> HeaderLabels {
    if let Some((label, _)) = named.get(HeaderLabels::MOST) {
        let message = format!("`metrics.header-labels` are at most {}", HeaderLabels::MOST);
        reading.add(Finding::error(label.span(), message).label("this is one too many"));
    }
    let most = HeaderLabels::MOST_COMBINATIONS;
    if !(1..=most).contains(limit.get_ref()) {
        let message = format!("`metrics.header-label-limit` must be a number from 1 to {most}");
        reading.add(Finding::error(limit.span(), message).label("out of range"));
    }
    let mut labels = Vec::with_capacity(named.len());
    for (label, header) in named {
        check_label(&label, reading);
        let name = label.into_inner().into();
        labels.extend(header_name(&header, reading).map(|header| HeaderLabel { name, header }));
    }
    HeaderLabels { labels, limit: *limit.get_ref() }
}

/// Whether Prometheus takes it for a label of one's own.
fn check_label(label: &Spanned<String>, reading: &mut Reading<'_>) {
    let name = label.get_ref();
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let begins = name.bytes().next().is_some_and(is_letter);
    let finding = |message: String| Finding::error(label.span(), message);
    if !begins || !name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit()) {
        let finding = finding(format!("{name:?} cannot be the name of a label"));
        reading.add(finding.hint("letters, digits and `_`, and no digit at the beginning"));
    } else if name.starts_with("__") {
        let finding = finding(format!("`{name}` cannot be the name of a label"));
        reading.add(finding.hint("names that begin with `__` belong to Prometheus"));
    } else if taken().contains(&name.as_str()) {
        let hint = format!("these are: {}", listed(&taken()));
        reading.add(finding(format!("the label `{name}` is there already")).hint(hint));
    }
}

/// Labels of what tells of requests. All of them, also where only some stand beside a label of the
/// operator's: dashboards put series of several metrics together.
fn taken() -> Vec<&'static str> {
    let objects = ["entrypoint", "router", "service"];
    let of_requests =
        |metric: &&metric::Metric| metric.labels.iter().any(|label| objects.contains(label));
    let labels = metric::ALL.iter().filter(of_requests).flat_map(|metric| metric.labels);
    let mut taken: Vec<_> = labels.copied().chain(["le"]).collect();
    taken.sort_unstable();
    taken.dedup();
    taken
}
