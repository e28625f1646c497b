//! What the HTTP data plane is told: its entrypoints, and what holds for all of them.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use http::HeaderName;
use portolan_core::{figure::Buckets, reason::ReasonFigures, router::Observability};

use http::uri::Scheme;

use crate::{tls::TlsConfig, transport};

use super::{access::AccessLog, limits::Limits, trace::Tracing};

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
    /// How far its clients may go. A change holds for the next connections.
    pub limits: Limits,
    /// What is noted of requests, where their router does not say. A change holds for the next requests.
    pub observability: Observability,
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
    /// Routers of a higher priority than this take their requests here (Traefik's
    /// `redirections.entryPoint.priority`); `None`: no router does.
    pub priority: Option<i64>,
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
    /// Whether peers are not added to `X-Forwarded-For` (Traefik's `notAppendXForwardedFor`).
    pub hides_peers: bool,
    /// Whether `X-Forwarded-Scheme` and `X-Scheme` say what `X-Forwarded-Proto` does (Traefik's
    /// `addXForwardedSchemeHeaders`).
    pub tells_scheme: bool,
    /// What rules and middlewares see though `Connection` names it (Traefik's `connection`). Backends
    /// do not.
    pub connection: Vec<HeaderName>,
    /// Their connections begin with a PROXY protocol header; nobody else's do.
    pub proxy_protocol: Vec<IpNet>,
}

/// What an entrypoint tells otherwise than usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Telling {
    /// The peer is not added to those of whom the proxies before us told.
    pub(crate) hides_peer: bool,
    /// What `X-Forwarded-Proto` says is said by `X-Forwarded-Scheme` and `X-Scheme` too.
    pub(crate) scheme: bool,
}

impl Trust {
    /// Whether this peer may say who the client is in headers.
    pub(crate) fn takes_headers_of(&self, peer: IpAddr) -> bool {
        holds(&self.forwarded_headers, peer)
    }

    /// What is told to backends otherwise than usual.
    pub(crate) fn telling(&self) -> Telling {
        Telling { hides_peer: self.hides_peers, scheme: self.tells_scheme }
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

/// What holds for every entrypoint, most of it about backends. What clients may do, each entrypoint
/// says for itself: [`Limits`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where the local certificate authority is kept; `None`: it is forgotten at the end.
    pub authority: Option<PathBuf>,
    /// The most bytes in the head of a response.
    pub max_response_head: usize,
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
            max_response_head: 128 * 1024,
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
