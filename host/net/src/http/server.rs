//! The HTTP server as the control plane sees it: which entrypoints are open, on all workers.
//!
//! **Invariant:** a change of entrypoints is done as a whole or not at all, and an entrypoint that
//! does not change keeps its listeners, its connections and its TLS sessions.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use portolan_core::{
    figure::{Counter, Gauge, TrafficFigures},
    live::Live,
};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::{
    tls::{Authority, TlsContext, TlsError},
    worker::Workers,
};

use super::{
    config::{EntrypointConfig, HttpConfig, Ledger, Trust},
    worker::{Command, OpenDoor, work},
};

/// How many connections the system completes on our behalf.
const BACKLOG: i32 = 4096;

/// What happens at an entrypoint.
#[derive(Debug, Default)]
pub struct EntrypointFigures {
    /// Requests and their outcomes.
    pub traffic: Arc<TrafficFigures>,
    /// Connections of clients that are open.
    pub open_connections: Gauge,
    /// Clients with whom no encrypted connection came about.
    pub handshake_failures: Counter,
}

/// An entrypoint that is open.
#[derive(Debug)]
pub struct Bound {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens, with the port that the system chose if it was to.
    pub address: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
    /// What is wrong with its certificates. It goes on with those that are good, and with those
    /// of the local authority.
    pub certificate_errors: Vec<TlsError>,
}

/// Why an entrypoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("entrypoint `{entrypoint}` cannot listen on {address}")]
pub struct BindError {
    /// Its name.
    pub entrypoint: Arc<str>,
    /// Where it was to listen.
    pub address: SocketAddr,
    /// What the operating system, or the TLS library, said.
    pub source: io::Error,
}

/// The HTTP server. Dropping it ends everything at once; [`drain`](Self::drain) does not.
#[derive(Debug)]
pub struct Server {
    config: HttpConfig,
    live: Live,
    workers: Workers,
    commands: Vec<mpsc::UnboundedSender<Command>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Open>,
    /// Of every name that ever was, so that figures outlive changes.
    figures: Vec<(Arc<str>, Arc<EntrypointFigures>)>,
    authority: Option<Arc<Authority>>,
    /// Why the authority is one that will be forgotten, until somebody was told.
    authority_error: Option<TlsError>,
    /// Every port that was ever ours: some worker may still be letting go of it.
    ports: Vec<u16>,
    last: u64,
}

/// An entrypoint that is open.
#[derive(Debug)]
struct Open {
    id: u64,
    config: EntrypointConfig,
    address: SocketAddr,
    tls: Option<TlsContext>,
    trust: Arc<ArcSwap<Trust>>,
}

/// An entrypoint that is bound, and of which no worker knows yet.
struct Prepared {
    open: Open,
    listeners: Vec<StdListener>,
}

impl Server {
    /// Starts the workers. Nothing listens before [`apply`](Self::apply).
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread or an event queue.
    pub fn start(config: HttpConfig, live: Live, threads: NonZeroUsize) -> io::Result<Self> {
        let workers = Workers::start(threads)?;
        let shared = Arc::new(config.clone());
        let mut commands = Vec::with_capacity(threads.get());
        workers.run(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            commands.push(sender);
            let (config, live) = (shared.clone(), live.clone());
            Box::new(move |context| Box::pin(work(context, config, live, receiver)))
        });
        Ok(Self { config, live, workers, commands, state: Mutex::default() })
    }

    /// Opens, keeps and closes entrypoints so that these and no others are open. Certificates
    /// are read anew. Those that close finish what is open on them.
    ///
    /// # Errors
    ///
    /// When one of the new addresses cannot be bound: then nothing has changed.
    pub fn apply(&self, wanted: Vec<EntrypointConfig>) -> Result<Vec<Bound>, Vec<BindError>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut prepared = Vec::new();
        let mut errors = Vec::new();
        for config in &wanted {
            if !state.open.iter().any(|open| open.is_same(config)) {
                match self.prepare(state, config.clone()) {
                    Ok(entrypoint) => prepared.push(entrypoint),
                    Err(error) => errors.push(error),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for open in state.open.extract_if(.., |open| !wanted.iter().any(|one| open.is_same(one))) {
            self.tell(|_| Command::Close(open.id));
            tracing::info!(entrypoint = %open.config.name, address = %open.address, "closing");
        }
        for Prepared { open, listeners } in prepared {
            let figures = state.figures_of(&open.config.name);
            let tls = open.tls.as_ref().map(TlsContext::server);
            self.open(&open, listeners, &figures, tls.as_ref());
            state.open.push(open);
        }
        Ok(wanted.into_iter().filter_map(|config| state.bound(config)).collect())
    }

    /// What happens at each entrypoint, those that were closed included.
    pub fn figures(&self) -> Vec<(Arc<str>, Arc<EntrypointFigures>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).figures.clone()
    }

    /// What is kept of requests.
    pub fn ledger(&self) -> &Ledger {
        &self.config.ledger
    }

    /// The local certificate authority, if an entrypoint needed it already.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).authority.clone()
    }

    /// The workers, for others who serve something on them.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Stops accepting, finishes what is open, and ends the workers: after `limit` at the latest.
    pub async fn drain(&self, limit: Duration) {
        self.workers.drain(limit).await;
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (index, worker) in self.commands.iter().enumerate() {
            if worker.send(command(index)).is_err() {
                tracing::debug!(worker = index, "worker has ended");
            }
        }
    }

    /// Binds an entrypoint, once for each worker.
    fn prepare(&self, state: &mut State, config: EntrypointConfig) -> Result<Prepared, BindError> {
        let address = config.address;
        let refuse = |source| BindError { entrypoint: config.name.clone(), address, source };
        let is_ours = state.ports.contains(&address.port());
        let listeners = bind(address, self.workers.count(), !is_ours).map_err(refuse)?;
        let first = listeners.first().map(StdListener::local_addr);
        let address = first.transpose().map_err(refuse)?.unwrap_or(address);
        let tls = match &config.tls {
            None => None,
            Some(_) => {
                Some(self.tls(state, &config.name).map_err(io::Error::other).map_err(refuse)?)
            }
        };
        state.ports.push(address.port());
        state.last += 1;
        let trust = Arc::new(ArcSwap::from_pointee(config.trust.clone()));
        Ok(Prepared { open: Open { id: state.last, config, address, tls, trust }, listeners })
    }

    fn tls(&self, state: &mut State, entrypoint: &Arc<str>) -> Result<TlsContext, TlsError> {
        let authority = match &state.authority {
            Some(authority) => authority.clone(),
            None => {
                let opened = self.config.authority.as_deref().map(Authority::open).transpose();
                let opened = opened.unwrap_or_else(|error| {
                    // Better a certificate that nobody trusts than no entrypoint.
                    state.authority_error = Some(error);
                    None
                });
                let authority = opened.map_or_else(Authority::ephemeral, Ok)?;
                state.authority.insert(Arc::new(authority)).clone()
            }
        };
        TlsContext::new(entrypoint.clone(), authority, self.live.clone())
    }

    fn open(
        &self,
        open: &Open,
        listeners: Vec<StdListener>,
        figures: &Arc<EntrypointFigures>,
        tls: Option<&Arc<ServerConfig>>,
    ) {
        let mut listeners = listeners.into_iter();
        self.tell(|_| {
            Command::Open(OpenDoor {
                id: open.id,
                name: open.config.name.clone(),
                listener: listeners.next(),
                figures: figures.clone(),
                tls: tls.cloned(),
                trust: open.trust.clone(),
            })
        });
    }
}

impl State {
    fn figures_of(&mut self, name: &Arc<str>) -> Arc<EntrypointFigures> {
        if let Some((_, figures)) = self.figures.iter().find(|(known, _)| known == name) {
            return figures.clone();
        }
        let figures = Arc::<EntrypointFigures>::default();
        self.figures.push((name.clone(), figures.clone()));
        figures
    }

    /// Brings the certificates of an open entrypoint up to date and describes it.
    fn bound(&mut self, config: EntrypointConfig) -> Option<Bound> {
        let open = self.open.iter_mut().find(|open| open.is_same(&config))?;
        let mut certificate_errors = Vec::new();
        if let (Some(context), Some(tls)) = (&open.tls, &config.tls) {
            certificate_errors.extend(self.authority_error.take());
            certificate_errors.extend(context.reload(tls));
        }
        open.trust.store(Arc::new(config.trust.clone()));
        open.config = config;
        Some(Bound {
            name: open.config.name.clone(),
            address: open.address,
            tls: open.tls.is_some(),
            certificate_errors,
        })
    }
}

impl Open {
    /// Whether the same listeners serve both configurations.
    fn is_same(&self, config: &EntrypointConfig) -> bool {
        self.config.name == config.name
            && self.config.address == config.address
            && self.config.tls.is_some() == config.tls.is_some()
    }
}

/// Listens on an address that many times; the system shares connections among the listeners.
fn bind(address: SocketAddr, count: usize, alone: bool) -> io::Result<Vec<StdListener>> {
    if alone && address.port() != 0 {
        // With `SO_REUSEPORT` another process could silently take half of the connections.
        drop(listener(address, false)?);
    }
    let first = listener(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(address, true)?);
    }
    Ok(listeners)
}

fn listener(address: SocketAddr, share: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
