//! Asks providers for what the catalog does not have, when DNS is asked for it.

use std::{future::Future, pin::Pin, sync::Arc};

use portolan_core::{
    item::{Found, Wanted},
    live::Live,
    port::PollError,
    snapshot::Snapshot,
};
use portolan_net::dns::{Finder, Sought};
use tokio::{runtime::Handle, task::JoinSet};

use crate::control::lookup::{Lookups, SharedLookups};

/// Asks the providers that there are.
pub(super) struct Lookup {
    lookups: SharedLookups,
    live: Live,
    /// Guests run where the control plane does, not on the workers that serve.
    runtime: Handle,
}

impl Lookup {
    /// Guests run on the runtime that this is called on.
    pub(super) fn new(lookups: SharedLookups, live: Live) -> Self {
        Self { lookups, live, runtime: Handle::current() }
    }
}

impl Finder for Lookup {
    fn is_ready(&self) -> bool {
        !self.lookups.load().providers.is_empty()
    }

    fn served(&self) -> Arc<Snapshot> {
        self.live.load()
    }

    fn find(&self, name: &[u8]) -> Pin<Box<dyn Future<Output = Option<Sought>> + Send>> {
        let lookups = self.lookups.load_full();
        let demand = self.live.load().zones.demand(name);
        let runtime = self.runtime.clone();
        Box::pin(async move {
            let demand = demand?;
            let zone = lookups.zones.iter().find(|zone| zone.origin == demand.origin)?.clone();
            let wanted = demand.wanted.clone();
            // Who no longer waits ends it: a set takes its tasks along.
            let mut asking = JoinSet::new();
            asking.spawn_on(async move { ask(&lookups, &wanted).await }, &runtime);
            let found = asking.join_next().await?.ok()?;
            let zones = demand.zones(&zone, found.ok()?);
            Some(Sought { zones, is_ranked: demand.is_ranked(), name: demand.name })
        })
    }
}

/// The first provider that has it counts. `Ok(None)`: none has.
async fn ask(lookups: &Arc<Lookups>, wanted: &Wanted) -> Result<Option<Found>, PollError> {
    let mut failure = None;
    for provider in &lookups.providers {
        match provider.find(wanted).await {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => (),
            Err(error) => {
                tracing::debug!(?wanted, ?error, "lookup failed");
                failure = Some(error);
            }
        }
    }
    failure.map_or(Ok(None), Err)
}
