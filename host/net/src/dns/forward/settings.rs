//! How names that are not ours are resolved.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use portolan_core::zone::Name;

use super::{
    super::{filter::Filter, standing::Standings},
    demand::Finder,
    loops::{Loops, Probe, probed},
};
use crate::transport::Trust;

/// How names that are not ours are resolved. Replaced as a whole while we run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forwarding {
    /// Who is asked for names that no suffix is for; nobody: such names are refused.
    pub upstreams: Vec<UpstreamConfig>,
    /// Who is asked for a name and the names below it; nobody: there are no such names. Of several
    /// suffixes the longest counts.
    pub suffixes: Vec<(Name, Vec<UpstreamConfig>)>,
    /// Who is asked, over UDP, where upstreams are that have a name instead of an address.
    pub bootstrap: Vec<SocketAddr>,
    /// In which order upstreams are asked.
    pub mode: Mode,
    /// Whether letters of questions are mixed, which makes answers hard to forge
    /// (draft-vixie-dnsext-dns0x20).
    pub mix_case: bool,
    /// What is remembered.
    pub cache: CacheConfig,
    /// What is not asked, or not believed.
    pub filter: Filter,
    /// How much may be under way.
    pub room: Room,
}

/// How many questions may be under way for each worker, and how many askers may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room(pub usize);

impl Default for Room {
    /// More than are under way when ten thousand names are asked for at once.
    fn default() -> Self {
        Self(24 * 1024)
    }
}

impl Room {
    /// What one group of upstreams may have of it: those of a suffix that do not answer must not take
    /// the room of all others.
    pub(super) fn of_group(self) -> usize {
        self.0 / 2
    }
}

/// A resolver that is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UpstreamConfig {
    /// Where it is.
    pub place: Place,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// Where an upstream is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Here.
    At(SocketAddr),
    /// Where [`Forwarding::bootstrap`] says. Only for those that are known by a certificate.
    Named {
        /// Its name.
        host: Name,
        /// Its port.
        port: u16,
    },
}

/// How an upstream is spoken to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// Over UDP, and over TCP what does not fit.
    #[default]
    Udp,
    /// Over TCP.
    Tcp,
    /// Within TLS (RFC 7858).
    Tls {
        /// Of the certificate: a name or an IP address.
        name: String,
    },
    /// Within HTTPS (RFC 8484).
    Https {
        /// Of the certificate: a name or an IP address.
        name: String,
        /// With a slash before it.
        path: String,
    },
}

/// In which order upstreams are asked. One that failed lately is asked last, in any mode.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// The one that answers soonest first; the others now and then, to know how they are.
    #[default]
    Fastest,
    /// As they are written.
    Strict,
    /// All at once: the first good answer counts.
    Parallel,
}

/// What is remembered of upstreams' answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheConfig {
    /// How many bytes each worker remembers; 0: nothing.
    pub bytes: usize,
    /// No answer is remembered for less, in seconds, whatever it says itself.
    pub min_ttl: u32,
    /// No answer is remembered for longer, in seconds.
    pub max_ttl: u32,
    /// That there is no such thing is not remembered for longer, in seconds (RFC 2308, 5).
    pub negative_ttl: u32,
    /// Whether what is asked for again and again is asked anew before it is forgotten.
    pub prefetch: bool,
    /// How long an answer that is too old may serve when no upstream answers (RFC 8767), in
    /// seconds; 0: not at all.
    pub stale: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            min_ttl: 0,
            max_ttl: 86_400,
            negative_ttl: 3_600,
            prefetch: true,
            stale: 86_400,
        }
    }
}

impl Forwarding {
    /// Whether upstreams are asked alike, whatever names are on block lists.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let blocked = other.filter.blocked.clone();
        let filter = Filter { blocked, ..self.filter.clone() };
        Self { filter, ..self.clone() } == *other
    }
}

impl From<SocketAddr> for UpstreamConfig {
    fn from(address: SocketAddr) -> Self {
        Self { place: Place::At(address), protocol: Protocol::Udp }
    }
}

impl fmt::Display for UpstreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match (&self.protocol, place) {
            (Protocol::Udp, _) => write!(f, "{place}"),
            (Protocol::Tcp, _) => write!(f, "tcp://{place}"),
            (Protocol::Tls { name }, Place::At(_)) => write!(f, "tls://{place}#{name}"),
            (Protocol::Tls { .. }, Place::Named { .. }) => write!(f, "tls://{place}"),
            (Protocol::Https { name, path }, Place::At(_)) => {
                write!(f, "https://{place}{path}#{name}")
            }
            (Protocol::Https { path, .. }, Place::Named { .. }) => {
                write!(f, "https://{place}{path}")
            }
        }
    }
}

impl UpstreamConfig {
    /// Its address, unless it has to be found by its name.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::At(address) => Some(*address),
            Place::Named { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The settings that hold now, and what workers are asked to forget. Workers share them.
pub struct Forwardings {
    now: ArcSwap<Forwarding>,
    /// Whose certificates are trusted.
    pub(in crate::dns) trust: Arc<Trust>,
    /// Which upstreams lead back to us.
    pub loops: Loops,
    /// How upstreams are.
    pub standings: Standings,
    finder: OnceLock<Arc<dyn Finder>>,
    flushes: AtomicU64,
    /// The last that was to be forgotten: a name and all below it; `None`: everything.
    last: Mutex<Option<Name>>,
}

/// How often workers were asked to forget something.
pub(in crate::dns) type Flushes = u64;

impl fmt::Debug for Forwardings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwardings").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Default for Forwardings {
    fn default() -> Self {
        Self::new(Forwarding::default(), Arc::default())
    }
}

impl Forwardings {
    /// These hold from the beginning.
    pub fn new(settings: Forwarding, trust: Arc<Trust>) -> Self {
        let standings = Standings::default();
        standings.follow(&settings);
        let (now, last) = (ArcSwap::from_pointee(settings), Mutex::new(None));
        Self {
            now,
            trust,
            loops: Loops::default(),
            standings,
            finder: OnceLock::new(),
            flushes: AtomicU64::new(0),
            last,
        }
    }

    /// From now on these hold. Answers whether anything changed.
    pub fn set(&self, settings: Forwarding) -> bool {
        let is_other = **self.now.load() != settings;
        if is_other {
            // First: a worker that sees new upstreams notes how they are.
            self.standings.follow(&settings);
            self.now.store(Arc::new(settings));
            self.loops.renew();
        }
        is_other
    }

    /// From now on the sources of the catalog can be asked. Only the first finder counts.
    pub fn look_up_with(&self, finder: Arc<dyn Finder>) {
        drop(self.finder.set(finder));
    }

    pub(in crate::dns) fn finder(&self) -> Option<&Arc<dyn Finder>> {
        self.finder.get()
    }

    /// Begins a round of looking for upstreams that lead back to us: what is to be sent.
    pub fn probes(&self) -> Vec<Probe> {
        self.loops.round(&probed(&self.now.load()))
    }

    /// What is remembered of a name, and of all below it, is forgotten; `None`: everything.
    pub fn flush(&self, name: Option<Name>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = name.map(|name| name.to_lower());
        self.flushes.fetch_add(1, Relaxed);
    }

    /// Those that hold.
    pub fn now(&self) -> Arc<Forwarding> {
        self.now.load_full()
    }

    pub(in crate::dns) fn load(&self) -> Guard<Arc<Forwarding>> {
        self.now.load()
    }

    pub(in crate::dns) fn flushes(&self) -> Flushes {
        self.flushes.load(Relaxed)
    }

    /// What is to be forgotten by who has seen so many flushes, and how many there are now. Who has
    /// missed one forgets everything.
    pub(in crate::dns) fn flushed_since(&self, seen: Flushes) -> (Option<Name>, Flushes) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.flushes.load(Relaxed);
        (last.clone().filter(|_| now == seen + 1), now)
    }
}

/// How long an upstream may be silent before the next one is asked too.
pub(super) const PATIENCE: Duration = Duration::from_millis(400);
/// How long a question is under way at most. Resolvers ask again after 5 seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);
/// How long somebody waits before an answer that is too old is better than none (RFC 8767, 5).
pub(super) const STALE_AFTER: Duration = Duration::from_millis(1_800);
