//! Requests that nobody has looked at, as backends say that speak HTTP/2, are sent again.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use portolan_core::service::Scheme;

use super::{
    raw::{NO_ERROR, RST_STREAM, WINDOW_UPDATE, answered, backend, frame, goodbye},
    support::{Client, Portolan, header, leading, service, soon},
};

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
/// How many requests it takes at once, and how much of each body.
const MOST: &[(u16, u32)] = &[(3, 100), (4, 1 << 20)];

fn before(addresses: &[SocketAddr]) -> Portolan {
    Portolan::start(vec![leading("a.local", service(Scheme::H2c, addresses))])
}

/// Asks once, and answers the status.
async fn ask(client: &mut Client<tokio::net::TcpStream>, method: &str, body: &str) -> u16 {
    let length = body.len();
    let head = format!("{method} / HTTP/1.1\r\nHost: a.local\r\nContent-Length: {length}\r\n\r\n");
    client.send(&format!("{head}{body}")).await;
    let response = client.response().await;
    assert_eq!(header(&response.head, "connection"), None);
    response.status
}

#[tokio::test]
async fn a_request_behind_a_goodbye_is_sent_again_with_its_body() {
    let (bodies, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (address, connections) = backend(MOST, move |mut raw, _| {
        let bodies = bodies.clone();
        async move {
            raw.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes())).await;
            let (first, body) = raw.request().await.unwrap();
            bodies.send(body.len()).ok();
            raw.send(&answered(first)).await;
            // Whether it closes the connection or not: the second is not its own any more.
            if raw.request().await.is_some() {
                raw.send(&goodbye(first, NO_ERROR)).await;
            }
        }
    })
    .await;
    let portolan = before(&[address]);
    let mut client = portolan.connect().await;
    let (short, long) = ("x".repeat(60_000), "x".repeat(70_000));
    for (method, body, status, fresh) in [
        ("GET", "", 200, 1),
        ("GET", "", 200, 1),
        ("POST", "", 200, 1),
        ("POST", "hello", 200, 1),
        ("POST", &*short, 200, 1),
        // As much as that is not kept.
        ("POST", &long, 502, 0),
        ("POST", &long, 200, 1),
    ] {
        let had = connections.swap(0, Ordering::Relaxed);
        assert!(had < 2, "{had}");
        assert_eq!(ask(&mut client, method, body).await, status, "{method} {}", body.len());
        assert_eq!(connections.load(Ordering::Relaxed), fresh, "{method} {}", body.len());
    }
    let bodies: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(bodies, [0, 0, 0, 5, 60_000, 70_000]);
}

#[tokio::test]
async fn a_request_before_a_goodbye_is_not_sent_again() {
    let (address, connections) = backend(MOST, |mut raw, _| async move {
        let (first, _) = raw.request().await.unwrap();
        raw.send(&answered(first)).await;
        if let Some((second, _)) = raw.request().await {
            raw.send(&goodbye(second, NO_ERROR)).await;
        }
    })
    .await;
    let portolan = before(&[address]);
    let mut client = portolan.connect().await;
    assert_eq!(ask(&mut client, "POST", "").await, 200);
    assert_eq!(ask(&mut client, "POST", "").await, 502);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refused_request_is_sent_again_but_not_for_ever() {
    let left = std::sync::Arc::new(AtomicUsize::new(3));
    let refusals = left.clone();
    let (address, connections) = backend(MOST, move |mut raw, _| {
        let left = left.clone();
        async move {
            while let Some((stream, _)) = raw.request().await {
                let is_refused =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
                raw.send(&match is_refused {
                    Ok(_) => frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()),
                    Err(_) => answered(stream),
                })
                .await;
            }
        }
    })
    .await;
    let portolan = before(&[address]);
    let mut client = portolan.connect().await;
    assert_eq!(ask(&mut client, "POST", "hello").await, 200);
    refusals.store(1000, Ordering::Relaxed);
    assert_eq!(ask(&mut client, "POST", "hello").await, 502);
    assert_eq!(refusals.load(Ordering::Relaxed), 1000 - 6);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn where_every_connection_ends_at_once_there_are_few() {
    for (code, most) in [(NO_ERROR, 6), (PROTOCOL_ERROR, 1)] {
        let (address, connections) = backend(MOST, move |mut raw, _| async move {
            if raw.request().await.is_some() {
                raw.send(&goodbye(0, code)).await;
                // Until the other end has seen it.
                while raw.next().await.is_some() {}
            }
        })
        .await;
        let portolan = before(&[address]);
        let mut client = portolan.connect().await;
        assert_eq!(soon(ask(&mut client, "GET", "")).await, 502);
        assert_eq!(connections.load(Ordering::Relaxed), most, "{code}");
    }
}
