//! Who asks too much: refused, or kept waiting a little.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use portolan_core::{
    exchange::{Exchange, Reply},
    hook::{CallError, Hooks, RequestVerdict, ResponseVerdict},
    middleware::{Action, Interest, Middleware},
    moment::Fine,
    router::Router,
    test_util,
    throttle::{By, InFlightLimit, Pace, Rate, RateLimit, Sources, Tally},
};

use super::support::{Client, Portolan, Script, header, middleware, nobody, plan, router, soon};

fn limit(average: u64, period: Duration, burst: u64) -> RateLimit {
    let sources = Sources { by: By::Host, together: false };
    RateLimit::new(Rate { average, period, burst }, sources)
}

fn limited(host: &str, limit: &RateLimit, backend: &Script) -> Router {
    let middlewares = vec![plan("limit", vec![Action::RateLimit(limit.clone())])];
    Router { middlewares, ..router(host, &[backend.address]) }
}

/// Of a second and two requests at once one is used, and some of the other: the next one has to wait so long.
fn used(router: &Router, host: &str, wait: Duration) -> RateLimit {
    let limit = limit(1, Duration::from_secs(1), 2);
    let key = limit.sources.key(&router.name, &test_util::exchange(&format!("GET http://{host}/")));
    let now = Instant::now();
    // Time begins with the first moment that anybody asks for.
    Fine::of(now);
    assert_eq!(limit.take(key, Fine::of(now + wait)), Pace::Now);
    limit
}

async fn until(tally: &Arc<Tally>, waiting: u64) {
    soon(async {
        while tally.waiting.value() != waiting {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again() {
    let mut backend = Script::echo().await;
    let hourly = limit(2, Duration::from_secs(3600), 2);
    let routers = ["a.local", "b.local"].map(|host| limited(host, &hourly, &backend));
    let portolan = Portolan::start(routers.into());
    for _ in 0..2 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
    let asked = backend.connections();
    let refused = portolan.get("a.local", "/").await;
    assert_eq!((refused.status, refused.body.as_str()), (429, "Too Many Requests"));
    let seconds = header(&refused.head, "retry-after").unwrap();
    assert!((1700..=1800).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
    let exactly = header(&refused.head, "x-retry-in").unwrap();
    assert!(exactly.ends_with('s'), "{exactly}");
    assert_eq!((hourly.tally.refused.value(), backend.connections()), (1, 0));
    assert!(asked > 0);
    // Another source.
    assert_eq!(portolan.get("b.local", "/").await.status, 200);
}

#[tokio::test]
async fn who_comes_a_little_too_early_waits() {
    let backend = Script::echo().await;
    let begin = Instant::now();
    let limit = used(&router("a.local", &[]), "a.local", Duration::from_millis(300));
    let portolan = Portolan::start(vec![limited("a.local", &limit, &backend)]);
    let status = portolan.get("a.local", "/").await.status;
    assert_eq!((status, limit.tally.refused.value()), (200, 0));
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!(limit.tally.waiting.value(), 0);
}

#[tokio::test]
async fn who_goes_away_does_not_wait() {
    let mut backend = Script::echo().await;
    let limit = used(&router("a.local", &[]), "a.local", Duration::from_millis(490));
    let portolan = Portolan::start(vec![limited("a.local", &limit, &backend)]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    until(&limit.tally, 1).await;
    drop(client);
    until(&limit.tally, 0).await;
    assert_eq!(backend.connections(), 0);
    let refused = portolan.get("a.local", "/").await;
    assert_eq!(refused.status, 429, "what it would have asked is counted");
    assert_eq!(backend.connections(), 0);
}

/// One request of a host at once, and then these.
fn one_at_once(host: &str, backend: std::net::SocketAddr, more: Vec<Arc<Middleware>>) -> One {
    let limit = InFlightLimit::new(1, Sources { by: By::Host, together: false });
    let first = plan("one", vec![Action::InFlight(limit.clone())]);
    let middlewares = std::iter::once(first).chain(more).collect();
    let router = Router { middlewares, ..router(host, &[backend]) };
    let key = limit.sources.key(&router.name, &test_util::exchange(&format!("GET http://{host}/")));
    let is_free = Box::new(move || limit.take(key).is_some());
    One { portolan: Portolan::start(vec![router]), is_free }
}

struct One {
    portolan: Portolan,
    /// Whether there is a place.
    is_free: Box<dyn Fn() -> bool>,
}

impl One {
    async fn ask(&self, headers: &str) -> Client<tokio::net::TcpStream> {
        let mut client = self.portolan.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{headers}\r\n")).await;
        client
    }

    async fn until(&self, free: bool) {
        soon(async {
            while (self.is_free)() != free {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Another one is refused.
    async fn refuses(&self) {
        self.until(false).await;
        let refused = self.portolan.get("a.local", "/").await;
        assert_eq!((refused.status, refused.body.as_str()), (429, "Too Many Requests"));
        assert!(!(self.is_free)(), "who was refused gives nothing back");
    }
}

#[tokio::test]
async fn who_has_had_the_end_of_a_response_may_ask_again() {
    let backend = Script::echo().await;
    let one = one_at_once("a.local", backend.address, Vec::new());
    for _ in 0..100 {
        assert_eq!(one.portolan.get("a.local", "/").await.status, 200);
    }
    let dead = one_at_once("a.local", nobody(), Vec::new());
    for _ in 0..20 {
        assert_eq!(dead.portolan.get("a.local", "/").await.status, 502);
    }
    let reply = Reply { body: "hello".into(), ..Reply::empty(StatusCode::IM_A_TEAPOT) };
    let hello = vec![plan("hello", vec![Action::Reply(reply)])];
    let answered = one_at_once("a.local", nobody(), hello);
    for _ in 0..20 {
        assert_eq!(answered.portolan.get("a.local", "/").await.status, 418);
    }
}

#[tokio::test]
async fn a_place_is_kept_until_the_last_byte_or_until_the_client_is_gone() {
    let (backend, mut gone) = Script::endless().await;
    let one = one_at_once("a.local", backend.address, Vec::new());
    let mut client = one.ask("").await;
    client.until("\r\n\r\n").await.unwrap();
    one.refuses().await;
    drop(client);
    soon(gone.recv()).await.unwrap();
    one.until(true).await;
    // It goes before there is an answer.
    let silent = Script::start(|mut client| async move {
        client.request().await;
        client.ends().await;
    });
    let one = one_at_once("a.local", silent.await.address, Vec::new());
    let client = one.ask("").await;
    one.refuses().await;
    drop(client);
    one.until(true).await;
}

#[tokio::test]
async fn a_tunnel_keeps_its_place_until_it_is_closed() {
    let backend = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        client.exactly(4).await;
        client.send("done").await;
    })
    .await;
    let one = one_at_once("a.local", backend.address, Vec::new());
    let mut client = one.ask("Connection: upgrade\r\nUpgrade: x\r\n").await;
    client.until("\r\n\r\n").await.unwrap();
    one.refuses().await;
    client.send("ping").await;
    assert_eq!(client.exactly(4).await, "done");
    drop(client);
    one.until(true).await;
}

#[derive(Debug)]
struct Panics;

impl Hooks for Panics {
    fn on_request(&self, _: Box<Exchange>) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        panic!("on purpose")
    }

    fn on_response(
        &self,
        _: u64,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        (exchange, Ok(ResponseVerdict::Continue))
    }
}

#[tokio::test]
async fn a_panic_gives_a_place_back() {
    let backend = Script::echo().await;
    let hooks: Option<Arc<dyn Hooks>> = Some(Arc::new(Panics));
    let panics = middleware("panics", Interest { hooks, on_request: true, ..Interest::default() });
    let one = one_at_once("a.local", backend.address, vec![panics]);
    let mut client = one.ask("").await;
    assert!(client.ends().await);
    one.until(true).await;
}
