//! Probes over real sockets, and what is kept when what is served changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    item::Health,
    name::ObjectName,
    policy::{CheckMode, HealthCheck, LoadBalancer},
    service::{Backend, BackendFigures, Scheme, Service},
    snapshot::{Entry, ServiceEntry, Snapshot, Status},
    standing::Probed,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    time::timeout,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers every request with a status that can be changed, and tells of each.
struct Doctor {
    address: std::net::SocketAddr,
    status: Arc<AtomicU16>,
    heads: mpsc::UnboundedReceiver<String>,
}

impl Doctor {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let (tell, heads) = mpsc::unbounded_channel();
        let shared = status.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let status = shared.load(SeqCst);
                let answer =
                    format!("HTTP/1.1 {status} X\r\nLocation: /well\r\nContent-Length: 0\r\n\r\n");
                let path = String::from_utf8_lossy(&head).into_owned();
                let is_well = path.starts_with("GET /well ");
                let well = "HTTP/1.1 204 Y\r\n\r\n".to_owned();
                let answer = if is_well { well } else { answer };
                stream.write_all(answer.as_bytes()).await.ok();
                tell.send(path).ok();
            }
        });
        Self { address, status, heads }
    }

    async fn probed(&mut self) -> String {
        timeout(PATIENCE, self.heads.recv()).await.expect("a probe").unwrap()
    }
}

fn fast() -> HealthCheck {
    HealthCheck {
        interval: Duration::from_millis(5),
        unhealthy_interval: Duration::from_millis(5),
        ..HealthCheck::default()
    }
}

fn slow() -> HealthCheck {
    let hour = Duration::from_secs(3600);
    HealthCheck { interval: hour, unhealthy_interval: hour, ..HealthCheck::default() }
}

fn snapshot(
    check: Option<HealthCheck>,
    backends: &[(String, Arc<BackendFigures>)],
) -> Arc<Snapshot> {
    let backends = backends.iter().map(|(place, figures)| Backend {
        scheme: Scheme::Http,
        authority: place.split('/').next().unwrap_or_default().into(),
        path: place.find('/').and_then(|at| place.get(at..)).map(Into::into),
        weight: 1,
        health: Health::Passing,
        origin: "test".into(),
        figures: figures.clone(),
    });
    let name = ObjectName::new("s", "test");
    let options = LoadBalancer { health_check: check, ..LoadBalancer::default() };
    let service = Service::new(name.clone(), options, backends.collect());
    let entry = Entry {
        name,
        origin: "test".into(),
        status: Status::Enabled,
        errors: Vec::new(),
        used_by: Default::default(),
    };
    let services = vec![ServiceEntry { entry, live: Some(Arc::new(service)) }];
    Arc::new(Snapshot { services: services.into_iter().collect(), ..Snapshot::default() })
}

async fn becomes(figures: &BackendFigures, wanted: Probed) {
    let look = async {
        while figures.standing.probed() != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("it never becomes {wanted:?}"));
}

fn one(address: std::net::SocketAddr) -> (String, Arc<BackendFigures>) {
    (address.to_string(), Arc::default())
}

#[tokio::test]
async fn a_backend_is_probed_at_once_and_down_while_its_probes_fail() {
    let mut doctor = Doctor::start(200).await;
    let (prober, backend) = (Prober::start(Arc::default()), one(doctor.address));
    let check = HealthCheck {
        path: "/health?x".to_owned(),
        hostname: Some("a.local".to_owned()),
        headers: vec![("x-why".parse().unwrap(), "probe".parse().unwrap())],
        ..fast()
    };
    prober.follow(snapshot(Some(check), std::slice::from_ref(&backend)));
    let head = doctor.probed().await.to_lowercase();
    assert!(head.starts_with("get /health?x http/1.1\r\n"), "{head}");
    assert!(head.contains("host: a.local\r\n") && head.contains("x-why: probe\r\n"), "{head}");
    becomes(&backend.1, Probed::Up).await;
    doctor.status.store(500, SeqCst);
    becomes(&backend.1, Probed::Down).await;
    let reason = backend.1.standing.reason().unwrap();
    assert_eq!(&*reason, "status 500 Internal Server Error");
    doctor.status.store(200, SeqCst);
    becomes(&backend.1, Probed::Up).await;
}

#[tokio::test]
async fn what_was_found_out_is_kept_when_what_is_served_changes() {
    let mut doctor = Doctor::start(503).await;
    let (prober, backend) = (Prober::start(Arc::default()), one(doctor.address));
    prober.follow(snapshot(Some(slow()), std::slice::from_ref(&backend)));
    becomes(&backend.1, Probed::Down).await;
    doctor.probed().await;
    // The same check of the same backend: nothing begins anew. Another backend: it is probed.
    let other = Doctor::start(200).await;
    let both = [backend.clone(), one(other.address)];
    prober.follow(snapshot(Some(slow()), &both));
    becomes(&both[1].1, Probed::Up).await;
    assert_eq!(backend.1.standing.probed(), Probed::Down);
    assert!(doctor.heads.try_recv().is_err(), "it was not probed again");
    // Another check: it is probed at once, and is down until it is found to be well.
    let changed = HealthCheck { path: "/other".to_owned(), ..slow() };
    prober.follow(snapshot(Some(changed), &both));
    assert!(doctor.probed().await.starts_with("GET /other"));
    assert_eq!(backend.1.standing.probed(), Probed::Down);
    // Without a check nobody says that it is down.
    prober.follow(snapshot(None, &both));
    becomes(&backend.1, Probed::Unknown).await;
}

#[tokio::test]
async fn a_redirect_is_followed_or_judged() {
    for (follow, expected, probed) in [(true, Some(204), 2), (true, None, 2), (false, Some(302), 1)]
    {
        let mut doctor = Doctor::start(302).await;
        let (prober, backend) = (Prober::start(Arc::default()), one(doctor.address));
        let status = expected.map(|status| StatusCode::from_u16(status).unwrap());
        let check = HealthCheck { follow_redirects: follow, status, ..slow() };
        prober.follow(snapshot(Some(check), std::slice::from_ref(&backend)));
        becomes(&backend.1, Probed::Up).await;
        for _ in 0..probed {
            doctor.probed().await;
        }
        assert!(doctor.heads.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_tcp_probe_needs_no_more_than_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (prober, backend) = (Prober::start(Arc::default()), one(listener.local_addr().unwrap()));
    let check = HealthCheck { mode: CheckMode::Tcp, ..fast() };
    prober.follow(snapshot(Some(check), std::slice::from_ref(&backend)));
    becomes(&backend.1, Probed::Up).await;
    drop(listener);
    becomes(&backend.1, Probed::Down).await;
    assert!(backend.1.standing.reason().unwrap().starts_with("connect: "));
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_down_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (prober, backend) = (Prober::start(Arc::default()), one(listener.local_addr().unwrap()));
    let check = HealthCheck { timeout: Duration::from_millis(20), ..fast() };
    prober.follow(snapshot(Some(check), std::slice::from_ref(&backend)));
    becomes(&backend.1, Probed::Down).await;
    assert_eq!(&*backend.1.standing.reason().unwrap(), "no answer within 20 ms");
}

/// A gRPC server that is healthy or not, by the number.
async fn grpc_server(serving: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = serving.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let serving = serving.clone();
                async move {
                    assert_eq!(request.uri().path(), grpc::PATH);
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(asked, grpc::question());
                    let state = serving.load(SeqCst) as u8;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, state]);
                    let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
                    Ok::<_, std::convert::Infallible>(Response::new(body))
                }
            });
            let connection = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_probe_asks_the_health_service() {
    let serving = Arc::new(AtomicUsize::new(1));
    let (prober, backend) =
        (Prober::start(Arc::default()), one(grpc_server(serving.clone()).await));
    let check = HealthCheck { mode: CheckMode::Grpc, ..fast() };
    prober.follow(snapshot(Some(check), std::slice::from_ref(&backend)));
    becomes(&backend.1, Probed::Up).await;
    serving.store(2, SeqCst);
    becomes(&backend.1, Probed::Down).await;
    assert_eq!(&*backend.1.standing.reason().unwrap(), "gRPC: not serving");
}

#[tokio::test]
async fn a_server_that_is_listed_twice_has_one_prober_however_often_what_is_served_changes() {
    let doctor = Doctor::start(200).await;
    let backend = one(doctor.address);
    let both = [backend.clone(), backend];
    let mut ward = Ward::new(Arc::default());
    for _ in 0..3 {
        ward.admit(&snapshot(Some(slow()), &both));
        assert_eq!((ward.beds.len(), ward.tasks.len()), (1, 1));
    }
    // Who has another check is probed by another one alone.
    ward.admit(&snapshot(Some(fast()), &both));
    let last = async {
        while ward.tasks.len() > 1 {
            ward.tasks.join_next().await;
        }
    };
    timeout(PATIENCE, last).await.expect("the first one ends");
    assert_eq!(ward.beds.len(), 1);
}

#[tokio::test]
async fn backends_at_one_address_with_other_paths_are_probed_each_and_at_the_path_of_the_check() {
    let mut doctor = Doctor::start(500).await;
    let both = ["/a", "/b"].map(|path| (format!("{}{path}", doctor.address), Arc::default()));
    let prober = Prober::start(Arc::default());
    let check = HealthCheck { path: "/health".to_owned(), ..slow() };
    prober.follow(snapshot(Some(check), &both));
    for _ in 0..2 {
        let head = doctor.probed().await;
        assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
    }
    for (_, figures) in &both {
        becomes(figures, Probed::Down).await;
    }
}
