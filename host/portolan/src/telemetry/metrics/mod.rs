//! The exporter for Prometheus: figures that others keep, turned into text when somebody asks.
//!
//! **Invariant:** nothing is written here while a request is served. The hot paths add to atomics
//! in `portolan_core::figure`; a scrape reads them. What was never used has no series, so that ten
//! thousand idle routers cost a scrape nothing.
//!
//! Reading order: [`Readings`] (all that is told), `traffic` (requests, in our words and in
//! Traefik's), `requests` (how many there were), `page` (how it is written), `format` (in which of two
//! forms).

mod format;
mod page;
mod requests;
mod traffic;

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use portolan_core::{
    departed::Left,
    figure::{Buckets, Combinations, Histogram, TrafficFigures},
    limit::Limit,
    metric,
    moment::Moment,
    plugin::PluginFigures,
    service::{Backend, Service},
    snapshot::{Entry, Snapshot, Status},
    standing::Probed,
};
use portolan_net::{
    dns::{Failure, KnownUpstream},
    tls::{Facts, Validity},
};

use super::process::Process;
use page::{Labels, Page, label, labels};

pub(crate) use format::Format;

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
    /// Routers that are not served any more, and are told of for the last time.
    pub(crate) departed_routers: Vec<Arc<Left>>,
    /// The same of services.
    pub(crate) departed_services: Vec<Arc<Left>>,
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
    /// All of HTTP.
    pub(crate) http: HttpReading,
    /// DNS.
    pub(crate) dns: DnsReading,
    /// Certificates, those of the local authority included.
    pub(crate) certificates: Vec<CertificateReading>,
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
    /// Client connections that are open.
    pub(crate) connections: u64,
    /// Requests and their outcomes.
    pub(crate) traffic: Arc<TrafficFigures>,
    /// Connections with whom no encrypted one came about.
    pub(crate) handshake_failures: u64,
    /// How often clients went beyond each limit.
    pub(crate) limits: Vec<(Limit, u64)>,
}

/// What HTTP has done beyond single entrypoints, and how it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpReading {
    /// Requests that were not answered as they were meant to be, by reason.
    pub(crate) failures: Vec<(&'static str, u64)>,
    /// Lines of the access log that were lost; `None`: there is none.
    pub(crate) lines_dropped: Option<u64>,
    /// Spans that were lost; `None`: nothing is traced.
    pub(crate) spans_dropped: Option<u64>,
    /// Into which buckets requests were sorted.
    pub(crate) buckets: Buckets,
    /// Of what there are series.
    pub(crate) labels: Labelled,
    /// By which of their headers requests are told apart too; `None`: by none.
    pub(crate) combinations: Option<Arc<Combinations>>,
}

/// Of what there are series, under our names and Traefik's: its `addEntryPointsLabels` and the like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Labelled {
    /// `…_entrypoint_…`.
    pub(crate) entrypoints: bool,
    /// `…_router_…`; many routers make many series.
    pub(crate) routers: bool,
    /// `…_service_…`, and of their backends.
    pub(crate) services: bool,
}

impl Default for Labelled {
    /// Traefik's.
    fn default() -> Self {
        Self { entrypoints: true, routers: false, services: true }
    }
}

/// What DNS has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct DnsReading {
    /// Questions by what became of them: `answered`, `nodata`, `nxdomain`, `forwarded`, ...
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    /// Questions by what they came by.
    pub(crate) transports: Vec<(&'static str, u64)>,
    /// Who has asked most, and how often.
    pub(crate) clients: Vec<(IpAddr, u64)>,
    /// Zones, how often each was asked for a name in it, and how often it had none.
    pub(crate) zones: Vec<(String, u64, u64)>,
    /// From question to answer.
    pub(crate) duration: Option<Arc<Histogram>>,
    /// Answers of upstream resolvers that are kept.
    pub(crate) cached: u64,
    /// How many bytes they take.
    pub(crate) cached_bytes: u64,
    /// Questions that wait for an upstream.
    pub(crate) waiting: u64,
    /// Upstreams, each once, in the order of the configuration.
    pub(crate) upstreams: Vec<KnownUpstream>,
    /// What else happened, and how often.
    pub(crate) details: Vec<(&'static str, u64)>,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug)]
pub(crate) struct CertificateReading {
    /// What stands in it.
    pub(crate) facts: Facts,
    /// `file`, `acme` or `local`.
    pub(crate) source: &'static str,
    /// The file, or the resolver.
    pub(crate) origin: String,
    /// How it is now.
    pub(crate) validity: Validity,
}

/// The text that Prometheus reads.
pub(crate) fn render(readings: &Readings, format: Format) -> String {
    let mut page = Page::new(format);
    readings.encode(&mut page);
    page.end()
}

impl Readings {
    fn encode(&self, page: &mut Page) {
        self.encode_process(page);
        self.encode_control(page);
        self.encode_providers(page);
        self.encode_plugins(page);
        self.encode_certificates(page);
        self.encode_traffic(page);
        self.encode_backends(page);
        self.encode_dns(page);
    }

    fn encode_process(&self, page: &mut Page) {
        let version = env!("CARGO_PKG_VERSION");
        page.gauges(&metric::BUILD_INFO, [(label("version", version), 1.0)]);
        page.gauge(&metric::START_TIME, unix(self.started));
        let Some(process) = &self.process else { return };
        page.gauge(&metric::RESIDENT_MEMORY, process.resident_bytes as f64);
        page.gauge(&metric::VIRTUAL_MEMORY, process.virtual_bytes as f64);
        page.seconds_total(&metric::CPU_SECONDS, process.cpu_seconds);
        page.gauge(&metric::OPEN_FILES, process.open_files as f64);
        page.gauge(&metric::MAX_FILES, process.max_files);
    }

    fn encode_control(&self, page: &mut Page) {
        page.gauge(&metric::GENERATION, self.snapshot.generation as f64);
        page.gauge(&metric::SNAPSHOT_AGE, self.age(self.published));
        page.counters(&metric::RELOADS, [(Vec::new(), self.snapshot.generation)]);
        page.gauge(&metric::LAST_RELOAD, unix(self.published));
        page.gauge(&metric::CONFIG_IN_USE, flag(self.config_in_use));
        let severities = ["error", "warning"].into_iter().zip(self.problems);
        page.gauges(
            &metric::PROBLEMS,
            severities.map(|(severity, count)| (label("severity", severity), count as f64)),
        );
        page.gauges(&metric::OBJECTS, self.objects());
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

    fn encode_providers(&self, page: &mut Page) {
        let states = self.providers.iter().flat_map(|provider| {
            provider.states.iter().map(|(state, is)| {
                let [name, plugin] = [&*provider.name, &*provider.plugin];
                (labels([("provider", name), ("plugin", plugin), ("state", state)]), flag(*is))
            })
        });
        page.gauges(&metric::PROVIDER_STATE, states);
        let ages = self.providers.iter().filter_map(|provider| {
            Some((label("provider", &provider.name), self.age(provider.last_success?)))
        });
        page.gauges(&metric::PROVIDER_AGE, ages);
        let steps = self.providers.iter().flat_map(|provider| {
            let [made, failed] = provider.steps;
            [("success", made.saturating_sub(failed)), ("failure", failed)].map(
                |(outcome, count)| {
                    (labels([("provider", &*provider.name), ("outcome", outcome)]), count)
                },
            )
        });
        page.counters(&metric::PROVIDER_STEPS, steps);
        let items = self.providers.iter().flat_map(|provider| {
            let kinds = ["node", "instance", "fragment"].into_iter().zip(provider.items);
            kinds.map(|(kind, count)| {
                (labels([("provider", &*provider.name), ("kind", kind)]), count as f64)
            })
        });
        page.gauges(&metric::PROVIDER_ITEMS, items);
    }

    fn encode_plugins(&self, page: &mut Page) {
        let each = || self.plugins.iter().map(|(name, figures)| (label("plugin", name), figures));
        page.counters(&metric::PLUGIN_CALLS, each().map(|(of, it)| (of, it.calls.value())));
        page.histograms(&metric::PLUGIN_DURATION, each().map(|(of, it)| (of, &it.duration)));
        let failures = self.plugins.iter().flat_map(|(name, figures)| {
            causes(figures)
                .map(|(cause, count)| (labels([("plugin", &**name), ("cause", cause)]), count))
        });
        page.counters(&metric::PLUGIN_FAILURES, failures);
        let made = each().map(|(of, it)| (of, it.instantiations.value()));
        page.counters(&metric::PLUGIN_INSTANTIATIONS, made);
        let alive = each().map(|(of, it)| (of, it.instances.value() as f64));
        page.gauges(&metric::PLUGIN_INSTANCES, alive);
        page.gauges(&metric::PLUGIN_MEMORY, each().map(|(of, it)| (of, it.memory.value() as f64)));
    }

    fn encode_certificates(&self, page: &mut Page) {
        // Those of the local authority come and go, and look after themselves.
        let lasting = self.certificates.iter().filter(|it| it.source != "local");
        let mut rows: Vec<_> = lasting
            .map(|CertificateReading { facts, .. }| {
                let sans = Cow::from(facts.sans.join(","));
                let of = vec![
                    ("cn", Cow::from(&*facts.common_name)),
                    ("serial", Cow::from(&*facts.serial)),
                    ("sans", sans),
                ];
                (of, unix(facts.not_after))
            })
            .collect();
        // Two files may hold one certificate; two series of one name spoil a whole scrape.
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.dedup_by(|(one, _), (other, _)| one == other);
        page.gauges(&metric::CERTIFICATE_NOT_AFTER, rows);
    }

    fn encode_backends(&self, page: &mut Page) {
        let backends = if self.http.labels.services { self.backends() } else { Vec::new() };
        // One that the catalog takes out is none of Traefik's servers.
        let probed = backends.iter().filter(|it| {
            let is_probed = it.service.load_balancer.health_check.is_some();
            is_probed && it.backend.health.is_usable()
        });
        let well = |it: &Row<'_>| it.backend.figures.standing.probed() != Probed::Down;
        page.gauges(&metric::SERVER_UP, probed.map(|it| (it.labels(), flag(well(it)))));
        let of_used = backends.iter().filter(|it| it.service.figures.is_used());
        page.gauges(&metric::BACKEND_UP, of_used.map(|it| (it.labels(), flag(it.is_up))));
        let all = || backends.iter().map(|it| (it.labels(), &it.backend.figures));
        let used = || all().filter(|(_, it)| it.requests.value() > 0);
        let requests = used().map(|(of, it)| (of, it.requests.value()));
        page.counters(&metric::BACKEND_REQUESTS, requests);
        let in_flight = used().map(|(of, it)| (of, it.in_flight.value() as f64));
        page.gauges(&metric::BACKEND_IN_FLIGHT, in_flight);
        // A backend that refuses every connection has no requests, but it has these.
        let refused = all().map(|(of, it)| (of, it.connect_failures.value()));
        page.counters(&metric::BACKEND_CONNECT_FAILURES, refused.filter(|(_, count)| *count > 0));
        let failures = used().map(|(of, it)| (of, it.failures.value()));
        page.counters(&metric::BACKEND_FAILURES, failures);
        page.coarse_histograms(
            &metric::BACKEND_DURATION,
            used().map(|(of, it)| (of, &it.duration)),
        );
    }

    fn backends(&self) -> Vec<Row<'_>> {
        let mut backends = Vec::new();
        let now = Moment::of(Instant::now());
        for service in self.services() {
            let asked = service.asked(now);
            let mut rows: Vec<_> = service
                .backends
                .iter()
                .map(|backend| {
                    let is_up = asked.out(backend).is_none();
                    Row { service, url: backend.url(), backend, is_up }
                })
                .collect();
            // Two instances may report one address; two series of one name spoil a whole scrape.
            rows.sort_by(|left, right| left.url.cmp(&right.url));
            rows.dedup_by(|left, right| left.url == right.url);
            backends.append(&mut rows);
        }
        backends
    }

    fn encode_dns(&self, page: &mut Page) {
        let outcomes = self.dns.outcomes.iter();
        page.counters(
            &metric::DNS_QUERIES,
            outcomes.map(|(outcome, count)| (label("outcome", outcome), *count)),
        );
        let transports = self.dns.transports.iter();
        page.counters(
            &metric::DNS_TRANSPORTS,
            transports.map(|(transport, count)| (label("transport", transport), *count)),
        );
        let zones = || self.dns.zones.iter();
        let asked = zones().map(|(zone, asked, _)| (label("zone", zone), *asked));
        page.counters(&metric::DNS_ZONE_QUERIES, asked);
        let absent = zones().map(|(zone, _, absent)| (label("zone", zone), *absent));
        page.counters(&metric::DNS_ZONE_NO_SUCH_NAME, absent);
        let duration = self.dns.duration.iter().map(|it| (Vec::new(), &**it));
        page.histograms(&metric::DNS_DURATION, duration);
        let details = self.dns.details.iter();
        page.counters(
            &metric::DNS_EVENTS,
            details.map(|(event, count)| (label("event", event), *count)),
        );
        page.gauge(&metric::DNS_CACHE, self.dns.cached as f64);
        page.gauge(&metric::DNS_CACHE_BYTES, self.dns.cached_bytes as f64);
        page.gauge(&metric::DNS_WAITING, self.dns.waiting as f64);
        self.encode_upstreams(page);
    }

    fn encode_upstreams(&self, page: &mut Page) {
        let mut named: Vec<_> =
            self.dns.upstreams.iter().map(|it| (it.config.to_string(), &*it.standing)).collect();
        // Two may be written in one way; two series of one name spoil a whole scrape.
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        named.dedup_by(|(one, _), (other, _)| one == other);
        let each = || named.iter().map(|(upstream, it)| (label("upstream", upstream), *it));
        let up = each().map(|(of, it)| (of, flag(it.lost().is_none())));
        page.gauges(&metric::DNS_UPSTREAM_UP, up);
        page.counters(&metric::DNS_UPSTREAM_QUERIES, each().map(|(of, it)| (of, it.asked.value())));
        let failures = named.iter().flat_map(|(upstream, it)| {
            Failure::ALL.map(|failure| {
                let of = labels([("upstream", upstream.as_str()), ("cause", failure.as_str())]);
                (of, it.failures(failure))
            })
        });
        page.counters(&metric::DNS_UPSTREAM_FAILURES, failures);
        page.histograms(&metric::DNS_UPSTREAM_DURATION, each().map(|(of, it)| (of, &it.duration)));
    }

    fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.snapshot.services.iter().filter_map(|entry| entry.live.as_ref())
    }

    fn age(&self, since: SystemTime) -> f64 {
        self.now.duration_since(since).unwrap_or_default().as_secs_f64()
    }
}

/// A backend of a service.
struct Row<'a> {
    service: &'a Service,
    url: String,
    backend: &'a Backend,
    /// Whether requests go there.
    is_up: bool,
}

impl Row<'_> {
    fn labels(&self) -> Labels<'static> {
        vec![("service", self.service.name.to_string().into()), ("url", self.url.clone().into())]
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

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
