//! One upstream: how it is asked, and how it is.

mod bootstrap;
mod datagram;
mod health;
mod https;
mod pipe;
mod reach;
mod silence;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use portolan_core::problem::Chain;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(super) use self::health::{MOST_REFUSALS, REST};
use self::{
    bootstrap::Bootstrap,
    datagram::{Answer, Channels},
    health::Health,
    https::{Connection, Web},
    pipe::Pipe,
};
use super::{
    cache::Key,
    forward::{Forwarding, Forwardings, Place, Protocol, UpstreamConfig},
    question::{self, Dress},
    standing::{Failure, Standing},
    stored::{Stored, Unusable},
};
use crate::{random::Random, transport::Trust};

/// How long one attempt waits.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long an upstream over UDP may take to answer over TCP what it should not have sent by UDP.
const OTHER_WAY: Duration = Duration::from_secs(1);
/// How long nothing may come on a connection on which something was asked, at least: less than it
/// takes until somebody asks again.
const SILENCE: Duration = Duration::from_millis(300);
/// How often in a row an upstream changes letters, and cannot be asked over TCP, before its
/// questions are written plainly.
const MOST_CHANGED: u8 = 3;

/// Why an attempt gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("speak to the upstream")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("an answer of no use")]
    Unusable(#[from] Unusable),
}

impl AttemptError {
    /// Whether the upstream has answered that it cannot answer.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unusable(Unusable::Failed(_)))
    }

    /// What kind of failure it is.
    fn failure(&self) -> Failure {
        match self {
            Self::Timeout => Failure::Silent,
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => Failure::Silent,
            Self::Io(_) => Failure::Unreachable,
            Self::Unusable(Unusable::Failed(_)) => Failure::Refused,
            Self::Unusable(Unusable::Garbage | Unusable::Truncated) => Failure::Unusable,
        }
    }

    /// Whether it may be EDNS that the upstream does not understand: FORMERR, NOTIMP or BADVERS.
    fn may_be_edns(&self) -> bool {
        matches!(self, Self::Unusable(Unusable::Failed(1 | 4 | 16)))
    }
}

/// One upstream.
pub(super) struct Upstream {
    pub(super) config: UpstreamConfig,
    trust: Arc<Trust>,
    /// Of one that has a name instead of an address.
    bootstrap: Option<Box<Bootstrap>>,
    datagrams: Channels,
    stream: RefCell<Option<Rc<Pipe>>>,
    web: Web,
    /// Held by the one that makes a connection, so that a burst makes one.
    connecting: Mutex<()>,
    /// Whether letters are mixed: not for one that has been seen not to keep them.
    mixes: Cell<bool>,
    /// How often in a row it changed them.
    changed: Cell<u8>,
    pub(super) health: Health,
    /// What all workers know of it.
    standing: Arc<Standing>,
    random: Random,
}

impl Upstream {
    pub(super) fn new(config: UpstreamConfig, settings: &Forwarding, shared: &Forwardings) -> Self {
        let bootstrap = match &config.place {
            Place::At(_) => None,
            Place::Named { host, port } => {
                Some(Box::new(Bootstrap::new(host.clone(), *port, settings, shared)))
            }
        };
        Self {
            datagrams: Channels::new(config.address()),
            standing: shared.standings.of(&config),
            config,
            trust: shared.trust.clone(),
            bootstrap,
            stream: RefCell::default(),
            web: Web::default(),
            connecting: Mutex::default(),
            mixes: Cell::new(settings.mix_case),
            changed: Cell::new(0),
            health: Health::new(settings.mode),
            random: Random::seeded(),
        }
    }

    /// Asks once, and again over TCP when the answer does not fit or may be a guess.
    pub(super) async fn ask(&self, key: &Key) -> Result<Stored, AttemptError> {
        let begin = Instant::now();
        self.standing.asked.increment();
        let asked = timeout(ATTEMPT, self.converse(key)).await;
        let result = asked.unwrap_or(Err(AttemptError::Timeout));
        match &result {
            Ok(_) => {
                self.health.answered(begin.elapsed());
                self.standing.answers(begin);
            }
            Err(error) => {
                match error.is_refusal() {
                    true => self.health.refused(),
                    false => self.health.silent(begin),
                }
                self.note(error, begin);
            }
        }
        result
    }

    /// What it was asked then it has not answered for so long, and another one has.
    pub(super) fn slower_than(&self, patience: Duration, since: Instant) {
        self.health.slower_than(patience, since);
        self.note(&AttemptError::Timeout, since);
    }

    /// What it was asked then has failed.
    fn note(&self, error: &AttemptError, begun: Instant) {
        let failure = error.failure();
        self.standing.fails(failure);
        if self.health.is_resting(Instant::now()) {
            self.standing.rests(failure, begun, || Chain(error).to_string());
        }
    }

    /// Asks, and once more without EDNS if that is what it does not understand. Not remembered: it may
    /// have been about this question, and answers are.
    async fn converse(&self, key: &Key) -> Result<Stored, AttemptError> {
        match self.exchange(key, false).await {
            Err(error) if error.may_be_edns() => {
                let plain = self.exchange(key, true).await;
                plain.map_err(|_no_better| error)
            }
            result => result,
        }
    }

    async fn exchange(&self, key: &Key, is_plain: bool) -> Result<Stored, AttemptError> {
        let dress = Dress { mix: None, is_plain };
        let wire = match &self.config.protocol {
            Protocol::Udp => return self.over_udp(key, is_plain).await,
            Protocol::Tcp => self.over_stream(key, None, dress).await?,
            Protocol::Tls { name } => self.over_stream(key, Some(name), dress).await?,
            Protocol::Https { name, path } => {
                let question = question::write(key, 0, dress);
                let connection = match self.web.open(self.patience()) {
                    Some(connection) => connection,
                    None => self.web_connection(name).await?,
                };
                connection.ask(name, path, question).await?
            }
        };
        Ok(Stored::parse(&wire, key.name(), key.rtype())?)
    }

    async fn over_udp(&self, key: &Key, is_plain: bool) -> Result<Stored, AttemptError> {
        let dress = Dress { mix: self.mixes.get().then(|| self.random.next_long()), is_plain };
        let id = self.random.next() as u16;
        let answer = self.datagrams.ask(id, |id| question::write(key, id, dress)).await?;
        let parsed = match &answer {
            Answer::Message(wire) => Stored::parse(wire, key.name(), key.rtype()),
            Answer::OtherCase => Err(Unusable::Truncated),
        };
        if !matches!(parsed, Err(Unusable::Truncated)) {
            self.changed.set(0);
            return Ok(parsed?);
        }
        let dress = Dress { mix: None, ..dress };
        if matches!(answer, Answer::Message(_)) {
            let wire = self.over_stream(key, None, dress).await?;
            return Ok(Stored::parse(&wire, key.name(), key.rtype())?);
        }
        let by_stream = timeout(OTHER_WAY, self.over_stream(key, None, dress)).await;
        let by_stream = by_stream.unwrap_or(Err(AttemptError::Timeout));
        match by_stream {
            Ok(wire) => {
                let stored = Stored::parse(&wire, key.name(), key.rtype())?;
                // It answers over TCP too, so it is the upstream itself that does not keep letters.
                self.note_changed(MOST_CHANGED);
                Ok(stored)
            }
            Err(_) => self.over_udp_unmixed(key, dress).await,
        }
    }

    /// Asks an upstream that changes letters and cannot be asked over TCP: in plain letters. One
    /// such answer may be a guess, so it costs some of them before letters are given up.
    async fn over_udp_unmixed(&self, key: &Key, dress: Dress) -> Result<Stored, AttemptError> {
        let id = self.random.next() as u16;
        let answer = self.datagrams.ask(id, |id| question::write(key, id, dress)).await?;
        let Answer::Message(wire) = answer else { return Err(Unusable::Garbage.into()) };
        let stored = Stored::parse(&wire, key.name(), key.rtype())?;
        self.note_changed(1);
        Ok(stored)
    }

    /// It has changed letters: `weight` says how sure it is that nobody else did.
    fn note_changed(&self, weight: u8) {
        self.changed.update(|changed| changed.saturating_add(weight));
        if self.changed.get() >= MOST_CHANGED && self.mixes.replace(false) {
            let upstream = &self.config;
            tracing::info!(%upstream, "letters are not mixed for this upstream: it changes them");
        }
    }

    async fn over_stream(
        &self,
        key: &Key,
        name: Option<&str>,
        dress: Dress,
    ) -> Result<Vec<u8>, AttemptError> {
        let write = |id| question::write(key, id, dress);
        let id = self.random.next() as u16;
        let kept = self.stream.borrow().clone().filter(|pipe| pipe.may_ask(self.patience()));
        if let Some(pipe) = kept {
            // It may have been closed by the other side just now: then it is no sign of a failure.
            if let Ok(wire) = pipe.ask(id, write).await {
                return Ok(wire);
            }
        }
        let pipe = self.pipe(name).await?;
        Ok(pipe.ask(id, write).await?)
    }

    /// A stream that is open: the one that somebody else made meanwhile, or a new one.
    async fn pipe(&self, name: Option<&str>) -> io::Result<Rc<Pipe>> {
        let _turn = self.connecting.lock().await;
        let kept = self.stream.borrow().clone().filter(|pipe| pipe.may_ask(self.patience()));
        if let Some(pipe) = kept {
            return Ok(pipe);
        }
        let pipe = match name {
            Some(name) => Pipe::new(self.encrypted(name, b"dot").await?),
            None => Pipe::new(self.connect().await?),
        };
        *self.stream.borrow_mut() = Some(pipe.clone());
        Ok(pipe)
    }

    /// The same of HTTPS.
    async fn web_connection(&self, name: &str) -> io::Result<Rc<Connection>> {
        let _turn = self.connecting.lock().await;
        match self.web.open(self.patience()) {
            Some(connection) => Ok(connection),
            None => self.web.begin(self.encrypted(name, b"h2").await?).await,
        }
    }

    /// How long a connection on which something was asked may be silent before another one is made.
    fn patience(&self) -> Duration {
        SILENCE.max(self.health.expected() * 2)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        match (&self.config.place, &self.bootstrap) {
            (Place::At(address), _) => TcpStream::connect(address).await,
            (Place::Named { .. }, Some(bootstrap)) => {
                let addresses = bootstrap.addresses().await?;
                let (stream, reached) = reach::connect(&addresses).await?;
                bootstrap.prefer(reached);
                Ok(stream)
            }
            (Place::Named { .. }, None) => Err(io::ErrorKind::HostUnreachable.into()),
        }
    }

    async fn encrypted(&self, name: &str, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let trusted = self.trust.config(&None).await?;
        let mut config = (*trusted).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = self.connect().await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
