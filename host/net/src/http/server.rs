//! The HTTP server as the control plane sees it: which entrypoints are open, on all workers.
//!
//! **Invariant:** a change of entrypoints is done as a whole or not at all, and an entrypoint that
//! does not change keeps its listeners, its connections and its TLS sessions.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use portolan_core::{
    figure::{Combinations, Counter, Gauge, HeaderLabels, TrafficFigures},
    limit::LimitFigures,
    live::Live,
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::sync::mpsc;

use crate::{
    tls::{Keyring, TlsContext},
    worker::Workers,
};

use super::{
    config::{EntrypointConfig, HttpConfig, Ledger, Trust},
    crowd::Crowd,
    entrypoint::Noted,
    limits::Limits,
    redirect::Redirect,
    spare::Spare,
    worker::{Command, OpenDoor, work},
};

/// That all workers do what they were told. It may be dropped: they do it in any case.
#[derive(Debug)]
pub struct Obeyed(mpsc::Receiver<Infallible>);

impl Obeyed {
    /// Waits for them.
    pub async fn by_all(mut self) {
        // Nothing is ever sent: each drops its end.
        _ = self.0.recv().await;
    }
}

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
    /// How often clients went beyond a limit.
    pub limits: LimitFigures,
}

/// An entrypoint that is open.
#[derive(Debug)]
pub struct Bound {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens, with the port that the system chose if it was to.
    pub address: SocketAddr,
    /// Whether it is encrypted. What is wrong with its certificates, the keyring knows.
    pub tls: bool,
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
    ledger: Ledger,
    keyring: Arc<Keyring>,
    workers: Workers,
    commands: Vec<mpsc::UnboundedSender<Command>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Open>,
    /// Of every name that ever was, so that figures outlive changes.
    figures: Vec<(Arc<str>, Arc<EntrypointFigures>)>,
    /// Every port that was ever ours: some worker may still be letting go of it.
    ports: Vec<u16>,
    last: u64,
    /// By what headers of requests these are counted.
    combinations: Option<Arc<Combinations>>,
}

/// An entrypoint that is open.
#[derive(Debug)]
struct Open {
    id: u64,
    config: EntrypointConfig,
    address: SocketAddr,
    tls: Option<Arc<TlsContext>>,
    trust: Arc<ArcSwap<Trust>>,
    limits: Arc<ArcSwap<Limits>>,
    noted: Arc<Noted>,
    crowd: Arc<Crowd>,
    redirect: Option<Arc<Redirect>>,
    /// The sockets of its workers, for who comes in its place.
    spares: Vec<Spare>,
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
        let keyring = Arc::new(Keyring::new(config.authority.clone(), live.clone()));
        let ledger = config.ledger.clone();
        let shared = Arc::new(config);
        let mut commands = Vec::with_capacity(threads.get());
        workers.run(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            commands.push(sender);
            let (config, live) = (shared.clone(), live.clone());
            Box::new(move |context| Box::pin(work(context, config, live, receiver)))
        });
        Ok(Self { ledger, keyring, workers, commands, state: Mutex::default() })
    }

    /// Opens, keeps and closes entrypoints so that these and no others are open. Certificates
    /// are read anew. Those that close finish what is open on them. Where an address cannot be
    /// bound, an open entrypoint of the same name stays as it is.
    pub fn apply(&self, mut wanted: Vec<EntrypointConfig>) -> (Vec<Bound>, Vec<BindError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut prepared = Vec::new();
        let mut errors = Vec::new();
        for config in &mut wanted {
            if !state.open.iter().any(|open| open.is_same(config)) {
                let place = state.open.iter().position(|open| open.is_replaced_by(config));
                match self.prepare(state, place, config.clone()) {
                    Ok(entrypoint) => prepared.push(entrypoint),
                    Err(error) => {
                        errors.push(error);
                        let before = state.open.iter().find(|open| open.config.name == config.name);
                        if let Some(before) = before {
                            *config = before.config.clone();
                        }
                    }
                }
            }
        }
        withdraw(state, &mut wanted, &mut prepared, &mut errors);
        for open in state.open.extract_if(.., |open| !wanted.iter().any(|one| open.is_same(one))) {
            open.spares.iter().for_each(Spare::leave);
            self.tell(|_| Command::Close(open.id));
            tracing::info!(entrypoint = %open.config.name, address = %open.address, "closing");
        }
        // Certificates before the first handshake, and targets before the first redirect.
        let encrypted = wanted.iter().filter_map(|it| Some((it.name.clone(), it.tls.clone()?)));
        self.keyring.serve(encrypted.collect());
        let ports: Vec<_> = prepared.iter().map(|it| &it.open).chain(&state.open).collect();
        for redirect in ports.iter().filter_map(|open| open.redirect.as_ref()) {
            let open = |name: &str| ports.iter().find(|open| *open.config.name == *name);
            redirect.aim(|name| open(name).map(|open| open.address.port()));
        }
        for Prepared { open, listeners } in prepared {
            let figures = state.figures_of(&open.config.name);
            self.open(&open, listeners, &figures);
            state.open.push(open);
        }
        (wanted.into_iter().filter_map(|config| state.bound(config)).collect(), errors)
    }

    /// Counts requests by these of their headers, from the next ones on. What was counted before is told
    /// apart by nothing, and none of it is lost. The answer is for who wants to wait for all workers.
    pub fn count_by(&self, wanted: &HeaderLabels) -> Obeyed {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, obeyed) = mpsc::channel(1);
        let wanted = Some(wanted).filter(|wanted| !wanted.labels.is_empty());
        if state.combinations.as_ref().map(|it| it.wanted()) != wanted {
            let workers = self.workers.count();
            let new = |wanted: &HeaderLabels| Combinations::new(wanted.clone(), workers);
            state.combinations = wanted.map(new).map(Arc::new);
            self.tell(|_| Command::CountBy(state.combinations.clone(), done.clone()));
        }
        Obeyed(obeyed)
    }

    /// By what headers of requests these are counted; `None`: by none.
    pub fn combinations(&self) -> Option<Arc<Combinations>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).combinations.clone()
    }

    /// What happens at each entrypoint, those that were closed included.
    pub fn figures(&self) -> Vec<(Arc<str>, Arc<EntrypointFigures>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).figures.clone()
    }

    /// What is kept of requests.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Everything that handshakes need.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The workers, for others who serve something on them.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Stops accepting, finishes what is open, and ends the workers: after `limit` at the latest.
    pub async fn drain(&self, limit: Duration) {
        self.leave_spares();
        self.workers.drain(limit).await;
    }

    fn leave_spares(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.iter().flat_map(|open| &open.spares).for_each(Spare::leave);
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (index, worker) in self.commands.iter().enumerate() {
            if worker.send(command(index)).is_err() {
                tracing::debug!(worker = index, "worker has ended");
            }
        }
    }

    /// Binds an entrypoint, once for each worker, or has it go on at the sockets of another.
    fn prepare(
        &self,
        state: &mut State,
        place: Option<usize>,
        config: EntrypointConfig,
    ) -> Result<Prepared, BindError> {
        let address = config.address;
        let refuse = |source| BindError { entrypoint: config.name.clone(), address, source };
        let is_ours = state.ports.contains(&address.port());
        let replaced = place.and_then(|place| state.open.get(place));
        // All of them, or new ones: each worker has one.
        let again = replaced.and_then(|open| open.spares.iter().map(Spare::again).collect());
        let listeners = match again {
            Some(listeners) => listeners,
            None => bind(address, self.workers.count(), !is_ours).map_err(refuse)?,
        };
        let spares = listeners.iter().map(Spare::of).collect::<io::Result<_>>().map_err(refuse)?;
        let first = listeners.first().map(StdListener::local_addr);
        let address = first.transpose().map_err(refuse)?.unwrap_or(address);
        let tls = config.tls.as_ref().map(|_| self.keyring.context(&config.name));
        let tls = tls.transpose().map_err(io::Error::other).map_err(refuse)?;
        let redirect = config.redirect.as_ref().map(Redirect::new);
        state.ports.push(address.port());
        state.last += 1;
        let trust = Arc::new(ArcSwap::from_pointee(config.trust.clone()));
        let limits = Arc::new(ArcSwap::from_pointee(config.limits.clone()));
        let crowd = Crowd::new(config.limits.max_connections);
        let noted = Arc::new(Noted::new(config.observability));
        let id = state.last;
        let open = Open { id, config, address, tls, trust, limits, noted, crowd, redirect, spares };
        Ok(Prepared { open, listeners })
    }

    fn open(&self, open: &Open, listeners: Vec<StdListener>, figures: &Arc<EntrypointFigures>) {
        let mut listeners = listeners.into_iter();
        self.tell(|index| {
            Command::Open(OpenDoor {
                id: open.id,
                name: open.config.name.clone(),
                listener: listeners.next(),
                accepts: open.spares.get(index).map(Spare::accepts),
                figures: figures.clone(),
                trust: open.trust.clone(),
                limits: open.limits.clone(),
                noted: open.noted.clone(),
                crowd: open.crowd.clone(),
                tls: open.tls.clone(),
                keyring: self.keyring.clone(),
                redirect: open.redirect.clone(),
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

    /// Describes an open entrypoint, which has this configuration from now on.
    fn bound(&mut self, config: EntrypointConfig) -> Option<Bound> {
        let open = self.open.iter_mut().find(|open| open.is_same(&config))?;
        open.trust.store(Arc::new(config.trust.clone()));
        open.limits.store(Arc::new(config.limits.clone()));
        open.noted.store(config.observability);
        open.crowd.set_limit(config.limits.max_connections);
        open.config = config;
        let name = open.config.name.clone();
        Some(Bound { name, address: open.address, tls: open.tls.is_some() })
    }
}

impl Open {
    /// Whether the same listeners serve both configurations.
    fn is_same(&self, config: &EntrypointConfig) -> bool {
        self.config.name == config.name
            && self.config.address == config.address
            && self.config.tls.is_some() == config.tls.is_some()
            && self.config.redirect == config.redirect
    }

    /// Whether another comes in its place, at its address. Where the system is to choose a port, those of
    /// one name mean the same.
    fn is_replaced_by(&self, config: &EntrypointConfig) -> bool {
        self.config.address == config.address
            && (config.address.port() != 0 || self.config.name == config.name)
    }
}

/// Who cannot go elsewhere stays, and has its address still: nobody else gets that, and who wanted it stays
/// where it was, too.
fn withdraw(
    state: &State,
    wanted: &mut [EntrypointConfig],
    prepared: &mut Vec<Prepared>,
    errors: &mut Vec<BindError>,
) {
    let place = |wanted: &[EntrypointConfig], prepared: &[Prepared]| {
        prepared.iter().position(|Prepared { open: new, .. }| {
            let stays = |open: &&Open| wanted.iter().any(|one| open.is_same(one));
            let mut others = state.open.iter().filter(stays);
            others.any(|it| it.config.name != new.config.name && it.is_replaced_by(&new.config))
        })
    };
    while let Some(place) = place(wanted, prepared) {
        let EntrypointConfig { name: entrypoint, address, .. } = prepared.remove(place).open.config;
        let before = state.open.iter().find(|open| open.config.name == entrypoint);
        let config = wanted.iter_mut().find(|config| config.name == entrypoint);
        if let (Some(config), Some(before)) = (config, before) {
            *config = before.config.clone();
        }
        errors.push(BindError { entrypoint, address, source: ErrorKind::AddrInUse.into() });
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

/// A peer that is gone without a word is noticed within some minutes, whatever waits for it: a tunnel, a
/// response that does not come.
pub(super) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15))
}

fn listener(address: SocketAddr, share: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
