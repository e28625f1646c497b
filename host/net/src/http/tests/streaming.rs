//! Bodies: nothing is gathered, nothing is lost, and what HTTP says about them survives.

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    router::Router,
    service::{Scheme, Transport},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use super::support::{Portolan, Script, entrypoint, header, router, service, soon};
use crate::{
    http::{EntrypointConfig, Http2Limits, HttpConfig, Limits},
    tls::TlsConfig,
};

#[tokio::test]
async fn the_first_byte_of_a_response_does_not_wait_for_the_last() {
    let (more, wanted) = oneshot::channel::<()>();
    let wanted = std::sync::Mutex::new(Some(wanted));
    let backend = Script::start(move |mut client| {
        let wanted = wanted.lock().unwrap().take();
        async move {
            client.request().await;
            client
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                .await;
            wanted.unwrap().await.unwrap();
            client.send("4\r\nlast\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert!(client.until("first\r\n").await.is_some());
    more.send(()).unwrap();
    assert!(client.until("last\r\n0\r\n\r\n").await.is_some());
}

#[tokio::test]
async fn the_first_byte_of_a_request_does_not_wait_for_the_last() {
    let (saw, mut seen) = mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let saw = saw.clone();
        async move {
            client.until("first\r\n").await.unwrap();
            saw.send(()).unwrap();
            client.until("last\r\n0\r\n\r\n").await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        )
        .await;
    soon(seen.recv()).await.unwrap();
    client.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn of_two_lengths_in_a_response_the_client_sees_one() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client
            .send(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n",
            )
            .await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let response = portolan.get("a.local", "/").await;
    assert_eq!(header(&response.head, "content-length"), None);
    assert_eq!(response.body, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    const LENGTH: usize = 3 * 1024 * 1024;
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
            client.send(&(head + &request.body)).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    let body: String = ('a'..='z').cycle().take(LENGTH).collect();
    for _ in 0..2 {
        let head = format!("PUT / HTTP/1.1\r\nHost: a.local\r\nContent-Length: {LENGTH}\r\n\r\n");
        client.send(&(head + &body)).await;
        assert!(client.response().await.body == body);
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let body = request.body.to_lowercase();
            assert!(body.contains("x-sum: 7\r\n"), "{body}");
            // What we say of a client is not for it to say.
            assert!(!body.contains("x-forwarded") && !body.contains("x-real-ip"), "{body}");
            client
                .send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                     2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n",
                )
                .await;
        }
    })
    .await;
    let mut backend = backend;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for _ in 0..2 {
        client
            .send(
                "POST / HTTP/1.1\r\nHost: a.local\r\nTE: trailers\r\nTrailer: x-sum\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\
                 X-Forwarded-For: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\n\r\n",
            )
            .await;
        let response = client.response().await;
        assert_eq!(response.status, 200);
        assert!(response.body.to_lowercase().contains("x-sum: 9\r\n"), "{}", response.body);
    }
    assert_eq!(backend.connections(), 1, "trailers are the end of a response");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_seen_to_break_off() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert!(client.until("half......").await.is_none());
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let path = request.head.split(' ').nth(1).unwrap();
            client
                .send(match path {
                    "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
                    "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n",
                    "/103" => "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend",
                })
                .await;
        }
    })
    .await;
    let mut backend = backend;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("HEAD /head HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
    assert_eq!(header(&head, "content-length"), Some("100"));
    for (path, status) in [("/204", 204), ("/304", 304), ("/103", 200)] {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a.local\r\n\r\n")).await;
        if path == "/103" {
            assert_eq!(client.response().await.status, 103, "what comes before is handed on");
        }
        assert_eq!(client.response().await.status, status, "{path}");
    }
    client.send("GET /end HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.body, "end");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "PUT / HTTP/1.1\r\nHost: a.local\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 100);
    client.send("hi").await;
    let response = client.response().await;
    assert_eq!((response.status, header(&response.body, "expect")), (200, None));
    // Nobody wants the body of a request that no router takes.
    client
        .send(
            "PUT / HTTP/1.1\r\nHost: b.local\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 404);
}

#[tokio::test]
async fn an_upgraded_connection_carries_anything_both_ways() {
    let backend = Script::start(|mut client| async move {
        let request = client.request().await.unwrap();
        assert_eq!(header(&request.head, "upgrade"), Some("websocket"));
        assert_eq!(header(&request.head, "connection"), Some("upgrade"));
        assert_eq!(header(&request.head, "sec-websocket-key"), Some("abc"));
        assert_eq!(header(&request.head, "x-forwarded-proto"), Some("ws"));
        // The first words come in one piece with the head.
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello ",
            )
            .await;
        while let Some(line) = client.until("\n").await {
            client.send(&line.to_uppercase()).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: a.local\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: ABC\r\n\r\nearly\n",
        )
        .await;
    let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert_eq!(header(&head, "upgrade"), Some("websocket"));
    assert_eq!(header(&head, "sec-websocket-accept"), Some("x"));
    assert_eq!(client.until("\n").await.unwrap(), "hello EARLY\n");
    client.send("\u{2}anything\n").await;
    assert_eq!(client.until("\n").await.unwrap(), "\u{2}ANYTHING\n");
}

#[tokio::test]
async fn more_requests_than_a_connection_takes_at_once_go_over_another() {
    const MOST: usize = 12;
    // It answers nobody before all are there.
    let waiting = std::sync::Arc::new(tokio::sync::Barrier::new(MOST));
    let backend = Script::start(move |mut client| {
        let waiting = waiting.clone();
        async move {
            while client.request().await.is_some() {
                waiting.wait().await;
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let http2 = Http2Limits { max_concurrent_streams: 2, ..Http2Limits::default() };
    let limits = Limits { http2, ..Limits::default() };
    let inner = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let hop = service(Scheme::H2c, &[inner.address]);
    let outer =
        Portolan::start(vec![Router { service: Some(hop.into()), ..router("a.local", &[]) }]);
    for _again in 0..2 {
        let asked = (0..MOST).map(|_| outer.get("a.local", "/"));
        let answers = soon(futures_util::future::join_all(asked)).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    }
}

/// What a backend that speaks HTTP/2, in this way, answers to an upgrade.
async fn upgrades_over_http2(scheme: Scheme, tls: Option<TlsConfig>) {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            if header(&request.head, "upgrade").is_none() {
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                continue;
            }
            client
                .send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                .await;
            while let Some(line) = client.until("\n").await {
                client.send(&line.to_uppercase()).await;
            }
        }
    })
    .await;
    // A Portolan behind a Portolan.
    let inner = vec![router("a.local", &[backend.address])];
    let inner = Portolan::start_with(HttpConfig::default(), tls, inner);
    let mut hop = service(scheme, &[inner.address]);
    let careless = Transport { insecure_skip_verify: true, ..Transport::default() };
    hop.transport = Some((7, careless.into()));
    let outer =
        Portolan::start(vec![Router { service: Some(hop.into()), ..router("a.local", &[]) }]);
    for _ in 0..2 {
        assert_eq!(outer.get("a.local", "/").await.status, 200);
        let mut client = outer.connect().await;
        client
            .send("GET / HTTP/1.1\r\nHost: a.local\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        let head = client.until("\r\n\r\n").await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        client.send("anything\n").await;
        assert_eq!(client.until("\n").await.unwrap(), "ANYTHING\n");
    }
}

#[tokio::test]
async fn an_upgrade_reaches_a_backend_that_speaks_http2_too() {
    upgrades_over_http2(Scheme::Https, Some(TlsConfig::default())).await;
    upgrades_over_http2(Scheme::H2c, None).await;
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_a_response_like_any_other() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_backend_that_upgrades_unasked_is_not_believed() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        client.request().await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    assert_eq!(portolan.get("a.local", "/").await.status, 502);
    for (offer, status) in [("websocket", 502), ("y, xx", 502), ("x", 101), ("y, X", 101)] {
        let mut client = portolan.connect().await;
        let lines = format!("Connection: upgrade\r\nUpgrade: {offer}\r\n");
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{lines}\r\n")).await;
        assert_eq!(client.response().await.status, status, "{offer}");
    }
}

#[tokio::test]
async fn clear_text_http2_works_on_both_sides() {
    // A Portolan behind a Portolan: h2c in, h2c to the second, HTTP/1.1 to the backend.
    let backend = Script::echo().await;
    let inner = Portolan::start(vec![router("a.local", &[backend.address])]);
    let hop = service(Scheme::H2c, &[inner.address]);
    let outer =
        Portolan::start(vec![Router { service: Some(hop.into()), ..router("a.local", &[]) }]);
    let stream = TcpStream::connect(outer.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for n in 0..5 {
        if n == 3 {
            // The second one says goodbye to the first, which makes a new connection. Whether a request
            // meets the old one is a matter of luck, so this is one that may be sent again.
            inner.server.apply(Vec::new());
            let web = EntrypointConfig { address: inner.address, ..entrypoint("web", None) };
            inner.server.apply(vec![web]);
        }
        let (method, sent) = if n == 3 { ("PUT", "") } else { ("POST", "hello") };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://a.local/{n}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::new(bytes::Bytes::from_static(sent.as_bytes())))
            .unwrap();
        let response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        let seen = soon(response.into_body().collect()).await.unwrap().to_bytes();
        let seen = String::from_utf8(seen.to_vec()).unwrap();
        let begin = format!("{} /{n} http/1.1\r\n", method.to_lowercase());
        assert!(seen.starts_with(&begin), "{seen}");
        assert_eq!(header(&seen, "host"), Some("a.local"));
        assert_eq!(header(&seen, "x-forwarded-host"), Some("a.local"));
        assert_eq!(header(&seen, "cookie"), Some("a=1; b=2"));
    }
}

/// Content whose every piece tells where it stands.
fn numbered(length: usize) -> String {
    (0..length / 8).map(|number| format!("{number:08x}")).collect()
}

#[tokio::test]
async fn what_follows_a_large_body_is_the_next_message() {
    const LENGTH: usize = 4 * 1024 * 1024;
    let body = numbered(LENGTH);
    let sent = body.clone();
    let backend = Script::start(move |mut client| {
        let sent = sent.clone();
        async move {
            for number in 0.. {
                let Some(_request) = client.request().await else { return };
                let body = if number % 2 == 0 { sent.as_str() } else { "small" };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                client.send(&(head + body)).await;
            }
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    let get = "GET / HTTP/1.1\r\nHost: a.local\r\n\r\n";
    client.send(&get.repeat(4)).await;
    for _ in 0..2 {
        // In pieces, so that what leaves has to wait for who reads it.
        client.until("\r\n\r\n").await.unwrap();
        let mut read = String::with_capacity(LENGTH);
        while read.len() < LENGTH {
            read += &client.exactly(16 * 1024).await;
        }
        assert!(read == body);
        assert_eq!(client.response().await.body, "small");
    }
}

#[tokio::test]
async fn a_large_body_that_breaks_off_breaks_off() {
    const LENGTH: usize = 1024 * 1024;
    let body = numbered(LENGTH);
    let sent = body.clone();
    let backend = Script::start(move |mut client| {
        let sent = sent.clone();
        async move {
            client.request().await;
            let length = LENGTH + 1;
            client
                .send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sent}"))
                .await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    client.until("\r\n\r\n").await.unwrap();
    assert!(client.exactly(LENGTH).await == body);
    assert!(client.ends().await);
    // And a client that leaves within one disturbs nobody.
    let mut leaving = portolan.connect().await;
    leaving.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    leaving.until("\r\n\r\n").await.unwrap();
    drop(leaving);
    let mut next = portolan.connect().await;
    next.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    next.until("\r\n\r\n").await.unwrap();
    assert!(next.exactly(LENGTH).await == body);
}
