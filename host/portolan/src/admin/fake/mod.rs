//! A harbour that does not exist: a snapshot, a board and an insight with some of everything, for
//! the tests and for looking at the dashboard.

mod board;
mod catalog;
mod served;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::StatusCode;
use portolan_core::{
    figure::{Combinations, HeaderLabels, Histogram},
    limit::Limit,
    live::{Publisher, live},
    zone::Name,
};
use portolan_net::{
    dns::{Failure, Forwarding, KnownUpstream, Rewrite, Rewrites, Standing},
    tls::{Facts, TlsContext, Validity},
};
use tokio::time::Instant;

pub(super) use self::served::snapshot;
use self::{
    board::board,
    served::{answered, traffic},
};
use super::{Admin, insight::Insight};
use crate::{
    control::board::SharedBoard,
    telemetry::metrics::{
        CertificateReading, DnsReading, EntrypointReading, HttpReading, Labelled,
    },
};

/// Everything that a test may turn.
pub(super) struct Harbour {
    pub(super) publisher: Publisher,
    pub(super) board: SharedBoard,
    pub(super) insight: Arc<FakeInsight>,
}

/// Tells what the serving rooms would.
pub(super) struct FakeInsight {
    entrypoints: Vec<EntrypointReading>,
    queries: Arc<Histogram>,
}

/// An API over a harbour with this many routers beside the special ones.
pub(super) fn harbour(routers: usize) -> (Admin, Harbour) {
    let snapshot = snapshot(1, routers);
    let (publisher, live) = live(snapshot);
    let board = Arc::new(ArcSwap::from_pointee(board()));
    let web = |name: &str| EntrypointReading {
        name: name.into(),
        connections: 12,
        traffic: traffic(48_210, 37),
        handshake_failures: 4,
        limits: vec![(Limit::IdleTimeout, 7), (Limit::Resets, 0)],
    };
    let queries = Arc::new(Histogram::starting_at(250));
    (0..500).for_each(|nanos| queries.record(nanos * 40));
    let entrypoints = vec![web("web"), web("websecure")];
    let insight = Arc::new(FakeInsight { entrypoints, queries });
    let admin = Admin::new(live, board.clone(), insight.clone());
    (admin, Harbour { publisher, board, insight })
}

impl Harbour {
    /// Some more traffic everywhere, as it would be after a moment.
    pub(super) fn sail(&self, step: u64) {
        let snapshot = self.publisher.current();
        for (place, router) in snapshot.routers.iter().filter_map(|it| it.live.as_ref()).enumerate()
        {
            let every = place as u64 % 7 + 1;
            if step.is_multiple_of(every) {
                let requests = 40 / every + step % 5;
                (0..requests)
                    .for_each(|it| answered(&router.figures, StatusCode::OK, it * 900_000));
                let Some(service) = &router.service else { continue };
                for backend in service.backends.iter().filter(|it| it.is_usable()) {
                    backend.figures.requests.add(requests / 2 + 1);
                }
            }
        }
        for entrypoint in &self.insight.entrypoints {
            (0..180 + step % 40)
                .for_each(|it| answered(&entrypoint.traffic, StatusCode::OK, it * 50_000));
        }
        for plugin in &self.board.load().plugins {
            plugin.figures.calls.add(90);
        }
    }
}

impl Insight for FakeInsight {
    fn flush_dns(&self, _name: Option<Name>) {}

    fn entrypoints(&self) -> Vec<EntrypointReading> {
        self.entrypoints.clone()
    }

    fn http(&self) -> HttpReading {
        HttpReading {
            failures: vec![("no-router", 40), ("connect-refused", 3), ("no-backend", 0)],
            lines_dropped: Some(0),
            spans_dropped: Some(2),
            combinations: Some(Arc::new(Combinations::new(HeaderLabels::default(), 1))),
            labels: Labelled { routers: true, ..Labelled::default() },
            ..HttpReading::default()
        }
    }

    fn dns(&self) -> DnsReading {
        DnsReading {
            outcomes: vec![
                ("answered", 9_120),
                ("nodata", 311),
                ("nxdomain", 48),
                ("forwarded", 2_004),
                ("servfail", 0),
            ],
            transports: vec![("udp", 11_402), ("tcp", 81)],
            clients: vec![([10, 0, 0, 7].into(), 9_312), ([172, 17, 0, 2].into(), 2_171)],
            zones: vec![("consul".to_owned(), 9_020, 41), ("local".to_owned(), 411, 7)],
            duration: Some(self.queries.clone()),
            cached: 812,
            cached_bytes: 243_600,
            waiting: 3,
            details: vec![("prefetched", 12), ("stale", 1)],
            upstreams: vec![upstream(1, None), upstream(2, Some("no answer in time"))],
        }
    }

    fn rewrites(&self) -> Arc<Rewrites> {
        let mut rewrites = Rewrites::new(5);
        let name = |text: &str| Name::parse(text).unwrap();
        rewrites.below(&name("old.local"), Rewrite::Below(name("local")));
        rewrites.exactly(&name("nas"), Rewrite::Addresses(vec![[10, 0, 0, 8].into()]));
        rewrites.into()
    }

    fn forwarding(&self) -> Arc<Forwarding> {
        let name = |text: &str| Name::parse(text).unwrap();
        let asked = "10.0.0.1:53".parse::<std::net::SocketAddr>().unwrap().into();
        let suffixes =
            vec![(name("lab.infra.local"), vec![asked]), (name("no.infra.local"), Vec::new())];
        Forwarding { suffixes, ..Forwarding::default() }.into()
    }

    fn tls(&self, _entrypoint: &str) -> Option<Arc<TlsContext>> {
        None
    }

    fn certificates(&self) -> Vec<CertificateReading> {
        let reading = |name: &str, source, validity| CertificateReading {
            facts: Facts {
                common_name: name.to_owned(),
                organization: None,
                country: None,
                sans: vec![name.to_owned()],
                serial: "4711".to_owned(),
                not_before: SystemTime::UNIX_EPOCH,
                not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
                issuer: "Test CA".to_owned(),
                issuer_organization: None,
                issuer_country: None,
                version: 3,
                key_type: "ECDSA",
                key_size: 256,
                signature: "ECDSA-SHA256".to_owned(),
                fingerprint: format!("fingerprint of {name}"),
                key_fingerprint: String::new(),
            },
            source,
            origin: source.to_owned(),
            validity,
        };
        vec![
            reading("grafana.local", "local", Validity::Valid),
            reading("old.example", "file", Validity::Expired),
        ]
    }
}

/// One that was asked ten times and has answered, and has fallen silent or not since.
fn upstream(number: u8, fault: Option<&str>) -> KnownUpstream {
    let standing = Standing::default();
    let begun = Instant::now();
    standing.asked.add(10);
    standing.answers(begun);
    if let Some(fault) = fault {
        (0..3).for_each(|_| standing.fails(Failure::Silent));
        standing.rests(Failure::Silent, begun + Duration::from_millis(400), || fault.to_owned());
    }
    KnownUpstream {
        config: std::net::SocketAddr::from(([10, 0, 0, number], 53)).into(),
        keys: vec!["dns.upstreams".to_owned()],
        standing: Arc::new(standing),
    }
}
