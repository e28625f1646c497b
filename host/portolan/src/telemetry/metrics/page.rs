//! The page that Prometheus reads: one family after another, each in one piece.
//!
//! **Invariant:** a family is written even when it has no series, so that every metric is found.

use std::borrow::{Borrow, Cow};

use portolan_core::{
    figure::Histogram,
    metric::{Kind, Metric},
};

use super::format::Format;

/// The labels of a series.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

pub(super) fn labels<'a, const N: usize>(pairs: [(&'static str, &'a str); N]) -> Labels<'a> {
    pairs.into_iter().map(|(key, value)| (key, Cow::from(value))).collect()
}

pub(super) fn label<'a>(key: &'static str, value: &'a str) -> Labels<'a> {
    labels([(key, value)])
}

/// The page as it grows: one family after another, each in one piece.
pub(super) struct Page {
    format: Format,
    text: String,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    pub(super) fn gauge(&mut self, metric: &Metric, value: f64) {
        self.gauges(metric, [(Vec::new(), value)]);
    }

    pub(super) fn gauges<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) {
        self.head(metric);
        for (of, value) in rows {
            self.sample(metric.name, &inside(&of), &self.format.number(value));
        }
    }

    pub(super) fn counters<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) {
        self.head(metric);
        for (of, count) in rows {
            self.sample(metric.name, &inside(&of), &self.format.count(count));
        }
    }

    pub(super) fn seconds_total(&mut self, metric: &Metric, value: f64) {
        self.gauge(metric, value);
    }

    pub(super) fn histograms<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, impl Borrow<Histogram>)>,
    ) {
        let rows = rows.into_iter().map(|(of, histogram)| {
            let histogram = histogram.borrow();
            (of, (histogram.buckets().collect(), histogram.sum()))
        });
        self.durations(metric, rows);
    }

    /// The same with every other bound, for what there are many of: each bucket is a series.
    pub(super) fn coarse_histograms<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, impl Borrow<Histogram>)>,
    ) {
        let rows = rows.into_iter().map(|(of, histogram)| {
            let histogram = histogram.borrow();
            let buckets: Vec<_> = histogram.buckets().collect();
            let pairs = buckets.chunks(2).filter_map(|pair| {
                let (bound, _) = pair.last()?;
                Some((*bound, pair.iter().map(|(_, count)| count).sum()))
            });
            (of, (pairs.collect(), histogram.sum()))
        });
        self.durations(metric, rows);
    }

    /// Durations in buckets: bound in nanoseconds and count of each, the sum in nanoseconds.
    pub(super) fn durations<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, (Vec<(u64, u64)>, u64))>,
    ) {
        self.head(metric);
        let part = |suffix: &str| format!("{}_{suffix}", metric.name);
        let [bucket, sum, count] = ["bucket", "sum", "count"].map(part);
        for (of, (buckets, nanos)) in rows {
            let of = inside(&of);
            let comma = if of.is_empty() { "" } else { "," };
            // Of the same reading as the buckets: a sum that disagrees with them is an error.
            let mut all = 0;
            for (bound, more) in buckets {
                all += more;
                let bound = self.format.number(bound_in_seconds(bound));
                let of = format!("{of}{comma}le=\"{bound}\"");
                self.sample(&bucket, &of, &self.format.count(all));
            }
            self.sample(&sum, &of, &self.format.number(nanos as f64 / 1e9));
            self.sample(&count, &of, &self.format.count(all));
        }
    }

    /// All of it, once nothing is added.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        let name = match self.format {
            Format::Text => metric.name,
            // There, a family of counters is named without what its samples end in.
            Format::OpenMetrics => metric.name.strip_suffix("_total").unwrap_or(metric.name),
        };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = metric.help;
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, of: &str, value: &str) {
        let [open, close] = if of.is_empty() { [""; 2] } else { ["{", "}"] };
        for part in [name, open, of, close, " ", value, "\n"] {
            self.text.push_str(part);
        }
    }
}

/// Labels as they stand between the braces.
fn inside(of: &Labels<'_>) -> String {
    let mut text = String::new();
    for (key, value) in of {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend([key, "=\""]);
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                plain => text.push(plain),
            }
        }
        text.push('"');
    }
    text
}

fn bound_in_seconds(nanos: u64) -> f64 {
    if nanos == u64::MAX { f64::INFINITY } else { nanos as f64 / 1e9 }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use portolan_core::{figure::Histogram, metric};

    use super::{Format, Page, label};

    fn check(format: Format, expected: Expect) {
        let mut page = Page::new(format);
        page.gauge(&metric::OPEN_FILES, 5.0);
        let requests = [(label("entrypoint", "a\"\\\n"), 2), (label("entrypoint", "b"), 1_000_000)];
        page.counters(&metric::ENTRYPOINT_REQUESTS, requests);
        let buckets = vec![(300_000_000, 1), (5_000_000_000, 2), (u64::MAX, 0)];
        let rows =
            [(label("entrypoint", "b"), (buckets, 1_500_000_000)), (Vec::new(), (vec![], 0))];
        page.durations(&metric::ENTRYPOINT_DURATION, rows);
        expected.assert_eq(&page.end());
    }

    #[test]
    fn the_text_is_that_of_prometheus() {
        check(
            Format::Text,
            expect![[r##"
            # HELP process_open_fds Open files and sockets of the process.
            # TYPE process_open_fds gauge
            process_open_fds 5
            # HELP portolan_entrypoint_requests_total Requests answered at an entrypoint, by class of status.
            # TYPE portolan_entrypoint_requests_total counter
            portolan_entrypoint_requests_total{entrypoint="a\"\\\n"} 2
            portolan_entrypoint_requests_total{entrypoint="b"} 1e+06
            # HELP portolan_entrypoint_request_duration_seconds From the first byte of a request to the head of its response.
            # TYPE portolan_entrypoint_request_duration_seconds histogram
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="0.3"} 1
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="5"} 3
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="+Inf"} 3
            portolan_entrypoint_request_duration_seconds_sum{entrypoint="b"} 1.5
            portolan_entrypoint_request_duration_seconds_count{entrypoint="b"} 3
            portolan_entrypoint_request_duration_seconds_sum 0
            portolan_entrypoint_request_duration_seconds_count 0
        "##]],
        );
    }

    #[test]
    fn openmetrics_names_families_of_counters_without_their_end() {
        check(
            Format::OpenMetrics,
            expect![[r##"
            # HELP process_open_fds Open files and sockets of the process.
            # TYPE process_open_fds gauge
            process_open_fds 5.0
            # HELP portolan_entrypoint_requests Requests answered at an entrypoint, by class of status.
            # TYPE portolan_entrypoint_requests counter
            portolan_entrypoint_requests_total{entrypoint="a\"\\\n"} 2
            portolan_entrypoint_requests_total{entrypoint="b"} 1000000
            # HELP portolan_entrypoint_request_duration_seconds From the first byte of a request to the head of its response.
            # TYPE portolan_entrypoint_request_duration_seconds histogram
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="0.3"} 1
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="5.0"} 3
            portolan_entrypoint_request_duration_seconds_bucket{entrypoint="b",le="+Inf"} 3
            portolan_entrypoint_request_duration_seconds_sum{entrypoint="b"} 1.5
            portolan_entrypoint_request_duration_seconds_count{entrypoint="b"} 3
            portolan_entrypoint_request_duration_seconds_sum 0.0
            portolan_entrypoint_request_duration_seconds_count 0
            # EOF
        "##]],
        );
    }

    #[test]
    fn a_coarse_histogram_has_every_other_bound_and_all_of_the_count() {
        let histogram = Histogram::starting_at(1_000_000_000);
        for seconds in [1, 2, 3, 1 << 17, 1 << 19] {
            histogram.record(seconds * 1_000_000_000);
        }
        let mut page = Page::new(Format::Text);
        page.coarse_histograms(&metric::BACKEND_DURATION, [(Vec::new(), &histogram)]);
        let text = page.end();
        let counts: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once("_bucket{")?.1.split_once("} "))
            .collect();
        let bounds = [2_u32, 8, 32, 128, 512, 2048, 8192, 32768, 131072];
        let bounds = bounds.map(|bound| format!("le=\"{bound}\""));
        let bounds = bounds.iter().map(String::as_str).chain(["le=\"+Inf\""]);
        let expected: Vec<_> =
            bounds.zip(["2", "3", "3", "3", "3", "3", "3", "3", "4", "5"]).collect();
        assert_eq!(counts, expected);
        assert!(text.ends_with("_count 5\n"), "{text}");
    }
}
