//! Spans: what a collector sees of requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderName;
use portolan_core::{
    exchange::Exchange,
    forward_auth::{ForwardAuth, Options},
    hook::{CallError, Hooks, RequestVerdict, ResponseVerdict},
    middleware::{Action, Interest},
    router::{Observability, Router, TraceVerbosity},
};
use tokio::sync::mpsc;

use super::support::{
    Portolan, Script, entrypoint, header, middleware, nobody, plan, router, soon,
};
use crate::http::{
    EntrypointConfig, FinishedSpan, HttpConfig, Ledger, SpanKind, TraceConfig, Tracing, Trust,
    Value,
};

const DETAILED: TraceVerbosity = TraceVerbosity::Detailed;

/// A hook that does nothing, which is something to be seen.
#[derive(Debug)]
struct Idle;

impl Hooks for Idle {
    fn on_request(
        &self,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        (exchange, Ok(RequestVerdict::Continue { context: 0, response: true, later: Vec::new() }))
    }

    fn on_response(
        &self,
        _context: u64,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        (exchange, Ok(ResponseVerdict::Continue))
    }
}

struct Traced {
    portolan: Portolan,
    spans: mpsc::Receiver<Vec<FinishedSpan>>,
    tracing: Arc<Tracing>,
}

/// A traced server with a middleware that runs code before this backend.
fn traced(config: TraceConfig, waiting: usize, backend: SocketAddr) -> Traced {
    traced_at(entrypoint("web", None), config, waiting, &[backend], Observability::default())
}

fn traced_at(
    web: EntrypointConfig,
    config: TraceConfig,
    waiting: usize,
    backends: &[SocketAddr],
    observability: Observability,
) -> Traced {
    let (tracing, spans) = Tracing::new(config, waiting);
    let ledger = Ledger { tracing: Some(tracing.clone()), ..Ledger::default() };
    let config = HttpConfig { ledger, ..HttpConfig::default() };
    let interest = Interest {
        hooks: Some(Arc::new(Idle)),
        on_request: true,
        on_response: true,
        ..Interest::default()
    };
    let middlewares = vec![middleware("idle", interest)];
    let router = Router { middlewares, observability, ..router("a.local", backends) };
    let portolan = Portolan::start_at(config, web, vec![router]);
    Traced { portolan, spans, tracing }
}

const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(super) fn attribute<'a>(span: &'a FinishedSpan, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[tokio::test]
async fn what_others_say_of_a_trace_belongs_to_that_trace() {
    let backend = Script::echo().await;
    let mut traced = traced(TraceConfig::default(), 16, backend.address);
    let mut client = traced.portolan.connect().await;
    for (parent, state) in [(SENT, "v=1,w=2"), ("00-0-0-01", "")] {
        client
            .send(&format!(
                "GET / HTTP/1.1\r\nHost: a.local\r\ntraceparent: {parent}\r\n\
                 tracestate: v=1\r\ntracestate: w=2\r\n\r\n"
            ))
            .await;
        client.response().await;
        let spans = soon(traced.spans.recv()).await.unwrap();
        assert!(spans.iter().all(|it| it.state == state), "{spans:#?}");
    }
}

#[tokio::test]
async fn who_decides_about_a_request_is_asked_in_a_span_of_its_own() {
    let (told, mut asked) = mpsc::unbounded_channel();
    let authority = Script::start(move |mut client| {
        let told = told.clone();
        async move {
            let request = client.request().await.unwrap();
            told.send(header(&request.head, "traceparent").unwrap().to_owned()).ok();
            client.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let address = format!("http://{}/verify?token=x", authority.address);
    let options = Options { address: address.clone(), max_answer: 9, ..Options::default() };
    let action = Action::ForwardAuth(Arc::new(ForwardAuth::new(options).unwrap()));
    let (tracing, mut spans) = Tracing::new(TraceConfig::default(), 16);
    let ledger = Ledger { tracing: Some(tracing), ..Ledger::default() };
    let config = HttpConfig { ledger, ..HttpConfig::default() };
    let middlewares = vec![plan("auth", vec![action])];
    let router = Router { middlewares, ..router("a.local", &[nobody()]) };
    let portolan = Portolan::start_with(config, None, vec![router]);
    assert_eq!(portolan.get("a.local", "/").await.status, 403);
    let spans = soon(spans.recv()).await.unwrap();
    let [server, question] = &*spans else { panic!("{spans:#?}") };
    assert_eq!((&*question.name, question.kind), ("AuthRequest", SpanKind::Client));
    assert_eq!((question.parent, &question.error), (Some(server.id), &None));
    assert_eq!(attribute(question, "http.response.status_code"), Some(&Value::Number(403)));
    let url = format!("{}?token=REDACTED", address.split('?').next().unwrap());
    assert_eq!(attribute(question, "url.full"), Some(&url.into()));
    let named = format!("00-{:032x}-{:016x}-01", question.trace, question.id);
    assert_eq!(asked.recv().await, Some(named), "the authority goes on with it");
}

#[tokio::test]
async fn a_trace_goes_on_through_every_part_to_the_backend() {
    let backend = Script::echo().await;
    let config = TraceConfig {
        verbosity: DETAILED,
        request_headers: vec![HeaderName::from_static("x-tenant")],
        response_headers: vec![http::header::CONTENT_LENGTH],
        safe_query: vec!["page".to_owned()],
        ..TraceConfig::default()
    };
    let address = backend.address;
    let mut traced = traced(config, 16, address);
    let mut client = traced.portolan.connect().await;
    client
        .send(&format!(
            "GET /x?token=1&page=2 HTTP/1.1\r\nHost: a.local\r\ntraceparent: {SENT}\r\n\
             tracestate: v=1\r\nX-Tenant: t\r\n\r\n"
        ))
        .await;
    let seen = client.response().await.body;
    let spans = soon(traced.spans.recv()).await.unwrap();
    let [server, router, inward, outward, backend] = &spans[..] else { panic!("{spans:#?}") };
    assert!(spans.iter().all(|it| it.trace == 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c));
    assert!(spans.iter().all(|it| it.state == "v=1" && it.start <= it.end));
    assert_eq!(server.parent, Some(0xb7ad_6b71_6920_3331));
    assert_eq!(router.parent, Some(server.id));
    for inner in [inward, outward, backend] {
        assert_eq!(inner.parent, Some(router.id));
    }
    let kinds = [server, router, backend].map(|span| span.kind);
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Internal, SpanKind::Client]);
    // The backend's part of the trace begins under ours.
    let sent = format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", backend.id);
    assert!(seen.contains(&sent), "{seen}");
    assert!(seen.contains("tracestate: v=1"), "{seen}");
    assert_eq!(attribute(server, "url.query"), Some(&"token=REDACTED&page=2".into()));
    assert_eq!(attribute(server, "http.response.status_code"), Some(&Value::Number(200)));
    let tenant = Value::Texts(vec!["t".to_owned()]);
    let length = Value::Texts(vec![seen.len().to_string()]);
    for span in [server, backend] {
        assert_eq!(attribute(span, "http.request.header.x-tenant"), Some(&tenant));
        assert_eq!(attribute(span, "http.response.header.content-length"), Some(&length));
    }
    let port = Value::Number(address.port().into());
    for kind in ["server", "network.peer"] {
        assert_eq!(attribute(backend, &format!("{kind}.address")), Some(&"127.0.0.1".into()));
        assert_eq!(attribute(backend, &format!("{kind}.port")), Some(&port));
    }
    for named in [server, router] {
        for name in ["portolan.router.name", "traefik.router.name"] {
            assert_eq!(attribute(named, name), Some(&"r@test".into()), "{name}");
        }
        for name in ["portolan.service.name", "traefik.service.name"] {
            assert_eq!(attribute(named, name), Some(&"s@test".into()), "{name}");
        }
    }
    assert_eq!(attribute(inward, "portolan.middleware.step"), Some(&"request".into()));
    assert_eq!(attribute(outward, "portolan.middleware.step"), Some(&"response".into()));
    assert_eq!(attribute(backend, "http.request.method"), Some(&"GET".into()));
    assert!(spans.iter().all(|span| span.error.is_none()));
}

#[tokio::test]
async fn without_a_wish_there_are_the_spans_of_request_and_backend() {
    let backend = Script::echo().await;
    let mut traced = traced(TraceConfig::default(), 16, backend.address);
    let seen = traced.portolan.get("a.local", "/").await.body;
    let spans = soon(traced.spans.recv()).await.unwrap();
    let [server, client] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!([server.kind, client.kind], [SpanKind::Server, SpanKind::Client]);
    assert_eq!(client.parent, Some(server.id));
    assert!(seen.contains(&format!("-{:016x}-01", client.id)), "{seen}");
    assert_eq!(attribute(server, "traefik.router.name"), Some(&"r@test".into()));
    assert_eq!(attribute(server, "traefik.service.name"), Some(&"s@test".into()));
}

#[tokio::test]
async fn a_router_says_how_much_is_told_of_it_or_else_its_entrypoint_does() {
    const MINIMAL: TraceVerbosity = TraceVerbosity::Minimal;
    let backend = Script::echo().await;
    for (usual, of_entrypoint, of_router, count) in [
        (MINIMAL, None, Some(DETAILED), 5),
        (MINIMAL, Some(DETAILED), None, 5),
        (DETAILED, Some(MINIMAL), None, 2),
        (DETAILED, Some(DETAILED), Some(MINIMAL), 2),
        (DETAILED, None, None, 5),
    ] {
        let says = |trace_verbosity| Observability { trace_verbosity, ..Observability::default() };
        let web = entrypoint("web", None);
        let web = EntrypointConfig { observability: says(of_entrypoint), ..web };
        let config = TraceConfig { verbosity: usual, ..TraceConfig::default() };
        let mut traced = traced_at(web, config, 16, &[backend.address], says(of_router));
        assert_eq!(traced.portolan.get("a.local", "/").await.status, 200);
        let spans = soon(traced.spans.recv()).await.unwrap();
        assert_eq!(spans.len(), count, "{usual:?} {of_entrypoint:?} {of_router:?}");
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_of_which_its_backend_is_told() {
    let (dead, alive) = (nobody(), Script::echo().await);
    let (web, config) = (entrypoint("web", None), TraceConfig::default());
    let backends = [dead, alive.address];
    let mut traced = traced_at(web, config, 16, &backends, Observability::default());
    // Round robin: at least one of two begins with the dead one.
    for _ in 0..2 {
        let seen = traced.portolan.get("a.local", "/x").await.body;
        let spans = soon(traced.spans.recv()).await.unwrap();
        let [server, attempts @ .., last] = &spans[..] else { panic!("{spans:#?}") };
        assert!(seen.contains(&format!("-{:016x}-01", last.id)), "{seen}");
        assert_eq!(attribute(last, "http.response.status_code"), Some(&Value::Number(200)));
        assert_eq!((last.parent, &last.error), (Some(server.id), &None));
        let [first] = attempts else { continue };
        assert_eq!(
            (first.parent, first.error.as_deref()),
            (Some(server.id), Some("connect-refused"))
        );
        assert!(first.end <= last.start);
        assert_eq!(attribute(first, "url.full"), Some(&format!("http://{dead}/x").into()));
        assert_eq!(attribute(first, "network.protocol.version"), None);
        assert_eq!(attribute(last, "network.protocol.version"), Some(&"1.1".into()));
        assert_eq!(attribute(last, "http.request.resend_count"), Some(&Value::Number(1)));
        return;
    }
    panic!("nobody asked the dead one");
}

#[tokio::test]
async fn the_scheme_is_the_clients_as_a_trusted_proxy_has_it() {
    let backend = Script::echo().await;
    for (networks, scheme) in [(vec!["127.0.0.0/8".parse().unwrap()], "https"), (vec![], "http")] {
        let trust = Trust { forwarded_headers: networks, ..Trust::default() };
        let web = EntrypointConfig { trust, ..entrypoint("web", None) };
        let config = TraceConfig::default();
        let backends = [backend.address];
        let mut traced = traced_at(web, config, 16, &backends, Observability::default());
        let mut client = traced.portolan.connect().await;
        let request = "GET / HTTP/1.1\r\nHost: a.local\r\nX-Forwarded-Proto: https\r\n\
             User-Agent: sextant\r\n\r\n";
        client.send(request).await;
        assert_eq!(client.response().await.status, 200);
        let spans = soon(traced.spans.recv()).await.unwrap();
        let [server, client] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!(attribute(server, "url.scheme"), Some(&scheme.into()));
        assert_eq!(attribute(client, "url.scheme"), Some(&"http".into()));
        for span in [server, client] {
            assert_eq!(attribute(span, "network.protocol.version"), Some(&"1.1".into()));
            assert_eq!(attribute(span, "user_agent.original"), Some(&"sextant".into()));
        }
    }
}

#[tokio::test]
async fn a_failure_is_an_error_of_its_span() {
    let config = TraceConfig { verbosity: DETAILED, ..TraceConfig::default() };
    let mut traced = traced(config, 16, nobody());
    assert_eq!(traced.portolan.get("a.local", "/").await.status, 502);
    let spans = soon(traced.spans.recv()).await.unwrap();
    let errors: Vec<_> = spans.iter().map(|span| span.error.as_deref()).collect();
    let refused = Some("connect-refused");
    assert_eq!(errors, [refused, None, None, None, refused]);
    assert_eq!(traced.portolan.get("b.local", "/").await.status, 404);
    let spans = soon(traced.spans.recv()).await.unwrap();
    // A client that asks for what is not there is no error of the server.
    assert_eq!((spans.len(), spans[0].error.as_deref()), (1, None));
}

#[tokio::test]
async fn a_backend_is_told_of_no_trace_of_a_router_that_is_not_traced() {
    let backend = Script::echo().await;
    let (tracing, mut spans) = Tracing::new(TraceConfig::default(), 16);
    let ledger = Ledger { tracing: Some(tracing), ..Ledger::default() };
    let observability = Observability { tracing: Some(false), ..Observability::default() };
    let untraced = Router { observability, ..router("a.local", &[backend.address]) };
    let config = HttpConfig { ledger, ..HttpConfig::default() };
    let portolan = Portolan::start_with(config, None, vec![untraced]);
    let seen = portolan.get("a.local", "/").await.body;
    assert!(!seen.contains("traceparent"), "{seen}");
    // One that the client began goes on.
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\ntraceparent: {SENT}\r\n\r\n")).await;
    let seen = client.response().await.body;
    assert!(seen.contains(&format!("traceparent: {SENT}")), "{seen}");
    portolan.server.drain(Duration::from_secs(20)).await;
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn what_is_not_sampled_leaves_no_span_but_its_context_goes_on() {
    let backend = Script::echo().await;
    let config = TraceConfig { sample_rate: 0.0, ..TraceConfig::default() };
    let mut traced = traced(config, 16, backend.address);
    let seen = traced.portolan.get("a.local", "/").await.body;
    let context = seen.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap();
    assert!(context.starts_with("00-") && context.ends_with("-00"), "{context}");
    let mut client = traced.portolan.connect().await;
    let unsampled = format!("{}0", SENT.trim_end_matches('1'));
    client
        .send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\ntraceparent: {unsampled}\r\n\r\n"))
        .await;
    let seen = client.response().await.body;
    assert!(seen.contains(&format!("traceparent: {unsampled}")), "{seen}");
    traced.portolan.server.drain(Duration::from_secs(20)).await;
    assert!(traced.spans.try_recv().is_err());
    assert_eq!(traced.tracing.dropped(), 0);
}

#[tokio::test]
async fn an_exporter_that_does_not_keep_up_costs_spans_and_no_request() {
    let backend = Script::echo().await;
    let traced = traced(TraceConfig::default(), 1, backend.address);
    for _ in 0..4 {
        assert_eq!(traced.portolan.get("a.local", "/").await.status, 200);
    }
    traced.portolan.server.drain(Duration::from_secs(20)).await;
    assert_eq!(traced.tracing.dropped(), 3 * 2);
}
