//! What clients of HTTP/2 do to those who serve them, frame by frame.

use std::{sync::Arc, time::Duration};

use http::{Method, Request, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::{
    exchange::{Exchange, Reply},
    hook::{CallError, Hooks, RequestVerdict, ResponseVerdict},
    limit::Limit,
    middleware::{Action, Interest},
    reason::Reason,
    router::Router,
    service::Scheme,
    test_util,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    raw::{
        self, ACK, CALM, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY,
        HEADERS, NO_ERROR, PING, PRIORITY, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, answer, code,
        fine, frame, get, goaway_code, line, post, request, reset,
    },
    support::{Portolan, Script, middleware, nobody, plan, router, service, soon},
};
use crate::http::{ClientTimeouts, Http2Limits, Limits};

fn counted(portolan: &Portolan, limit: Limit) -> u64 {
    portolan.server.figures()[0].1.limits.value(limit)
}

async fn until_counted(portolan: &Portolan, limit: Limit) {
    soon(async {
        while counted(portolan, limit) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// How often a reason was noted.
fn reasons(portolan: &Portolan, wanted: Reason) -> u64 {
    let all = portolan.server.ledger().reasons.iter();
    all.filter(|(reason, _)| *reason == wanted).map(|(_, count)| count).sum()
}

/// A server whose host `a.local` echoes.
async fn echoing(limits: Limits) -> (Portolan, Script) {
    let backend = Script::echo().await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    (portolan, backend)
}

fn limits(http2: Http2Limits) -> Limits {
    Limits { http2, ..Limits::default() }
}

#[tokio::test]
async fn floods_end_in_a_word_and_cost_nobody_else_anything() {
    // Low, so that a slow machine is fast enough.
    let few = Http2Limits { max_resets: 50, max_control_frames: 50, ..Http2Limits::default() };
    let (portolan, _backend) = echoing(limits(few)).await;
    type Make = fn(u32) -> Vec<u8>;
    let floods: [(&str, Make, &[Limit]); 8] = [
        (
            "reset",
            |n| [request(2 * n + 1), reset(2 * n + 1)].concat(),
            &[Limit::Resets, Limit::Http2Abuse],
        ),
        (
            "reset of one that is over",
            |n| if n == 0 { request(1) } else { reset(1) },
            &[Limit::ControlFrames],
        ),
        ("settings", |_| frame(SETTINGS, 0, 0, &[]), &[Limit::ControlFrames]),
        ("ping", |_| frame(PING, 0, 0, &[7; 8]), &[Limit::ControlFrames]),
        ("window", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), &[Limit::ControlFrames]),
        ("priority", |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9]), &[Limit::ControlFrames]),
        (
            "empty data",
            |n| if n == 0 { post(1) } else { frame(DATA, 0, 1, &[]) },
            &[Limit::ControlFrames, Limit::Http2Abuse],
        ),
        (
            "continuation",
            |n| match n {
                0 => frame(HEADERS, END_STREAM, 1, &get(&[])),
                _ => frame(CONTINUATION, 0, 1, &line("x", "y")),
            },
            &[Limit::Http2Abuse],
        ),
    ];
    for (name, make, limits) in floods {
        let count = || limits.iter().map(|limit| counted(&portolan, *limit)).sum::<u64>();
        let before = count();
        let raw = Raw::connect(&portolan, &[]).await;
        let (code, other) = tokio::join!(raw.flood(make), portolan.get("a.local", "/"));
        assert_eq!((code, other.status), (CALM, 200), "{name}");
        soon(async {
            while count() == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn requests_that_are_begun_and_taken_back_are_counted_too() {
    let limits = limits(Http2Limits { max_resets: 5, ..Http2Limits::default() });
    let backend = Script::start(|mut client| async move {
        client.until("never").await;
    })
    .await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    // Each was seen before it is taken back, so h2 does not mind.
    let code = soon(async {
        for number in 0.. {
            let stream = 2 * number + 1;
            let ping = frame(PING, 0, 0, &[1; 8]);
            let sent = [request(stream), ping].concat();
            if raw.writes.write_all(&sent).await.is_err() {
                break;
            }
            loop {
                match raw.next().await {
                    Some(Frame { kind: GOAWAY, payload, .. }) => return goaway_code(&payload),
                    Some(Frame { kind: PING, flags: ACK, .. }) => break,
                    Some(_) => {}
                    None => panic!("closed without a word"),
                }
            }
            drop(raw.writes.write_all(&reset(stream)).await);
        }
        NO_ERROR
    })
    .await;
    assert_eq!(code, CALM);
    assert_eq!(counted(&portolan, Limit::Resets), 1);
}

fn impatient() -> Limits {
    let short = Duration::from_secs(1);
    let timeouts = ClientTimeouts {
        request_stall: short,
        response_stall: short,
        idle: short,
        ..ClientTimeouts::default()
    };
    Limits { timeouts, ..Limits::default() }
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_given_up_and_so_is_its_backend() {
    let (backend, mut is_gone) = Script::endless().await;
    let portolan = Portolan::limited(impatient(), vec![router("a.local", &[backend.address])]);
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut raw = Raw::connect(&portolan, &[(4, 0)]).await;
    raw.send(&request(1)).await;
    assert_eq!(portolan.get("nobody", "/").await.status, 404);
    let end = raw.until(RST_STREAM).await.unwrap();
    assert_eq!((end.stream, code(&end.payload)), (1, CANCEL));
    soon(is_gone.recv()).await.unwrap();
    assert_eq!(counted(&portolan, Limit::ResponseStall), 1);
    assert_eq!(reasons(&portolan, Reason::ClientStalled), 1);
    // Its connection may be used for something better, for as long as others may.
    raw.send(&request(3)).await;
    raw.until(HEADERS).await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_is_closed() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        let chunk = vec![b'x'; 64 * 1024];
        while client.stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let portolan = Portolan::limited(impatient(), vec![router("a.local", &[backend.address])]);
    let window = i32::MAX.unsigned_abs();
    let mut raw = Raw::connect(&portolan, &[(4, window)]).await;
    let more = (window - 65_535).to_be_bytes();
    raw.send(&frame(8, 0, 0, &more)).await;
    raw.send(&[request(1), request(3)].concat()).await;
    until_counted(&portolan, Limit::IdleTimeout).await;
    let figures = portolan.server.figures()[0].1.clone();
    soon(async {
        while figures.open_connections.value() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(counted(&portolan, Limit::ResponseStall), 2);
    drop(raw);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_and_a_slow_backend_is_not_the_clients_fault() {
    let (portolan, _backend) = echoing(impatient()).await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&post(1)).await;
    let answer = raw.until(HEADERS).await.unwrap();
    assert_eq!(answer.stream, 1);
    until_counted(&portolan, Limit::RequestStall).await;
    assert_eq!(reasons(&portolan, Reason::BodyTimeout), 1);
}

#[tokio::test]
async fn blanks_around_a_value_are_refused_and_reach_no_rule() {
    let backend = Script::echo().await;
    let rule = "Host(`a.local`) && !Header(`X-Admin`, `1`)";
    let service = router("a.local", &[backend.address]).service;
    let portolan = Portolan::start(vec![Router { service, ..test_util::router("r", rule) }]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    // The first byte of a block says the status: 200 and 400 have an entry in the table, 404 too.
    for (stream, value, status) in [
        (1, "2", 0x88),
        (3, "1", 0x8d),
        (5, " 1", 0x8c),
        (7, "1 ", 0x8c),
        (9, "\t1", 0x8c),
        (11, " ", 0x8c),
        (13, "", 0x88),
    ] {
        let block = get(&[("x-admin", value)]);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
        let answer = raw.until(HEADERS).await.unwrap();
        assert_eq!((answer.stream, answer.payload[0]), (stream, status), "{value:?}");
    }
    assert_eq!(reasons(&portolan, Reason::BadHeader), 4);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 15, &get(&[("host", "b.local")]))).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().payload[0], 0x8c);
    assert_eq!(reasons(&portolan, Reason::TwoHosts), 1);
}

#[tokio::test]
async fn trailers_say_no_more_than_over_http_1() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let (length, body) = (request.body.len(), request.body);
            client
                .send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
                .await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    let trailers = |stream, lines: &[(&str, &str)]| {
        let block: Vec<u8> = lines.iter().flat_map(|(name, value)| line(name, value)).collect();
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    };
    raw.send(&[post(1), frame(DATA, 0, 1, b"hello")].concat()).await;
    raw.send(&trailers(1, &[("x-sum", "7"), ("x_forwarded_for", "6.6.6.6")])).await;
    let body = raw.until(DATA).await.unwrap().payload;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("x-sum: 7") && !body.contains("6.6.6.6"), "{body}");
    raw.send(&[post(3), frame(DATA, 0, 3, b"hello")].concat()).await;
    raw.send(&trailers(3, &[("x-sum", " 7")])).await;
    let answer = raw.until(HEADERS).await.unwrap();
    assert_eq!((answer.stream, answer.payload[0]), (3, 0x8c));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_and_the_next_is_served() {
    let limits = Limits { max_header_bytes: 8192, max_headers: 20, ..Limits::default() };
    let (portolan, mut backend) = echoing(limits).await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    let head = |stream, lines: &[(&str, &str)]| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(lines))
    };
    raw.send(&head(1, &[("x", &"y".repeat(9000))])).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 1);
    until_counted(&portolan, Limit::HeaderBytes).await;
    raw.send(&head(3, &[("x", "y"); 21])).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 3);
    until_counted(&portolan, Limit::Headers).await;
    soon(async {
        while reasons(&portolan, Reason::HeadTooLarge) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // h2 answers this one.
    let block = get(&[("x", &"y".repeat(12_000)), ("z", &"y".repeat(12_000))]);
    let (begin, rest) = block.split_at(16_000);
    raw.send(&frame(HEADERS, END_STREAM, 5, begin)).await;
    raw.send(&frame(CONTINUATION, END_HEADERS, 5, rest)).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 5);
    assert_eq!(backend.connections(), 0);
    raw.send(&request(7)).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 7);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn cookies_that_come_one_by_one_are_one_line() {
    let limits = Limits { max_header_bytes: 8192, max_headers: 20, ..Limits::default() };
    let (portolan, _backend) = echoing(limits).await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    // With 32 bytes for each they would be too much, too.
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get(&[("cookie", "a=1"); 300]));
    raw.send(&head).await;
    let answer = raw.until(DATA).await.unwrap();
    assert!(String::from_utf8(answer.payload).unwrap().contains(&"; a=1".repeat(299)));
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 3, &get(&[("cookie", &"a".repeat(9000))]));
    raw.send(&head).await;
    raw.until(HEADERS).await.unwrap();
    until_counted(&portolan, Limit::HeaderBytes).await;
}

#[tokio::test]
async fn a_connection_ends_behind_its_last_request() {
    let limits = Limits { keep_alive_max_requests: Some(2), ..Limits::default() };
    let (portolan, _backend) = echoing(limits).await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&request(1)).await;
    raw.until(HEADERS).await.unwrap();
    assert_eq!(counted(&portolan, Limit::Requests), 0);
    raw.send(&request(3)).await;
    let (mut is_answered, mut is_told) = (false, false);
    while let Some(frame) = raw.next().await {
        is_answered |= frame.kind == HEADERS && frame.stream == 3;
        if frame.kind == GOAWAY {
            assert_eq!(goaway_code(&frame.payload), NO_ERROR);
            is_told = true;
        }
        if frame.kind == PING && frame.flags == 0 {
            raw.send(&answer(&frame.payload)).await;
        }
    }
    assert!(is_answered && is_told);
    assert_eq!(counted(&portolan, Limit::Requests), 1);
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_gone() {
    let limits = limits(Http2Limits {
        ping_interval: Some(Duration::from_secs(1)),
        ping_timeout: Duration::from_secs(1),
        ..Http2Limits::default()
    });
    let (portolan, _backend) = echoing(limits).await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    while raw.next().await.is_some() {}
    until_counted(&portolan, Limit::PingTimeout).await;
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
}

/// Changes a method on the way in, and a status on the way out.
#[derive(Debug)]
struct Changed(Method, StatusCode);

impl Hooks for Changed {
    fn on_request(
        &self,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        exchange.request.method = self.0.clone();
        (exchange, Ok(RequestVerdict::Continue { context: 0, response: true, later: Vec::new() }))
    }

    fn on_response(
        &self,
        _context: u64,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        if let Some(head) = &mut exchange.response {
            head.status = self.1;
        }
        (exchange, Ok(ResponseVerdict::Continue))
    }
}

#[tokio::test]
async fn what_has_no_content_by_its_method_or_status_is_sent_none() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let content = if request.head.starts_with("HEAD") { "" } else { "hello" };
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{content}")).await;
        }
    })
    .await;
    let (address, _) = raw::backend(&[], |mut raw, _| async move {
        while let Some((stream, _)) = raw.request().await {
            raw.send(&fine(stream, END_STREAM, &[("content-length", "5")])).await;
        }
    })
    .await;
    let shared = service(Scheme::H2c, &[address]);
    let changed = |host: &'static str, method, status| {
        let hooks: Option<Arc<dyn Hooks>> = Some(Arc::new(Changed(method, status)));
        let interest =
            Interest { hooks, on_request: true, on_response: true, ..Interest::default() };
        let middlewares = vec![middleware("changed", interest)];
        Router { middlewares, ..router(host, &[backend.address]) }
    };
    let said = Reply { body: "hello".into(), ..Reply::empty(StatusCode::IM_A_TEAPOT) };
    let middlewares = vec![plan("said", vec![Action::Reply(said)])];
    let portolan = Portolan::start(vec![
        router("a", &[backend.address]),
        router("dead", &[nobody()]),
        Router { middlewares, ..router("said", &[backend.address]) },
        changed("head", Method::HEAD, StatusCode::OK),
        changed("get", Method::GET, StatusCode::OK),
        changed("empty", Method::GET, StatusCode::NO_CONTENT),
        changed("known", Method::GET, StatusCode::NOT_MODIFIED),
        Router { service: Some(shared.into()), ..changed("shared", Method::HEAD, StatusCode::OK) },
    ]);
    // Over HTTP/1 as well.
    let answer = portolan.get("shared", "/").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let stream = TcpStream::connect(portolan.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let nowhere = portolan.get("nowhere", "/").await.body.len().to_string();
    let dead = portolan.get("dead", "/").await.body.len().to_string();
    for (method, host, status, length) in [
        (Method::HEAD, "nowhere", 404, Some(nowhere.as_str())),
        (Method::HEAD, "dead", 502, Some(&dead)),
        (Method::HEAD, "said", 418, Some("5")),
        (Method::HEAD, "a", 200, Some("5")),
        (Method::HEAD, "get", 200, Some("5")),
        (Method::GET, "head", 200, Some("0")),
        (Method::GET, "shared", 200, Some("0")),
        (Method::GET, "empty", 204, None),
        (Method::HEAD, "empty", 204, None),
        (Method::GET, "known", 304, Some("5")),
    ] {
        let uri = format!("http://{host}/");
        let request = Request::builder().method(&method).uri(uri);
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), status, "{method} {host}");
        let told = response.headers().get(CONTENT_LENGTH).map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(told.as_deref(), length, "{method} {host}");
        // A piece of content, or a length that is not that of nothing, would be an error of the protocol.
        let content = soon(response.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(content, "", "{method} {host}");
    }
}
