//! The limits of the HTTP data plane, with defaults that suit an edge.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{tls::TlsConfig, transport::Trust};

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
    pub trust: Arc<Trust>,
    /// Whether answers that Portolan makes itself say why, in `x-portolan-reason`.
    pub reason_header: bool,
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
            max_header_bytes: 128 * 1024,
            max_streams: 250,
            connect_timeout: Duration::from_secs(5),
            response_timeout: None,
            // Under the 75 s of nginx and the like, so that we are the ones who close.
            backend_idle_timeout: Duration::from_secs(70),
            max_idle_backends: 512,
            trust: Arc::default(),
            reason_header: false,
        }
    }
}
