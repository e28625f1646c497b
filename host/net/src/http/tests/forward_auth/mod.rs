//! Another server is asked whether requests may pass.

mod bodies;
mod hostile;

use std::{net::SocketAddr, sync::Arc};

use http::HeaderName;
use portolan_core::{
    forward_auth::{ForwardAuth, Options},
    middleware::{Action, Middleware},
    router::Router,
};
use tokio::sync::mpsc;

use super::support::{Portolan, Request, Script, header, plan, router, soon};

/// What is usual, of an authority at this address.
fn options(address: SocketAddr) -> Options {
    let names = ["remote-user", "remote-groups"];
    Options {
        address: format!("http://{address}/verify?x=1"),
        response_headers: names.map(HeaderName::from_static).to_vec(),
        max_answer: 4 << 20,
        ..Options::default()
    }
}

fn asking(options: Options) -> Arc<Middleware> {
    let authority = ForwardAuth::new(options).unwrap();
    plan("auth", vec![Action::ForwardAuth(Arc::new(authority))])
}

/// A router `a.local` whose requests an authority lets pass, or not.
fn guarded(options: Options, backend: SocketAddr) -> Router {
    Router { middlewares: vec![asking(options)], ..router("a.local", &[backend]) }
}

/// An authority that answers everything with this, and tells what it was asked.
async fn authority(answer: &'static str) -> (Script, mpsc::UnboundedReceiver<Request>) {
    let (told, asked) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let told = told.clone();
        async move {
            while let Some(request) = client.request().await {
                told.send(request).ok();
                client.send(answer).await;
            }
        }
    });
    (script.await, asked)
}

const PASSES: &str = "HTTP/1.1 200 OK\r\nRemote-User: ada\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn who_passes_is_introduced_to_the_backend_over_connections_that_are_kept() {
    let backend = Script::echo().await;
    let (mut authority, mut asked) = authority(PASSES).await;
    let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    let mut client = portolan.connect().await;
    for _ in 0..5 {
        client
            .send(
                "GET /cart?id=1 HTTP/1.1\r\nHost: a.local\r\nCookie: s=1\r\nRemote-User: root\r\n\
                 Remote_Groups: wheel\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-For: 6.6.6.6\r\n\
                 Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nX-Hop: 1\r\nUser-Agent: test\r\n\
                 Connection: keep-alive, x-hop\r\n\r\n",
            )
            .await;
        let response = client.response().await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(header(&response.body, "remote-user"), Some("ada"));
        assert_eq!(header(&response.body, "remote_groups"), None);
        assert_eq!(header(&response.body, "proxy-authorization"), None);
        let question = soon(asked.recv()).await.unwrap().head;
        assert!(question.starts_with("get /verify?x=1 http/1.1\r\n"), "{question}");
        for (name, expected) in [
            ("host", Some(authority.address.to_string())),
            ("x-forwarded-method", Some("get".into())),
            ("x-forwarded-proto", Some("http".into())),
            ("x-forwarded-host", Some("a.local".into())),
            ("x-forwarded-uri", Some("/cart?id=1".into())),
            ("x-forwarded-for", Some("127.0.0.1".into())),
            ("cookie", Some("s=1".into())),
            ("user-agent", Some("test".into())),
            ("proxy-authorization", Some("basic ea==".into())),
            // Loops are found as with backends.
            ("cdn-loop", Some("portolan".into())),
            ("connection", None),
            ("x-hop", None),
            ("te", None),
            ("content-length", None),
            ("transfer-encoding", None),
        ] {
            assert_eq!(header(&question, name), expected.as_deref(), "{name} {question}");
        }
    }
    assert_eq!(authority.connections(), 1);
}

#[tokio::test]
async fn who_does_not_pass_gets_the_authoritys_answer() {
    let mut backend = Script::echo().await;
    let (authority, _asked) = authority(
        "HTTP/1.1 302 Found\r\nLocation: /login?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Connection: x-own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nContent-Type: text/html\r\n\
         Content-Length: 5\r\n\r\nlogin",
    )
    .await;
    let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    let mut client = portolan.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (302, "login"));
        let location = format!("http://{}/login?rd=x", authority.address);
        assert_eq!(header(&response.head, "location"), Some(&*location), "as the client knows it");
        assert!(response.head.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"), "{response:?}");
        assert_eq!(header(&response.head, "content-type"), Some("text/html"));
        assert_eq!(
            (header(&response.head, "x-own"), header(&response.head, "keep-alive")),
            (None, None)
        );
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn cookies_of_the_authority_stand_in_the_response_also_if_another_middleware_answers() {
    let backend = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            let cookies = "Set-Cookie: session=old\r\nSet-Cookie: own=1";
            client
                .send(&format!("HTTP/1.1 200 OK\r\n{cookies}\r\nContent-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let (authority, _asked) = authority(
        "HTTP/1.1 200 OK\r\nSet-Cookie: session=new\r\nSet-Cookie: x=1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let options = Options { cookies: vec!["session".into()], ..options(authority.address) };
    let portolan = Portolan::start(vec![guarded(options.clone(), backend.address)]);
    let response = portolan.get("a.local", "/").await;
    assert!(
        response.head.contains("set-cookie: own=1\r\nset-cookie: session=new\r\n"),
        "{response:?}"
    );
    assert!(!response.head.contains("session=old") && !response.head.contains("x=1"));
    let reply = portolan_core::exchange::Reply::empty(http::StatusCode::IM_A_TEAPOT);
    let mut router = guarded(options, backend.address);
    router.middlewares.push(plan("teapot", vec![Action::Reply(reply)]));
    let portolan = Portolan::start(vec![router]);
    let response = portolan.get("a.local", "/").await;
    assert_eq!((response.status, header(&response.head, "set-cookie")), (418, Some("session=new")));
}

#[tokio::test]
async fn a_preflight_and_an_upgrade_are_asked_about_once_and_before() {
    let backend = Script::start(|mut client| async move {
        let request = client.request().await.unwrap();
        assert_eq!(header(&request.head, "upgrade"), Some("websocket"));
        assert_eq!(header(&request.head, "remote-user"), Some("ada"));
        let changed = "Connection: upgrade\r\nUpgrade: websocket";
        client.send(&format!("HTTP/1.1 101 Switching Protocols\r\n{changed}\r\n\r\n")).await;
        let said = client.exactly(4).await;
        client.send(&said).await;
        client.until("never").await;
    })
    .await;
    let (authority, mut asked) = authority(PASSES).await;
    let portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    let mut client = portolan.connect().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x";
    client.send(&format!("GET /ws HTTP/1.1\r\nHost: a.local\r\n{upgrade}\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 101);
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, "ping");
    let question = soon(asked.recv()).await.unwrap().head;
    assert_eq!((header(&question, "upgrade"), header(&question, "connection")), (None, None));
    assert_eq!(header(&question, "sec-websocket-key"), Some("x"));
    assert_eq!(header(&question, "x-forwarded-proto"), Some("http"));
    assert!(asked.try_recv().is_err());

    let mut client = portolan.connect().await;
    let asks = "Origin: http://b\r\nAccess-Control-Request-Method: PUT";
    client.send(&format!("OPTIONS / HTTP/1.1\r\nHost: a.local\r\n{asks}\r\n\r\n")).await;
    let question = soon(asked.recv()).await.unwrap().head;
    assert!(question.starts_with("get "), "{question}");
    assert_eq!(header(&question, "x-forwarded-method"), Some("options"));
}

#[tokio::test]
async fn an_authority_that_leads_back_to_itself_ends_the_circle() {
    let backend = Script::echo().await;
    // Where the authority is ourselves, is known when we listen.
    let mut portolan = Portolan::start(Vec::new());
    let middlewares = vec![asking(options(portolan.address))];
    let host = portolan.address.ip().to_string();
    let circle = Router { middlewares: middlewares.clone(), ..router(&host, &[backend.address]) };
    let entry = Router { middlewares, ..router("a.local", &[backend.address]) };
    portolan.publish(vec![circle, entry]);
    let response = portolan.get("a.local", "/").await;
    assert_eq!(response.status, 508, "the answer to the last one is that of all: {response:?}");
}

/// Lets everybody pass, and tells when a connection ends.
async fn ending() -> (Script, mpsc::UnboundedReceiver<()>) {
    let (gone, is_gone) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let gone = gone.clone();
        async move {
            while client.request().await.is_some() {
                client.send(PASSES).await;
            }
            gone.send(()).ok();
        }
    });
    (script.await, is_gone)
}

#[tokio::test]
async fn connections_to_an_authority_that_is_not_asked_any_more_are_closed() {
    let (authority, mut is_gone) = ending().await;
    let backend = Script::echo().await;
    let mut portolan = Portolan::start(vec![guarded(options(authority.address), backend.address)]);
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
    portolan.publish(vec![router("a.local", &[backend.address])]);
    soon(is_gone.recv()).await.unwrap();
}

#[tokio::test]
async fn connections_to_an_authority_outlive_changes_of_others() {
    let (mut authority, _asked) = authority(PASSES).await;
    let (other, mut is_gone) = ending().await;
    let backend = Script::echo().await;
    let middlewares = vec![asking(options(authority.address))];
    let guarded =
        || Router { middlewares: middlewares.clone(), ..router("a.local", &[backend.address]) };
    let mut portolan = Portolan::start(vec![guarded(), router("b.local", &[other.address])]);
    let mut client = portolan.connect().await;
    for host in ["a.local", "b.local"] {
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 200);
    }
    portolan.publish(vec![guarded()]);
    // It was looked at which connections are of use.
    soon(is_gone.recv()).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!((client.response().await.status, authority.connections()), (200, 1));
}
