//! Backends that answer before they have read the request, and read on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_core::{
    name::ObjectName,
    policy::{LoadBalancer, Timeouts},
    service::{Kind, Mirror, Mirroring, Scheme, Service},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    sync::mpsc,
};

use super::{
    raw::{DATA, END_STREAM, Raw, frame, post},
    support::{Client, Portolan, Script, leading, router, service, soon, treated},
};
use crate::http::{ClientTimeouts, Limits};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 9\r\n";

/// Answers each request as soon as its head has come, and tells what came behind that.
async fn hasty(answer: &'static str) -> (Script, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            while let Some(head) = client.until("\r\n\r\n").await {
                let head = head.to_lowercase();
                client.send(answer).await;
                let body = match head.contains("chunked") {
                    true => client.until("0\r\n\r\n").await,
                    false if head.contains("content-length: 9") => client.until("end").await,
                    false => Some("nothing".to_owned()),
                };
                tell.send(body.unwrap_or_else(|| "cut".to_owned())).ok();
            }
        }
    });
    (script.await, told)
}

/// The answers that such a backend gives: with content, without, and without a place for any.
const ANSWERS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 OK\r\n\r\n",
];

#[tokio::test]
async fn what_comes_behind_an_early_answer_reaches_the_backend_and_both_connections_are_kept() {
    for answer in ANSWERS {
        let (mut backend, mut told) = hasty(answer).await;
        let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
        let mut client = portolan.connect().await;
        for _ in 0..3 {
            client.send(&format!("{HEAD}\r\n")).await;
            // It does not wait for the rest.
            assert!((200..=204).contains(&client.response().await.status));
            for piece in ["first ", "end"] {
                assert!(told.try_recv().is_err());
                client.send(piece).await;
            }
            assert_eq!(soon(told.recv()).await.unwrap(), "first end");
            let head = "PUT / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.send(&format!("{head}2\r\nab\r\n")).await;
            assert!((200..=204).contains(&client.response().await.status));
            // The next request may come right behind it.
            client.send("1\r\nc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
            assert!((200..=204).contains(&client.response().await.status));
            let chunks = soon(told.recv()).await.unwrap();
            assert!(chunks.contains("ab") && chunks.ends_with("1\r\nc\r\n0\r\n\r\n"), "{chunks:?}");
            assert_eq!(soon(told.recv()).await.unwrap(), "nothing");
        }
        assert_eq!(backend.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_the_end_gets_it_before_it_has_sent_all() {
    let (backend, mut told) = hasty(ANSWERS[0]).await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send(&format!("{HEAD}Connection: close\r\n\r\n")).await;
    assert_eq!(client.response().await.body, "ok");
    assert!(client.ends().await);
    client.send("first end").await;
    assert_eq!(soon(told.recv()).await.unwrap(), "first end");
}

/// Waits for the end of an answer.
async fn ended(raw: &mut Raw, stream: u32) {
    loop {
        let frame = raw.next().await.unwrap();
        if frame.stream == stream && frame.flags & END_STREAM != 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_client_over_http2_may_go_when_it_has_sent_all() {
    for answer in ANSWERS {
        let (mut backend, mut told) = hasty(answer).await;
        let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
        let mut raw = Raw::connect(&portolan, &[]).await;
        for stream in [1, 3, 5] {
            raw.send(&post(stream)).await;
            ended(&mut raw, stream).await;
            raw.send(&frame(DATA, 0, stream, b"first ")).await;
            raw.send(&frame(DATA, END_STREAM, stream, b"end")).await;
            if stream == 5 {
                raw.writes.shutdown().await.unwrap();
            }
            let told = soon(told.recv()).await.unwrap();
            assert!(told.contains("first ") && told.ends_with("end\r\n0\r\n\r\n"), "{told:?}");
        }
        assert_eq!(backend.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_mirror_gets_what_comes_behind_an_early_answer_too() {
    let ((main, mut told), (copy, mut copied)) = (hasty(ANSWERS[0]).await, hasty(ANSWERS[0]).await);
    let part = |address: SocketAddr| Arc::new(service(Scheme::Http, &[address]));
    let mirroring = Mirroring {
        main: part(main.address),
        mirrors: vec![Mirror::new(part(copy.address), 100)],
        mirror_body: true,
        max_body: 64,
    };
    let all = Service::of(ObjectName::new("all", "test"), Kind::Mirroring(mirroring));
    let portolan = Portolan::start(vec![leading("a.local", all)]);
    let mut client = portolan.connect().await;
    client.send(&format!("{HEAD}\r\n")).await;
    assert_eq!(client.response().await.body, "ok");
    client.send("first end").await;
    for told in [&mut told, &mut copied] {
        assert_eq!(soon(told.recv()).await.unwrap(), "first end");
    }
}

/// Answers early, and then does not read, or goes.
async fn sated(goes: bool) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut client = Client::new(stream);
                client.until("\r\n\r\n").await.unwrap();
                client.send(ANSWERS[0]).await;
                if !goes {
                    tell.send(()).unwrap();
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, told)
}

#[tokio::test]
async fn a_backend_that_reads_no_more_is_not_waited_for_without_end() {
    let (address, _told) = sated(false).await;
    let room = Duration::from_millis(100);
    let timeouts = Timeouts { request_idle: Some(room), ..Timeouts::default() };
    let hop = treated(Scheme::Http, &[address], LoadBalancer { timeouts, ..Default::default() });
    let figures = hop.backends[0].figures.clone();
    let portolan = Portolan::start(vec![leading("a.local", hop)]);
    let mut client = portolan.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 100000000\r\n\r\n").await;
    assert_eq!(client.response().await.body, "ok");
    assert_eq!(figures.in_flight.value(), 1, "it still works on it");
    let (mut read, mut write) = client.stream.into_split();
    let piece = vec![b'x'; 64 * 1024];
    let sending = tokio::spawn(async move { while write.write_all(&piece).await.is_ok() {} });
    soon(sending).await.unwrap();
    assert!(matches!(soon(read.read(&mut [0; 8])).await, Ok(0) | Err(_)));
    assert_eq!(figures.in_flight.value(), 0);
}

#[tokio::test]
async fn a_connection_is_kept_behind_a_little_that_its_backend_does_not_want_any_more() {
    let (address, _told) = sated(true).await;
    let portolan = Portolan::start(vec![router("a.local", &[address])]);
    let mut client = portolan.connect().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 150000\r\n\r\n").await;
        assert_eq!(client.response().await.body, "ok");
        for _ in 0..150 {
            client.send(&"x".repeat(1000)).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_within_what_it_owes_is_given_up() {
    let (backend, mut told) = hasty(ANSWERS[0]).await;
    let timeouts =
        ClientTimeouts { request_stall: Duration::from_secs(1), ..ClientTimeouts::default() };
    let limits = Limits { timeouts, ..Limits::default() };
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    client.send(&format!("{HEAD}\r\nfirst ")).await;
    assert_eq!(client.response().await.body, "ok");
    assert!(client.ends().await);
    assert_eq!(soon(told.recv()).await.unwrap(), "cut");
    raw.send(&post(1)).await;
    ended(&mut raw, 1).await;
    assert_eq!(soon(told.recv()).await.unwrap(), "cut");
}
