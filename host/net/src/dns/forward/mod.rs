//! Names that are not ours: who is asked, and when another one is.
//!
//! **Invariant:** one question is under way once, however many ask it; so a loop back to ourselves
//! ends in the question that already waits. What is under way is bounded, and what is ours never
//! waits for it.

mod ask;
mod demand;
mod flight;
mod follow;
mod groups;
mod loops;
mod settings;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use portolan_core::zone::{Answer, Answered, Name, RecordType};
use tokio::time::{Instant, timeout};

pub use self::{
    demand::{Finder, Sought},
    loops::{Loops, Probe},
    settings::{CacheConfig, Forwarding, Forwardings, Mode, Place, Protocol, Room, UpstreamConfig},
};
use self::{
    flight::{Flights, Waiting},
    groups::{Group, Groups},
    settings::STALE_AFTER,
};
use super::{
    cache::{Cache, Key},
    figures::DnsFigures,
    filter::Filter,
    local::Others,
    stored::{Age, Stored},
    whose::{Origin, Whose},
};

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

/// What becomes of a name that is not ours, before anybody is asked.
pub(super) enum Way {
    /// Somebody can be asked.
    Ask,
    /// Nobody is asked for it: there is no such name. The suffix says why; `None`: the name itself.
    Nowhere(Option<Name>),
    /// There is nobody to ask.
    Nobody,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Via {
    /// Those that are for the name.
    Upstreams,
    /// The sources of the catalog.
    Catalog,
}

/// Asks upstreams for one worker, and remembers what they say.
pub(super) struct Forwarder {
    settings: Arc<Forwardings>,
    current: RefCell<Current>,
    pub(super) cache: RefCell<Cache>,
    /// The questions that began under what holds now.
    flights: RefCell<Rc<Flights>>,
    /// Questions that are under way, whenever they began.
    under_way: Cell<usize>,
    /// Askers that wait. The gauge may be shared with other workers.
    waiting: Cell<usize>,
    flushes: Cell<u64>,
    figures: Arc<DnsFigures>,
}

/// The settings that the upstreams were made from.
struct Current {
    settings: Arc<Forwarding>,
    groups: Rc<Groups>,
}

impl Forwarder {
    pub(super) fn new(settings: Arc<Forwardings>, figures: Arc<DnsFigures>) -> Self {
        let now = Arc::clone(&settings.load());
        let groups = Rc::new(Groups::new(&now, &settings));
        let cache = Cache::new(now.cache, figures.clone());
        Self {
            flushes: Cell::new(settings.flushes()),
            settings,
            current: RefCell::new(Current { settings: now, groups }),
            cache: RefCell::new(cache),
            flights: RefCell::default(),
            under_way: Cell::new(0),
            waiting: Cell::new(0),
            figures,
        }
    }

    /// Takes over new settings. Other upstreams may know other names, so the cache starts anew; names
    /// that are blocked are looked for before it, so another list changes nothing else but what stands
    /// behind aliases that we followed. What is under way brings an answer to those who wait for it, but
    /// is asked anew for all others.
    pub(super) fn refresh(&self) {
        let settings = self.settings.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(&settings, &current.settings) {
            if !current.settings.is_alike(&settings) {
                current.groups = Rc::new(Groups::new(&settings, &self.settings));
                *self.cache.borrow_mut() = Cache::new(settings.cache, self.figures.clone());
            } else {
                self.cache.borrow_mut().forget_followed();
            }
            current.settings = Arc::clone(&settings);
            self.flights.take();
        }
        if self.settings.flushes() != self.flushes.get() {
            let (name, seen) = self.settings.flushed_since(self.flushes.get());
            self.flushes.set(seen);
            self.flights.take();
            match name {
                Some(name) => self.cache.borrow_mut().forget(name.as_bytes()),
                None => self.cache.borrow_mut().clear(),
            }
        }
    }

    /// What becomes of a name in lower case that is not ours.
    pub(super) fn way(&self, name: &[u8], rtype: RecordType) -> Way {
        let current = self.current.borrow();
        let group = current.groups.of(name);
        // Before what is refused: a suffix of one label is a name without a dot, too.
        if let (true, Some(suffix)) = (group.is_empty(), &group.suffix) {
            return Way::Nowhere(Some(suffix.clone()));
        }
        if current.settings.filter.refuses(name, rtype) || self.settings.loops.hear(name) {
            return Way::Nowhere(None);
        }
        match group.is_empty() {
            false => Way::Ask,
            true => Way::Nobody,
        }
    }

    fn group(&self, key: &Key, via: Via) -> Rc<Group> {
        let groups = &self.current.borrow().groups;
        match via {
            Via::Upstreams => groups.of(key.name()).clone(),
            Via::Catalog => groups.catalog.clone(),
        }
    }

    /// Reads the filters as they are now.
    pub(super) fn with_filter<T>(&self, look: impl FnOnce(&Filter) -> T) -> T {
        look(&self.current.borrow().settings.filter)
    }

    /// Asks anew for what is about to be forgotten, for nobody in particular.
    pub(super) fn prefetch(self: &Rc<Self>, key: &Key) {
        if self.launch(key, &self.group(key, Via::Upstreams), None).is_ok() {
            self.figures.prefetched.increment();
        }
    }

    /// The answer to a question and how old it is: from the cache, from a question that is under
    /// way, or from an upstream.
    pub(super) async fn resolve(
        self: &Rc<Self>,
        key: &Key,
        via: Via,
    ) -> Result<(Rc<Stored>, Age), ForwardError> {
        if let Some((stored, age)) = self.cache.borrow().find(key, Instant::now()) {
            return Ok((stored.clone(), age));
        }
        if self.cache.borrow().has_failed(key, Instant::now()) {
            return self.stale(key).ok_or(ForwardError::NoAnswer);
        }
        let group = self.group(key, via);
        if self.cache.borrow().is_overdue(key, Instant::now())
            && let Some(stale) = self.stale(key)
        {
            // For nobody in particular; where there is no room for that, whoever asks later tries again.
            let _started = self.launch(key, &group, None);
            return Ok(stale);
        }
        let answer = match self.join(key, &group) {
            Ok(answer) => answer,
            // Where upstreams stall there is no room soon, and that is what old answers are for.
            Err(error) => return self.stale(key).ok_or(error),
        };
        let waiting = Waiting::new(self, group);
        let outcome = match self.stale(key) {
            None => answer.await,
            // Who has an old answer need not wait to the end; the question goes on all the same.
            Some(stale) => match timeout(STALE_AFTER, answer).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => {
                    self.cache.borrow().overdue(key, Instant::now());
                    return Ok(stale);
                }
            },
        };
        drop(waiting);
        match outcome.map_err(|_ended| ForwardError::NoAnswer)? {
            Ok(stored) => Ok((stored, Age::Fresh(0))),
            Err(error) => self.stale(key).ok_or(error),
        }
    }

    /// An answer that is too old, if it may serve.
    fn stale(&self, key: &Key) -> Option<(Rc<Stored>, Age)> {
        let stale = self.cache.borrow().find_stale(key, Instant::now());
        stale.map(|stored| (stored, Age::Stale))
    }
}

impl Forwarder {
    /// Whether upstreams are asked for a name of which our zones say this.
    fn is_foreign(&self, name: &[u8], answered: &Answered<'_>) -> bool {
        matches!(answered.answer, Answer::NotOurs)
            || Origin::of(answered).is_some_and(|it| match self.whose(name, it) {
                Whose::Others => true,
                // What a wildcard says does not count for it, and nobody else is asked.
                Whose::Nobodys => answered.wildcard.is_some(),
                Whose::Ours => false,
            })
    }
}

impl Others for Forwarder {
    fn whose(&self, name: &[u8], origin: Origin) -> Whose {
        let groups = &self.current.borrow().groups;
        let group = groups.of(name);
        match &group.suffix {
            Some(suffix) if origin.gives_way_to(suffix) => match group.is_empty() {
                true => Whose::Nobodys,
                false => Whose::Others,
            },
            _ => Whose::Ours,
        }
    }

    fn look_up(&self) -> bool {
        self.settings.finder().is_some_and(|finder| finder.is_ready())
    }
}
