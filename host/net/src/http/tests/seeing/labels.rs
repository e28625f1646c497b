//! Requests that are counted by what their headers say.

use http::{HeaderName, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    figure::{HeaderLabel, HeaderLabels, OTHER},
    policy::{StatusRange, Statuses},
    service::{Failover, Kind, Service},
};
use tokio::net::TcpStream;

use super::{
    super::support::{entrypoint, leading},
    *,
};
use crate::http::{EntrypointConfig, Trust};

fn labels(headers: &[&'static str]) -> HeaderLabels {
    let label = |header: &&'static str| HeaderLabel {
        name: header.replace('-', "_").into(),
        header: HeaderName::from_static(header),
    };
    HeaderLabels { labels: headers.iter().map(label).collect(), limit: 3 }
}

/// How many requests there were with each status, and what their headers said.
fn told(portolan: &Portolan, figures: &TrafficFigures) -> Vec<(u16, String, u64)> {
    let by = portolan.server.combinations().unwrap();
    let values = by.values();
    let mut sum = BTreeMap::new();
    for ((key, number), count) in figures.combined(&by) {
        *sum.entry((key.code, values[number as usize].join("|"))).or_default() += count;
    }
    sum.into_iter().map(|((code, said), count)| (code, said, count)).collect()
}

fn rows<const N: usize>(all: [(u16, &str, u64); N]) -> Vec<(u16, String, u64)> {
    all.into_iter().map(|(code, said, count)| (code, said.to_owned(), count)).collect()
}

async fn send(portolan: &Portolan, lines: &str) {
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{lines}\r\n")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn what_headers_say_is_counted_at_entrypoint_router_and_service_whatever_the_version() {
    let backend = Script::echo().await;
    let router = router("a.local", &[backend.address]);
    let of = [router.figures.clone(), router.service.as_ref().unwrap().figures.clone()];
    let portolan = Portolan::start(vec![router]);
    soon(portolan.server.count_by(&labels(&["x-tenant", "x-plan"])).by_all()).await;
    send(&portolan, "X-Tenant: blue\r\nX-Plan: free\r\nX-Tenant: red\r\n").await;
    send(&portolan, "x-tenant: \"a\\b\"\r\n").await;
    let stream = TcpStream::connect(portolan.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("http://a.local/").header("x-tenant", "blue");
    let request = request.header("x-plan", "free").body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    let entrypoint = portolan.server.figures()[0].1.traffic.clone();
    for figures in [&entrypoint, &of[0], &of[1]] {
        answers(figures, 3).await;
        let wanted = rows([(200, "\"a\\b\"|", 1), (200, "blue|free", 2)]);
        assert_eq!(told(&portolan, figures), wanted);
    }
    assert_eq!(portolan.server.combinations().unwrap().beyond(), 0);
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_not_counted_and_what_is_refused_takes_no_room() {
    let backend = Script::echo().await;
    let trust =
        Trust { forwarded_headers: vec!["127.0.0.0/8".parse().unwrap()], ..Trust::default() };
    for (trust, admitted) in [(Trust::default(), "127.0.0.1"), (trust, "192.0.2.1")] {
        let web = EntrypointConfig { trust, ..entrypoint("web", None) };
        let routers = vec![router("a.local", &[backend.address])];
        let portolan = Portolan::start_at(HttpConfig::default(), web, routers);
        soon(portolan.server.count_by(&labels(&["x-real-ip", "host"])).by_all()).await;
        send(&portolan, "X-Real-Ip: 192.0.2.1\r\n").await;
        for said in [admitted, "192.0.2.2"] {
            let mut client = portolan.connect().await;
            let head = format!("GET /%zz HTTP/1.1\r\nHost: a.local\r\nX-Real-Ip: {said}\r\n\r\n");
            client.send(&head).await;
            assert_eq!(client.response().await.status, 400);
        }
        // This is no request at all.
        let mut client = portolan.connect().await;
        client.send("nonsense\r\n\r\n").await;
        client.response().await;
        let figures = portolan.server.figures()[0].1.traffic.clone();
        answers(&figures, 4).await;
        let admitted = format!("{admitted}|a.local");
        let wanted = rows([(200, &admitted, 1), (400, &admitted, 1), (400, "other|other", 2)]);
        assert_eq!(told(&portolan, &figures), wanted);
        assert_eq!(portolan.server.combinations().unwrap().values().len(), 3);
        assert_eq!(portolan.server.combinations().unwrap().beyond(), 0);
    }
}

#[tokio::test]
async fn a_change_holds_for_the_next_requests_and_loses_none() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let figures = portolan.server.figures()[0].1.traffic.clone();
    send(&portolan, "X-Tenant: a\r\n").await;
    answers(&figures, 1).await;
    soon(portolan.server.count_by(&labels(&["x-tenant"])).by_all()).await;
    for (place, tenant) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        send(&portolan, &format!("X-Tenant: {tenant}\r\n")).await;
        answers(&figures, place as u64 + 2).await;
    }
    // One was before anybody looked, and there is room for three.
    let wanted = rows([(200, "a", 1), (200, "b", 1), (200, "c", 1), (200, OTHER, 3)]);
    assert_eq!(told(&portolan, &figures), wanted);
    let by = portolan.server.combinations().unwrap();
    assert_eq!(by.beyond(), 2);
    assert!(!by.went_beyond(), "it was told");
    soon(portolan.server.count_by(&labels(&["x-tenant"])).by_all()).await;
    assert!(Arc::ptr_eq(&by, &portolan.server.combinations().unwrap()), "nothing has changed");
    soon(portolan.server.count_by(&labels(&["x-plan"])).by_all()).await;
    send(&portolan, "X-Tenant: a\r\nX-Plan: free\r\n").await;
    answers(&figures, 7).await;
    assert_eq!(told(&portolan, &figures), rows([(200, "free", 1), (200, OTHER, 6)]));
    soon(portolan.server.count_by(&HeaderLabels::default()).by_all()).await;
    assert!(portolan.server.combinations().is_none());
    send(&portolan, "X-Plan: free\r\n").await;
    answers(&figures, 8).await;
}

#[tokio::test]
async fn a_service_that_another_took_over_from_is_counted_by_the_same_headers() {
    let backend = Script::echo().await;
    let bad = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let part = |address| router("part", &[address]).service.unwrap();
    let (main, fallback) = (part(bad.address), part(backend.address));
    let statuses = Statuses(vec![StatusRange { from: 500, to: 599 }]);
    let kind = Failover {
        main: Some(main.clone()),
        fallback: Some(fallback.clone()),
        statuses,
        max_body: 8,
    };
    let name = portolan_core::name::ObjectName::new("all", "test");
    let portolan =
        Portolan::start(vec![leading("a.local", Service::of(name, Kind::Failover(kind)))]);
    soon(portolan.server.count_by(&labels(&["x-tenant"])).by_all()).await;
    send(&portolan, "X-Tenant: a\r\n").await;
    for (service, status) in [(&main, 503), (&fallback, 200)] {
        answers(&service.figures, 1).await;
        assert_eq!(told(&portolan, &service.figures), rows([(status, "a", 1)]));
    }
}
