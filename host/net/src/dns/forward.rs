//! Names that are not ours: who is asked, and when another one is.
//!
//! **Invariant:** one question is under way once, however many ask it; so a loop back to ourselves
//! ends in the question that already waits. What is under way is bounded, and what is ours never
//! waits for it.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hashbrown::{HashMap, hash_map::Entry};
use portolan_core::problem::Chain;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    cache::{Cache, Key},
    figures::DnsFigures,
    stored::Stored,
    upstream::Upstream,
};

/// How long an upstream may be silent before the next one is asked too.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long a question is under way at most. Resolvers ask again after 5 seconds.
const DEADLINE: Duration = Duration::from_secs(4);
/// How often upstreams are asked for one question, at least.
const ATTEMPTS: usize = 3;
/// Askers that wait, for each worker.
const MOST_WAITING: usize = 4096;
/// Questions that are under way, for each worker.
const MOST_FLIGHTS: usize = 2048;

/// How names that are not ours are resolved. Replaced as a whole while we run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarding {
    /// Who is asked, in this order of preference; nobody: such names are refused.
    pub upstreams: Vec<SocketAddr>,
    /// How many bytes of answers each worker remembers; 0: none.
    pub cache_bytes: usize,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self { upstreams: Vec::new(), cache_bytes: 8 << 20 }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("there are no upstreams")]
    NoUpstreams,
    #[error("too many questions are under way")]
    Full,
    #[error("no upstream answers")]
    NoAnswer,
}

/// Asks upstreams for one worker, and remembers what they say.
pub(super) struct Forwarder {
    settings: Arc<ArcSwap<Forwarding>>,
    current: RefCell<Current>,
    pub(super) cache: RefCell<Cache>,
    flights: RefCell<Flights>,
    /// Askers that wait. The gauge may be shared with other workers.
    waiting: Cell<usize>,
    figures: Arc<DnsFigures>,
}

type Outcome = Result<Rc<Stored>, ForwardError>;
/// The questions that are under way, and who waits for each.
type Flights = HashMap<Box<[u8]>, Vec<oneshot::Sender<Outcome>>>;

/// The settings that the upstreams were made from.
struct Current {
    settings: Arc<Forwarding>,
    upstreams: Vec<Rc<Upstream>>,
}

impl Current {
    fn new(settings: Arc<Forwarding>) -> Self {
        let upstreams = settings.upstreams.iter().map(|address| Rc::new(Upstream::new(*address)));
        Self { upstreams: upstreams.collect(), settings }
    }
}

impl Forwarder {
    pub(super) fn new(settings: Arc<ArcSwap<Forwarding>>, figures: Arc<DnsFigures>) -> Self {
        let current = Current::new(settings.load_full());
        let cache = Cache::new(current.settings.cache_bytes, figures.clone());
        Self {
            settings,
            current: RefCell::new(current),
            cache: RefCell::new(cache),
            flights: RefCell::default(),
            waiting: Cell::new(0),
            figures,
        }
    }

    /// Takes over new settings. Other upstreams may know other names, so the cache starts anew.
    pub(super) fn refresh(&self) {
        let settings = self.settings.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(&settings, &current.settings) {
            let is_other = *current.settings != **settings;
            *current = Current::new(Arc::clone(&settings));
            if is_other {
                let fresh = Cache::new(settings.cache_bytes, self.figures.clone());
                *self.cache.borrow_mut() = fresh;
            }
        }
    }

    /// Whether anybody can be asked.
    pub(super) fn has_upstreams(&self) -> bool {
        !self.current.borrow().upstreams.is_empty()
    }

    /// The answer to a question, and its age in seconds: from the cache, from a question that is
    /// under way, or from an upstream.
    pub(super) async fn resolve(
        self: &Rc<Self>,
        key: &Key,
    ) -> Result<(Rc<Stored>, u32), ForwardError> {
        if let Some((stored, age)) = self.cache.borrow().find(key, Instant::now()) {
            return Ok((stored.clone(), age));
        }
        let answer = self.join(key)?;
        let waiting = Waiting::new(self);
        let outcome = answer.await;
        drop(waiting);
        outcome.map_err(|_ended| ForwardError::NoAnswer)?.map(|stored| (stored, 0))
    }

    /// Waits for a question that is under way, or puts it under way.
    fn join(self: &Rc<Self>, key: &Key) -> Result<oneshot::Receiver<Outcome>, ForwardError> {
        if !self.has_upstreams() {
            return Err(ForwardError::NoUpstreams);
        }
        let mut flights = self.flights.borrow_mut();
        let under_way = flights.len();
        if self.waiting.get() >= MOST_WAITING {
            return Err(ForwardError::Full);
        }
        let (arrived, arrival) = oneshot::channel();
        match flights.entry(key.as_bytes().into()) {
            Entry::Occupied(mut flight) => flight.get_mut().push(arrived),
            Entry::Vacant(_) if under_way >= MOST_FLIGHTS => return Err(ForwardError::Full),
            Entry::Vacant(vacant) => {
                vacant.insert(vec![arrived]);
                tokio::task::spawn_local(Rc::clone(self).fly(*key));
            }
        }
        Ok(arrival)
    }

    /// Asks for everybody who waits. Not one of them: whoever asked first may hang up.
    async fn fly(self: Rc<Self>, key: Key) {
        let outcome = self.ask(&key).await.map(Rc::new);
        if let Ok(stored) = &outcome {
            self.cache.borrow_mut().put(&key, stored, Instant::now());
        }
        let waiting = self.flights.borrow_mut().remove(key.as_bytes()).unwrap_or_default();
        for arrived in waiting {
            // Whoever no longer waits needs no answer.
            drop(arrived.send(outcome.clone()));
        }
    }

    /// Asks one upstream after the other, without giving up on those that were asked before.
    async fn ask(&self, key: &Key) -> Result<Stored, ForwardError> {
        let upstreams = self.by_preference();
        let most = ATTEMPTS.max(upstreams.len());
        let mut next = upstreams.iter().cycle().take(most);
        let mut asked = 0;
        let mut is_due = true;
        let mut attempts = FuturesUnordered::new();
        let deadline = sleep_until(Instant::now() + DEADLINE);
        tokio::pin!(deadline);
        loop {
            if is_due && let Some(upstream) = next.next() {
                attempts.push(async move { (upstream.address, upstream.ask(key).await) });
                asked += 1;
            }
            is_due = tokio::select! {
                Some((upstream, result)) = attempts.next() => match result {
                    Ok(stored) => return Ok(stored),
                    Err(error) => {
                        self.figures.upstream_failures.increment();
                        tracing::debug!(%upstream, error = %Chain(&error), "no answer from upstream");
                        // One that says that it cannot answer will say so again.
                        asked < upstreams.len() || !error.is_refusal()
                    }
                },
                () = sleep(PATIENCE), if asked < most => true,
                () = &mut deadline => return Err(ForwardError::NoAnswer),
            };
            if attempts.is_empty() && (asked == most || !is_due) {
                return Err(ForwardError::NoAnswer);
            }
        }
    }

    /// The upstreams as configured, but those that failed lately last.
    fn by_preference(&self) -> Vec<Rc<Upstream>> {
        let now = Instant::now();
        let mut upstreams = self.current.borrow().upstreams.clone();
        upstreams.sort_by_key(|upstream| upstream.is_resting(now));
        upstreams
    }
}

/// Counts one who waits, until it no longer does.
struct Waiting<'a>(&'a Forwarder);

impl<'a> Waiting<'a> {
    fn new(forwarder: &'a Forwarder) -> Self {
        forwarder.waiting.update(|waiting| waiting + 1);
        forwarder.figures.waiting.increment();
        Self(forwarder)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.update(|waiting| waiting.saturating_sub(1));
        self.0.figures.waiting.decrement();
    }
}
