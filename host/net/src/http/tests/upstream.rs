//! What backends that speak HTTP/2 do to those who ask them.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use portolan_core::{
    reason::Reason,
    router::Router,
    service::{Scheme, Transport},
    test_util,
};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::{
    raw::{
        ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING,
        RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, answered, backend, code, fine, frame, goodbye,
        line, post, request, settings,
    },
    support::{Client, Portolan, Script, leading, router, service, soon},
};
use crate::{
    http::{ClientTimeouts, HttpConfig, Limits},
    tls::TlsConfig,
};

/// What takes at most so many requests at once.
const MOST: &[(u16, u32)] = &[(3, 100)];

#[tokio::test]
async fn a_response_that_is_reset_in_the_middle_is_not_whole() {
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes());
    let leave = |_| goodbye(0, NO_ERROR);
    type Make = fn(u32) -> Vec<u8>;
    let ways: [(&[(&str, &str)], Make); 3] =
        [(&[("content-length", "20")], reset), (&[], reset), (&[], leave)];
    for (lines, end) in ways {
        let (address, _) = backend(MOST, move |mut raw, _| async move {
            while let Some((stream, _)) = raw.request().await {
                let begin = [fine(stream, 0, lines), frame(DATA, 0, stream, b"some of it")];
                raw.send(&begin.concat()).await;
                raw.send(&end(stream)).await;
            }
        })
        .await;
        let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
        let mut client = portolan.connect().await;
        client.send(&"GET / HTTP/1.1\r\nHost: a.local\r\n\r\n".repeat(2)).await;
        client.until("some of it").await.unwrap();
        let rest = if lines.is_empty() { "\r\n" } else { "" };
        assert_eq!(client.exactly(rest.len()).await, rest);
        assert!(client.ends().await, "nothing of a second response");
        let mut raw = Raw::connect(&portolan, &[]).await;
        raw.send(&request(1)).await;
        loop {
            let frame = raw.next().await.unwrap();
            assert!(!(frame.kind == DATA && frame.flags & END_STREAM != 0), "it looks whole");
            if frame.kind == RST_STREAM {
                assert_ne!(code(&frame.payload), NO_ERROR);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_response_that_is_whole_may_be_reset_behind_its_end() {
    let (address, _) = backend(MOST, |mut raw, _| async move {
        let stream = raw.until(HEADERS).await.unwrap().stream;
        let reset = frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes());
        raw.send(&[answered(stream), reset].concat()).await;
        while raw.next().await.is_some() {}
    })
    .await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    let mut client = portolan.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 999\r\n\r\nx").await;
    assert_eq!(client.response().await.body, "2\r\nok\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_request_that_is_reset_in_the_middle_is_not_whole() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let plain = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            client.until("half\r\n").await.unwrap();
            tell.send(()).ok();
            assert!(client.ends().await);
            tell.send(()).ok();
        }
    })
    .await;
    let (code_of, mut codes) = mpsc::unbounded_channel();
    let (begun, mut is_begun) = mpsc::unbounded_channel();
    let (shared, _) = backend(MOST, move |mut raw, _| {
        let (code_of, begun) = (code_of.clone(), begun.clone());
        async move {
            raw.until(DATA).await.unwrap();
            begun.send(()).ok();
            loop {
                let frame = raw.next().await.unwrap();
                assert!(frame.kind != DATA, "it looks whole");
                if frame.kind == RST_STREAM {
                    code_of.send(code(&frame.payload)).ok();
                }
            }
        }
    })
    .await;
    let half = [post(1), frame(DATA, 0, 1, b"half")].concat();
    let reset = frame(RST_STREAM, 0, 1, &NO_ERROR.to_be_bytes());
    let portolan = Portolan::start(vec![router("a.local", &[plain.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&half).await;
    soon(told.recv()).await.unwrap();
    raw.send(&reset).await;
    soon(told.recv()).await.unwrap();
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[shared]))]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&half).await;
    soon(is_begun.recv()).await.unwrap();
    raw.send(&reset).await;
    assert_eq!(soon(codes.recv()).await.unwrap(), CANCEL);
}

/// Sends without end to those who came first, as far as they let it, and answers the others.
async fn generous(mut raw: Raw, endless: u32, blocked: mpsc::UnboundedSender<()>) {
    let (mut initial, mut connection) = (65_535_i64, 65_535_i64);
    let mut streams = HashMap::<u32, i64>::new();
    while let Some(frame) = raw.next().await {
        let number = |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                for pair in frame.payload.chunks(6).filter(|pair| pair[..2] == [0, 4]) {
                    initial = number(&pair[2..]);
                }
            }
            WINDOW_UPDATE if frame.stream == 0 => connection += number(&frame.payload),
            WINDOW_UPDATE => {
                streams.entry(frame.stream).and_modify(|it| *it += number(&frame.payload));
            }
            HEADERS if frame.stream < 2 * endless => {
                raw.send(&fine(frame.stream, 0, &[])).await;
                streams.insert(frame.stream, initial);
            }
            // It has no other way to say that it may not.
            HEADERS if connection < 2 => panic!("there is no window"),
            HEADERS => raw.send(&answered(frame.stream)).await,
            _ => continue,
        }
        for (stream, window) in &mut streams {
            while *window > 0 && connection > 0 {
                let length = (*window).min(connection).min(16_384);
                let data = vec![b'x'; usize::try_from(length).unwrap()];
                raw.send(&self::frame(DATA, 0, *stream, &data)).await;
                *window -= length;
                connection -= length;
            }
        }

        if frame.kind == HEADERS {
            blocked.send(()).ok();
        }
    }
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody_else() {
    const SLOW: u32 = 12;
    let (blocked, mut is_blocked) = mpsc::unbounded_channel();
    let (address, connections) =
        backend(MOST, move |raw, _| generous(raw, SLOW, blocked.clone())).await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut slow = Raw::connect(&portolan, &[(4, 0)]).await;
    for stream in 0..SLOW {
        slow.send(&request(2 * stream + 1)).await;
        soon(is_blocked.recv()).await.unwrap();
    }
    // Over the connection that the others have filled, which is that of their worker.
    slow.send(&settings(&[(4, 9)])).await;
    slow.send(&request(2 * SLOW + 1)).await;
    loop {
        let frame = slow.next().await.unwrap();
        if frame.stream == 2 * SLOW + 1 && frame.kind == DATA {
            assert_eq!(frame.payload, b"ok");
            break;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_upload_that_nobody_reads_holds_up_no_other() {
    // It accepts, and says nothing: there is nobody to whom the body could be sent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = Script::start(|mut client| async move {
        client.until("0\r\n\r\n").await.unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let waiting = service(Scheme::H2c, &[silent.local_addr().unwrap()]);
    let rule = "Host(`a.local`) && Header(`x`, `y`)";
    let waiting = Router { service: Some(waiting.into()), ..test_util::router("w", rule) };
    let portolan = Portolan::start(vec![waiting, router("a.local", &[good.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    let (mut window, mut connection) = (0, 65_535);
    while window == 0 || connection == 65_535 {
        let frame = raw.next().await.unwrap();
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            let pair = frame.payload.chunks(6).find(|pair| pair[..2] == [0, 4]).unwrap();
            window = code(&pair[2..]);
            raw.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
        }
        if frame.kind == WINDOW_UPDATE {
            connection += code(&frame.payload);
        }
    }
    assert!(connection >= 4 * window, "{connection} for all, {window} for one");
    let mut head = post(1);
    let more = line("x", "y");
    head[2] += u8::try_from(more.len()).unwrap();
    head.extend(more);
    raw.send(&head).await;
    for piece in vec![b'x'; window as usize].chunks(16_384) {
        raw.send(&frame(DATA, 0, 1, piece)).await;
    }
    raw.send(&[post(3), frame(DATA, END_STREAM, 3, &[b'x'; 10_000])].concat()).await;
    loop {
        let frame = raw.next().await.unwrap();
        assert!(!matches!(frame.kind, RST_STREAM | GOAWAY), "it is taken");
        if frame.kind == HEADERS {
            assert_eq!(frame.stream, 3);
            break;
        }
    }
}

#[tokio::test]
async fn who_listens_to_a_stream_may_be_silent_and_who_owes_a_request_may_not() {
    let (address, _) = backend(MOST, |mut raw, _| async move {
        let first = raw.until(HEADERS).await.unwrap().stream;
        raw.send(&fine(first, 0, &[])).await;
        let second = raw.until(HEADERS).await.unwrap().stream;
        let reset = raw.until(RST_STREAM).await.unwrap();
        assert_eq!((reset.stream, code(&reset.payload)), (second, CANCEL));
        raw.send(&frame(DATA, END_STREAM, first, b"news")).await;
        while raw.next().await.is_some() {}
    })
    .await;
    let timeouts =
        ClientTimeouts { request_stall: Duration::from_secs(1), ..ClientTimeouts::default() };
    let limits = Limits { timeouts, ..Limits::default() };
    let routers = vec![leading("a.local", service(Scheme::H2c, &[address]))];
    let portolan = Portolan::limited(limits, routers);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&[post(1), frame(DATA, 0, 1, b"subscribe")].concat()).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 1);
    raw.send(&[post(3), frame(DATA, 0, 3, b"half")].concat()).await;
    // When this one's patience is over, that of the other one would be, too.
    let mut told = Vec::new();
    while told.len() < 2 {
        let frame = raw.next().await.unwrap();
        match frame.kind {
            HEADERS => told.push(frame.stream),
            DATA if frame.stream == 1 => {
                assert_eq!(frame.payload, b"news");
                told.push(frame.stream);
            }
            RST_STREAM => assert_eq!(frame.stream, 3),
            _ => {}
        }
    }
    told.sort_unstable();
    assert_eq!(told, [1, 3]);
    let reasons = portolan.server.ledger().reasons.iter();
    let slow = reasons.filter(|(reason, _)| *reason == Reason::BodyTimeout);
    assert_eq!(
        slow.map(|(_, count)| count).sum::<u64>(),
        1,
        "the client's fault, and told as such"
    );
}

#[tokio::test]
async fn a_backend_may_have_as_much_to_say_as_over_http1() {
    let (address, connections) = backend(MOST, |mut raw, _| async move {
        let mut kilobytes = [60_usize, 120, 140, 300, 1].into_iter();
        while let Some((stream, _)) = raw.request().await {
            let value = "v".repeat(1000);
            let lines = (0..kilobytes.next().unwrap()).flat_map(|_| line("x", &value));
            let block: Vec<u8> = std::iter::once(0x88).chain(lines).collect();
            let pieces = block.chunks(16_000);
            let last = pieces.len() - 1;
            for (place, piece) in pieces.enumerate() {
                let kind = if place == 0 { HEADERS } else { CONTINUATION };
                let flags = if place == last { END_HEADERS } else { 0 };
                raw.send(&frame(kind, flags, stream, piece)).await;
            }
            raw.send(&frame(DATA, END_STREAM, stream, b"ok")).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    let mut client = portolan.connect().await;
    for status in [200, 200, 502, 502, 200] {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert_eq!(client.response().await.status, status);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_a_backend_takes_at_once_may_become_less() {
    let (lowered, mut is_lowered) = mpsc::unbounded_channel();
    let (address, connections) = backend(MOST, move |mut raw, number| {
        let lowered = lowered.clone();
        async move {
            if number == 0 {
                let (first, _) = raw.request().await.unwrap();
                raw.send(&fine(first, 0, &[])).await;
                // SETTINGS_MAX_CONCURRENT_STREAMS, and a question that is answered behind it.
                raw.send(&[settings(&[(3, 1)]), frame(PING, 0, 0, &[7; 8])].concat()).await;
                raw.until(PING).await.unwrap();
                lowered.send(()).ok();
            }
            while let Some((stream, _)) = raw.request().await {
                raw.send(&answered(stream)).await;
            }
        }
    })
    .await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    // All of one connection, and so of one worker.
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&request(1)).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 1);
    soon(is_lowered.recv()).await.unwrap();
    raw.send(&request(3)).await;
    assert_eq!(raw.until(DATA).await.unwrap().stream, 3);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_backend_that_takes_no_requests_is_passed_over() {
    let (none, connections) = backend(&[(3, 0)], |mut raw, _| async move {
        assert!(raw.request().await.is_none());
    })
    .await;
    let (some, _) = backend(MOST, |mut raw, _| async move {
        while let Some((stream, _)) = raw.request().await {
            raw.send(&answered(stream)).await;
        }
    })
    .await;
    let both = service(Scheme::H2c, &[none, some]);
    let portolan = Portolan::start(vec![leading("a.local", both)]);
    for _ in 0..4 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
    assert!(connections.load(Ordering::Relaxed) > 0);
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[none]))]);
    assert_eq!(portolan.get("a.local", "/").await.status, 502);
}

#[tokio::test]
async fn many_who_come_at_once_share_the_first_encrypted_connection() {
    let backend = Script::echo().await;
    let inner = vec![router("a.local", &[backend.address])];
    let inner = Portolan::start_with(HttpConfig::default(), Some(TlsConfig::default()), inner);
    let mut hop = service(Scheme::Https, &[inner.address]);
    let careless = Transport { insecure_skip_verify: true, ..Transport::default() };
    hop.transport = Some((7, careless.into()));
    let outer = Portolan::start(vec![leading("a.local", hop)]);
    let mut raw = Raw::connect(&outer, &[]).await;
    let all: Vec<u8> = (0..20).flat_map(|n| request(2 * n + 1)).collect();
    raw.send(&all).await;
    for _ in 0..20 {
        raw.until(HEADERS).await.unwrap();
    }
    assert_eq!(inner.server.figures()[0].1.open_connections.value(), 1);
}

/// A backend over TLS that answers a request with that head, and tells how its connection ends.
async fn ended(head: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<io::Result<usize>>) {
    let own = rcgen::generate_simple_self_signed(["a.local".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Client::new(acceptor.accept(stream).await.unwrap());
        client.request().await.unwrap();
        client.send(head).await;
        tell.send(client.stream.read(&mut [0; 8]).await).unwrap();
    });
    (address, told)
}

#[tokio::test]
async fn an_encrypted_connection_that_is_not_needed_any_more_ends_with_a_word() {
    for head in [
        // Kept, until the service is gone.
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (address, mut told) = ended(head).await;
        let mut hop = service(Scheme::Https, &[address]);
        let careless = Transport { insecure_skip_verify: true, ..Transport::default() };
        hop.transport = Some((7, careless.into()));
        let mut portolan = Portolan::start(vec![leading("a.local", hop)]);
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
        portolan.publish(Vec::new());
        // Without it this is an error: the end may be somebody else's cut.
        assert_eq!(soon(told.recv()).await.unwrap().unwrap(), 0, "{head}");
    }
}

#[tokio::test]
async fn a_connection_that_its_backend_has_closed_is_closed_by_us_too() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            client.request().await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            client.stream.shutdown().await.unwrap();
            tell.send(client.stream.read(&mut [0; 8]).await).unwrap();
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
    // Nobody asks for another one, and it would be kept for a minute.
    assert_eq!(soon(told.recv()).await.unwrap().unwrap(), 0);
}
