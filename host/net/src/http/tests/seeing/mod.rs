//! What is seen of requests from outside: figures, lines of the access log.

mod headers;
mod labels;
mod parts;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portolan_core::figure::{AnswerKey, AnswerReading, MethodLabel, ProtocolLabel, TrafficFigures};
use serde_json::Value as Json;
use tokio::sync::Notify;

use super::support::{Portolan, Script, nobody, router, soon};
use crate::http::{
    AccessConfig, AccessFormat, AccessLog, Capture, HeaderFields, HttpConfig, Ledger,
};

/// Waits until something is so.
async fn until(is: impl Fn() -> bool) {
    soon(async {
        while !is() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn key(code: u16, method: MethodLabel, protocol: ProtocolLabel) -> AnswerKey {
    AnswerKey { code, method, protocol }
}

async fn answers(figures: &TrafficFigures, count: u64) -> BTreeMap<AnswerKey, AnswerReading> {
    until(|| figures.answers().values().map(AnswerReading::count).sum::<u64>() >= count).await;
    figures.answers()
}

/// A log in a folder of its own.
struct Log {
    folder: tempfile::TempDir,
    log: Arc<AccessLog>,
}

impl Log {
    fn open(config: AccessConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("access.log"));
        let log = AccessLog::open(AccessConfig { file, ..config }).unwrap();
        Self { folder, log }
    }

    fn json() -> Self {
        let format = AccessFormat::Json;
        let headers = HeaderFields { default: Capture::Keep, names: BTreeMap::new() };
        Self::open(AccessConfig { format, headers, ..AccessConfig::default() })
    }

    fn config(&self) -> HttpConfig {
        let ledger = Ledger { access_log: Some(self.log.clone()), ..Ledger::default() };
        HttpConfig { ledger, ..HttpConfig::default() }
    }

    /// Every line, after the server has ended.
    async fn lines(self, portolan: Portolan) -> Vec<Json> {
        portolan.server.drain(Duration::from_secs(20)).await;
        self.log.close();
        let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn requests_are_counted_where_they_were_by_status_method_and_protocol() {
    let backend = Script::echo().await;
    let routers = vec![router("a.local", &[backend.address])];
    let (of_router, of_service) =
        (routers[0].figures.clone(), routers[0].service.as_ref().unwrap().figures.clone());
    let portolan = Portolan::start(routers);
    let mut client = portolan.connect().await;
    for head in [
        "GET / HTTP/1.1\r\nHost: a.local\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\n\r\nabc",
        "BREW / HTTP/1.1\r\nHost: a.local\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.local\r\nAccept: text/event-stream\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b.local\r\n\r\n",
    ] {
        client.send(head).await;
        client.response().await;
    }
    let entrypoint = portolan.server.figures()[0].1.traffic.clone();
    let all = answers(&entrypoint, 5).await;
    let counts: Vec<_> = all.iter().map(|(key, it)| (*key, it.count())).collect();
    use MethodLabel::{Extension, Get, Post};
    use ProtocolLabel::{Http, Sse};
    let taken = [
        (key(200, Get, Http), 1),
        (key(200, Get, Sse), 1),
        (key(200, Post, Http), 1),
        (key(200, Extension, Http), 1),
    ];
    assert_eq!(counts, [&taken[..], &[(key(404, Get, Http), 1)]].concat());
    for figures in [of_router, of_service] {
        let answers = answers(&figures, 4).await;
        let counts: Vec<_> = answers.iter().map(|(key, it)| (*key, it.count())).collect();
        assert_eq!(counts, taken);
        let post = &answers[&key(200, Post, Http)];
        assert_eq!(post.request_bytes, 3);
        // The echo says what it got, which is more.
        assert!(post.response_bytes > 40, "{post:?}");
        assert_eq!(figures.duration().count(), 4);
    }
}

#[tokio::test]
async fn another_backend_after_one_that_is_dead_is_a_retry() {
    let (dead, alive) = (nobody(), Script::echo().await);
    let routers = vec![router("a.local", &[dead, alive.address])];
    let figures = routers[0].service.as_ref().unwrap().figures.clone();
    let log = Log::json();
    let portolan = Portolan::start_with(log.config(), None, routers);
    for _ in 0..2 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
    let lines = log.lines(portolan).await;
    let retries = lines.iter().map(|line| line["RetryAttempts"].as_u64().unwrap()).sum::<u64>();
    // Round robin: at least one of two begins with the dead one.
    assert!(retries >= 1);
    assert_eq!(figures.retries.value(), retries);
    let url = format!("http://{}", alive.address);
    assert!(lines.iter().all(|line| line["ServiceURL"] == url.as_str()), "{lines:?}");
}

#[tokio::test]
async fn every_request_has_a_line_whatever_became_of_it() {
    let backend = Script::echo().await;
    let silent = Script::start(|mut client| async move {
        client.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let log = Log::json();
    let portolan = Portolan::start_with(
        log.config(),
        None,
        vec![
            router("a.local", &[backend.address]),
            router("silent.local", &[silent.address]),
            router("dead.local", &[nobody()]),
        ],
    );
    let mut client = portolan.connect().await;
    client
        .send(
            "POST /x?y=1 HTTP/1.1\r\nHost: a.local:81\r\nCookie: id=1\r\nUser-Agent: test\r\n\
             Content-Length: 3\r\n\r\nabc",
        )
        .await;
    let sent = client.response().await.body.len();
    client.send("HEAD / HTTP/1.1\r\nHost: nobody.local\r\n\r\n").await;
    client.until("\r\n\r\n").await.unwrap();
    client.send("GET /%zz HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
    client.send("GET / HTTP/1.1\r\nHost: dead.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 502);
    let mut silent = silent;
    let mut impatient = portolan.connect().await;
    impatient.send("GET / HTTP/1.1\r\nHost: silent.local\r\n\r\n").await;
    until_connected(&mut silent).await;
    drop(impatient);
    let mut broken_off = portolan.connect().await;
    broken_off.send("POST /half HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\n\r\nab").await;
    drop(broken_off);
    let reasons = portolan.server.ledger().reasons.clone();
    until(|| reasons.iter().any(|(it, count)| it.as_str() == "client-gone" && count == 2)).await;

    let lines = log.lines(portolan).await;
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("").to_owned();
            (line["DownstreamStatus"].as_u64().unwrap(), text("Reason"), text("RequestPath"))
        })
        .collect();
    let expected = [
        (200, "", "/x?y=1"),
        (404, "no-router", "/"),
        (400, "bad-target", "/%zz"),
        (502, "connect-refused", "/"),
        (499, "client-gone", "/"),
        (499, "client-gone", "/half"),
    ];
    told.sort();
    let mut wanted: Vec<_> =
        expected.map(|(status, why, path)| (status, why.to_owned(), path.to_owned())).to_vec();
    wanted.sort();
    assert_eq!(told, wanted);

    let first = lines.iter().find(|line| line["RequestPath"] == "/x?y=1").unwrap();
    for (key, value) in [
        ("RequestAddr", "a.local:81"),
        ("RequestHost", "a.local"),
        ("RequestPort", "81"),
        ("RequestMethod", "POST"),
        ("RequestProtocol", "HTTP/1.1"),
        ("RequestScheme", "http"),
        ("RouterName", "r@test"),
        ("ServiceName", "s@test"),
        ("ServiceAddr", &backend.address.to_string()),
        ("entryPointName", "web"),
        ("request_User-Agent", "test"),
        ("request_Cookie", "REDACTED"),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!(first["RequestContentSize"], 3);
    assert_eq!(first["DownstreamContentSize"], sent);
    assert_eq!(first["OriginStatus"], 200);
    let nanos = |key: &str| first[key].as_u64().unwrap();
    assert_eq!(nanos("Duration"), nanos("OriginDuration") + nanos("Overhead"));
    assert!(nanos("Overhead") > 0, "what we do ourselves takes its time");
    let half = lines.iter().find(|line| line["RequestPath"] == "/half").unwrap();
    assert_eq!(half["DownstreamContentSize"], 0, "nobody got the page that was made for it");
}

async fn until_connected(script: &mut Script) {
    soon(async {
        while script.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_is_noted_when_it_ends_with_what_went_through_it() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\n\r\n",
            )
            .await;
        let ping = client.exactly(4).await;
        client.send(&format!("{ping}{ping}")).await;
        client.ends().await;
    })
    .await;
    let log = Log::json();
    let portolan =
        Portolan::start_with(log.config(), None, vec![router("a.local", &[backend.address])]);
    let figures = portolan.server.figures()[0].1.traffic.clone();
    let mut client = portolan.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 101);
    client.send("ping").await;
    assert_eq!(client.exactly(8).await, "pingping");
    assert!(!figures.is_used(), "it goes on");
    drop(client);
    let answers = answers(&figures, 1).await;
    let reading = &answers[&key(101, MethodLabel::Get, ProtocolLabel::Websocket)];
    assert_eq!((reading.request_bytes, reading.response_bytes), (4, 8));
    let lines = log.lines(portolan).await;
    assert_eq!((lines.len(), &lines[0]["DownstreamStatus"]), (1, &101.into()));
    assert!(lines[0].get("Reason").is_none(), "{lines:?}");
}

#[tokio::test]
async fn who_broke_off_within_a_response_is_told() {
    let arrived = Arc::new(Notify::new());
    let seen = arrived.clone();
    let broken = Script::start(move |mut client| {
        let seen = seen.clone();
        async move {
            client.request().await;
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
            seen.notified().await;
        }
    })
    .await;
    let endless = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        client.ends().await;
    })
    .await;
    let log = Log::json();
    let portolan = Portolan::start_with(
        log.config(),
        None,
        vec![
            router("broken.local", &[broken.address]),
            router("endless.local", &[endless.address]),
        ],
    );
    for host in ["broken.local", "endless.local"] {
        let mut client = portolan.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        client.until("half").await.unwrap();
        // Of one it is the backend that breaks off, of the other the client who leaves.
        if host == "broken.local" {
            arrived.notify_one();
            assert!(client.ends().await);
        }
    }
    let reasons = portolan.server.ledger().reasons.clone();
    until(|| reasons.iter().map(|(_, count)| count).sum::<u64>() == 2).await;
    let lines = log.lines(portolan).await;
    let mut told: Vec<_> = lines
        .iter()
        .map(|line| (line["RequestHost"].as_str().unwrap(), line["Reason"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("broken.local", "response-broken"), ("endless.local", "client-gone")]);
    // What was sent was sent: the status stays what the client saw.
    assert!(lines.iter().all(|line| line["DownstreamStatus"] == 200));
    assert!(lines.iter().all(|line| line["DownstreamContentSize"] == 4));
}

#[tokio::test]
async fn calls_of_grpc_are_counted_by_their_own_code() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n")
            .await;
        client.send("2\r\nok\r\n0\r\ngrpc-status: 5\r\n\r\n").await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let figures = portolan.server.figures()[0].1.traffic.clone();
    let mut client = portolan.connect().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.local\r\nTE: trailers\r\n\
             Content-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 200);
    let answers = answers(&figures, 1).await;
    let keys: Vec<_> = answers.keys().copied().collect();
    assert_eq!(keys, [key(5, MethodLabel::Post, ProtocolLabel::Grpc)]);
}
