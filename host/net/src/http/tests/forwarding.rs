//! Which backend gets a request, over which connection, and what the client gets when none does.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use portolan_core::{
    middleware::Middleware, name::ObjectName, router::Router, service::Scheme, test_util,
};

use super::support::{Client, Portolan, Script, header, leading, nobody, router, service, soon};
use crate::http::HttpConfig;

#[tokio::test]
async fn a_request_reaches_the_backend_of_its_host_and_no_other() {
    let (a, b) = (Script::echo().await, Script::echo().await);
    let portolan =
        Portolan::start(vec![router("a.local", &[a.address]), router("b.local", &[b.address])]);
    let mut b = b;
    let response = portolan.get("a.local", "/x?y=1").await;
    assert_eq!(response.status, 200);
    assert!(response.body.starts_with("get /x?y=1 http/1.1\r\n"), "{}", response.body);
    assert_eq!(header(&response.body, "host"), Some("a.local"));
    assert_eq!(b.connections(), 0);
    assert_eq!(portolan.get("c.local", "/").await.status, 404);
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_not_what_the_client_claims() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.local:81\r\nX-Forwarded-For: 6.6.6.6\r\n\
             X-Forwarded-Proto: https\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\n\
             Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: x\r\nAccept: */*\r\n\r\n",
        )
        .await;
    let seen = client.response().await.body;
    let told = |name| header(&seen, name);
    assert_eq!(told("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(told("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(told("x-forwarded-proto"), Some("http"));
    assert_eq!(told("x-forwarded-host"), Some("a.local:81"));
    assert_eq!(told("x-forwarded-port"), Some("81"));
    assert!(told("x-forwarded-server").is_some());
    assert_eq!((told("te"), told("accept")), (Some("trailers"), Some("*/*")));
    for gone in ["connection", "x-secret", "keep-alive", "proxy-authorization"] {
        assert_eq!(told(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn a_client_that_names_no_host_asks_the_backend_for_its_own() {
    let backend = Script::echo().await;
    let service = router("a.local", &[backend.address]).service;
    let portolan =
        Portolan::start(vec![Router { service, ..test_util::router("r", "PathPrefix(`/`)") }]);
    for line in ["", "Host:\r\n"] {
        let mut client = portolan.connect().await;
        client.send(&format!("GET / HTTP/1.0\r\n{line}\r\n")).await;
        let seen = client.response().await.body;
        let told = |name| header(&seen, name).map(str::to_owned);
        assert_eq!(told("host"), Some(backend.address.to_string()), "{seen}");
        assert_eq!(told("x-forwarded-host"), None);
        assert_eq!(seen.matches("host:").count(), 1);
    }
}

#[tokio::test]
async fn headers_of_the_backends_connection_stay_there() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client
            .send(
                "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\n\
                 Upgrade: h2c\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.body.as_str(), header(&response.head, "x-end")), ("ok", Some("1")));
        for gone in ["connection", "x-hop", "keep-alive", "upgrade"] {
            assert_eq!(header(&response.head, gone), None, "{gone}");
        }
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let mut backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for _ in 0..50 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    let all: String =
        (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.local\r\n\r\n")).collect();
    client.send(&all).await;
    for n in 0..20 {
        let body = client.response().await.body;
        assert!(body.starts_with(&format!("get /{n} ")), "{body}");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_accept_costs_nobody_a_request() {
    let (dead, dead_too, alive) = (nobody(), nobody(), Script::echo().await);
    let portolan = Portolan::start(vec![router("a.local", &[dead, alive.address, dead_too])]);
    for _ in 0..6 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
}

#[tokio::test]
async fn each_failure_has_its_status() {
    let silent = Script::start(|mut client| async move {
        client.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let broken = Script::start(|mut client| async move {
        client.request().await;
    })
    .await;
    let babbling = Script::start(|mut client| async move {
        client.request().await;
        client.send("SSH-2.0-OpenSSH\r\n\r\n").await;
    })
    .await;
    // In clear, over HTTP/1, and before it was asked.
    let early = Script::start(|mut client| async move {
        client.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        client.request().await;
    })
    .await;
    let config = HttpConfig {
        response_timeout: Some(Duration::from_millis(50)),
        reason_header: Some(HeaderName::from_static("x-portolan-reason")),
        ..HttpConfig::default()
    };
    let nothing = Router { service: None, ..router("nothing.local", &[]) };
    let lack = Some("service `s@test` is not in working order".into());
    let lacking = Router { service: None, lack, ..router("lacking.local", &[]) };
    let closed = Middleware::closed(ObjectName::new("auth", "test"));
    let closed =
        Router { middlewares: vec![Arc::new(closed)], ..router("closed.local", &[silent.address]) };
    let portolan = Portolan::start_with(
        config,
        None,
        vec![
            router("silent.local", &[silent.address]),
            router("broken.local", &[broken.address]),
            router("babbling.local", &[babbling.address]),
            router("dead.local", &[nobody()]),
            router("empty.local", &[]),
            leading("h2c.local", service(Scheme::H2c, &[early.address])),
            leading("mute.local", service(Scheme::H2c, &[broken.address])),
            leading("https.local", service(Scheme::Https, &[early.address])),
            nothing,
            lacking,
            closed,
        ],
    );
    for (host, status, reason) in [
        ("silent.local", 504, "response-timeout"),
        ("broken.local", 502, "no-response"),
        ("babbling.local", 502, "protocol"),
        ("h2c.local", 502, "protocol"),
        ("mute.local", 502, "protocol"),
        ("https.local", 502, "tls-failed"),
        ("dead.local", 502, "connect-refused"),
        ("empty.local", 503, "no-backend"),
        ("nothing.local", 503, "no-service"),
        ("lacking.local", 503, "no-service"),
        ("closed.local", 503, "no-middleware"),
        ("unknown.local", 404, "no-router"),
    ] {
        let response = portolan.get(host, "/").await;
        let said = header(&response.head, "x-portolan-reason");
        assert_eq!((response.status, said), (status, Some(reason)), "{host}: {response:?}");
        assert!(response.body.contains(&status.to_string()), "{host}");
        assert_eq!(header(&response.head, "retry-after").is_some(), status == 503, "{host}");
    }
    let figures = portolan.server.figures()[0].1.traffic.clone();
    // A request is noted when its response has gone, which a client may see before we do.
    let noted = || figures.classes().iter().sum::<u64>();
    soon(async {
        while noted() < 12 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!((figures.failures(), figures.classes()[3]), (11, 1));
    let reasons = &portolan.server.ledger().reasons;
    let counted = reasons.iter().filter(|(_, count)| *count > 0);
    let counted: Vec<_> = counted.map(|(reason, count)| (reason.as_str(), count)).collect();
    let expected = [
        ("no-router", 1),
        ("no-service", 2),
        ("no-middleware", 1),
        ("no-backend", 1),
        ("connect-refused", 1),
        ("tls-failed", 1),
        ("protocol", 3),
        ("no-response", 1),
        ("response-timeout", 1),
    ];
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn what_is_no_uri_is_encoded_as_others_do() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let response = portolan.get("a.local", "/<a>`\\b?q={\"c\":\"<d>\"}").await;
    let expected = "get /%3ca%3e%60%5cb?q={%22c%22:%22%3cd%3e%22} http/1.1\r\n";
    assert!(response.body.starts_with(expected), "{response:?}");
}

#[tokio::test]
async fn a_target_that_is_too_long_is_not_called_malformed() {
    let backend = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    for (length, status) in [(65_533, 200), (65_534, 431), (100_000, 431)] {
        let target = format!("/{}", "a".repeat(length - 1));
        assert_eq!(portolan.get("a.local", &target).await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_backend_may_have_much_to_say() {
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let path = request.head.split_whitespace().nth(1).unwrap();
            let lines = path.trim_start_matches('/').parse().unwrap();
            let lines: String = (0..lines).map(|n| format!("X-{n}: 1\r\n")).collect();
            client.send(&format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let response = portolan.get("a.local", "/500").await;
    assert_eq!((response.status, header(&response.head, "x-499")), (200, Some("1")));
    let response = portolan.get("a.local", "/600").await;
    assert_eq!(response.status, 502);
    assert!(response.body.contains("answer is too large"), "{response:?}");
}

#[tokio::test]
async fn a_service_that_leads_back_to_its_router_is_noticed() {
    let mut portolan = Portolan::start(Vec::new());
    portolan.publish(vec![router("a.local", &[portolan.address])]);
    let response = portolan.get("a.local", "/").await;
    assert_eq!(response.status, 508, "{response:?}");
    assert!(response.body.contains("leads back"), "{response:?}");
    let figures = portolan.server.figures()[0].1.traffic.clone();
    soon(async {
        while figures.classes().iter().sum::<u64>() < 9 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    // Over HTTP/2 it is the same.
    let mut hop = service(Scheme::H2c, &[portolan.address]);
    hop.name = ObjectName::new("h2c", "test");
    portolan.publish(vec![Router { service: Some(hop.into()), ..router("a.local", &[]) }]);
    assert_eq!(portolan.get("a.local", "/").await.status, 508);
    soon(async {
        while figures.classes().iter().sum::<u64>() < 18 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(figures.classes().iter().sum::<u64>(), 18);

    // A few of us may stand behind each other; what others say in that header goes on.
    let backend = Script::echo().await;
    portolan.publish(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for (said, passed) in [
        ("", "portolan"),
        ("CDN-Loop: other; x=portolan\r\nConnection: cdn-loop\r\n", "other; x=portolan, portolan"),
        ("CDN-Loop: portolan, portolan\r\nCDN-Loop: b\r\n", "portolan, portolan, b, portolan"),
    ] {
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{said}\r\n")).await;
        let seen = client.response().await.body;
        assert_eq!(header(&seen, "cdn-loop"), Some(passed), "{seen}");
    }
    let said = "portolan,".repeat(8);
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\nCDN-Loop: {said}\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 508);
}

#[tokio::test]
async fn a_client_that_goes_away_within_its_upload_is_noted_as_one() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 9\r\n\r\nabc").await;
    drop(client);
    let reasons = &portolan.server.ledger().reasons;
    let gone = || {
        reasons.iter().filter(|(it, _)| it.as_str() == "client-gone").map(|it| it.1).sum::<u64>()
    };
    soon(async {
        while gone() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Nonsense is something else.
    let mut client = portolan.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(client.response().await.status, 400);
    assert_eq!(gone(), 1);
}

#[tokio::test]
async fn json_is_told_as_json() {
    let portolan = Portolan::start(Vec::new());
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(header(&response.head, "content-type"), Some("application/json"));
    assert!(response.body.contains("\"reason\":\"no-router\""), "{}", response.body);
}

/// Answers one request per connection, and closes when it has read the second.
async fn forgetful() -> Script {
    Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        client.request().await;
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_turns_out_dead_costs_no_request() {
    let mut backend = forgetful().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert_eq!(client.response().await.body, "ok");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn an_upgrade_does_not_go_over_a_connection_that_may_be_dead() {
    let mut backend = forgetful().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for method in ["GET", "GET", "POST"] {
        let upgrade = "Connection: upgrade\r\nUpgrade: x";
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a.local\r\n{upgrade}\r\n\r\n")).await;
        assert_eq!(client.response().await.body, "ok");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn what_may_have_been_acted_upon_is_not_sent_twice() {
    let mut backend = forgetful().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.body, "ok");
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 502);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn what_was_answered_in_part_is_not_sent_twice() {
    let mut backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-").await;
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for status in [200, 502] {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert_eq!(client.response().await.status, status);
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_is_not_used() {
    let (closed, mut is_closed) = tokio::sync::mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let closed = closed.clone();
        async move {
            client.request().await;
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            drop(client);
            closed.send(()).ok();
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    for _ in 0..5 {
        client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(client.response().await.status, 200);
        soon(is_closed.recv()).await;
    }
}

#[tokio::test]
async fn the_backend_may_want_its_own_host() {
    let backend = Script::echo().await;
    let mut own = service(Scheme::Http, &[backend.address]);
    Arc::make_mut(&mut own.load_balancer).pass_host_header = false;
    let router = Router { service: Some(own.into()), ..router("a.local", &[]) };
    let portolan = Portolan::start(vec![router]);
    let seen = portolan.get("a.local", "/").await.body;
    assert_eq!(header(&seen, "host"), Some(&*backend.address.to_string()));
    assert_eq!(header(&seen, "x-forwarded-host"), Some("a.local"));
}

#[tokio::test]
async fn the_path_of_a_backend_goes_before_that_of_the_request() {
    let echo = Script::echo().await;
    let behind = Portolan::start(vec![router("a.local", &[echo.address])]);
    for (scheme, address) in [(Scheme::Http, echo.address), (Scheme::H2c, behind.address)] {
        let mut based = service(scheme, &[address]);
        based.backends[0].path = Some("/base".into());
        let leads = Router { service: Some(based.into()), ..router("a.local", &[]) };
        let portolan = Portolan::start(vec![leads]);
        for (asked, sent) in [("/", "/base/"), ("/x?q=/y", "/base/x?q=/y"), ("/%61", "/base/a")] {
            let seen = portolan.get("a.local", asked).await.body;
            assert!(seen.starts_with(&format!("get {sent} http/1.1\r\n")), "{scheme:?} {seen}");
            assert_eq!(header(&seen, "x-forwarded-host"), Some("a.local"));
        }
        let mut client = portolan.connect().await;
        client.send("OPTIONS * HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        let seen = client.response().await.body;
        assert!(seen.starts_with("options * ") || scheme == Scheme::H2c, "{seen}");
    }
}

#[tokio::test]
async fn a_new_snapshot_holds_for_the_next_request_of_an_open_connection() {
    let (a, b) = (Script::echo().await, Script::echo().await);
    let mut portolan = Portolan::start(vec![router("a.local", &[a.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    portolan.publish(vec![router("b.local", &[b.address])]);
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 404);
    client.send("GET / HTTP/1.1\r\nHost: b.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_backends_request() {
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let backend = Script::start(move |mut client| {
        let (gone, asked) = (gone.clone(), asked.clone());
        async move {
            client.request().await;
            asked.send(()).ok();
            assert!(client.ends().await);
            gone.send(()).ok();
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client: Client<_> = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(is_asked.recv()).await.unwrap();
    drop(client);
    soon(is_gone.recv()).await.unwrap();
}
