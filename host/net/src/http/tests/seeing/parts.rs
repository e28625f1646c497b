//! Services that are made of others: each that a request passed is counted, with what became of it.

use portolan_core::{
    name::ObjectName,
    policy::{StatusRange, Statuses},
    router::Router,
    service::{Failover, Kind, Member, Mirror, Mirroring, Scheme, Service, Weighted},
};

use super::{
    super::{
        spans::attribute,
        support::{leading, service},
    },
    *,
};
use crate::http::{FinishedSpan, TraceConfig, Tracing};

const POST: &str = "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\n\r\nabc";
const GRPC: &str = "POST / HTTP/1.1\r\nHost: a.local\r\nTE: trailers\r\n\
                    Content-Type: application/grpc\r\nContent-Length: 3\r\n\r\nabc";

fn named(name: &str) -> ObjectName {
    ObjectName::new(name, "test")
}

/// A service with this backend.
fn leaf(name: &str, backend: std::net::SocketAddr) -> Arc<Service> {
    let mut leaf = service(Scheme::Http, &[backend]);
    leaf.name = named(name);
    Arc::new(leaf)
}

/// A service that is one other.
fn around(name: &str, part: &Arc<Service>) -> Arc<Service> {
    let member = Member { name: part.name.clone(), weight: 1, service: Some(part.clone()) };
    let weighted = Weighted::new(vec![member], false, None);
    Arc::new(Service::of(named(name), Kind::Weighted(weighted)))
}

fn failover(main: &Arc<Service>, fallback: &Arc<Service>) -> Service {
    let statuses = Statuses(vec![StatusRange { from: 500, to: 599 }]);
    let (main, fallback) = (Some(main.clone()), Some(fallback.clone()));
    Service::of(named("all"), Kind::Failover(Failover { main, fallback, statuses, max_body: 8 }))
}

/// What was counted, when it was all: what by, how often, and the bytes of requests and responses.
async fn counted(service: &Service) -> Vec<(AnswerKey, u64, u64, u64)> {
    let answers = answers(&service.figures, 1).await;
    let of = |(key, it): (_, AnswerReading)| (key, it.count(), it.request_bytes, it.response_bytes);
    answers.into_iter().map(of).collect()
}

/// Reads requests and answers each in this way.
async fn saying(answer: &'static str) -> Script {
    Script::start(move |mut client| async move {
        while client.request().await.is_some() {
            client.send(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_part_is_counted_with_the_answer_that_the_client_gets() {
    let backend = saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         2\r\nok\r\n0\r\ngrpc-status: 5\r\n\r\n",
    )
    .await;
    let inner = leaf("leaf", backend.address);
    let outer = around("outer", &around("middle", &inner));
    let router = Router { service: Some(outer.clone()), ..router("a.local", &[]) };
    let portolan = Portolan::start(vec![router]);
    let mut client = portolan.connect().await;
    client.send(GRPC).await;
    assert_eq!(client.response().await.status, 200);
    let wanted = [(key(5, MethodLabel::Post, ProtocolLabel::Grpc), 1, 3, 2)];
    for service in [&outer, outer.parts()[0], &inner] {
        assert_eq!(counted(service).await, wanted, "{}", service.name);
        assert_eq!(service.figures.duration().count(), 1);
    }
}

#[tokio::test]
async fn a_part_whose_client_leaves_is_counted_too() {
    let mut silent = Script::start(|mut client| async move {
        client.request().await;
        client.ends().await;
    })
    .await;
    let part = leaf("leaf", silent.address);
    let router = Router { service: Some(around("all", &part)), ..router("a.local", &[]) };
    let portolan = Portolan::start(vec![router]);
    let mut client = portolan.connect().await;
    client.send(POST).await;
    until_connected(&mut silent).await;
    drop(client);
    let (key, count, ..) = counted(&part).await[0];
    assert_eq!((key.code, key.method, count), (499, MethodLabel::Post, 1));
    assert_eq!(part.figures.duration().count(), 0, "there was no answer");
}

#[tokio::test]
async fn a_part_that_another_took_over_from_is_counted_with_its_own_answer() {
    let bad = saying("HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy").await;
    let good = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let of = |code, response_bytes| {
        vec![(key(code, MethodLabel::Post, ProtocolLabel::Http), 1, 3, response_bytes)]
    };
    let main = leaf("main", bad.address);
    let (outer, spare) = (around("outer", &main), leaf("spare", good.address));
    let portolan = Portolan::start(vec![leading("a.local", failover(&outer, &spare))]);
    let mut client = portolan.connect().await;
    client.send(POST).await;
    assert_eq!(client.response().await.body, "ok");
    for (service, wanted) in [(&main, of(503, 4)), (&outer, of(503, 4)), (&spare, of(200, 2))] {
        assert_eq!(counted(service).await, wanted, "{}", service.name);
        assert_eq!(service.figures.failures(), 0);
    }
    let (main, spare) = (leaf("main", nobody()), leaf("spare", good.address));
    let portolan = Portolan::start(vec![leading("a.local", failover(&main, &spare))]);
    let mut client = portolan.connect().await;
    client.send(POST).await;
    assert_eq!(client.response().await.body, "ok");
    let gone = vec![(key(502, MethodLabel::Post, ProtocolLabel::Http), 1, 0, 0)];
    assert_eq!((counted(&main).await, main.figures.failures()), (gone, 1));
    assert_eq!((counted(&spare).await, spare.figures.failures()), (of(200, 2), 0));
}

#[tokio::test]
async fn a_mirror_is_counted_with_what_came_of_its_copy() {
    let main = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let lab = saying("HTTP/1.1 404 X\r\ngrpc-status: 7\r\nContent-Length: 4\r\n\r\nnone").await;
    let (lab, gone) = (leaf("lab", lab.address), leaf("gone", nobody()));
    let (outer, empty) = (around("outer", &lab), Arc::new(service(Scheme::Http, &[])));
    let mirroring = Mirroring {
        main: leaf("main", main.address),
        mirrors: [&outer, &gone, &empty].map(|it| Mirror::new(it.clone(), 100)).into(),
        mirror_body: true,
        max_body: 8,
    };
    let whole = Service::of(named("all"), Kind::Mirroring(mirroring));
    let portolan = Portolan::start(vec![leading("a.local", whole)]);
    let mut client = portolan.connect().await;
    client.send(POST).await;
    assert_eq!(client.response().await.body, "ok");
    let http = |code| key(code, MethodLabel::Post, ProtocolLabel::Http);
    for (service, wanted, failures) in [
        (&lab, (http(404), 1, 3, 4), 0),
        (&outer, (http(404), 1, 3, 4), 0),
        (&gone, (http(502), 1, 0, 0), 1),
        (&empty, (http(503), 1, 0, 0), 1),
    ] {
        assert_eq!(counted(service).await, [wanted], "{}", service.name);
        assert_eq!(service.figures.failures(), failures);
    }
    client.send(GRPC).await;
    assert_eq!(client.response().await.body, "ok");
    let of_grpc = answers(&lab.figures, 2).await;
    let wanted = key(7, MethodLabel::Post, ProtocolLabel::Grpc);
    assert_eq!(of_grpc[&wanted].response_bytes, 4, "{of_grpc:?}");
}

#[tokio::test]
async fn what_a_router_keeps_out_of_figures_is_not_counted_of_parts_and_mirrors() {
    let main = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (main, lab) = (leaf("main", main.address), leaf("lab", nobody()));
    let mirrors = vec![Mirror::new(lab.clone(), 100)];
    let mirroring = Mirroring { main: main.clone(), mirrors, mirror_body: false, max_body: 0 };
    let mut quiet = leading("a.local", Service::of(named("all"), Kind::Mirroring(mirroring)));
    quiet.observability.metrics = Some(false);
    let portolan = Portolan::start(vec![quiet]);
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
    until(|| {
        lab.state.mirrored.value() == 0 && lab.backends[0].figures.connect_failures.value() > 0
    })
    .await;
    portolan.server.drain(Duration::from_secs(20)).await;
    assert!(!main.figures.is_used() && !lab.figures.is_used());
}

#[tokio::test]
async fn the_service_that_is_told_is_the_one_whose_backend_was_asked() {
    let good = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (main, spare) = (leaf("main", nobody()), leaf("spare", good.address));
    let whole = around("outer", &Arc::new(failover(&main, &spare)));
    let router = Router { service: Some(whole), ..router("a.local", &[]) };
    // Of a service without backends none is asked.
    let empty = leading("empty.local", service(Scheme::Http, &[]));
    let log = Log::json();
    let (tracing, mut spans) = Tracing::new(TraceConfig::default(), 16);
    let mut config = log.config();
    config.ledger.tracing = Some(tracing);
    let portolan = Portolan::start_with(config, None, vec![router, empty]);
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
    let spans = soon(spans.recv()).await.unwrap();
    let of = |span: &FinishedSpan| attribute(span, "portolan.service.name").cloned();
    let told: Vec<_> = spans.iter().map(of).collect();
    let expected = ["outer@test", "main@test", "spare@test"].map(|name| Some(name.into()));
    assert_eq!(told, expected);
    assert_eq!(portolan.get("empty.local", "/").await.status, 503);
    let lines = log.lines(portolan).await;
    let told: Vec<_> = lines.iter().map(|line| line["ServiceName"].as_str().unwrap()).collect();
    // Two workers may write.
    assert!(
        told.len() == 2 && told.contains(&"spare@test") && told.contains(&"s@test"),
        "{told:?}"
    );
    let line = lines.iter().find(|line| line["ServiceName"] == "spare@test").unwrap();
    assert_eq!(line["ServiceAddr"], good.address.to_string());
}
