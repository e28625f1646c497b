//! The exporter for Prometheus: figures that others keep, turned into text when somebody asks.
//!
//! **Invariant:** nothing is written here while a request is served. The hot paths add to atomics
//! in `portolan_core::figure`; a scrape reads them. What was never used has no series, so that ten
//! thousand idle routers cost a scrape nothing.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use portolan_core::{
    figure::Histogram,
    figure::TrafficFigures,
    metric::{self, Kind, Metric},
    moment::Moment,
    plugin::PluginFigures,
    service::{Backend, Service},
    snapshot::{Entry, Snapshot, Status},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use super::process::Process;

/// The media type of what [`render`] gives (OpenMetrics 1.0, text format).
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that a scrape tells, read at one moment.
#[derive(Debug)]
pub(crate) struct Readings {
    /// Now.
    pub(crate) now: SystemTime,
    /// When the process started.
    pub(crate) started: SystemTime,
    /// When the snapshot was published.
    pub(crate) published: SystemTime,
    /// What is served.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Whether the configuration file as it is now is in use.
    pub(crate) config_in_use: bool,
    /// How many errors and warnings are shown.
    pub(crate) problems: [usize; 2],
    /// Providers.
    pub(crate) providers: Vec<ProviderReading>,
    /// Plugins, by name.
    pub(crate) plugins: Vec<(Arc<str>, Arc<PluginFigures>)>,
    /// Entrypoints that serve HTTP.
    pub(crate) entrypoints: Vec<EntrypointReading>,
    /// DNS.
    pub(crate) dns: DnsReading,
    /// The process; `None` where the system does not say.
    pub(crate) process: Option<Process>,
}

/// How a provider is.
#[derive(Debug)]
pub(crate) struct ProviderReading {
    /// The key under `[providers]`.
    pub(crate) name: Arc<str>,
    /// The plugin that it is a use of.
    pub(crate) plugin: Arc<str>,
    /// Every state that there is, and whether it is this one.
    pub(crate) states: Vec<(&'static str, bool)>,
    /// When its last step succeeded.
    pub(crate) last_success: Option<SystemTime>,
    /// Steps made, and how many of them failed.
    pub(crate) steps: [u64; 2],
    /// Nodes, instances and fragments.
    pub(crate) items: [usize; 3],
}

/// What an entrypoint has done.
#[derive(Clone, Debug)]
pub(crate) struct EntrypointReading {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// `http` or `https`.
    pub(crate) protocol: &'static str,
    /// Client connections that are open.
    pub(crate) connections: u64,
    /// Requests and their outcomes.
    pub(crate) traffic: Arc<TrafficFigures>,
}

/// What DNS has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct DnsReading {
    /// Questions by what became of them: `answered`, `nodata`, `nxdomain`, `forwarded`, ...
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    /// From question to answer.
    pub(crate) duration: Option<Arc<Histogram>>,
    /// Answers of upstream resolvers that are kept.
    pub(crate) cached: u64,
}

/// The text that Prometheus reads.
pub(crate) fn render(readings: Readings) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(readings));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Readings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.encode_process(&mut page)?;
        self.encode_control(&mut page)?;
        self.encode_providers(&mut page)?;
        self.encode_plugins(&mut page)?;
        self.encode_traffic(&mut page)?;
        self.encode_backends(&mut page)?;
        self.encode_dns(&mut page)
    }
}

impl Readings {
    fn encode_process(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        page.gauges(&metric::BUILD_INFO, [(label("version", version), 1.0)])?;
        page.gauge(&metric::START_TIME, unix(self.started))?;
        let Some(process) = &self.process else { return Ok(()) };
        page.gauge(&metric::RESIDENT_MEMORY, process.resident_bytes as f64)?;
        page.seconds_total(&metric::CPU_SECONDS, process.cpu_seconds)?;
        page.gauge(&metric::OPEN_FILES, process.open_files as f64)
    }

    fn encode_control(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(&metric::GENERATION, self.snapshot.generation as f64)?;
        page.gauge(&metric::SNAPSHOT_AGE, self.age(self.published))?;
        page.counters(&metric::RELOADS, [(Vec::new(), self.snapshot.generation)])?;
        page.gauge(&metric::LAST_RELOAD, unix(self.published))?;
        page.gauge(&metric::CONFIG_IN_USE, flag(self.config_in_use))?;
        let severities = ["error", "warning"].into_iter().zip(self.problems);
        page.gauges(
            &metric::PROBLEMS,
            severities.map(|(severity, count)| (label("severity", severity), count as f64)),
        )?;
        page.gauges(&metric::OBJECTS, self.objects())
    }

    fn objects(&self) -> Vec<(Labels<'_>, f64)> {
        let snapshot = &self.snapshot;
        let routers: Vec<&Entry> = snapshot.routers.iter().map(|router| &router.entry).collect();
        let services = snapshot.services.iter().map(|service| &service.entry).collect();
        let middlewares = snapshot.middlewares.iter().map(|entry| &entry.entry).collect();
        let kinds = [("router", routers), ("service", services), ("middleware", middlewares)];
        let mut rows = Vec::new();
        for (kind, entries) in &kinds {
            for status in [Status::Enabled, Status::Warning, Status::Disabled] {
                let count = entries.iter().filter(|entry| entry.status == status).count();
                rows.push((labels([("kind", kind), ("status", status.as_str())]), count as f64));
            }
        }
        rows
    }

    fn encode_providers(&self, page: &mut Page<'_>) -> fmt::Result {
        let states = self.providers.iter().flat_map(|provider| {
            provider.states.iter().map(|(state, is)| {
                let [name, plugin] = [&*provider.name, &*provider.plugin];
                (labels([("provider", name), ("plugin", plugin), ("state", state)]), flag(*is))
            })
        });
        page.gauges(&metric::PROVIDER_STATE, states)?;
        let ages = self.providers.iter().filter_map(|provider| {
            Some((label("provider", &provider.name), self.age(provider.last_success?)))
        });
        page.gauges(&metric::PROVIDER_AGE, ages)?;
        let steps = self.providers.iter().flat_map(|provider| {
            let [made, failed] = provider.steps;
            [("success", made.saturating_sub(failed)), ("failure", failed)].map(
                |(outcome, count)| {
                    (labels([("provider", &*provider.name), ("outcome", outcome)]), count)
                },
            )
        });
        page.counters(&metric::PROVIDER_STEPS, steps)?;
        let items = self.providers.iter().flat_map(|provider| {
            let kinds = ["node", "instance", "fragment"].into_iter().zip(provider.items);
            kinds.map(|(kind, count)| {
                (labels([("provider", &*provider.name), ("kind", kind)]), count as f64)
            })
        });
        page.gauges(&metric::PROVIDER_ITEMS, items)
    }

    fn encode_plugins(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = || self.plugins.iter().map(|(name, figures)| (label("plugin", name), figures));
        page.counters(&metric::PLUGIN_CALLS, each().map(|(of, it)| (of, it.calls.value())))?;
        page.histograms(&metric::PLUGIN_DURATION, each().map(|(of, it)| (of, &it.duration)))?;
        let failures = self.plugins.iter().flat_map(|(name, figures)| {
            causes(figures)
                .map(|(cause, count)| (labels([("plugin", &**name), ("cause", cause)]), count))
        });
        page.counters(&metric::PLUGIN_FAILURES, failures)?;
        let made = each().map(|(of, it)| (of, it.instantiations.value()));
        page.counters(&metric::PLUGIN_INSTANTIATIONS, made)?;
        let alive = each().map(|(of, it)| (of, it.instances.value() as f64));
        page.gauges(&metric::PLUGIN_INSTANCES, alive)?;
        page.gauges(&metric::PLUGIN_MEMORY, each().map(|(of, it)| (of, it.memory.value() as f64)))
    }

    fn encode_traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let connections = self.entrypoints.iter().map(|entrypoint| {
            let of = [("entrypoint", &*entrypoint.name), ("protocol", entrypoint.protocol)];
            (labels(of), entrypoint.connections as f64)
        });
        page.gauges(&metric::OPEN_CONNECTIONS, connections)?;

        let entrypoints: Vec<_> =
            self.entrypoints.iter().map(|it| (Cow::from(&*it.name), &*it.traffic)).collect();
        page.traffic(
            "entrypoint",
            [
                &metric::ENTRYPOINT_REQUESTS,
                &metric::ENTRYPOINT_FAILURES,
                &metric::ENTRYPOINT_DURATION,
            ],
            &entrypoints,
        )?;

        let routers = self.snapshot.routers.iter().filter_map(|entry| entry.live.as_ref());
        let routers: Vec<_> =
            routers.map(|it| (Cow::from(it.name.to_string()), &*it.figures)).collect();
        page.traffic(
            "router",
            [&metric::ROUTER_REQUESTS, &metric::ROUTER_FAILURES, &metric::ROUTER_DURATION],
            &routers,
        )?;

        let services: Vec<_> =
            self.services().map(|it| (Cow::from(it.name.to_string()), &*it.figures)).collect();
        page.traffic(
            "service",
            [&metric::SERVICE_REQUESTS, &metric::SERVICE_FAILURES, &metric::SERVICE_DURATION],
            &services,
        )?;
        let retries = self.services().map(|it| {
            (vec![("service", Cow::from(it.name.to_string()))], it.state.retries.value())
        });
        page.counters(&metric::SERVICE_RETRIES, retries.filter(|(_, count)| *count > 0))
    }

    fn encode_backends(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut backends: Vec<(Labels<'_>, &Backend)> = Vec::new();
        for service in self.services() {
            let name = service.name.to_string();
            let mut urls: Vec<(String, &Backend)> =
                service.backends.iter().map(|backend| (backend.url(), backend)).collect();
            // Two instances may report one address; two series of one name spoil a whole scrape.
            urls.sort_by(|(left, _), (right, _)| left.cmp(right));
            urls.dedup_by(|(left, _), (right, _)| left == right);
            backends.extend(urls.into_iter().map(|(url, backend)| {
                let of = vec![("service", Cow::from(name.clone())), ("url", Cow::from(url))];
                (of, backend)
            }));
        }
        let all = || backends.iter().map(|(of, backend)| (of.clone(), &backend.figures, backend));
        let used = || all().filter(|(_, it, _)| it.requests.value() > 0);
        let now = Moment::of(Instant::now());
        let up = all().map(|(of, _, backend)| (of, flag(backend.out(now).is_none())));
        page.gauges(&metric::SERVER_UP, up)?;
        let requests = used().map(|(of, it, _)| (of, it.requests.value()));
        page.counters(&metric::BACKEND_REQUESTS, requests)?;
        let in_flight = used().map(|(of, it, _)| (of, it.in_flight.value() as f64));
        page.gauges(&metric::BACKEND_IN_FLIGHT, in_flight)?;
        // A backend that refuses every connection has no requests, but it has these.
        let refused = all().map(|(of, it, _)| (of, it.connect_failures.value()));
        page.counters(&metric::BACKEND_CONNECT_FAILURES, refused.filter(|(_, count)| *count > 0))?;
        let failures = used().map(|(of, it, _)| (of, it.failures.value()));
        page.counters(&metric::BACKEND_FAILURES, failures)?;
        page.histograms(&metric::BACKEND_DURATION, used().map(|(of, it, _)| (of, &it.duration)))
    }

    fn encode_dns(&self, page: &mut Page<'_>) -> fmt::Result {
        let outcomes = self.dns.outcomes.iter();
        page.counters(
            &metric::DNS_QUERIES,
            outcomes.map(|(outcome, count)| (label("outcome", outcome), *count)),
        )?;
        let duration = self.dns.duration.iter().map(|it| (Vec::new(), &**it));
        page.histograms(&metric::DNS_DURATION, duration)?;
        page.gauge(&metric::DNS_CACHE, self.dns.cached as f64)
    }

    fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.snapshot.services.iter().filter_map(|entry| entry.live.as_ref())
    }

    fn age(&self, since: SystemTime) -> f64 {
        self.now.duration_since(since).unwrap_or_default().as_secs_f64()
    }
}

/// Why calls into a plugin gave nothing, and how often.
pub(crate) fn causes(figures: &PluginFigures) -> [(&'static str, u64); 5] {
    [
        ("deadline", figures.deadlines.value()),
        ("memory", figures.out_of_memory.value()),
        ("trap", figures.traps.value()),
        ("failure", figures.failures.value()),
        ("suspended", figures.suspended.value()),
    ]
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

fn labels<'a, const N: usize>(pairs: [(&'static str, &'a str); N]) -> Labels<'a> {
    pairs.into_iter().map(|(key, value)| (key, Cow::from(value))).collect()
}

fn label<'a>(key: &'static str, value: &'a str) -> Labels<'a> {
    labels([(key, value)])
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The page as it grows: one family after another, each in one piece.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, metric: &Metric, value: f64) -> fmt::Result {
        self.gauges(metric, [(Vec::new(), value)])
    }

    fn gauges<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, value| row.encode_gauge(&value))
    }

    fn counters<'l>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, value| row.encode_counter(&value, NO_EXEMPLAR))
    }

    fn seconds_total(&mut self, metric: &Metric, value: f64) -> fmt::Result {
        let rows = [(Vec::new(), value)];
        self.family(metric, rows, |row, value| row.encode_counter(&value, NO_EXEMPLAR))
    }

    fn histograms<'l, 'h>(
        &mut self,
        metric: &Metric,
        rows: impl IntoIterator<Item = (Labels<'l>, &'h Histogram)>,
    ) -> fmt::Result {
        self.family(metric, rows, |row, histogram| {
            let buckets: Vec<(f64, u64)> = histogram.buckets().map(in_seconds).collect();
            // Of the same reading as the buckets: a sum that disagrees with them is an error.
            let count = buckets.iter().map(|(_, count)| count).sum();
            row.encode_histogram::<Labels<'_>>(histogram.sum() as f64 / 1e9, count, &buckets, None)
        })
    }

    /// Requests by class, failures and durations of everything that was used.
    fn traffic(
        &mut self,
        key: &'static str,
        [requests, failures, duration]: [&Metric; 3],
        rows: &[(Cow<'_, str>, &TrafficFigures)],
    ) -> fmt::Result {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let used = || {
            let used = rows.iter().filter(|(_, it)| it.responses.iter().any(|c| c.value() > 0));
            used.map(|(name, it)| (label(key, name), it))
        };
        let by_class = rows.iter().flat_map(|(name, it)| {
            let classes = CLASSES.into_iter().zip(&it.responses);
            let seen = classes.filter(|(_, counter)| counter.value() > 0);
            seen.map(move |(class, counter)| {
                (labels([(key, name), ("class", class)]), counter.value())
            })
        });
        self.counters(requests, by_class)?;
        self.counters(failures, used().map(|(of, it)| (of, it.failures.value())))?;
        self.histograms(duration, used().map(|(of, it)| (of, &it.duration)))
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
