//! The limits of the HTTP data plane, with defaults that suit an edge.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use http::HeaderName;
use portolan_core::{figure::Buckets, reason::ReasonFigures};

use http::uri::Scheme;

use crate::{tls::TlsConfig, transport};

use super::{access::AccessLog, trace::Tracing};

/// An entrypoint: an address where HTTP is spoken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntrypointConfig {
    /// Its name; unique.
    pub name: Arc<str>,
    /// Where it listens. With port 0 the system chooses one, which stays as long as the
    /// entrypoint does.
    pub address: SocketAddr,
    /// How it is encrypted; `None`: not at all.
    pub tls: Option<TlsConfig>,
    /// Whose word about the client is taken.
    pub trust: Trust,
    /// Where it sends everybody; `None`: nowhere, it has routers.
    pub redirect: Option<RedirectConfig>,
}

/// Where an entrypoint sends everybody: the same host and path elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedirectConfig {
    /// To which port.
    pub to: RedirectTarget,
    /// `https`, as a rule.
    pub scheme: Scheme,
    /// Whether clients may remember it.
    pub permanent: bool,
}

/// A port to be sent to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RedirectTarget {
    /// That of an entrypoint.
    Entrypoint(Arc<str>),
    /// This one.
    Port(u16),
}

/// Whose word about a client is taken: addresses of proxies that stand before us.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    /// Their `X-Forwarded-…` and `X-Real-Ip` are added to; everybody else's are replaced.
    pub forwarded_headers: Vec<IpNet>,
    /// Their connections begin with a PROXY protocol header; nobody else's do.
    pub proxy_protocol: Vec<IpNet>,
}

impl Trust {
    /// Whether this peer may say who the client is in headers.
    pub(crate) fn takes_headers_of(&self, peer: IpAddr) -> bool {
        holds(&self.forwarded_headers, peer)
    }

    /// Whether this peer says who the client is before anything else.
    pub(crate) fn wants_header_of(&self, peer: IpAddr) -> bool {
        holds(&self.proxy_protocol, peer)
    }
}

fn holds(networks: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(&peer))
}

/// What is kept of requests beyond the figures of entrypoints, routers and services.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Into which buckets whole requests are sorted by their duration.
    pub buckets: Buckets,
    /// Why requests were not answered as they were meant to be.
    pub reasons: Arc<ReasonFigures>,
    /// `None`: no line is written.
    pub access_log: Option<Arc<AccessLog>>,
    /// `None`: nothing is traced.
    pub tracing: Option<Arc<Tracing>>,
}

/// Limits and places of the HTTP data plane. They hold for every entrypoint.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where the local certificate authority is kept; `None`: it is forgotten at the end.
    pub authority: Option<PathBuf>,
    /// The most connections that one worker keeps open; more wait to be accepted.
    pub max_connections: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a client may take for the head of its first request. Whole seconds.
    pub header_timeout: Duration,
    /// How long a connection may lie idle between requests. Whole seconds.
    pub idle_timeout: Duration,
    /// How long a client may take for the next byte of a request, and to read the next byte of a
    /// response. Progress is what counts: a transfer may last as long as it goes on. Whole
    /// seconds.
    pub stall_timeout: Duration,
    /// The most bytes in the head of a request; more are answered with 431. At least 8 KiB. The
    /// number of header lines is limited to 100, beyond which the parser would have to allocate.
    pub max_header_bytes: usize,
    /// The most requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long a connection to a backend may take, its name and its handshake included.
    pub connect_timeout: Duration,
    /// How long a backend may take for the head of its response; `None`: as long as the client
    /// waits, since long polling is legitimate.
    pub response_timeout: Option<Duration>,
    /// How long a connection to a backend may lie idle. Whole seconds.
    pub backend_idle_timeout: Duration,
    /// The most idle connections that a worker keeps to one backend.
    pub max_idle_backends: usize,
    /// How encrypted backends are trusted.
    pub transport: Arc<transport::Trust>,
    /// The header in which answers that Portolan makes itself say why, in a word; `None`: they do not.
    pub reason_header: Option<HeaderName>,
    /// What is kept of requests.
    pub ledger: Ledger,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            authority: None,
            max_connections: 50_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(15),
            // Traefik's.
            idle_timeout: Duration::from_secs(180),
            // nginx's `client_body_timeout` and `send_timeout`.
            stall_timeout: Duration::from_secs(60),
            max_header_bytes: 128 * 1024,
            max_streams: 250,
            connect_timeout: Duration::from_secs(5),
            response_timeout: None,
            // Under the 75 s of nginx and the like, so that we are the ones who close.
            backend_idle_timeout: Duration::from_secs(70),
            max_idle_backends: 512,
            transport: Arc::default(),
            reason_header: None,
            ledger: Ledger::default(),
        }
    }
}
