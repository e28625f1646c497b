//! Bodies of requests that somebody decides about first.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::forward_auth::Options;
use tokio::net::TcpStream;

use super::{PASSES, authority, guarded, options};
use crate::http::tests::support::{Portolan, Script, header, soon};

const REFUSES: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";

/// Answers every request with its head and its body.
async fn repeating() -> Script {
    Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let body = format!("{}{}", request.head, request.body);
            client
                .send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))
                .await;
            client.send(&body).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_is_not_asked_for_before_the_request_may_pass() {
    let backend = repeating().await;
    let expects =
        "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    for (answer, status) in [(REFUSES, 401), (PASSES, 200)] {
        let (authority, mut asked) = authority(answer).await;
        let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
        let mut client = portolan.connect().await;
        client.send(expects).await;
        let first = client.response().await;
        let question = soon(asked.recv()).await.unwrap();
        assert_eq!((header(&question.head, "expect"), &*question.body), (None, ""));
        assert!(question.head.starts_with("get "), "{}", question.head);
        if status == 401 {
            assert_eq!(first.status, 401);
            continue;
        }
        assert_eq!(first.status, 100);
        client.send("body").await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.ends_with("\r\n\r\nbody")), (200, true));
    }
}

#[tokio::test]
async fn an_authority_may_have_the_body_and_the_backend_has_it_whole() {
    let backend = repeating().await;
    let (authority, mut asked) = authority(PASSES).await;
    let options = Options { body: Some(10), ..options(authority.address) };
    let portolan = Portolan::start(vec![guarded(options, backend.address)]);
    let mut client = portolan.connect().await;
    for (framed, content) in [
        ("Content-Length: 10\r\n\r\n", "0123456789"),
        ("Transfer-Encoding: chunked\r\n\r\n", "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"),
        ("Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", "0123456789"),
    ] {
        client.send(&format!("POST / HTTP/1.1\r\nHost: a.local\r\n{framed}")).await;
        if framed.contains("Expect") {
            assert_eq!(client.response().await.status, 100);
        }
        client.send(content).await;
        let response = client.response().await;
        assert_eq!(response.status, 200, "{response:?}");
        assert!(response.body.contains("content-length: 10\r\n"), "{response:?}");
        assert!(response.body.ends_with("\r\n\r\n0123456789"), "{response:?}");
        let question = soon(asked.recv()).await.unwrap();
        assert_eq!(question.body, "0123456789");
        assert!(question.head.starts_with("get "), "{}", question.head);
    }
    // Without a body there is none to give.
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    let question = soon(asked.recv()).await.unwrap();
    assert_eq!(header(&question.head, "content-length"), None);
}

#[tokio::test]
async fn a_body_with_trailers_reaches_the_backend_with_them() {
    let backend = repeating().await;
    let (authority, _asked) = authority(PASSES).await;
    let options = Options { body: Some(10), ..options(authority.address) };
    let portolan = Portolan::start(vec![guarded(options, backend.address)]);
    let mut client = portolan.connect().await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\nX-Sum: 6\r\n\r\n";
    client.send(&format!("POST / HTTP/1.1\r\nHost: a.local\r\n{chunked}")).await;
    let response = client.response().await;
    assert!(
        response.body.to_lowercase().ends_with("4\r\n0123\r\n0\r\nx-sum: 6\r\n\r\n"),
        "{response:?}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_long_may_not_pass() {
    let mut backend = repeating().await;
    let (mut authority, _asked) = authority(PASSES).await;
    let options = Options { body: Some(10), ..options(authority.address) };
    let portolan = Portolan::start(vec![guarded(options, backend.address)]);
    for (framed, content) in [
        // It is not waited for.
        ("Content-Length: 11", ""),
        ("Transfer-Encoding: chunked", "b\r\n01234567890\r\n"),
    ] {
        let mut client = portolan.connect().await;
        client
            .send(&format!("POST / HTTP/1.1\r\nHost: a.local\r\n{framed}\r\n\r\n{content}"))
            .await;
        let response = client.response().await;
        assert_eq!(response.status, 401, "{response:?}");
        assert!(response.body.contains("too long"), "{response:?}");
    }
    assert_eq!((authority.connections(), backend.connections()), (0, 0));
}

#[tokio::test]
async fn a_body_over_http2_is_given_to_both_and_counted_once() {
    let backend = repeating().await;
    let (authority, mut asked) = authority(PASSES).await;
    let options = Options { body: Some(10), ..options(authority.address) };
    let router = guarded(options, backend.address);
    let figures = router.figures.clone();
    let portolan = Portolan::start(vec![router]);
    let stream = TcpStream::connect(portolan.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a.local/").header("remote-user", "root");
    let request = request.body(Full::new(Bytes::from_static(b"0123456789"))).unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.ends_with("\r\n\r\n0123456789"), "{body}");
    assert_eq!(header(&body, "remote-user"), Some("ada"));
    let question = soon(asked.recv()).await.unwrap();
    assert_eq!(
        (header(&question.head, "x-forwarded-host"), &*question.body),
        (Some("a.local"), "0123456789")
    );
    soon(async {
        while !figures.is_used() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let counted: u64 = figures.answers().values().map(|answer| answer.request_bytes).sum();
    assert_eq!(counted, 10);
}
