//! Middlewares: the order in which they are met, and what happens when one fails.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::{self, ThreadId},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode};
use portolan_core::{
    edit::Edit,
    exchange::{Exchange, HeaderLine, Reply},
    hook::{CallError, Hooks, RequestVerdict, ResponseVerdict},
    middleware::{Action, Interest, Middleware, OnFailure},
    router::Router,
};

use super::support::{Portolan, Script, header, middleware, nobody, plan, router, soon};

type Journal = Arc<Mutex<Vec<String>>>;

/// What a hook does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Pass,
    Reply,
    FailInward,
    FailOutward,
    Replace,
    Forbid,
}

#[derive(Debug)]
struct Recorder {
    name: &'static str,
    deed: Deed,
    journal: Journal,
}

fn reply(text: &str) -> Reply {
    Reply { body: text.to_owned().into(), ..Reply::empty(StatusCode::IM_A_TEAPOT) }
}

impl Hooks for Recorder {
    fn on_request(
        &self,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        let router = exchange.router.as_ref().map(ToString::to_string).unwrap_or_default();
        self.journal.lock().unwrap().push(format!("in {} {router}", self.name));
        let verdict = match self.deed {
            Deed::Reply => Ok(RequestVerdict::Reply(reply(self.name))),
            Deed::FailInward => Err(CallError::Suspended),
            Deed::Pass | Deed::FailOutward | Deed::Replace | Deed::Forbid => {
                exchange.request.headers.insert("x-seen", HeaderValue::from_static("yes"));
                Ok(RequestVerdict::Continue { context: 7, response: true, later: Vec::new() })
            }
        };
        (exchange, verdict)
    }

    fn on_response(
        &self,
        context: u64,
        mut exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        let status = exchange.response.as_ref().map_or(0, |response| response.status.as_u16());
        let seen = exchange.request.headers.contains_key("x-seen");
        self.journal.lock().unwrap().push(format!("out {} {context} {status} {seen}", self.name));
        let verdict = match self.deed {
            Deed::FailOutward => Err(CallError::Suspended),
            Deed::Replace => Ok(ResponseVerdict::Replace(reply(self.name))),
            Deed::Forbid => {
                Edit::SetStatus(StatusCode::FORBIDDEN).apply(&mut exchange);
                Ok(ResponseVerdict::Continue)
            }
            Deed::Pass | Deed::Reply | Deed::FailInward => Ok(ResponseVerdict::Continue),
        };
        (exchange, verdict)
    }
}

fn recorder(name: &'static str, deed: Deed, journal: &Journal) -> Arc<Middleware> {
    let hooks = Recorder { name, deed, journal: journal.clone() };
    let hooks: Option<Arc<dyn Hooks>> = Some(Arc::new(hooks));
    let interest = Interest { hooks, on_request: true, on_response: true, ..Interest::default() };
    middleware(name, interest)
}

/// What the client gets from three middlewares with the deed in the middle, and who was met.
async fn met(deed: Deed, on_failure: OnFailure) -> (u16, String, Vec<String>) {
    let backend = Script::echo().await;
    let journal = Journal::default();
    let mut middle = recorder("b", deed, &journal);
    Arc::get_mut(&mut middle).unwrap().on_failure = on_failure;
    let middlewares =
        vec![recorder("a", Deed::Pass, &journal), middle, recorder("c", Deed::Pass, &journal)];
    let router = Router { middlewares, ..router("a.local", &[backend.address]) };
    let portolan = Portolan::start(vec![router]);
    let response = portolan.get("a.local", "/").await;
    let journal = journal.lock().unwrap().clone();
    (response.status, response.body, journal)
}

#[tokio::test]
async fn middlewares_are_met_in_order_and_left_in_reverse() {
    let (status, seen, journal) = met(Deed::Pass, OnFailure::Closed).await;
    assert_eq!((status, header(&seen, "x-seen")), (200, Some("yes")));
    assert_eq!(
        journal,
        [
            "in a r@test",
            "in b r@test",
            "in c r@test",
            "out c 7 200 true",
            "out b 7 200 true",
            "out a 7 200 true",
        ]
    );
}

#[tokio::test]
async fn a_reply_turns_round_where_it_is_given() {
    let (status, body, journal) = met(Deed::Reply, OnFailure::Closed).await;
    assert_eq!((status, body.as_str()), (418, "b"));
    assert_eq!(journal, ["in a r@test", "in b r@test", "out a 7 418 true"]);
}

#[tokio::test]
async fn a_response_can_be_replaced() {
    let (status, body, journal) = met(Deed::Replace, OnFailure::Closed).await;
    assert_eq!((status, body.as_str()), (418, "b"));
    assert_eq!(journal.last().unwrap(), "out a 7 418 true");
}

#[tokio::test]
async fn a_failure_closes_or_is_passed_over() {
    let (status, _, journal) = met(Deed::FailInward, OnFailure::Closed).await;
    assert_eq!((status, journal.len()), (503, 3));
    let (status, _, journal) = met(Deed::FailInward, OnFailure::Open).await;
    assert_eq!((status, journal.len()), (200, 5));
    let (status, _, journal) = met(Deed::FailOutward, OnFailure::Closed).await;
    assert_eq!((status, journal.last().unwrap().as_str()), (503, "out a 7 503 true"));
    let (status, _, _) = met(Deed::FailOutward, OnFailure::Open).await;
    assert_eq!(status, 200);
}

/// Says on the way in what is to stand in the response.
#[derive(Debug)]
struct Early(&'static str);

impl Hooks for Early {
    fn on_request(
        &self,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        let name = HeaderName::from_static("x-early");
        let later = vec![Edit::SetResponseHeader(name, HeaderValue::from_static(self.0))];
        (exchange, Ok(RequestVerdict::Continue { context: 0, response: false, later }))
    }

    fn on_response(
        &self,
        _context: u64,
        _exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        panic!("nobody asked for that");
    }
}

#[tokio::test]
async fn an_upgrade_that_a_middleware_forbids_is_an_answer_like_any_other() {
    let backend = Script::start(|mut client| async move {
        client.request().await.unwrap();
        let changed = "Connection: upgrade\r\nUpgrade: websocket\r\nX-Other: 1";
        client.send(&format!("HTTP/1.1 101 Switching Protocols\r\n{changed}\r\n\r\n")).await;
        client.until("never").await;
    })
    .await;
    let middlewares = vec![recorder("a", Deed::Forbid, &Journal::default())];
    let router = Router { middlewares, ..router("a.local", &[backend.address]) };
    let portolan = Portolan::start(vec![router]);
    let mut client = portolan.connect().await;
    for _ in 0..2 {
        let asked = "Connection: upgrade\r\nUpgrade: websocket";
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{asked}\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status, 403);
        assert_eq!(header(&answer.head, "upgrade"), None, "{}", answer.head);
        assert_eq!(header(&answer.head, "x-other"), Some("1"));
    }
}

#[tokio::test]
async fn what_was_said_of_the_response_beforehand_is_done_in_the_order_of_the_way_back() {
    let backend = Script::echo().await;
    let early = |name: &'static str| {
        let hooks: Option<Arc<dyn Hooks>> = Some(Arc::new(Early(name)));
        let interest =
            Interest { hooks, on_request: true, on_response: true, ..Interest::default() };
        middleware(name, interest)
    };
    let journal = Journal::default();
    let with = |last: Vec<Arc<Middleware>>| {
        let middlewares = [vec![early("outer"), early("inner")], last].concat();
        Router { middlewares, ..router("a.local", &[backend.address]) }
    };
    // The outermost is the last to change it; whoever answers, it is done.
    for (last, status) in [
        (vec![], 200),
        (vec![recorder("r", Deed::Reply, &journal)], 418),
        (vec![recorder("f", Deed::FailInward, &journal)], 503),
    ] {
        let portolan = Portolan::start(vec![with(last)]);
        let response = portolan.get("a.local", "/").await;
        assert_eq!(response.status, status);
        assert_eq!(header(&response.head, "x-early"), Some("outer"), "{status}");
    }
}

/// Keeps its thread until it is let go, and says on which threads it was.
#[derive(Debug)]
struct Slow {
    gate: Mutex<mpsc::Receiver<()>>,
    entered: tokio::sync::mpsc::UnboundedSender<ThreadId>,
    journal: Journal,
}

impl Hooks for Slow {
    fn on_request(
        &self,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        self.journal.lock().unwrap().push("in slow".to_owned());
        self.entered.send(thread::current().id()).unwrap();
        self.gate.lock().unwrap().recv().unwrap();
        (exchange, Ok(RequestVerdict::Continue { context: 3, response: true, later: Vec::new() }))
    }

    fn on_response(
        &self,
        context: u64,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        self.journal.lock().unwrap().push(format!("out slow {context}"));
        self.entered.send(thread::current().id()).unwrap();
        (exchange, Ok(ResponseVerdict::Replace(reply("slow"))))
    }
}

#[tokio::test]
async fn a_hook_that_may_take_long_keeps_no_worker_and_its_place_in_the_order() {
    let backend = Script::echo().await;
    let journal = Journal::default();
    let (open, gate) = mpsc::channel();
    let (entered, mut enters) = tokio::sync::mpsc::unbounded_channel();
    let slow = Slow { gate: gate.into(), entered, journal: journal.clone() };
    let slow = Interest {
        hooks: Some(Arc::new(slow)),
        on_request: true,
        on_response: true,
        aside: Some(Duration::from_secs(60)),
        ..Interest::default()
    };
    let middlewares = vec![
        recorder("a", Deed::Pass, &journal),
        middleware("slow", slow),
        recorder("c", Deed::Pass, &journal),
    ];
    let guarded = Router { middlewares, ..router("a.local", &[backend.address]) };
    let portolan = Portolan::start(vec![guarded, router("b.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(enters.recv()).await.unwrap();
    // Enough for every worker to meet some of them.
    for _ in 0..32 {
        assert_eq!(portolan.get("b.local", "/").await.status, 200);
    }
    open.send(()).unwrap();
    let response = client.response().await;
    assert_eq!((response.status, response.body.as_str()), (418, "slow"));
    soon(enters.recv()).await.unwrap();
    let journal = journal.lock().unwrap().clone();
    assert_eq!(
        journal,
        [
            "in a r@test",
            "in slow",
            "in c r@test",
            "out c 7 200 true",
            "out slow 3",
            "out a 7 418 true"
        ]
    );
}

#[tokio::test]
async fn a_plan_is_done_without_hooks_and_on_our_own_responses_too() {
    let header_of = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let (to, added) = header_of("x-to", "1");
    let (from, answered) = header_of("x-from", "2");
    let middlewares = vec![plan(
        "headers",
        vec![
            Action::SetRequestHeader(HeaderLine::new(to, added)),
            Action::AddPrefix("/api".to_owned()),
            Action::SetResponseHeader(HeaderLine::new(from, answered)),
        ],
    )];
    let backend = Script::echo().await;
    let good = Router { middlewares: middlewares.clone(), ..router("a.local", &[backend.address]) };
    let dead = Router { middlewares, ..router("b.local", &[nobody()]) };
    let portolan = Portolan::start(vec![good, dead]);
    let response = portolan.get("a.local", "/x?q").await;
    assert!(response.body.starts_with("get /api/x?q "), "{}", response.body);
    assert_eq!(header(&response.body, "x-to"), Some("1"));
    assert_eq!(header(&response.head, "x-from"), Some("2"));
    let response = portolan.get("b.local", "/").await;
    assert_eq!((response.status, header(&response.head, "x-from")), (502, Some("2")));
}

#[tokio::test]
async fn a_router_needs_no_service_when_a_middleware_answers() {
    let middlewares = vec![plan("hello", vec![Action::Reply(reply("hello"))])];
    let router = Router { service: None, middlewares, ..router("a.local", &[]) };
    let portolan = Portolan::start(vec![router]);
    let response = portolan.get("a.local", "/").await;
    assert_eq!((response.status, response.body.as_str()), (418, "hello"));
    let mut client = portolan.connect().await;
    client.send("HEAD / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await.unwrap();
    assert_eq!(header(&head.to_lowercase(), "content-length"), Some("5"));
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(client.response().await.body, "hello");
}
