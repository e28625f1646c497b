//! Authorities that are not there, not well, or not friendly.

use std::time::Duration;

use portolan_core::forward_auth::Options;
use tokio::sync::mpsc;

use super::{PASSES, guarded, options};
use crate::http::{
    HttpConfig,
    tests::support::{Portolan, Response, Script, header, nobody, soon},
};

/// What a client gets whose authority says this, and then nothing more.
async fn told(said: String, keeps: bool, limit: u64) -> Response {
    let backend = Script::echo().await;
    let authority = Script::start(move |mut client| {
        let said = said.clone();
        async move {
            if client.request().await.is_some() {
                client.send(&said).await;
            }
            if keeps {
                client.until("never").await;
            }
        }
    })
    .await;
    let options = Options { max_answer: limit, ..options(authority.address) };
    let portolan = Portolan::start(vec![guarded(options, backend.address)]);
    portolan.get("a.local", "/").await
}

#[tokio::test]
async fn without_an_answer_that_makes_sense_nobody_passes() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for said in [
        "",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nRemote-User: a",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\ncut",
        "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &huge,
    ] {
        let response = told(said.to_owned(), false, 100).await;
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(header(&response.head, "retry-after"), Some("1"));
        assert!(response.body.contains("cannot be found out just now"), "{response:?}");
    }
    let portolan = Portolan::start(vec![guarded(options(nobody()), nobody())]);
    assert_eq!(portolan.get("a.local", "/").await.status, 503);
}

#[tokio::test]
async fn an_answer_is_understood_in_every_form_that_http_has() {
    for (said, keeps, expected) in [
        ("HTTP/1.1 204 No Content\r\nRemote-User: ada\r\n\r\n", true, 200),
        ("HTTP/1.1 299 Fine\r\nContent-Length: 0\r\n\r\n", true, 200),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            true,
            200,
        ),
        // What is behind the head of a 2xx does not matter.
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nand so on", true, 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, 200),
        ("HTTP/1.0 401 Unauthorized\r\n\r\nuntil it ends", false, 401),
        (
            "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuntil\r\n8\r\n it ends\r\n0\r\n\r\n",
            true,
            401,
        ),
        ("HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", true, 304),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\nuntil it ends", true, 500),
    ] {
        let response = told(said.to_owned(), keeps, 100).await;
        assert_eq!(response.status, expected, "{said}: {response:?}");
        if matches!(expected, 401 | 500) {
            assert_eq!(response.body, "until it ends");
        }
        // Hints of the authority are none of the backend.
        assert!(!response.head.contains("link:"), "{response:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_handed_on() {
    let long = "x".repeat(101);
    for said in [
        format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: 101\r\n\r\n{long}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{long}").replace("200 OK", "403 No"),
        format!("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n{long}"),
        // It is not waited for.
        "HTTP/1.1 403 No\r\nContent-Length: 1000000\r\n\r\n".to_owned(),
    ] {
        let response = told(said, true, 100).await;
        assert_eq!(response.status, 401, "{response:?}");
        assert!(response.body.contains("too long"), "{response:?}");
    }
}

#[tokio::test]
async fn an_authority_that_is_silent_has_its_time_and_no_more() {
    let backend = Script::echo().await;
    let (authority, _gone) = silent().await;
    let limit = Some(Duration::from_millis(200));
    let config = HttpConfig { response_timeout: limit, ..HttpConfig::default() };
    let router = guarded(options(authority.address), backend.address);
    let portolan = Portolan::start_with(config, None, vec![router]);
    assert_eq!(portolan.get("a.local", "/").await.status, 503);
}

/// An authority that says nothing, and tells when nobody waits any more.
async fn silent() -> (Script, mpsc::UnboundedReceiver<&'static str>) {
    let (told, hears) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let told = told.clone();
        async move {
            client.request().await;
            told.send("asked").ok();
            client.until("never").await;
            told.send("gone").ok();
        }
    });
    (script.await, hears)
}

#[tokio::test]
async fn nobody_is_asked_for_a_client_that_is_gone() {
    let backend = Script::echo().await;
    let (authority, mut hears) = silent().await;
    let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(soon(hears.recv()).await, Some("asked"));
    drop(client);
    assert_eq!(soon(hears.recv()).await, Some("gone"));
}

#[tokio::test]
async fn a_connection_that_the_authority_closed_costs_no_request() {
    let backend = Script::echo().await;
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let mut authority = Script::start(move |mut client| {
        let closed = closed.clone();
        async move {
            client.request().await;
            client.send(PASSES).await;
            drop(client);
            closed.send(()).ok();
        }
    })
    .await;
    let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    let mut client = portolan.connect().await;
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);
        soon(is_closed.recv()).await.unwrap();
    }
    assert_eq!(authority.connections(), 5);
}
