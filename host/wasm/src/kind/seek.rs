//! Lookups of providers: what somebody asks for that the catalog does not have.
//!
//! **Invariant:** a lookup never waits for the instance that polls, and few run at once: who asks
//! for names that do not exist costs a source no more than that.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use portolan_core::{
    item::{Found, Wanted},
    port::PollError,
};
use tokio::sync::Semaphore;
use wasmtime::{Store, component::TypedFunc};

use super::{
    provider::{BINDING, BoundProvider, refused},
    step::found,
};
use crate::{
    bindings::lookup as wit,
    error::call_error,
    facets::{FindArgs, FoundOne},
    guest::Guest,
};

/// Lookups of one provider at a time.
const MOST: usize = 8;
/// Instances that wait for the next lookup.
const MOST_RESTING: usize = 2;
/// How long one may take: longer than anybody waits.
const LIMIT: Duration = Duration::from_secs(5);

/// The instances of a provider that look things up.
pub(super) struct Seekers {
    turns: Semaphore,
    resting: Mutex<Vec<Seeker>>,
}

struct Seeker {
    store: Store<Guest>,
    find: TypedFunc<FindArgs, FoundOne>,
}

impl Default for Seekers {
    fn default() -> Self {
        Self { turns: Semaphore::new(MOST), resting: Mutex::default() }
    }
}

impl Seekers {
    fn take(&self) -> Option<Seeker> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn rest(&self, seeker: Seeker) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < MOST_RESTING {
            resting.push(seeker);
        }
    }
}

impl BoundProvider {
    pub(super) async fn seek(&self, wanted: &Wanted) -> Result<Option<Found>, PollError> {
        let Some(place) = self.find else { return Ok(None) };
        let Ok(_turn) = self.seekers.turns.acquire().await else { return Ok(None) };
        let mut seeker = match self.seekers.take() {
            Some(seeker) => seeker,
            None => {
                let (store, find) = self.instantiate(place).await.map_err(PollError::Call)?;
                Seeker { store, find }
            }
        };
        seeker.store.data_mut().begin_call();
        seeker.store.set_epoch_deadline(1);
        self.budget.figures.calls.increment();
        let args = (BINDING, asked(wanted));
        let call = self.timed(LIMIT, seeker.find.call_async(&mut seeker.store, args));
        let (answer,) = match call.await.map_err(|late| self.failed(late))? {
            Ok(answer) => answer,
            Err(error) => {
                let refused = seeker.store.data().meter.refused();
                return Err(self.failed(call_error(&error, LIMIT, refused)));
            }
        };
        if seeker.store.data().meter.held() <= self.budget.instance / 2 {
            self.seekers.rest(seeker);
        }
        answer.map(|answer| answer.map(found)).map_err(refused)
    }
}

fn asked(wanted: &Wanted) -> wit::Wanted {
    let place = |name: &String, datacenter: &String| wit::Place {
        name: name.clone(),
        datacenter: datacenter.clone(),
    };
    match wanted {
        Wanted::Query { name, datacenter } => wit::Wanted::Query(wit::KeptQuery {
            name: name.clone(),
            datacenter: datacenter.clone(),
        }),
        Wanted::Service { name, datacenter } => wit::Wanted::Service(place(name, datacenter)),
        Wanted::Node { name, datacenter } => wit::Wanted::Node(place(name, datacenter)),
    }
}
