//! What is served there: routers, services, middlewares and names.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use portolan_core::{
    exchange::HeaderLine,
    figure::{Answer, Buckets, Encryption, TrafficFigures},
    item::{Health, Instance},
    middleware::{Action, Interest, Middleware, OnFailure, PlanStep},
    name::ObjectName,
    policy::HealthCheck,
    problem::Problem,
    route::RouteTable,
    router::{Observability, Router},
    rule::{Field, Op, Predicate, Test},
    service::{Backend, BackendFigures, LoadBalancer, Scheme, Service},
    snapshot::{Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot, Status},
    throttle::{By, Rate, RateLimit, Sources},
    zone::{DnsConfig, Edges, Names, ZoneConfig, ZoneInputs, ZoneOptions, Zones},
};
use serde_json::{Value, json};

use super::catalog::catalog;

/// A generation of what is served.
pub(in crate::admin) fn snapshot(generation: u64, routers: usize) -> Snapshot {
    let mut snapshot = Snapshot { generation, ..Snapshot::default() };
    let hello = middleware(
        "hello",
        "headers",
        json!({ "custom-response-headers": { "x-served-by": "portolan" } }),
        Interest {
            plan: vec![PlanStep {
                when: None,
                actions: vec![Action::SetResponseHeader(HeaderLine::new(
                    http::HeaderName::from_static("x-served-by"),
                    http::HeaderValue::from_static("portolan"),
                ))],
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
    let sources = Sources { by: By::Host, together: false };
    let rate = Rate { average: 100, period: Duration::from_secs(1), burst: 200 };
    let limit = RateLimit::new(rate, sources);
    limit.tally.refused.add(12);
    let slow = middleware(
        "slow",
        "rate-limit",
        json!({ "average": 100, "burst": 200, "source-criterion": { "request-host": true } }),
        Interest {
            plan: vec![PlanStep { when: None, actions: vec![Action::RateLimit(limit)] }],
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
        reference: Some("loki".into()),
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
    for (live, config) in [hello, strip, slow, gate] {
        snapshot.middlewares.push(MiddlewareEntry {
            entry: entry(&live.name.name, "config", "config.toml"),
            plugin: live.plugin.clone(),
            config,
            live: Some(live),
            chain: None,
        });
    }
    let live: Vec<_> = snapshot.routers.iter().filter_map(|it| it.live.clone()).collect();
    for entrypoint in ["web", "websecure"] {
        snapshot.tables.push((entrypoint.into(), RouteTable::build(live.clone())));
    }
    snapshot.zones = zones(&snapshot);
    snapshot.sources = vec![Arc::new(catalog())];
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
            path: None,
            weight: 1,
            health: *health,
            origin: format!("{name}-{place}").into(),
            figures: Arc::new(figures),
        }
    });
    let load_balancer = LoadBalancer {
        health_check: (name == "grafana").then(HealthCheck::default),
        ..LoadBalancer::default()
    };
    let name = ObjectName::new(name, provider);
    let mut service = Service::new(name, load_balancer, backends.collect());
    service.figures = traffic(4_000, 3);
    Arc::new(service)
}

pub(super) fn traffic(requests: u64, failures: u64) -> Arc<TrafficFigures> {
    let figures = TrafficFigures::default();
    (0..400).for_each(|it| answered(&figures, StatusCode::OK, it * 25_000));
    (0..requests).for_each(|_| answered(&figures, StatusCode::OK, 900_000));
    (0..requests / 40).for_each(|_| answered(&figures, StatusCode::NOT_FOUND, 900_000));
    (0..failures).for_each(|_| answered(&figures, StatusCode::BAD_GATEWAY, 900_000));
    figures.retries.add(failures);
    Arc::new(figures)
}

/// Notes an answer, given over TLS.
pub(super) fn answered(figures: &TrafficFigures, status: StatusCode, nanos: u64) {
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
        retry: None,
        retries: Vec::new(),
        observability: Observability::default(),
        service: service.cloned(),
        lack: None,
        is_noop: false,
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
        reference: service.map(|it| match &*it.name.provider {
            own if own == provider => it.name.name.clone(),
            _ => it.name.to_string().into(),
        }),
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
        edges: Edges::Same(vec![[127, 0, 0, 1].into()]),
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
