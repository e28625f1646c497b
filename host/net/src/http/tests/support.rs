//! A running server, backends that follow a script, and a client that speaks HTTP/1 by hand.

use std::{
    future::Future,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_core::{
    item::Health,
    live::{Publisher, live},
    middleware::{Action, Interest, Middleware, OnFailure, PlanStep},
    name::ObjectName,
    route::RouteTable,
    router::{Observability, Router},
    service::{Backend, LoadBalancer, Scheme, Service},
    snapshot::{Entries, Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot, Status},
    test_util,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::{
    http::{EntrypointConfig, HttpConfig, Limits, Server, Trust},
    tls::TlsConfig,
};

/// Longer than anything here takes, shorter than anybody waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it should have happened by now")
}

/// A running server with the entrypoint `web`.
pub(super) struct Portolan {
    pub(super) server: Arc<Server>,
    pub(super) publisher: Publisher,
    pub(super) address: SocketAddr,
    generation: u64,
}

impl Portolan {
    pub(super) fn start(routers: Vec<Router>) -> Self {
        Self::start_with(HttpConfig::default(), None, routers)
    }

    pub(super) fn start_with(
        config: HttpConfig,
        tls: Option<TlsConfig>,
        routers: Vec<Router>,
    ) -> Self {
        Self::start_at(config, entrypoint("web", tls), routers)
    }

    /// With these limits for its clients.
    pub(super) fn limited(limits: Limits, routers: Vec<Router>) -> Self {
        let web = EntrypointConfig { limits, ..entrypoint("web", None) };
        Self::start_at(HttpConfig::default(), web, routers)
    }

    pub(super) fn start_at(
        config: HttpConfig,
        web: EntrypointConfig,
        routers: Vec<Router>,
    ) -> Self {
        let (publisher, live) = live(snapshot(1, routers));
        let server = Server::start(config, live, NonZeroUsize::new(2).unwrap()).unwrap();
        let (bound, _) = server.apply(vec![web]);
        Self { server: Arc::new(server), publisher, address: bound[0].address, generation: 1 }
    }

    pub(super) fn publish(&mut self, routers: Vec<Router>) {
        self.generation += 1;
        self.publisher.publish(Arc::new(snapshot(self.generation, routers)));
    }

    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(super) async fn get(&self, host: &str, path: &str) -> Response {
        let mut client = self.connect().await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        client.response().await
    }
}

pub(super) fn entrypoint(name: &str, tls: Option<TlsConfig>) -> EntrypointConfig {
    EntrypointConfig {
        name: name.into(),
        address: ([127, 0, 0, 1], 0).into(),
        tls,
        trust: Trust::default(),
        redirect: None,
        limits: Limits::default(),
        observability: Observability::default(),
    }
}

pub(super) fn snapshot(generation: u64, routers: Vec<Router>) -> Snapshot {
    let routers: Vec<_> = routers.into_iter().map(Arc::new).collect();
    // Most are called alike, but an entry stands under its name.
    let entries = routers.iter().enumerate().map(|(number, router)| RouterEntry {
        entry: Entry {
            name: ObjectName::new(format!("{}-{number}", router.name.name), "test"),
            origin: "test".into(),
            status: Status::Enabled,
            errors: Vec::new(),
            used_by: Default::default(),
        },
        rule: router.rule.clone(),
        priority: router.priority,
        entrypoints: router.entrypoints.clone(),
        middlewares: Vec::new(),
        service: None,
        reference: None,
        tls: None,
        hosts: router.rule.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        live: Some(router.clone()),
    });
    Snapshot {
        generation,
        routers: entries.collect(),
        middlewares: routers.iter().flat_map(|it| &it.middlewares).map(declared).collect(),
        services: apart(routers.iter().filter_map(|it| it.service.as_ref()).flat_map(served)),
        tables: vec![("web".into(), RouteTable::build(routers))],
        ..Snapshot::default()
    }
}

fn declared(middleware: &Arc<Middleware>) -> MiddlewareEntry {
    let entry = Entry {
        name: middleware.name.clone(),
        origin: "test".into(),
        status: Status::Enabled,
        errors: Vec::new(),
        used_by: Default::default(),
    };
    let (plugin, live) = (middleware.plugin.clone(), Some(middleware.clone()));
    MiddlewareEntry { entry, plugin, config: Arc::default(), live, chain: None }
}

/// Most services are called alike, but an entry stands under its name: only the first has its own.
fn apart(services: impl Iterator<Item = ServiceEntry>) -> Entries<ServiceEntry> {
    let renamed = services.enumerate().map(|(number, mut service)| {
        if number > 0 {
            let name = format!("{}-{number}", service.entry.name.name);
            service.entry.name = ObjectName::new(name, "test");
        }
        service
    });
    renamed.collect()
}

/// A service, and those that it is made of.
fn served(service: &Arc<Service>) -> Vec<ServiceEntry> {
    let entry = Entry {
        name: service.name.clone(),
        origin: "test".into(),
        status: Status::Enabled,
        errors: Vec::new(),
        used_by: Default::default(),
    };
    let mut all = vec![ServiceEntry { entry, live: Some(service.clone()) }];
    all.extend(service.parts().into_iter().flat_map(served));
    all
}

/// A router for a host, with these addresses behind it.
pub(super) fn router(host: &str, backends: &[SocketAddr]) -> Router {
    leading(host, service(Scheme::Http, backends))
}

/// A router for a host that leads to a service.
pub(super) fn leading(host: &str, service: Service) -> Router {
    Router {
        service: Some(Arc::new(service)),
        ..test_util::router("r", &format!("Host(`{host}`)"))
    }
}

pub(super) fn service(scheme: Scheme, backends: &[SocketAddr]) -> Service {
    treated(scheme, backends, LoadBalancer::default())
}

/// A service that treats its backends in a way of its own.
pub(super) fn treated(scheme: Scheme, backends: &[SocketAddr], options: LoadBalancer) -> Service {
    let backend = |address: &SocketAddr| Backend {
        scheme,
        authority: address.to_string().into(),
        path: None,
        weight: 1,
        health: Health::Passing,
        origin: "test".into(),
        figures: Arc::default(),
    };
    let backends = backends.iter().map(backend).collect();
    Service::new(ObjectName::new("s", "test"), options, backends)
}

/// A middleware that does this.
pub(super) fn middleware(name: &str, interest: Interest) -> Arc<Middleware> {
    Arc::new(Middleware {
        name: ObjectName::new(name, "test"),
        plugin: name.into(),
        interest,
        on_failure: OnFailure::Closed,
    })
}

/// A middleware that is all plan.
pub(super) fn plan(name: &str, actions: Vec<Action>) -> Arc<Middleware> {
    let plan = vec![PlanStep { when: None, actions }];
    middleware(name, Interest { plan, ..Interest::default() })
}

/// A backend: every connection is handled by a copy of the script.
pub(super) struct Script {
    pub(super) address: SocketAddr,
    connections: mpsc::UnboundedReceiver<()>,
}

impl Script {
    pub(super) async fn start<F>(script: impl Fn(Client<TcpStream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counter, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.send(()).ok();
                tokio::spawn(script(Client::new(stream)));
            }
        });
        Self { address, connections }
    }

    /// Answers without end, and tells when it is not read any more.
    pub(super) async fn endless() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (gone, is_gone) = mpsc::unbounded_channel();
        let script = Self::start(move |mut client| {
            let gone = gone.clone();
            async move {
                client.request().await;
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
                let chunk = vec![b'x'; 64 * 1024];
                while client.stream.write_all(&chunk).await.is_ok() {}
                gone.send(()).ok();
            }
        });
        (script.await, is_gone)
    }

    /// Answers every request with its own head as the body.
    pub(super) async fn echo() -> Self {
        Self::start(|mut client| async move {
            while let Some(request) = client.request().await {
                let body = request.head;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                client.send(&format!("{head}{body}")).await;
            }
        })
        .await
    }

    /// How many connections there were since this was last asked.
    pub(super) fn connections(&mut self) -> usize {
        std::iter::from_fn(|| self.connections.try_recv().ok()).count()
    }
}

/// An address where nobody listens, and nobody will: it is held, since the system gives a free port to
/// whoever asks for one next, a server of the same test perhaps.
pub(super) fn nobody() -> SocketAddr {
    static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    HELD.lock().unwrap().push(socket);
    address
}

/// A response as it came.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
}

/// A request as it came.
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: String,
}

/// One end of a connection that speaks HTTP/1 by hand.
pub(super) struct Client<S> {
    pub(super) stream: S,
    buffer: Vec<u8>,
}

impl Client<TcpStream> {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads up to and with a text; `None` when the connection ends before it comes.
    pub(super) async fn until(&mut self, end: &str) -> Option<String> {
        soon(async {
            loop {
                let found = self.buffer.windows(end.len()).position(|at| at == end.as_bytes());
                if let Some(place) = found {
                    let rest = self.buffer.split_off(place + end.len());
                    let text = std::mem::replace(&mut self.buffer, rest);
                    return Some(String::from_utf8(text).unwrap());
                }
                if !self.fill().await {
                    return None;
                }
            }
        })
        .await
    }

    /// Reads so much text.
    pub(super) async fn exactly(&mut self, length: usize) -> String {
        String::from_utf8(self.bytes(length).await).unwrap()
    }

    /// Reads that many bytes.
    pub(super) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(soon(self.fill()).await, "the connection ended early");
        }
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Whether the other end closes now, without another byte.
    pub(super) async fn ends(&mut self) -> bool {
        self.buffer.is_empty() && !soon(self.fill()).await
    }

    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// The next response, its body in whatever framing.
    pub(super) async fn response(&mut self) -> Response {
        let head = self.until("\r\n\r\n").await.expect("a response").to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let bodiless = matches!(status, 100..200 | 204 | 304);
        let body = if bodiless { String::new() } else { self.body(&head).await };
        Response { status, head, body }
    }

    /// The next request; `None` when there is no more.
    pub(super) async fn request(&mut self) -> Option<Request> {
        let head = self.until("\r\n\r\n").await?.to_lowercase();
        let body = self.body(&head).await;
        Some(Request { head, body })
    }

    /// Chunked bodies come as they are on the wire.
    async fn body(&mut self, head: &str) -> String {
        if let Some(length) = header(head, "content-length") {
            self.exactly(length.parse().unwrap()).await
        } else if header(head, "transfer-encoding").is_some() {
            let mut body = self.until("0\r\n").await.expect("a last chunk");
            while !body.ends_with("\r\n\r\n") {
                body += &self.until("\r\n").await.expect("trailers");
            }
            body
        } else {
            String::new()
        }
    }
}

/// The value of a header in a head in lower case.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value)
}
