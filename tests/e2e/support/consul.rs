//! A real Consul agent in dev mode, on ports of its own.
//!
//! It is taken from `CONSUL`, else from `PATH`, else from Debian bullseye (bookworm has none).

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    Client,
    client::{Answer, BoxError, request},
    eventually, program,
};

/// A Consul agent; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Consul {
    process: RefCell<Child>,
    ports: [u16; 5],
    /// Of its configuration.
    lines: String,
    pub(crate) address: SocketAddr,
    /// What it is asked with; empty: nothing.
    token: String,
}

impl Drop for Consul {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.get_mut().kill());
        drop(self.process.get_mut().wait());
    }
}

/// How often it is begun: the ports that are free when they are chosen are not kept for it.
const ATTEMPTS: usize = 5;

/// A service instance to register.
#[derive(Clone, Debug)]
pub(crate) struct Registration<'a> {
    pub(crate) id: &'a str,
    pub(crate) service: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) tags: &'a [&'a str],
}

impl Consul {
    /// Starts an agent and waits until it has a leader.
    pub(crate) async fn start() -> Self {
        Self::start_with("", "").await
    }

    /// The same with these lines of its configuration more; it is asked with this token, if any.
    pub(crate) async fn start_with(lines: &str, token: &str) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(consul) = Self::start_on(free_ports(), lines, token).await {
                return consul;
            }
        }
        panic!("Consul ends as soon as it begins")
    }

    /// Ends the agent; [`Stopped::start`] starts a new one on the same ports.
    pub(crate) fn stop(self) -> Stopped {
        Stopped(self.ports, self.lines.clone())
    }

    /// `None`: it ended by itself, as it does when somebody has taken one of the ports meanwhile.
    async fn start_on(ports: [u16; 5], lines: &str, token: &str) -> Option<Self> {
        let [http, server, lan, wan, dns] = ports.map(|port| port.to_string());
        let process = Command::new(binary())
            .args(["agent", "-dev", "-bind=127.0.0.1", "-log-level=err", "-node=harbour"])
            .args(["-http-port", &http, "-server-port", &server, "-dns-port", &dns])
            .args(["-serf-lan-port", &lan, "-serf-wan-port", &wan])
            .args(["-hcl", "ports { grpc = -1 }", "-hcl", lines])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let (lines, token) = (lines.to_owned(), token.to_owned());
        let process = RefCell::new(process);
        let consul = Self { process, ports, lines, address, token };
        let look = || async {
            let answer = consul.ask(Method::GET, "/v1/catalog/nodes", &Value::Null).await.ok();
            let has_ended = consul.process.borrow_mut().try_wait().unwrap().is_some();
            (answer.is_some_and(|answer| answer.body.contains("harbour")), has_ended)
        };
        let (_, has_ended) = eventually(look, |(is_up, has_ended)| *is_up || *has_ended).await;
        (!has_ended).then_some(consul)
    }

    /// Joins another agent, of another datacenter, over the wide network.
    pub(crate) async fn join(&self, other: &Self) {
        self.put(&format!("/v1/agent/join/127.0.0.1:{}?wan=1", other.ports[3]), &Value::Null).await;
    }

    /// Where it answers DNS itself.
    pub(crate) fn dns(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[4]))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn register(&self, registration: &Registration<'_>) {
        let Registration { id, service, address, tags } = registration;
        let body = json!({
            "ID": id, "Name": service, "Address": address.ip().to_string(), "Port": address.port(),
            "Tags": tags,
        });
        self.put("/v1/agent/service/register", &body).await;
    }

    pub(crate) async fn deregister(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null).await;
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let answer = self.ask(Method::PUT, path, body).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Answer, BoxError> {
        let body = Full::new(Bytes::from(body.to_string()));
        let request = request(method, "consul", path).header("x-consul-token", &self.token);
        Client(self.address).send(request.body(body).unwrap()).await
    }
}

/// The ports of an agent that was stopped, and the lines of its configuration.
#[derive(Debug)]
pub(crate) struct Stopped([u16; 5], String);

impl Stopped {
    /// A new agent on the same ports; it knows nothing of what the old one knew.
    pub(crate) async fn start(self) -> Consul {
        for _ in 0..ATTEMPTS {
            if let Some(consul) = Consul::start_on(self.0, &self.1, "").await {
                return consul;
            }
        }
        panic!("somebody else has the ports of this Consul now")
    }
}

/// Ports that nobody uses now, and that nobody else of these tests is given. They lie below those that
/// the system gives away (`ip_local_port_range`): one of those may be somebody's before it is used.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    [(); N].map(|()| {
        loop {
            let number = process::id().wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
            let port = u16::try_from(20_000 + number % 12_000).unwrap();
            let address = (Ipv4Addr::LOCALHOST, port);
            if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
                break port;
            }
        }
    })
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::find("consul", "CONSUL", "bullseye", "version"))
}
