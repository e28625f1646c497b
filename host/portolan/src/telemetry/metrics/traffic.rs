//! Requests: in our words, by class of status, and in Traefik's, by status, method and protocol.
//!
//! **Invariant:** names, labels and meanings of what begins with `traefik_` are Traefik's, so that its
//! dashboards and alerts work; `tests` has the list. Among Traefik's are services with backends only: a
//! request to one that is made of others is counted there where it went.

use portolan_core::{
    figure::{AnswerReading, Histogram, TrafficFigures},
    metric::{self, Metric},
    name::ObjectName,
    service::Kind,
};

use super::{
    Readings,
    page::{Labels, Page, label, labels},
    requests::{Apart, CLASSES, and, class, kind},
};

/// Traefik's five metrics of one kind of object.
struct Family {
    requests: &'static Metric,
    encrypted: &'static Metric,
    duration: &'static Metric,
    request_bytes: &'static Metric,
    response_bytes: &'static Metric,
}

const ENTRYPOINTS: Family = Family {
    requests: &metric::TRAEFIK_ENTRYPOINT_REQUESTS,
    encrypted: &metric::TRAEFIK_ENTRYPOINT_REQUESTS_TLS,
    duration: &metric::TRAEFIK_ENTRYPOINT_DURATION,
    request_bytes: &metric::TRAEFIK_ENTRYPOINT_REQUEST_BYTES,
    response_bytes: &metric::TRAEFIK_ENTRYPOINT_RESPONSE_BYTES,
};

const ROUTERS: Family = Family {
    requests: &metric::TRAEFIK_ROUTER_REQUESTS,
    encrypted: &metric::TRAEFIK_ROUTER_REQUESTS_TLS,
    duration: &metric::TRAEFIK_ROUTER_DURATION,
    request_bytes: &metric::TRAEFIK_ROUTER_REQUEST_BYTES,
    response_bytes: &metric::TRAEFIK_ROUTER_RESPONSE_BYTES,
};

const SERVICES: Family = Family {
    requests: &metric::TRAEFIK_SERVICE_REQUESTS,
    encrypted: &metric::TRAEFIK_SERVICE_REQUESTS_TLS,
    duration: &metric::TRAEFIK_SERVICE_DURATION,
    request_bytes: &metric::TRAEFIK_SERVICE_REQUEST_BYTES,
    response_bytes: &metric::TRAEFIK_SERVICE_RESPONSE_BYTES,
};

/// An object and what it has done.
type Row<'a> = (Labels<'a>, &'a TrafficFigures);

impl Readings {
    pub(super) fn encode_traffic(&self, page: &mut Page) {
        let connections = self.entrypoints.iter().map(|entrypoint| {
            // Traefik counts UDP beside it.
            let of = [("entrypoint", &*entrypoint.name), ("protocol", "TCP")];
            (labels(of), entrypoint.connections as f64)
        });
        page.gauges(&metric::OPEN_CONNECTIONS, connections);
        let wanted = self.http.labels;
        let entrypoints = if wanted.entrypoints { self.entrypoint_rows() } else { Vec::new() };
        let routers = if wanted.routers { self.router_rows() } else { Vec::new() };
        let services = |with_backends_only| {
            if wanted.services { self.service_rows(with_backends_only) } else { Vec::new() }
        };
        let with_backends = services(true);
        let apart = self.http.combinations.as_deref().map(Apart::by);
        encode_ours(page, [&entrypoints, &routers, &services(false)], apart.as_ref());
        self.encode_limits(page);
        self.encode_refused(page);
        self.encode_traefiks(page, [&entrypoints, &routers, &with_backends], apart.as_ref());
        let retries = with_backends.iter().filter(|(_, it)| it.is_used());
        let retries = retries.map(|(of, it)| (of.clone(), it.retries.value()));
        page.counters(&metric::SERVICE_RETRIES, retries);
        let failures = self.http.failures.iter();
        let failures = failures.map(|(reason, count)| (label("reason", reason), *count));
        page.counters(&metric::HTTP_FAILURES, failures);
        let lost = |count: Option<u64>| count.map(|count| (Vec::new(), count));
        page.counters(&metric::ACCESS_LOG_DROPPED, lost(self.http.lines_dropped));
        page.counters(&metric::SPANS_DROPPED, lost(self.http.spans_dropped));
        let beyond = self.http.combinations.as_ref().map(|it| it.beyond());
        page.counters(&metric::HEADER_LABELS_BEYOND, lost(beyond));
    }

    fn encode_limits(&self, page: &mut Page) {
        let exceeded = self.entrypoints.iter().flat_map(|it| {
            let seen = it.limits.iter().filter(|(_, count)| *count > 0);
            seen.map(|(limit, count)| {
                (labels([("entrypoint", &*it.name), ("limit", limit.as_str())]), *count)
            })
        });
        page.counters(&metric::ENTRYPOINT_LIMITS, exceeded);
        let failures = self.entrypoints.iter();
        let failures = failures.map(|it| (label("entrypoint", &it.name), it.handshake_failures));
        page.counters(&metric::ENTRYPOINT_HANDSHAKE_FAILURES, failures);
    }

    fn encode_refused(&self, page: &mut Page) {
        let live = self.snapshot.middlewares.iter().filter_map(|entry| entry.live.as_ref());
        let counted = live.filter_map(|it| Some((it, it.interest.refused()?)));
        let seen = counted.filter(|(_, count)| *count > 0);
        let refused =
            seen.map(|(it, count)| (vec![("middleware", it.name.to_string().into())], count));
        page.counters(&metric::MIDDLEWARE_REFUSED, refused);
    }

    fn encode_traefiks<'a>(
        &self,
        page: &mut Page,
        rows: [&[Row<'a>]; 3],
        apart: Option<&Apart<'a>>,
    ) {
        let bounds = self.http.buckets.bounds();
        for (family, rows) in [&ENTRYPOINTS, &ROUTERS, &SERVICES].into_iter().zip(rows) {
            page.traefiks(family, rows, apart, bounds);
        }
    }

    fn entrypoint_rows(&self) -> Vec<Row<'_>> {
        let rows = self.entrypoints.iter();
        rows.map(|it| (label("entrypoint", &it.name), &*it.traffic)).collect()
    }

    fn router_rows(&self) -> Vec<Row<'_>> {
        let of = |router: &ObjectName, service: Option<&ObjectName>| {
            let service = service.map(ObjectName::to_string).unwrap_or_default();
            vec![("router", router.to_string().into()), ("service", service.into())]
        };
        let routers = self.snapshot.routers.iter().filter_map(|entry| entry.live.as_ref());
        let routers = routers.map(|router| {
            let service = router.service.as_ref().map(|service| &service.name);
            (of(&router.name, service), &*router.figures)
        });
        let departed = self.departed_routers.iter();
        let departed = departed.map(|it| (of(&it.name, it.service.as_ref()), &*it.figures));
        routers.chain(departed).collect()
    }

    fn service_rows(&self, with_backends_only: bool) -> Vec<Row<'_>> {
        let of = |service: &ObjectName| vec![("service", service.to_string().into())];
        let is_wanted = |has_backends| has_backends || !with_backends_only;
        let services = self.services().filter(|it| is_wanted(matches!(it.kind, Kind::Backends)));
        let services = services.map(|service| (of(&service.name), &*service.figures));
        let departed = self.departed_services.iter().filter(|it| is_wanted(it.has_backends));
        services.chain(departed.map(|it| (of(&it.name), &*it.figures))).collect()
    }
}

fn encode_ours<'a>(page: &mut Page, rows: [&[Row<'a>]; 3], apart: Option<&Apart<'a>>) {
    let [entrypoints, routers, services] = rows;
    let counts = [&metric::ENTRYPOINT_REQUESTS, &metric::ENTRYPOINT_FAILURES];
    page.ours(counts, entrypoints, apart);
    page.histograms(&metric::ENTRYPOINT_DURATION, durations(entrypoints));
    // Of a router's labels, ours is the first.
    let routers: Vec<_> = routers.iter().map(|(of, it)| (of[..1].to_vec(), *it)).collect();
    page.ours([&metric::ROUTER_REQUESTS, &metric::ROUTER_FAILURES], &routers, apart);
    page.coarse_histograms(&metric::ROUTER_DURATION, durations(&routers));
    page.ours([&metric::SERVICE_REQUESTS, &metric::SERVICE_FAILURES], services, apart);
    page.coarse_histograms(&metric::SERVICE_DURATION, durations(services));
}

/// Of everything that was used.
fn durations<'a>(rows: &[Row<'a>]) -> impl Iterator<Item = (Labels<'a>, Histogram)> {
    let used = rows.iter().filter(|(_, it)| it.is_used());
    used.map(|(of, it)| (of.clone(), it.duration()))
}

impl Page {
    /// Requests by class and failures of everything that was used.
    fn ours<'a>(
        &mut self,
        [requests, failures]: [&Metric; 2],
        rows: &[Row<'a>],
        apart: Option<&Apart<'a>>,
    ) {
        let used: Vec<_> = rows.iter().filter(|(_, it)| it.is_used()).collect();
        match apart {
            Some(apart) => {
                let apart = used.iter().flat_map(|(of, it)| apart.by_class(of, it));
                self.counters(requests, apart);
            }
            None => {
                let by_class = used.iter().flat_map(|(of, it)| {
                    let classes = CLASSES.into_iter().zip(it.classes());
                    let seen = classes.filter(|(_, count)| *count > 0);
                    seen.map(|(name, count)| (class(of, name), count))
                });
                self.counters(requests, by_class);
            }
        }
        self.counters(failures, used.iter().map(|(of, it)| (of.clone(), it.failures())));
    }

    /// Requests, encrypted ones, durations and bytes of everything that was used.
    fn traefiks<'a>(
        &mut self,
        family: &Family,
        rows: &[Row<'a>],
        apart: Option<&Apart<'a>>,
        bounds: &[u64],
    ) {
        let answers: Vec<(Labels<'_>, AnswerReading)> = rows
            .iter()
            .flat_map(|(of, it)| {
                it.answers().into_iter().map(|(key, reading)| (kind(of, key), reading))
            })
            .collect();
        let all = || answers.iter().map(|(of, reading)| (of.clone(), reading));
        match apart {
            Some(apart) => {
                let apart = rows.iter().flat_map(|(of, it)| apart.by_kind(of, it));
                self.counters(family.requests, apart);
            }
            None => self.counters(family.requests, all().map(|(of, it)| (of, it.count()))),
        }
        let encrypted = rows.iter().flat_map(|(of, it)| {
            it.encrypted().into_iter().map(|(by, count)| {
                let by = [("tls_version", by.version.into()), ("tls_cipher", by.cipher.into())];
                (and(of, by), count)
            })
        });
        self.counters(family.encrypted, encrypted);
        let durations = all().map(|(of, it)| {
            let bounds = bounds.iter().copied().chain([u64::MAX]);
            (of, (bounds.zip(it.buckets.iter().copied()).collect(), it.nanos))
        });
        self.durations(family.duration, durations);
        self.counters(family.request_bytes, all().map(|(of, it)| (of, it.request_bytes)));
        self.counters(family.response_bytes, all().map(|(of, it)| (of, it.response_bytes)));
    }
}
