//! Ending: nobody loses a request that was sent, and nobody can hold us up for ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::uri::Scheme;
use tokio::sync::{Notify, mpsc};

use crate::http::{EntrypointConfig, RedirectConfig, RedirectTarget};

use super::support::{Client, PATIENCE, Portolan, Script, entrypoint, header, router, soon};

/// A backend that says when it was asked, and answers when it is let.
async fn held() -> (Script, mpsc::UnboundedReceiver<()>, Arc<Notify>) {
    let (asked, is_asked) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let release = go.clone();
    let backend = Script::start(move |mut client| {
        let (asked, release) = (asked.clone(), release.clone());
        async move {
            while client.request().await.is_some() {
                asked.send(()).ok();
                release.notified().await;
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (backend, is_asked, go)
}

#[tokio::test]
async fn what_is_open_is_finished_and_then_the_connection_is_closed() {
    let (backend, mut asked, go) = held().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let address = portolan.address;
    let mut idle = portolan.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: nobody.local\r\n\r\n").await;
    assert_eq!(idle.response().await.status, 404);
    let mut busy = portolan.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();
    let draining = {
        let server = portolan.server.clone();
        tokio::spawn(async move { server.drain(PATIENCE).await })
    };
    assert!(idle.ends().await, "an idle connection is closed");
    assert!(!draining.is_finished());
    go.notify_one();
    let response = busy.response().await;
    assert_eq!(response.body, "ok");
    assert_eq!(header(&response.head, "connection"), Some("close"));
    assert!(busy.ends().await);
    soon(draining).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_limit_holds_for_those_who_do_not_end() {
    let (backend, mut asked, _go) = held().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut busy = portolan.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();
    let begin = Instant::now();
    portolan.server.drain(Duration::from_millis(100)).await;
    assert!(begin.elapsed() >= Duration::from_millis(100) && begin.elapsed() < PATIENCE);
    assert!(busy.ends().await);
}

#[tokio::test]
async fn a_drain_under_load_loses_no_request_that_was_sent() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let address = portolan.address;
    let (warm, mut is_warm) = mpsc::unbounded_channel();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let warm = warm.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                for n in 0.. {
                    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
                    let response = client.response().await;
                    assert_eq!(response.status, 200);
                    if header(&response.head, "connection") == Some("close") {
                        return n;
                    }
                    warm.send(()).ok();
                }
                0
            })
        })
        .collect();
    for _ in 0..160 {
        soon(is_warm.recv()).await.unwrap();
    }
    portolan.server.drain(PATIENCE).await;
    for client in clients {
        client.await.expect("every request was answered");
    }
}

#[tokio::test]
async fn an_entrypoint_that_goes_finishes_what_is_open_and_the_others_do_not_notice() {
    let (backend, mut asked, go) = held().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let both = vec![entrypoint("web", None), entrypoint("other", None)];
    let (bound, _) = portolan.server.apply(both);
    assert_eq!(bound[0].address, portolan.address, "what is unchanged keeps its port");
    let other = bound[1].address;
    let mut kept = portolan.connect().await;
    kept.send("GET / HTTP/1.1\r\nHost: nobody.local\r\n\r\n").await;
    assert_eq!(kept.response().await.status, 404);
    // `other` has no routers: its requests end in a 404, at once.
    let mut there = Client::connect(other).await;
    there.send("GET / HTTP/1.1\r\nHost: nobody.local\r\n\r\n").await;
    assert_eq!(there.response().await.status, 404);
    let mut busy = portolan.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();

    portolan.server.apply(vec![entrypoint("web", None)]);
    assert!(there.ends().await);
    kept.send("GET / HTTP/1.1\r\nHost: nobody.local\r\n\r\n").await;
    assert_eq!(kept.response().await.status, 404);

    portolan.server.apply(Vec::new());
    assert!(kept.ends().await);
    go.notify_one();
    assert_eq!(busy.response().await.body, "ok");
    assert!(busy.ends().await);
    assert!(tokio::net::TcpStream::connect(other).await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_costs_only_itself() {
    let portolan = Portolan::start(Vec::new());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut other = entrypoint("other", None);
    other.address = taken.local_addr().unwrap();
    let mut web = entrypoint("web", None);
    web.address = other.address;
    let third = entrypoint("third", None);
    let (bound, errors) = portolan.server.apply(vec![web, other, third]);
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].source.kind(), std::io::ErrorKind::AddrInUse);
    let names: Vec<_> = bound.iter().map(|bound| &*bound.name).collect();
    assert_eq!(names, ["web", "third"]);
    assert_eq!(bound[0].address, portolan.address, "web is where it was");
    assert_eq!(portolan.get("a.local", "/").await.status, 404);
}

#[tokio::test]
async fn nobody_gets_the_address_of_who_cannot_leave_it() {
    let portolan = Portolan::start(Vec::new());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = |name: &str, address| EntrypointConfig { address, ..entrypoint(name, None) };
    let (_, errors) = portolan.server.apply(vec![at("web", portolan.address)]);
    assert!(errors.is_empty(), "{errors:?}");
    let wanted = vec![at("web", taken.local_addr().unwrap()), at("new", portolan.address)];
    let (bound, errors) = portolan.server.apply(wanted);
    let names: Vec<_> = errors.iter().map(|error| &*error.entrypoint).collect();
    assert_eq!(names, ["web", "new"]);
    assert_eq!(bound.iter().map(|bound| &*bound.name).collect::<Vec<_>>(), ["web"]);
    assert_eq!(portolan.get("a.local", "/").await.status, 404);
}

#[tokio::test]
async fn who_comes_in_the_place_of_another_goes_on_at_its_sockets() {
    let portolan = Portolan::start(Vec::new());
    // The system has completed this connection; perhaps nobody has accepted it.
    let mut client = portolan.connect().await;
    let (to, scheme) = (RedirectTarget::Port(443), Scheme::HTTPS);
    let redirect = Some(RedirectConfig { to, scheme, permanent: true, priority: None });
    let (bound, errors) =
        portolan.server.apply(vec![EntrypointConfig { redirect, ..entrypoint("web", None) }]);
    assert_eq!((bound[0].address, errors.len()), (portolan.address, 0));
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert!([301, 404].contains(&client.response().await.status));
    assert_eq!(portolan.get("a.local", "/").await.status, 301);
}

#[tokio::test]
async fn a_connection_that_was_made_but_not_accepted_is_served() {
    let portolan = Portolan::start(Vec::new());
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = portolan.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        clients.push(client);
    }
    let draining = {
        let server = portolan.server.clone();
        tokio::spawn(async move { server.drain(PATIENCE).await })
    };
    for client in &mut clients {
        assert_eq!(client.response().await.status, 404);
    }
    drop(clients);
    soon(draining).await.unwrap();
}
