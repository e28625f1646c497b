//! Responses that are compressed on their way, on real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode};
use portolan_core::{
    compress::{Coding, Compress},
    exchange::{HeaderLine, Reply},
    middleware::{Action, Middleware},
    router::Router,
    service::Scheme,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::Instant,
};

use super::support::{Client, Portolan, Script, header, leading, plan, router, service, soon};
use crate::http::encoder::tests::{decoded, is_whole, text};

fn compress() -> Arc<Middleware> {
    compressing(1024)
}

fn compressing(min_bytes: u64) -> Arc<Middleware> {
    let codings = Coding::ALL.to_vec();
    let (excluded, included) = (Vec::new(), Vec::new());
    let compress = Compress { codings, default: None, min_bytes, excluded, included };
    plan("compress", vec![Action::Compress(compress)])
}

/// A server that compresses what this backend sends.
fn before(backend: &Script) -> Portolan {
    let middlewares = vec![compress()];
    Portolan::start(vec![Router { middlewares, ..router("a.local", &[backend.address]) }])
}

/// A backend that answers each request so.
async fn answering(head: &'static str, body: Vec<u8>) -> Script {
    Script::start(move |mut client| {
        let body = body.clone();
        async move {
            while client.request().await.is_some() {
                client
                    .send(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{head}\r\n"))
                    .await;
                client.stream.write_all(&body).await.unwrap();
            }
        }
    })
    .await
}

/// A body in chunks.
fn chunked(content: &[u8], size: usize, end: &str) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in content.chunks(size) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(end.as_bytes());
    chunks
}

/// A response as it came: its head in lower case, its content without chunks, and what stands behind the
/// last one; `None`: it broke off.
struct Came {
    head: String,
    content: Vec<u8>,
    end: Option<String>,
}

fn ask(coding: Coding, more: &str) -> String {
    let coding = coding.as_str();
    format!("GET / HTTP/1.1\r\nHost: a.local\r\nAccept-Encoding: {coding}\r\n{more}\r\n")
}

async fn get(portolan: &Portolan, request: &str) -> Came {
    let mut stream = TcpStream::connect(portolan.address).await.unwrap();
    let last = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    stream.write_all(last.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.unwrap();
    read(&all)
}

fn read(all: &[u8]) -> Came {
    let place = all.windows(4).position(|at| at == b"\r\n\r\n").expect("a head") + 4;
    let (head, body) = all.split_at(place);
    let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
    match header(&head, "transfer-encoding") {
        None => Came { head, content: body.to_vec(), end: Some(String::new()) },
        Some(_) => {
            let (content, end) = dechunk(body);
            Came { head, content, end }
        }
    }
}

fn dechunk(mut body: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut content = Vec::new();
    while let Some(place) = body.windows(2).position(|at| at == b"\r\n") {
        let size = std::str::from_utf8(&body[..place]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body = &body[place + 2..];
        if size == 0 {
            return (content, Some(String::from_utf8(body.to_vec()).unwrap()));
        }
        let piece = &body[..size.min(body.len())];
        content.extend_from_slice(piece);
        body = body.get(size + 2..).unwrap_or_default();
    }
    (content, None)
}

#[tokio::test]
async fn what_comes_is_what_was_sent_whatever_it_is_compressed_with() {
    let content = text(300_000);
    let tags = "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n";
    let whole: &'static str = format!("{tags}Content-Length: 300000\r\n").leak();
    let known = answering(whole, content.clone()).await;
    let unknown: &'static str = format!("{tags}Transfer-Encoding: chunked\r\n").leak();
    let unknown = answering(unknown, chunked(&content, 5000, "0\r\n\r\n")).await;
    for backend in [&known, &unknown] {
        let portolan = before(backend);
        for coding in Coding::ALL {
            let Came { head, content: given, end } = get(&portolan, &ask(coding, "")).await;
            assert_eq!(header(&head, "content-encoding"), Some(coding.as_str()));
            assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
            assert_eq!(header(&head, "content-length"), None);
            assert_eq!(
                (header(&head, "etag"), header(&head, "accept-ranges")),
                (Some("w/\"a\""), None)
            );
            assert_eq!(head.matches("vary: accept-encoding").count(), 1, "{head}");
            assert_eq!(end.as_deref(), Some("\r\n"));
            assert!(given.len() < content.len() / 2 && is_whole(coding, &given));
            assert!(decoded(coding, &given) == content, "{coding:?}");
        }
        // Who does not ask for it gets it as it is, and caches learn that others do not.
        let plain = get(&portolan, "GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert!(plain.content == content);
        assert_eq!(header(&plain.head, "etag"), Some("\"a\""));
        assert!(plain.head.contains("vary: accept-encoding"), "{}", plain.head);
    }
}

#[tokio::test]
async fn what_is_short_is_sent_as_it_is() {
    let short = text(1023);
    let known = answering("Content-Length: 1023\r\n", short.clone()).await;
    let unknown =
        answering("Transfer-Encoding: chunked\r\n", chunked(&short, 100, "0\r\n\r\n")).await;
    for backend in [&known, &unknown] {
        let came = get(&before(backend), &ask(Coding::Gzip, "")).await;
        assert_eq!(header(&came.head, "content-encoding"), None);
        // The length is known by now.
        assert_eq!(header(&came.head, "content-length"), Some("1023"));
        assert!(came.content == short);
    }
    let middlewares = vec![compressing(1023)];
    let unknown = router("a.local", &[unknown.address]);
    let portolan = Portolan::start(vec![Router { middlewares, ..unknown }]);
    let came = get(&portolan, &ask(Coding::Gzip, "")).await;
    assert_eq!(header(&came.head, "content-encoding"), Some("gzip"));
    assert!(decoded(Coding::Gzip, &came.content) == short);
    let nothing = answering("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n".to_vec()).await;
    let came = get(&before(&nothing), &ask(Coding::Gzip, "")).await;
    assert_eq!(header(&came.head, "content-length"), Some("0"));
}

#[tokio::test]
async fn trailers_come_behind_what_is_compressed_and_what_is_not() {
    for (length, encoding) in [(5000, Some("br")), (50, None)] {
        let content = text(length);
        let chunks = chunked(&content, 400, "0\r\nX-Sum: 7\r\n\r\n");
        let backend = answering("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", chunks).await;
        let came = get(&before(&backend), &ask(Coding::Brotli, "TE: trailers\r\n")).await;
        assert_eq!(header(&came.head, "content-encoding"), encoding);
        assert_eq!(came.end.as_deref(), Some("x-sum: 7\r\n\r\n"));
        let got =
            if encoding.is_some() { decoded(Coding::Brotli, &came.content) } else { came.content };
        assert!(got == content);
    }
}

#[tokio::test]
async fn what_breaks_off_never_looks_whole() {
    for (head, coding) in [
        ("Transfer-Encoding: chunked\r\n", Coding::Gzip),
        ("Transfer-Encoding: chunked\r\n", Coding::Brotli),
        ("Content-Length: 100000\r\n", Coding::Zstd),
    ] {
        let content = text(50_000);
        let sent = content.clone();
        let backend = Script::start(move |mut client| {
            let sent = sent.clone();
            async move {
                client.request().await;
                client.send(&format!("HTTP/1.1 200 OK\r\n{head}\r\n")).await;
                let is_chunked = head.starts_with('T');
                let sent = if is_chunked { chunked(&sent, 5000, "") } else { sent };
                client.stream.write_all(&sent).await.unwrap();
            }
        })
        .await;
        let came = get(&before(&backend), &ask(coding, "")).await;
        assert_eq!(header(&came.head, "content-encoding"), Some(coding.as_str()));
        assert_eq!(came.end, None, "there is no last chunk");
        assert!(!is_whole(coding, &came.content));
        assert!(content.starts_with(&decoded(coding, &came.content)));
    }
    // Before it is known whether it is long.
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n").await;
    })
    .await;
    let came = get(&before(&backend), &ask(Coding::Gzip, "")).await;
    assert_eq!((header(&came.head, "content-encoding"), came.end), (None, None));
    assert_eq!(came.content, b"ab");
}

/// The next chunk; the last is empty.
async fn chunk(client: &mut Client<TcpStream>) -> Vec<u8> {
    let size = client.until("\r\n").await.unwrap();
    let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
    let mut chunk = client.bytes(size + 2).await;
    chunk.truncate(size);
    chunk
}

/// Reads chunks until what they hold can be decoded to that much.
async fn until_decoded(
    client: &mut Client<TcpStream>,
    coding: Coding,
    given: &mut Vec<u8>,
    wanted: &str,
) {
    while decoded(coding, given) != wanted.as_bytes() {
        let chunk = chunk(client).await;
        assert!(!chunk.is_empty(), "it has ended");
        given.extend(chunk);
    }
}

#[tokio::test]
async fn each_event_comes_at_once() {
    for coding in Coding::ALL {
        let (more, wanted) = mpsc::unbounded_channel::<&str>();
        let wanted = Arc::new(tokio::sync::Mutex::new(wanted));
        let backend = Script::start(move |mut client| {
            let wanted = wanted.clone();
            async move {
                client.request().await;
                client
                    .send(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                         Transfer-Encoding: chunked\r\n\r\n",
                    )
                    .await;
                while let Some(event) = wanted.lock().await.recv().await {
                    client.send(&format!("{:x}\r\n{event}\r\n", event.len())).await;
                }
                client.send("0\r\n\r\n").await;
            }
        })
        .await;
        let portolan = before(&backend);
        let mut client = portolan.connect().await;
        client.send(&ask(coding, "")).await;
        // Before there is any event: that it is open is something to know.
        let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
        assert_eq!(header(&head, "content-encoding"), Some(coding.as_str()));
        let (mut given, mut all) = (Vec::new(), String::new());
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            more.send(event).unwrap();
            all += event;
            until_decoded(&mut client, coding, &mut given, &all).await;
        }
        drop(more);
        while let rest @ [_, ..] = &*chunk(&mut client).await {
            given.extend_from_slice(rest);
        }
        assert!(is_whole(coding, &given));
    }
}

#[tokio::test]
async fn a_few_bytes_before_a_pause_are_not_kept_for_long() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        // Until the client has had enough.
        client.until("never").await;
    })
    .await;
    let portolan = before(&backend);
    let mut client = portolan.connect().await;
    client.send(&ask(Coding::Gzip, "")).await;
    let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
    assert_eq!(header(&head, "content-encoding"), Some("gzip"));
    until_decoded(&mut client, Coding::Gzip, &mut Vec::new(), "first").await;
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(length / 8).flatten().collect()
}

#[tokio::test]
async fn no_more_is_read_than_the_client_takes() {
    for coding in Coding::ALL {
        let content = noise(32_000_000);
        let written = Arc::new(AtomicUsize::new(0));
        let (sent, count) = (content.clone(), written.clone());
        let backend = Script::start(move |mut client| {
            let (sent, count) = (sent.clone(), count.clone());
            async move {
                client.request().await;
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 32000000\r\n\r\n").await;
                for piece in sent.chunks(10_000) {
                    client.stream.write_all(piece).await.unwrap();
                    count.fetch_add(piece.len(), Ordering::Relaxed);
                }
            }
        })
        .await;
        let portolan = before(&backend);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut client = socket.connect(portolan.address).await.unwrap();
        let request = ask(coding, "Connection: close\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut all = vec![0; 1000];
        soon(client.read_exact(&mut all)).await.unwrap();
        // Until nothing moves any more, for long.
        let (mut before, mut still) = (0, Instant::now());
        soon(async {
            while still.elapsed() < Duration::from_millis(200) {
                tokio::task::yield_now().await;
                let now = written.load(Ordering::Relaxed);
                if now != before {
                    (before, still) = (now, Instant::now());
                }
            }
        })
        .await;
        assert!(
            before < 16_000_000,
            "{coding:?}: {before} were read for a client that reads nothing"
        );
        soon(client.read_to_end(&mut all)).await.unwrap();
        let came = read(&all);
        assert!(is_whole(coding, &came.content) && decoded(coding, &came.content) == content);
    }
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_backend() {
    let (backend, mut gone) = Script::endless().await;
    let portolan = before(&backend);
    let mut client = portolan.connect().await;
    client.send(&ask(Coding::Zstd, "")).await;
    client.until("\r\n\r\n").await.unwrap();
    drop(client);
    soon(gone.recv()).await.unwrap();
}

#[tokio::test]
async fn who_wants_the_head_alone_or_speaks_http_1_0_is_understood() {
    let content = text(5000);
    let backend = Script::start(move |mut client| {
        let content = content.clone();
        async move {
            while let Some(request) = client.request().await {
                client.send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5000\r\n\r\n").await;
                if request.head.starts_with("get ") {
                    client.stream.write_all(&content).await.unwrap();
                }
            }
        }
    })
    .await;
    let portolan = before(&backend);
    let head = ask(Coding::Gzip, "").replace("GET", "HEAD");
    let head = get(&portolan, &head).await.head;
    assert_eq!(header(&head, "content-length"), Some("5000"));
    assert_eq!((header(&head, "content-encoding"), header(&head, "etag")), (None, Some("\"a\"")));
    assert_eq!(header(&head, "vary"), Some("accept-encoding"));
    let old = ask(Coding::Gzip, "").replace("HTTP/1.1", "HTTP/1.0");
    let old = get(&portolan, &old).await;
    assert_eq!(header(&old.head, "content-encoding"), Some("gzip"));
    assert_eq!(header(&old.head, "transfer-encoding"), None);
    assert!(
        decoded(Coding::Gzip, &old.content) == text(5000) && is_whole(Coding::Gzip, &old.content)
    );
}

#[tokio::test]
async fn it_counts_what_the_client_said_and_others_see_what_became_of_it() {
    let set = |name: &'static str, value: &'static str| {
        let name = HeaderName::from_static(name);
        HeaderLine::new(name, HeaderValue::from_static(value))
    };
    // The backend is told not to compress by itself, as is usual.
    let plain = plan("plain", vec![Action::SetRequestHeader(set("accept-encoding", "identity"))]);
    let twice = vec![compress(), compress(), plain];
    let backend = Script::echo().await;
    let long = format!("x-long: {}\r\n", "x".repeat(2000));
    let reply = Reply { body: text(2000).into(), ..Reply::empty(StatusCode::IM_A_TEAPOT) };
    let own = vec![compress(), plan("own", vec![Action::Reply(reply)])];
    let portolan = Portolan::start(vec![
        Router { middlewares: twice, ..router("a.local", &[backend.address]) },
        Router { middlewares: own, ..router("b.local", &[]) },
    ]);
    let came = get(&portolan, &ask(Coding::Brotli, &long)).await;
    assert_eq!(came.head.matches("content-encoding: br\r\n").count(), 1, "{}", came.head);
    assert_eq!(came.head.matches("accept-encoding").count(), 1, "{}", came.head);
    let seen = String::from_utf8(decoded(Coding::Brotli, &came.content)).unwrap();
    assert_eq!(header(&seen, "accept-encoding"), Some("identity"));
    // What a middleware answers is a response like any other.
    let came = get(&portolan, &ask(Coding::Brotli, "").replace("a.local", "b.local")).await;
    assert!(came.head.starts_with("http/1.1 418"));
    assert!(decoded(Coding::Brotli, &came.content) == text(2000));
}

#[tokio::test]
async fn what_is_left_of_a_request_still_comes_when_its_answer_was_read_ahead() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let told = told.clone();
        async move {
            let head = client.until("\r\n\r\n").await.unwrap();
            client
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                .await;
            let rest = client.exactly(10).await;
            told.send((head.contains("POST"), rest)).unwrap();
            client.request().await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext").await;
        }
    })
    .await;
    let portolan = before(&backend);
    let mut client = portolan.connect().await;
    let post =
        "POST / HTTP/1.1\r\nHost: a.local\r\nAccept-Encoding: gzip\r\nContent-Length: 10\r\n\r\n";
    client.send(post).await;
    assert_eq!(client.response().await.body, "ok");
    client.send("0123456789").await;
    assert_eq!(soon(heard.recv()).await.unwrap(), (true, "0123456789".to_owned()));
    client.send(&ask(Coding::Gzip, "")).await;
    assert_eq!(client.response().await.body, "next", "on the same connection");
}

/// A backend over HTTP/2 that answers with these frames, the last of which says that it is the last; none of
/// them has a length.
async fn framing(frames: &'static [usize]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    let head = http::Response::builder().header("content-type", "text/plain");
                    let mut stream = answer.send_response(head.body(()).unwrap(), false).unwrap();
                    for (place, size) in frames.iter().enumerate() {
                        let is_last = place + 1 == frames.len();
                        stream.send_data(text(*size).into(), is_last).unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_ends_with_its_last_frame_is_whole() {
    for (frames, encoding) in
        [(&[5][..], None), (&[5, 0], None), (&[3000], Some("gzip")), (&[700, 800], Some("gzip"))]
    {
        let service = service(Scheme::H2c, &[framing(frames).await]);
        let middlewares = vec![compress()];
        let portolan = Portolan::start(vec![Router { middlewares, ..leading("a.local", service) }]);
        let expected: Vec<u8> = frames.iter().flat_map(|size| text(*size)).collect();
        let Came { head, content, end } = get(&portolan, &ask(Coding::Gzip, "")).await;
        assert_eq!(header(&head, "content-encoding"), encoding, "{frames:?}");
        assert!(end.is_some());
        match encoding {
            None => assert_eq!(content, expected, "{frames:?}"),
            Some(_) => {
                assert!(is_whole(Coding::Gzip, &content), "{frames:?}");
                assert_eq!(decoded(Coding::Gzip, &content), expected, "{frames:?}");
            }
        }
    }
}

#[tokio::test]
async fn over_http2_it_is_the_same() {
    let content = text(300_000);
    let chunks = chunked(&content, 5000, "0\r\nX-Sum: 7\r\n\r\n");
    let whole = answering("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", chunks).await;
    let short = chunked(b"short", 5, "0\r\n\r\n");
    let short = answering("Transfer-Encoding: chunked\r\n", short).await;
    let broken = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n").await;
        client.stream.write_all(&text(4000)).await.unwrap();
    })
    .await;
    let routers = [("a.local", &whole), ("b.local", &short), ("c.local", &broken)];
    let routers = routers.map(|(host, backend)| Router {
        middlewares: vec![compress()],
        ..router(host, &[backend.address])
    });
    let portolan = Portolan::start(routers.into());
    let stream = TcpStream::connect(portolan.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for coding in Coding::ALL {
        for host in ["a.local", "b.local", "c.local"] {
            let request = http::Request::get(format!("http://{host}/"))
                .header("accept-encoding", coding.as_str())
                .header("te", "trailers")
                .body(())
                .unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let response = soon(response).await.unwrap();
            let told = |name: &str| response.headers().get(name).map(|it| it.to_str().unwrap());
            let (encoding, length) = (told("content-encoding"), told("content-length"));
            match host {
                "b.local" => assert_eq!((encoding, length), (None, Some("5"))),
                _ => assert_eq!((encoding, length), (Some(coding.as_str()), None)),
            }
            let (mut body, mut given, mut is_broken) = (response.into_body(), Vec::new(), false);
            while let Some(data) = soon(body.data()).await {
                match data {
                    Ok(data) => {
                        body.flow_control().release_capacity(data.len()).unwrap();
                        given.extend_from_slice(&data);
                    }
                    Err(_) => {
                        is_broken = true;
                        break;
                    }
                }
            }
            assert_eq!(is_broken, host == "c.local");
            match host {
                "a.local" => {
                    assert!(decoded(coding, &given) == content && is_whole(coding, &given));
                    let trailers = soon(body.trailers()).await.unwrap().unwrap();
                    assert_eq!(trailers["x-sum"], "7");
                }
                "b.local" => assert_eq!(given, b"short"),
                _ => assert!(!is_whole(coding, &given)),
            }
        }
    }
}
