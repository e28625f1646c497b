//! How far clients of an entrypoint may go, over HTTP/1.

use std::{sync::Arc, time::Duration};

use portolan_core::{figure::AnswerReading, limit::Limit, reason::Reason};
use tokio::sync::mpsc;

use super::support::{Portolan, Script, entrypoint, header, router, soon};
use crate::http::{
    AccessConfig, AccessFormat, AccessLog, ClientTimeouts, EncodedCharacter, EncodedCharacters,
    EntrypointConfig, HttpConfig, Ledger, Limits, Trust,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.local\r\n\r\n";

fn counted(portolan: &Portolan, limit: Limit) -> u64 {
    portolan.server.figures()[0].1.limits.value(limit)
}

async fn until(is: impl Fn() -> bool) {
    soon(async {
        while !is() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn web(limits: Limits) -> EntrypointConfig {
    EntrypointConfig { limits, ..entrypoint("web", None) }
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let limits = Limits { max_connections_per_client: Some(2), ..Limits::default() };
    let portolan = Portolan::limited(limits.clone(), Vec::new());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = portolan.connect().await;
        client.send(REQUEST).await;
        assert_eq!(client.response().await.status, 404);
        kept.push(client);
    }
    let mut third = portolan.connect().await;
    assert!(third.ends().await);
    assert_eq!(counted(&portolan, Limit::ClientConnections), 1);
    // Who leaves makes room.
    drop(kept.pop());
    soon(async {
        loop {
            let mut client = portolan.connect().await;
            drop(tokio::io::AsyncWriteExt::write_all(&mut client.stream, REQUEST.as_bytes()).await);
            if client.until("\r\n\r\n").await.is_some() {
                break;
            }
        }
    })
    .await;
    // A proxy speaks for many, and says for whom.
    let proxy = vec!["127.0.0.0/8".parse().unwrap()];
    let trust = Trust { forwarded_headers: proxy.clone(), ..Trust::default() };
    portolan.server.apply(vec![EntrypointConfig { trust, ..web(limits.clone()) }]);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = portolan.connect().await;
        client.send(REQUEST).await;
        assert_eq!(client.response().await.status, 404);
        clients.push(client);
    }
    let trust = Trust { proxy_protocol: proxy, ..Trust::default() };
    portolan.server.apply(vec![EntrypointConfig { trust, ..web(limits) }]);
    let mut from = async |address: &str| {
        let mut client = portolan.connect().await;
        client.send(&format!("PROXY TCP6 {address} ::1 8080 80\r\n")).await;
        drop(tokio::io::AsyncWriteExt::write_all(&mut client.stream, REQUEST.as_bytes()).await);
        let is_answered = client.until("\r\n\r\n").await.is_some();
        clients.push(client);
        is_answered
    };
    assert!(from("2001:db8::1").await && from("2001:db8::2").await);
    assert!(!from("2001:db8::3").await, "one network, one client");
    assert!(from("2001:db8:0:1::1").await);
}

#[tokio::test]
async fn who_does_not_say_where_it_comes_from_is_not_waited_for() {
    let second = Duration::from_secs(1);
    let timeouts = ClientTimeouts { handshake: second, ..ClientTimeouts::default() };
    let limits = Limits { timeouts, ..Limits::default() };
    let proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
    let trust = Trust { proxy_protocol, ..Trust::default() };
    let web = EntrypointConfig { trust, ..web(limits) };
    let portolan = Portolan::start_at(HttpConfig::default(), web, Vec::new());
    let mut client = portolan.connect().await;
    client.send("PROXY TCP4 ").await;
    assert!(client.ends().await);
    until(|| counted(&portolan, Limit::HandshakeTimeout) == 1).await;
}

#[tokio::test]
async fn a_connection_ends_behind_its_last_request() {
    let limits = Limits { keep_alive_max_requests: Some(2), ..Limits::default() };
    let portolan = Portolan::limited(limits, Vec::new());
    let mut client = portolan.connect().await;
    client.send(&REQUEST.repeat(3)).await;
    assert_eq!(header(&client.response().await.head, "connection"), None);
    assert_eq!(header(&client.response().await.head, "connection"), Some("close"));
    assert!(client.ends().await);
    assert_eq!(counted(&portolan, Limit::Requests), 1);
}

#[tokio::test]
async fn an_old_connection_ends_behind_the_next_request_and_a_quiet_one_by_itself() {
    let second = Duration::from_secs(1);
    let timeouts = ClientTimeouts { idle: second, ..ClientTimeouts::default() };
    let limits = Limits { keep_alive_max_time: Some(second), timeouts, ..Limits::default() };
    let portolan = Portolan::limited(limits, Vec::new());
    let mut quiet = portolan.connect().await;
    quiet.send(REQUEST).await;
    quiet.response().await;
    let mut busy = portolan.connect().await;
    soon(async {
        loop {
            busy.send(REQUEST).await;
            if header(&busy.response().await.head, "connection") == Some("close") {
                break;
            }
        }
    })
    .await;
    assert!(busy.ends().await);
    assert_eq!(counted(&portolan, Limit::Age), 1);
    assert!(quiet.ends().await);
    until(|| counted(&portolan, Limit::IdleTimeout) == 1).await;
}

#[tokio::test]
async fn a_tunnel_that_lies_idle_ends_on_both_sides() {
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let ended = ended.clone();
        async move {
            client.request().await;
            client
                .send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                .await;
            let ping = client.exactly(4).await;
            client.send(&ping).await;
            ended.send(client.ends().await).unwrap();
        }
    })
    .await;
    let tunnel_idle = Some(Duration::from_secs(1));
    let timeouts = ClientTimeouts { tunnel_idle, ..ClientTimeouts::default() };
    let limits = Limits { timeouts, ..Limits::default() };
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.local\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 101);
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, "ping");
    assert!(client.ends().await);
    assert_eq!(soon(has_ended.recv()).await, Some(true));
    assert_eq!(counted(&portolan, Limit::TunnelIdle), 1);
    // What went through it is noted nevertheless.
    let traffic = &portolan.server.figures()[0].1.traffic;
    until(|| traffic.is_used()).await;
    let bytes = |it: &AnswerReading| (it.request_bytes, it.response_bytes);
    assert_eq!(traffic.answers().values().map(bytes).collect::<Vec<_>>(), [(4, 4)]);
}

#[tokio::test]
async fn new_limits_hold_for_new_connections() {
    let portolan = Portolan::limited(Limits::default(), Vec::new());
    let ask = async |lines: usize| {
        let mut client = portolan.connect().await;
        let lines = "X: y\r\n".repeat(lines);
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        client.response().await.status
    };
    assert_eq!(ask(99).await, 404);
    assert_eq!(ask(100).await, 431);
    let limits = Limits { max_headers: 256, ..Limits::default() };
    portolan.server.apply(vec![web(limits)]);
    assert_eq!(ask(255).await, 404);
    assert_eq!(ask(256).await, 431);
    let limits = Limits { max_headers: 2, max_header_bytes: 8192, ..Limits::default() };
    portolan.server.apply(vec![web(limits)]);
    assert_eq!(ask(1).await, 404);
    assert_eq!(ask(2).await, 431);
    assert_eq!(counted(&portolan, Limit::Headers), 3);
    let mut client = portolan.connect().await;
    let large = "y".repeat(9000);
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {large}\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 431);
    assert_eq!(counted(&portolan, Limit::HeaderBytes), 1);
}

#[tokio::test]
async fn who_waited_comes_in_when_there_may_be_more() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let portolan = Portolan::limited(limits, Vec::new());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = portolan.connect().await;
        client.send(REQUEST).await;
        clients.push(client);
    }
    until(|| counted(&portolan, Limit::Connections) > 0).await;
    portolan.server.apply(vec![web(Limits::default())]);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 404);
    }
}

#[tokio::test]
async fn encoded_characters_are_passed_on_or_refused() {
    use EncodedCharacter::{BackSlash, Hash, Percent, QuestionMark, Semicolon, Slash};
    let backend = Script::echo().await;
    let portolan =
        Portolan::limited(Limits::default(), vec![router("a.local", &[backend.address])]);
    let all = [
        (Slash, "%2f"),
        (BackSlash, "%5c"),
        (Semicolon, "%3b"),
        (Percent, "%25"),
        (QuestionMark, "%3f"),
        (Hash, "%23"),
    ];
    for (_, text) in all {
        let seen = portolan.get("a.local", &format!("/a{text}b?c{text}")).await;
        let upper = text.to_uppercase();
        let sent = format!("get /a{text}b?c{text} http/1.1");
        assert_eq!(seen.status, 200, "{text}");
        assert!(seen.body.starts_with(&sent), "{upper}: {}", seen.body);
    }
    assert_eq!(portolan.get("a.local", "/a%00b").await.status, 400);
    for (refused, text) in all {
        let encoded_characters = EncodedCharacters::default().refusing(refused);
        let limits = Limits { encoded_characters, ..Limits::default() };
        portolan.server.apply(vec![web(limits)]);
        for (path, status) in [
            (format!("/a{text}b"), 400),
            (format!("/{}", text.to_uppercase()), 400),
            (format!("/a?b={text}"), 200),
            ("/a%20b;c".to_owned(), 200),
        ] {
            assert_eq!(portolan.get("a.local", &path).await.status, status, "{path}");
        }
    }
    assert_eq!(counted(&portolan, Limit::EncodedCharacters), 12);
    let reasons = &portolan.server.ledger().reasons;
    let noted = reasons.iter().find(|(reason, _)| *reason == Reason::EncodedCharacter);
    assert_eq!(noted.map(|(_, count)| count), Some(12));
}

#[tokio::test]
async fn what_cannot_be_read_has_a_line_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let timeouts = ClientTimeouts { header: Duration::from_secs(1), ..ClientTimeouts::default() };
    let limits = Limits { timeouts, max_header_bytes: 8192, ..Limits::default() };
    for format in [AccessFormat::Json, AccessFormat::Common] {
        let file = Some(folder.path().join("access.log"));
        let log = AccessLog::open(AccessConfig { file, format, ..AccessConfig::default() });
        let log = log.unwrap();
        let ledger = Ledger { access_log: Some(log.clone()), ..Ledger::default() };
        let config = HttpConfig { ledger, ..HttpConfig::default() };
        let portolan = Portolan::start_at(config, web(limits.clone()), Vec::new());
        let large = format!("GET /large HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(9000));
        for sent in ["hello\r\n\r\n", &large, "GET /begun HTTP/1.1\r\n"] {
            let mut client = portolan.connect().await;
            client.send(sent).await;
            client.response().await;
            assert!(client.ends().await);
        }
        // Whoever says nothing leaves no line.
        assert!(portolan.connect().await.ends().await);
        let lines = lines(&log, &portolan, folder.path()).await;
        match format {
            AccessFormat::Json => {
                // Each worker has its own lines.
                let mut seen: Vec<_> = lines.iter().map(|line| json(line)).collect();
                seen.sort();
                let host = "127.0.0.1";
                let expected = [
                    (400, "bad-request-line", host),
                    (408, "header-timeout", host),
                    (431, "head-too-large", host),
                ];
                let expected = expected.map(|(status, reason, host)| {
                    (status, reason.to_owned(), host.to_owned(), true)
                });
                assert_eq!(seen, expected);
            }
            AccessFormat::Common | AccessFormat::GenericClf => {
                assert!(
                    lines.iter().all(|line| line.contains("] \"- - HTTP/0.0\" 4")),
                    "{lines:?}"
                );
            }
        }
    }
}

/// Status, reason, client, and whether nothing is said of a request.
fn json(line: &str) -> (u64, String, String, bool) {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let unknown = ["RequestMethod", "RequestPath", "RequestHost", "RequestAddr", "RequestPort"];
    let is_silent = unknown.iter().all(|key| line[key] == "-");
    let is_silent = is_silent && line["RequestProtocol"] == "HTTP/0.0";
    (line["DownstreamStatus"].as_u64().unwrap(), text("Reason"), text("ClientHost"), is_silent)
}

/// Every line of a log, after its server has ended. The file is gone then.
async fn lines(log: &Arc<AccessLog>, portolan: &Portolan, folder: &std::path::Path) -> Vec<String> {
    portolan.server.drain(Duration::from_secs(20)).await;
    log.close();
    let file = folder.join("access.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_noted_once_with_its_router() {
    let folder = tempfile::tempdir().unwrap();
    let file = Some(folder.path().join("access.log"));
    let format = AccessFormat::Json;
    let log = AccessLog::open(AccessConfig { file, format, ..AccessConfig::default() }).unwrap();
    let ledger = Ledger { access_log: Some(log.clone()), ..Ledger::default() };
    let config = HttpConfig { ledger, ..HttpConfig::default() };
    let request_stall = Duration::from_secs(1);
    let timeouts = ClientTimeouts { request_stall, ..ClientTimeouts::default() };
    let backend = Script::echo().await;
    let routers = vec![router("a.local", &[backend.address])];
    let limits = Limits { timeouts, ..Limits::default() };
    let portolan = Portolan::start_at(config, web(limits), routers);
    let mut client = portolan.connect().await;
    client.send("POST /x HTTP/1.1\r\nHost: a.local\r\nContent-Length: 9\r\n\r\nabc").await;
    assert_eq!(client.response().await.status, 408);
    assert_eq!(counted(&portolan, Limit::RequestStall), 1);
    let lines = lines(&log, &portolan, folder.path()).await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let seen = ["RequestPath", "RouterName", "Reason"].map(|key| line[key].as_str().unwrap());
    assert_eq!(
        (line["DownstreamStatus"].as_u64(), seen),
        (Some(408), ["/x", "r@test", "body-timeout"])
    );
}
