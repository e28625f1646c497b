//! Traces: a collector sees each request as it went, under the trace that it belongs to; a collector
//! that is away is nobody's trouble but its own.

use std::{
    convert::Infallible,
    io::Read as _,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{Authority, Backend, Config, Portolan, eventually, request_with};

/// The parts of OTLP that are looked at; decoding skips the others.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, optional, tag = "1")]
    about: Option<About>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct About {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Text>,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// A collector that keeps what it gets.
struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Vec<(String, Export)>>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Vec<_>>>::default();
        let keeping = got.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let keeping = keeping.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| take(request, keeping.clone()));
                    let io = TokioIo::new(stream);
                    drop(http1::Builder::new().serve_connection(io, service).await);
                });
            }
        });
        Self { address, got, task }
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let resources = got.iter().flat_map(|(_, export)| &export.resources);
        resources.flat_map(|it| &it.scopes).flat_map(|it| &it.spans).cloned().collect()
    }
}

type Kept = Arc<Mutex<Vec<(String, Export)>>>;

async fn take(
    request: Request<Incoming>,
    keeping: Kept,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let key = request.headers().get("x-key").map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(request.headers()["content-encoding"], "gzip");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut plain = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
    let export = Export::decode(&*plain).unwrap();
    keeping.lock().unwrap().push((key.unwrap_or_default(), export));
    Ok(Response::new(Full::default()))
}

fn config(backend: &Backend, collector: SocketAddr) -> Config {
    config_with(backend, &format!("http://{collector}/v1/traces"))
}

fn config_with(backend: &Backend, endpoint: &str) -> Config {
    config_with_more(backend, endpoint, "")
}

/// The same, with more of `[tracing]`, or behind it.
fn config_with_more(backend: &Backend, endpoint: &str, more: &str) -> Config {
    Config::new(&format!(
        "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\nmiddlewares = [\"id\"]\n\
         [http.middlewares.id.request-id]\n\
         [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [access-log]\nfile = \"access.log\"\nformat = \"json\"\n\
         [tracing]\nendpoint = \"{endpoint}\"\nservice-name = \"edge\"\nverbosity = \"detailed\"\n\
         headers = {{ x-key = \"k\" }}\nresource-attributes = {{ region = \"north\" }}\n{more}",
        backend.url()
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_collector_sees_a_request_with_its_parts_under_the_trace_that_it_belongs_to() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (backend, collector) = (Backend::start("b").await, Collector::start().await);
    let config = config(&backend, collector.address);
    let environment = [
        ("OTEL_RESOURCE_ATTRIBUTES", Path::new("shelf=a%20b,region=south")),
        ("OTEL_SERVICE_NAME", Path::new("other")),
    ];
    let portolan = Portolan::start_with(&config, &environment);
    let sent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let answer = portolan.http().send(request_with("a", "traceparent", &sent)).await.unwrap();
    assert_eq!(answer.status, 200);
    let spans = eventually(|| async { collector.spans() }, |spans| !spans.is_empty()).await;
    assert!(spans.iter().all(|span| hex(&span.trace) == TRACE), "{spans:#?}");
    let of_kind = |kind| spans.iter().find(|span| span.kind == kind).unwrap();
    let (server, client) = (of_kind(2), of_kind(3));
    let router = spans.iter().find(|span| span.name == "router a@config").unwrap();
    let steps: Vec<_> = spans.iter().filter(|span| span.name == "middleware id@config").collect();
    assert!(!steps.is_empty(), "{spans:#?}");
    assert_eq!(hex(&server.parent), "b7ad6b7169203331");
    assert_eq!(router.parent, server.id);
    assert!(steps.iter().chain([&client]).all(|inner| inner.parent == router.id), "{spans:#?}");
    assert!(answer.body.contains(&format!("traceparent: 00-{TRACE}-{}-01", hex(&client.id))));

    let (key, export) = collector.got.lock().unwrap()[0].clone();
    assert_eq!(key, "k");
    let about = export.resources[0].about.clone().unwrap().attributes;
    let about: Vec<_> = about
        .iter()
        .map(|it| (it.key.as_str(), it.value.as_ref().unwrap().text.as_str()))
        .collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected = [
        ("service.name", "edge"),
        ("region", "north"),
        ("shelf", "a b"),
        ("host.name", host.trim()),
        ("process.executable.name", "portolan"),
    ];
    for pair in expected {
        assert!(about.contains(&pair), "{pair:?}: {about:?}");
    }

    // What was told last is told at the end.
    assert_eq!(portolan.http().get("a", "/last").await.status, 200);
    let (status, log) = tokio::task::spawn_blocking(|| portolan.stop()).await.unwrap();
    assert!(status.success(), "{log}");
    let paths = |span: &Span| {
        let path = span.attributes.iter().find(|it| it.key == "url.path")?;
        Some(path.value.as_ref().unwrap().text.clone())
    };
    assert!(collector.spans().iter().filter_map(paths).any(|path| path == "/last"));
    let lines = std::fs::read_to_string(config.path("access.log")).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["span_id"], hex(&server.id));
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_no_request_and_its_spans_are_counted() {
    let backend = Backend::start("b").await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = config(&backend, nobody);
    let portolan = Portolan::start(&config);
    for _ in 0..20 {
        assert_eq!(portolan.http().get("a", "/").await.status, 200);
    }
    eventually(
        || async { portolan.admin().get("localhost", "/metrics").await.body },
        |page| {
            let lost =
                page.lines().find_map(|line| line.strip_prefix("portolan_spans_dropped_total "));
            lost.is_some_and(|count| count != "0")
        },
    )
    .await;
    portolan.log_until("spans are lost");
}

#[tokio::test]
async fn spans_that_the_collector_does_not_take_in_time_are_told_of_at_the_end() {
    let backend = Backend::start("b").await;
    // It is connected to, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&backend, silent.local_addr().unwrap());
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    let (status, log) = tokio::task::spawn_blocking(|| portolan.stop()).await.unwrap();
    assert!(status.success(), "{log}");
    assert!(log.contains("did not take the last spans in time"), "{log}");
}

/// Another Portolan stands before the collector and encrypts.
#[tokio::test]
async fn a_collector_is_spoken_to_encrypted_if_it_can_be_trusted() {
    let (backend, collector) = (Backend::start("b").await, Collector::start().await);
    let before = Config::new(&format!(
        "[http.routers.otel]\nrule = \"Host(`localhost`)\"\nservice = \"otel\"\n\
         [http.services.otel.load-balancer]\nservers = [{{ url = \"http://{}\" }}]\n",
        collector.address
    ));
    let before_it = Portolan::start(&before);
    let port = before_it.address("websecure").port();
    let config = config_with(&backend, &format!("https://localhost:{port}"));
    let portolan =
        Portolan::start_with(&config, &[("SSL_CERT_FILE", &before.path("data/ca/ca.pem"))]);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    eventually(|| async { collector.spans().len() }, |count| *count > 0).await;
    drop(portolan);

    // The authorities of this system do not know it.
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    eventually(|| async { portolan.log() }, |log| log.contains("spans are lost")).await;
}

#[tokio::test]
async fn a_collector_may_ask_for_a_certificate_and_have_an_authority_of_its_own() {
    let (backend, collector) = (Backend::start("b").await, Collector::start().await);
    let clients = Authority::new("clients");
    let before = Config::new("");
    std::fs::write(before.path("clients.pem"), clients.pem()).unwrap();
    before.change(&format!(
        "[tls.options.default]\nclient-auth = {{ ca-files = [\"clients.pem\"] }}\n\
         [http.routers.otel]\nrule = \"Host(`localhost`)\"\nservice = \"otel\"\n\
         [http.services.otel.load-balancer]\nservers = [{{ url = \"http://{}\" }}]\n",
        collector.address
    ));
    let before_it = Portolan::start(&before);
    let port = before_it.address("websecure").port();
    let ca = before.path("data/ca/ca.pem");
    let known = format!("[tracing.tls]\nca = \"{}\"\n", ca.display());
    let endpoint = format!("https://localhost:{port}");

    // Whoever shows nothing is not let in.
    let config = config_with_more(&backend, &endpoint, &known);
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    eventually(|| async { portolan.log() }, |log| log.contains("spans are lost")).await;
    drop(portolan);

    let shown = format!("{known}cert = \"edge.pem\"\nkey = \"edge.key\"\n");
    let config = config_with_more(&backend, &endpoint, &shown);
    clients.leaf("edge").write(&config.path("edge.pem"), &config.path("edge.key"));
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    eventually(|| async { collector.spans().len() }, |count| *count > 0).await;
}
