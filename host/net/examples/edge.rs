//! The HTTP data plane alone, without configuration, plugins or DNS: what a load generator, a
//! profiler or a tracer of system calls is pointed at.
//!
//!     edge LISTEN BACKEND [HOSTS [PLANS]]
//!
//! Routes `svc0.local`, `svc1.local`, … (as many as `HOSTS` says, else one) from `LISTEN`, with
//! one worker, to `BACKEND`, through `PLANS` middlewares (else none) that set a header of the request
//! and one of the response.

use std::{env, net::SocketAddr, num::NonZeroUsize, process::ExitCode, sync::Arc};

use http::{HeaderName, HeaderValue};
use portolan_core::{
    exchange::HeaderLine,
    item::Health,
    live::live,
    middleware::{Action, Interest, Middleware, OnFailure, PlanStep},
    name::ObjectName,
    route::RouteTable,
    router::{Observability, Router},
    service::{Backend, LoadBalancer, Scheme, Service},
    snapshot::Snapshot,
    test_util,
};
use portolan_net::http::{EntrypointConfig, HttpConfig, Limits, Server, Trust};

/// As the whole program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exits with 2 when its arguments make no sense.
fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let (listen, backend) = (args.next(), args.next());
    let listen = listen.and_then(|text| text.parse::<SocketAddr>().ok());
    let mut number = |usual| args.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (hosts, plans) = (number(1), number(0));
    let (Some(listen), Some(backend)) = (listen, backend) else {
        return ExitCode::from(2);
    };
    let (_publisher, live) = live(snapshot(&backend, hosts, plans));
    let server = Server::start(HttpConfig::default(), live, NonZeroUsize::MIN)
        .expect("a thread and an event queue");
    let web = EntrypointConfig {
        name: "web".into(),
        address: listen,
        tls: None,
        trust: Trust::default(),
        redirect: None,
        limits: Limits::default(),
        observability: Observability::default(),
    };
    let (_, taken) = server.apply(vec![web]);
    assert!(taken.is_empty(), "the address is not free");
    loop {
        std::thread::park();
    }
}

fn snapshot(backend: &str, hosts: usize, plans: usize) -> Snapshot {
    let service = Arc::new(service(backend));
    let chain: Vec<_> = (0..plans).map(|number| Arc::new(middleware(number))).collect();
    let router = |number: usize| {
        let rule = format!("Host(`svc{number}.local`)");
        let router = test_util::router(&format!("svc{number}"), &rule);
        let (service, middlewares) = (Some(service.clone()), chain.clone());
        Arc::new(Router { service, middlewares, ..router })
    };
    let table = RouteTable::build((0..hosts).map(router).collect());
    Snapshot { generation: 1, tables: vec![("web".into(), table)], ..Snapshot::default() }
}

fn service(backend: &str) -> Service {
    let backends = vec![Backend {
        scheme: Scheme::Http,
        authority: backend.into(),
        path: None,
        weight: 1,
        health: Health::Passing,
        origin: "example".into(),
        figures: Arc::default(),
    }];
    Service::new(ObjectName::new("all", "example"), LoadBalancer::default(), backends)
}

fn middleware(number: usize) -> Middleware {
    let value = HeaderValue::from_static("1");
    let name = |side: &str| HeaderName::try_from(format!("x-{side}-{number}"));
    let request =
        name("request").map(|name| Action::SetRequestHeader(HeaderLine::new(name, value.clone())));
    let response =
        name("response").map(|name| Action::SetResponseHeader(HeaderLine::new(name, value)));
    let actions = [request, response].into_iter().flatten().collect();
    let plan = vec![PlanStep { when: None, actions }];
    Middleware {
        name: ObjectName::new(format!("m{number}"), "example"),
        plugin: "example".into(),
        interest: Interest { plan, ..Interest::default() },
        on_failure: OnFailure::default(),
    }
}
