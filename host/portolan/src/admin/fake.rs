//! A harbour that does not exist: a snapshot, a board and an insight with some of everything, for
//! the tests and for looking at the dashboard.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::StatusCode;
use portolan_core::{
    figure::{Answer, Buckets, Encryption, Histogram, TrafficFigures},
    item::{Health, Instance},
    limit::Limit,
    live::{Publisher, live},
    middleware::{Action, Interest, Middleware, OnFailure, PlanStep},
    name::ObjectName,
    plugin::{PluginFigures, PluginInfo, Want},
    problem::Problem,
    route::RouteTable,
    router::{Observability, Router},
    rule::{Field, Op, Predicate, Test},
    service::{Backend, BackendFigures, LoadBalancer, Scheme, Service},
    snapshot::{Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot, Status},
    zone::Name,
    zone::{DnsConfig, Names, ZoneConfig, ZoneInputs, ZoneOptions, Zones},
};
use portolan_net::{
    dns::{Rewrite, Rewrites},
    http::EncodedCharacters,
    tls::{Facts, TlsContext, Validity},
};
use serde_json::{Value, json};

use super::{Admin, insight::Insight};
use crate::{
    control::board::{
        Board, EntrypointReport, PluginReport, ProviderReport, ProviderState, SharedBoard,
    },
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
        }
    }

    fn rewrites(&self) -> Arc<Rewrites> {
        let mut rewrites = Rewrites::new(5);
        let name = |text: &str| Name::parse(text).unwrap();
        rewrites.below(&name("old.local"), Rewrite::Below(name("local")));
        rewrites.exactly(&name("nas"), Rewrite::Addresses(vec![[10, 0, 0, 8].into()]));
        rewrites.into()
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

/// A generation of what is served.
pub(super) fn snapshot(generation: u64, routers: usize) -> Snapshot {
    let mut snapshot = Snapshot { generation, ..Snapshot::default() };
    let hello = middleware(
        "hello",
        "headers",
        json!({ "custom-response-headers": { "x-served-by": "portolan" } }),
        Interest {
            plan: vec![PlanStep {
                when: None,
                actions: vec![Action::SetResponseHeader(
                    http::HeaderName::from_static("x-served-by"),
                    http::HeaderValue::from_static("portolan"),
                )],
            }],
            ..Interest::default()
        },
    );
    let strip = middleware(
        "strip-v2",
        "strip-prefix",
        json!({ "prefixes": ["/v2"] }),
        Interest {
            plan: vec![PlanStep {
                when: None,
                actions: vec![Action::StripPrefix(vec!["/v2".to_owned()])],
            }],
            ..Interest::default()
        },
    );
    let gate = middleware(
        "gate",
        "basic-auth",
        json!({ "users": ["admin:$2y$05$abc"] }),
        Interest::default(),
    );
    let grafana = service(
        "grafana",
        "consul",
        &[
            ("10.0.0.7:3000", Health::Passing),
            ("10.0.0.8:3000", Health::Warning),
            ("10.0.0.9:3000", Health::Critical),
        ],
    );
    let prometheus = service("prometheus", "consul", &[("10.0.0.7:9090", Health::Passing)]);
    let vault = service(
        "vault",
        "consul",
        &[("10.0.0.3:8200", Health::Critical), ("10.0.0.4:8200", Health::Maintenance)],
    );

    add_router(
        &mut snapshot,
        "whoami",
        "config",
        "Host(`whoami.local`)",
        "whoami.local",
        &[&hello],
        None,
    );
    add_router(
        &mut snapshot,
        "grafana",
        "consul",
        "Host(`grafana.local`)",
        "grafana.local",
        &[&hello, &gate],
        Some(&grafana),
    );
    add_router(
        &mut snapshot,
        "prometheus",
        "consul",
        "Host(`prometheus.local`) && PathPrefix(`/v2`)",
        "prometheus.local",
        &[&strip],
        Some(&prometheus),
    );
    add_router(
        &mut snapshot,
        "vault",
        "consul",
        "Host(`vault.local`) || (Host(`secrets.local`) && HeaderRegexp(`x-team`, `^(core|edge)$`))",
        "vault.local",
        &[&hello],
        Some(&vault),
    );
    for number in 0..routers {
        let name = format!("berth-{number:05}");
        let host = format!("{name}.harbour.example");
        add_router(
            &mut snapshot,
            &name,
            "static",
            &format!("Host(`{host}`)"),
            &host,
            &[],
            Some(&prometheus),
        );
    }
    snapshot.routers.push(RouterEntry {
        entry: Entry {
            status: Status::Disabled,
            errors: vec![
                "the middleware `auht@consul` does not exist: did you mean `auth`?".to_owned(),
            ],
            ..entry(
                "loki",
                "consul",
                "instance `loki-1`, tag `traefik.http.routers.loki.middlewares`",
            )
        },
        rule: "Host(`loki.local`)".into(),
        priority: 18,
        entrypoints: vec!["web".into()],
        middlewares: vec!["auht@consul".to_owned()],
        service: Some("loki@consul".to_owned()),
        tls: None,
        hosts: ["loki.local".to_owned()].into(),
        live: None,
    });
    for live in [grafana, prometheus, vault] {
        let down = !live.backends.iter().any(Backend::is_usable);
        let name = live.name.name.to_string();
        let mut entry = entry(&name, "consul", "3 instances");
        entry.used_by.insert(live.name.clone(), ());
        if down {
            entry.status = Status::Warning;
            entry.errors = vec!["no backend is usable".to_owned()];
        }
        snapshot.services.push(ServiceEntry { entry, live: Some(live) });
    }
    for (live, config) in [hello, strip, gate] {
        snapshot.middlewares.push(MiddlewareEntry {
            entry: entry(&live.name.name, "config", "config.toml"),
            plugin: live.plugin.clone(),
            config,
            live: Some(live),
        });
    }
    let live: Vec<_> = snapshot.routers.iter().filter_map(|it| it.live.clone()).collect();
    for entrypoint in ["web", "websecure"] {
        snapshot.tables.push((entrypoint.into(), RouteTable::build(live.clone())));
    }
    snapshot.zones = zones(&snapshot);
    snapshot.problems = [
        Problem::error(
            "consul",
            "instance `loki-1`, tag `traefik.http.routers.loki.middlewares`",
            "the middleware `auht@consul` does not exist",
        )
        .at("/http/routers/loki/middlewares/0")
        .hint("did you mean `auth`?"),
        Problem::warning("consul", "service `vault`", "no backend is usable"),
    ]
    .into_iter()
    .collect();
    snapshot
}

fn entry(name: &str, provider: &str, origin: &str) -> Entry {
    Entry {
        name: ObjectName::new(name, provider),
        origin: origin.into(),
        status: Status::Enabled,
        errors: Vec::new(),
        used_by: Default::default(),
    }
}

fn middleware(
    name: &str,
    plugin: &str,
    config: Value,
    interest: Interest,
) -> (Arc<Middleware>, Arc<Value>) {
    let name = ObjectName::new(name, "config");
    let on_failure = OnFailure::Closed;
    (Arc::new(Middleware { name, plugin: plugin.into(), interest, on_failure }), Arc::new(config))
}

fn service(name: &str, provider: &str, backends: &[(&str, Health)]) -> Arc<Service> {
    let backends = backends.iter().enumerate().map(|(place, (authority, health))| {
        let figures = BackendFigures::default();
        figures.requests.add(1_000 * (place as u64 + 1));
        figures.connect_failures.add(if health.is_usable() { 0 } else { 14 });
        figures.in_flight.add(if health.is_usable() { 3 } else { 0 });
        (0..200).for_each(|it| figures.duration.record(it * 60_000));
        Backend {
            scheme: Scheme::Http,
            authority: (*authority).into(),
            weight: 1,
            health: *health,
            origin: format!("{name}-{place}").into(),
            figures: Arc::new(figures),
        }
    });
    let name = ObjectName::new(name, provider);
    let mut service = Service::new(name, LoadBalancer::default(), backends.collect());
    service.figures = traffic(4_000, 3);
    Arc::new(service)
}

fn traffic(requests: u64, failures: u64) -> Arc<TrafficFigures> {
    let figures = TrafficFigures::default();
    (0..400).for_each(|it| answered(&figures, StatusCode::OK, it * 25_000));
    (0..requests).for_each(|_| answered(&figures, StatusCode::OK, 900_000));
    (0..requests / 40).for_each(|_| answered(&figures, StatusCode::NOT_FOUND, 900_000));
    (0..failures).for_each(|_| answered(&figures, StatusCode::BAD_GATEWAY, 900_000));
    figures.retries.add(failures);
    Arc::new(figures)
}

/// Notes an answer, given over TLS.
fn answered(figures: &TrafficFigures, status: StatusCode, nanos: u64) {
    let cipher = Encryption { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256" };
    let answer = Answer {
        request_bytes: 12,
        response_bytes: 480,
        is_failure: status.is_server_error(),
        encryption: Some((1, cipher)),
        ..Answer::plain(status, nanos)
    };
    figures.shard(0).record(&answer, &Buckets::default());
}

type Made = (Arc<Middleware>, Arc<Value>);

fn add_router(
    snapshot: &mut Snapshot,
    name: &str,
    provider: &str,
    rule: &str,
    host: &str,
    middlewares: &[&Made],
    service: Option<&Arc<Service>>,
) {
    let live = Router {
        name: ObjectName::new(name, provider),
        rule: rule.into(),
        predicate: demands(host),
        priority: rule.len() as i64,
        entrypoints: vec!["web".into(), "websecure".into()],
        middlewares: middlewares.iter().map(|(live, _)| live.clone()).collect(),
        chains: Vec::new(),
        observability: Observability::default(),
        service: service.cloned(),
        tls: false,
        tls_options: None,
        timeouts: None,
        figures: if provider == "static" { Arc::default() } else { traffic(2_000, 1) },
    };
    snapshot.routers.push(RouterEntry {
        entry: entry(name, provider, &format!("instance `{name}-1`")),
        rule: rule.into(),
        priority: live.priority,
        entrypoints: live.entrypoints.clone(),
        middlewares: live.middlewares.iter().map(|it| it.name.to_string()).collect(),
        service: service.map(|it| it.name.to_string()),
        tls: None,
        hosts: [host.to_owned()].into(),
        live: Some(Arc::new(live)),
    });
}

fn demands(host: &str) -> Predicate {
    let test = Test::new(Field::Host, Op::Equals, vec![host.to_owned()]);
    Predicate::Test(test.expect("a host is a good value"))
}

fn zones(snapshot: &Snapshot) -> Zones {
    let hosts: Vec<String> = snapshot.routers.iter().flat_map(|it| it.hosts.to_vec()).collect();
    let instance = |service: &str, number: u8, port| {
        Arc::new(Instance {
            id: format!("{service}-{number}"),
            service: service.to_owned(),
            node: format!("node-{number}"),
            datacenter: "dc1".to_owned(),
            address: format!("10.0.0.{number}"),
            port,
            weight_passing: 1,
            ..Instance::default()
        })
    };
    let zone = |origin: &str, names| ZoneConfig {
        origin: origin.to_owned(),
        names,
        ttl: 5,
        options: ZoneOptions::default(),
    };
    let config = DnsConfig {
        edge_addresses: vec![[127, 0, 0, 1].into()],
        zones: vec![zone("consul", Names::Consul), zone("infra.local", Names::Services)],
        router_ttl: 10,
        ..DnsConfig::default()
    };
    let (zones, _) = Zones::build(&ZoneInputs {
        config: &config,
        nodes: &[],
        instances: &[
            instance("grafana", 7, 3000),
            instance("grafana", 8, 3000),
            instance("prometheus", 7, 9090),
        ],
        router_hosts: &hosts,
        synced: true,
        serial: 1,
    });
    zones
}

fn board() -> Board {
    let now = SystemTime::now();
    let ago = |seconds| now - Duration::from_secs(seconds);
    let listens = |name: &str, port, protocol| EntrypointReport {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        protocol,
        redirect: None,
        encoded_characters: EncodedCharacters::default(),
    };
    let provider = |name: &str, plugin: &str, state, since| ProviderReport {
        name: name.into(),
        plugin: plugin.into(),
        state,
        since: ago(since),
        last_success: Some(ago(since)),
        last_change: Some(ago(since + 40)),
        from_disk: false,
        error: None,
        items: [3, 14, 0],
        steps: [214, 2],
        grants: vec!["http-client: http://127.0.0.1:8500".to_owned()],
    };
    let mut consul = provider("consul", "consul", ProviderState::Stale, 754);
    consul.error = Some("connect to `127.0.0.1:8500`: connection refused".to_owned());
    let mut files = provider("static", "file", ProviderState::Synced, 3);
    files.items = [0, 0, 2];
    files.grants = vec!["files: dynamic".to_owned()];
    let mut failed = plugin("request-id", "middleware", 1_204_311, &["log"]);
    failed.error = Some("`describe` trapped: unreachable executed".to_owned());
    failed.figures.traps.add(2);
    Board {
        config_file: "/etc/portolan/config.toml".to_owned(),
        config_error: None,
        zones: vec!["infra.lan".to_owned()],
        drain: Duration::from_secs(30),
        config_loaded: ago(9_000),
        published: ago(42),
        started: ago(93_000),
        entrypoints: vec![
            listens("web", 8000, "http"),
            listens("websecure", 8443, "https"),
            listens("dns", 5300, "dns"),
            listens("admin", 8080, "admin"),
        ],
        providers: vec![consul, files],
        plugin_files: vec![("basicAuth".to_owned(), vec!["/etc/portolan/users".into()])],
        plugins: vec![
            plugin("basic-auth", "middleware", 2_210, &["log"]),
            plugin("consul", "provider", 214, &["http-client", "log"]),
            plugin("file", "provider", 18, &["files", "log"]),
            plugin("headers", "middleware", 4, &[]),
            plugin("host", "matcher", 48, &[]),
            failed,
        ],
        problems: vec![
            Problem::error(
                "request-id",
                "plugins/request-id.wasm",
                "`describe` trapped: unreachable executed",
            )
            .hint("the version that was loaded before goes on"),
        ],
    }
}

fn plugin(name: &str, kind: &'static str, calls: u64, imports: &[&str]) -> PluginReport {
    let figures = PluginFigures::default();
    figures.calls.add(calls);
    (0..300).for_each(|it| figures.duration.record(it * 12));
    figures.instances.add(2);
    figures.instantiations.add(5);
    figures.memory.add(2 * 1_114_112);
    let imports: Vec<String> = imports.iter().map(|it| (*it).to_owned()).collect();
    let matchers = ["Host", "HostRegexp"].into_iter().filter(|_| kind == "matcher");
    let wants = imports.iter().filter(|it| *it != "log").map(|capability| Want {
        capability: capability.clone(),
        scope: vec!["http://127.0.0.1:8500".to_owned()],
        reason: "to read the catalog".to_owned(),
    });
    PluginReport {
        info: Some(PluginInfo {
            name: name.into(),
            file: "embedded".to_owned(),
            version: "0.1.0".to_owned(),
            summary: format!("what `{name}` is for, in one sentence"),
            kinds: vec![kind],
            hash: blake3::hash(name.as_bytes()).to_hex().to_string(),
            size: 48_213,
            wants: wants.collect(),
            imports,
            matchers: matchers.map(str::to_owned).collect(),
            schema: None,
        }),
        name: name.into(),
        error: None,
        deleted: false,
        loaded: Some(SystemTime::now()),
        load_ms: 41,
        cached: true,
        figures: Arc::new(figures),
    }
}
