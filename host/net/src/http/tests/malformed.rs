//! What is not HTTP, or says two things at once, is refused before it reaches a backend.

use std::time::Duration;

use super::support::{Portolan, Script, header, router};
use portolan_core::limit::Limit;

use crate::http::{ClientTimeouts, HttpConfig, Limits};

/// What is sent, and the status that comes back; 0: the connection is closed without an answer.
const CASES: &[(&str, u16)] = &[
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nHost: b.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local/x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: me@a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local:port\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local:99999\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\n\r\n", 404),
    // Targets.
    ("GET /% HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /%zz HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /%00 HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /a b HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1 \r\nHost: a.local\r\n\r\n", 400),
    ("GET  HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET http://a<b.local/ HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("CONNECT a.local:80 HTTP/1.1\r\nHost: a.local\r\n\r\n", 501),
    ("G@T / HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/3.0\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.2\r\nHost: a.local\r\n\r\n", 400),
    ("GET /\r\nHost: a.local\r\n\r\n", 400),
    ("hello\r\n\r\n", 400),
    ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n", 400),
    // Header lines.
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX Y: 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX : 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\n: 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX: a\r\n b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX: a\rb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX: a\u{0}b\r\n\r\n", 400),
    // Framing: what one side takes for a body and the other for a request.
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3, 4\r\n\r\nabcd", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: -1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: +1\r\n\r\na", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 0x1\r\n\r\na", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length:\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 1 \t2\r\n\r\nab", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    (
        "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a.local\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    // Line ends.
    ("GET / HTTP/1.1\nHost: a.local\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\n\n", 400),
    ("\nGET / HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\rHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\n\tX: 1\r\n\r\n", 400),
    // More targets and first lines.
    ("GET a.local HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET a.local:80 HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /#x HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /\u{7f} HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /\u{1} HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET http://me@a.local/ HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET http:/// HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET\t/\tHTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    (" GET / HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET /  HTTP/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / http/1.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/01.1\r\nHost: a.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX\u{0}: 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local\r\nX(: 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local, b.local\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a.local%00\r\n\r\n", 400),
];

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_reaches_no_backend() {
    let mut backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    for (sent, expected) in CASES {
        let mut client = portolan.connect().await;
        client.send(sent).await;
        let status = match client.until("\r\n\r\n").await {
            Some(head) => head.split(' ').nth(1).unwrap().parse().unwrap(),
            None => 0,
        };
        assert_eq!(status, *expected, "{sent:?}");
        assert_eq!(backend.connections(), 0, "{sent:?}");
    }
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
}

/// Bodies that can be read in two ways, and what is behind them: another request for some.
const BODIES: &[&str] = &[
    "0\n\r\nGET /smuggled",
    "5\r\nhello0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5;x=y\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\r\nX: 1\n\r\nGET /smuggled",
    "0\r\nX Y: 1\r\n\r\n",
];

#[tokio::test]
async fn a_chunk_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_a_request() {
    let backend = Script::start(|mut client| async move {
        while client.until("\r\n").await.is_some_and(|line| !line.contains("smuggled")) {}
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled").await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    for body in BODIES {
        let mut client = portolan.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(&format!("{head}{body} / HTTP/1.1\r\nHost: a.local\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!(response.status, 400, "{body:?}");
        assert_eq!(header(&response.head, "connection"), Some("close"), "{body:?}");
        assert!(client.ends().await, "{body:?}");
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_is_the_last_word() {
    let config = HttpConfig {
        reason_header: Some(http::HeaderName::from_static("x-portolan-reason")),
        ..HttpConfig::default()
    };
    let portolan = Portolan::start_with(config, None, Vec::new());
    for (request, reason) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "bad-length",
        ),
        ("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", "bare-lf"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "two-framings",
        ),
    ] {
        let mut client = portolan.connect().await;
        client.send(&format!("{request}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let response = client.response().await;
        let said = header(&response.head, "x-portolan-reason");
        assert_eq!((response.status, said), (400, Some(reason)));
        assert_eq!(header(&response.head, "connection"), Some("close"));
        assert!(client.ends().await);
    }
    let figures = &portolan.server.figures()[0].1.traffic;
    assert_eq!(figures.classes()[3], 3, "what is refused is counted");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_not_the_backends_fault() {
    let backend = Script::start(|mut client| async move {
        client.until("never").await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 400);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let portolan = Portolan::start(Vec::new());
    let line = format!("X-Large: {}\r\n", "a".repeat(1000));
    for (head, status) in [
        (line.repeat(90), 404),
        (line.repeat(200), 431),
        ("X: a\r\n".repeat(101), 431),
        (format!("X: {}\r\n", "a".repeat(200 * 1024)), 431),
    ] {
        let mut client = portolan.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n")).await;
        assert_eq!(client.response().await.status, status);
    }
}

#[tokio::test]
async fn an_absolute_target_wins_over_the_host_header() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET http://a.local/x HTTP/1.1\r\nHost: b.local\r\n\r\n").await;
    let seen = client.response().await.body;
    assert!(
        seen.starts_with("get /x http/1.1\r\nhost: a.local\r\n")
            || seen.contains("\r\nhost: a.local\r\n"),
        "{seen}"
    );
    assert!(!seen.contains("b.local"), "{seen}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let timeouts = ClientTimeouts { header: Duration::from_secs(1), ..ClientTimeouts::default() };
    let portolan = Portolan::limited(Limits { timeouts, ..Limits::default() }, Vec::new());
    for begin in ["", "PRI * HT"] {
        let mut client = portolan.connect().await;
        client.send(begin).await;
        assert!(client.ends().await, "{begin}");
    }
    // Whoever began is told.
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.lo").await;
    assert_eq!(client.response().await.status, 408);
    assert!(client.ends().await);
    let figures = &portolan.server.figures()[0].1;
    assert_eq!(figures.limits.value(Limit::HeaderTimeout), 3);
}

#[tokio::test]
async fn those_who_come_when_it_is_full_wait_for_others_to_leave() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let portolan = Portolan::limited(limits, Vec::new());
    // Each of the two workers may have one: of three, one waits at least.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = portolan.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        clients.push(client);
    }
    let answered = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.response().await.status }));
    for answered in answered.collect::<Vec<_>>() {
        assert_eq!(answered.await.unwrap(), 404);
    }
    assert!(portolan.server.figures()[0].1.limits.value(Limit::Connections) > 0);
}
