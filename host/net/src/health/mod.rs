//! Health checks: one prober for the process, which tells every worker what it finds.
//!
//! Reading order: [`Prober`] follows snapshots and keeps one task for each backend that is to be
//! probed; `patient` decides what probes mean; `probe` sends one, `grpc` knows the gRPC protocol.
//!
//! **Invariant:** what was found out is kept in the backend's `Standing` and nowhere else, so a
//! change of configuration or catalog forgets nothing, and a request reads it without a lock.

mod grpc;
mod patient;
mod probe;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use portolan_core::{
    name::ObjectName,
    policy::HealthCheck,
    service::{Backend, BackendFigures, Scheme, Service},
    snapshot::{Entries, ServiceEntry, Snapshot},
    standing::Probed,
};
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};

use crate::transport::{Trust, Way};
use patient::Patient;

/// How many probes may be under way at once.
const PROBES: usize = 256;

/// Probes the backends of what is served. It ends when it is dropped.
#[derive(Debug)]
pub struct Prober {
    snapshots: watch::Sender<Arc<Snapshot>>,
    task: AbortHandle,
}

impl Prober {
    /// Starts on the runtime of the caller, with nothing to probe.
    pub fn start(trust: Arc<Trust>) -> Self {
        let (snapshots, mut coming) = watch::channel(Arc::<Snapshot>::default());
        let task = tokio::spawn(async move {
            let mut ward = Ward::new(trust);
            while coming.changed().await.is_ok() {
                let snapshot = coming.borrow_and_update().clone();
                ward.admit(&snapshot);
            }
        });
        Self { snapshots, task: task.abort_handle() }
    }

    /// Probes what is served now, and no more what was served before.
    pub fn follow(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(snapshot);
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which backend of which service.
type Key = (ObjectName, Scheme, Arc<str>, Option<Arc<str>>);

fn key(service: &Service, backend: &Backend) -> Key {
    (service.name.clone(), backend.scheme, backend.authority.clone(), backend.path.clone())
}

/// The backends of a service that are to be probed, and how.
fn probed(
    entry: Option<&ServiceEntry>,
) -> impl Iterator<Item = (&Service, &HealthCheck, &Backend)> {
    let service = entry.and_then(|entry| entry.live.as_deref());
    let checked =
        service.and_then(|service| Some((service, service.load_balancer.health_check.as_ref()?)));
    checked.into_iter().flat_map(|(service, check)| {
        service.backends.iter().map(move |backend| (service, check, backend))
    })
}

/// Everybody who is probed.
struct Ward {
    trust: Arc<Trust>,
    /// As they were when it was last looked who is to be probed.
    services: Entries<ServiceEntry>,
    turns: Arc<Semaphore>,
    beds: HashMap<Key, Bed>,
    /// Dropping it ends all tasks.
    tasks: JoinSet<()>,
}

/// A backend that is probed, until it is dropped.
struct Bed {
    check: HealthCheck,
    way: Way,
    figures: Arc<BackendFigures>,
    task: AbortHandle,
}

impl Ward {
    fn new(trust: Arc<Trust>) -> Self {
        let turns = Arc::new(Semaphore::new(PROBES));
        let (services, beds) = Default::default();
        Self { trust, services, turns, beds, tasks: JoinSet::new() }
    }

    /// Takes in who is new, lets go of who is gone, and leaves the others alone: what did not change is not
    /// looked at.
    fn admit(&mut self, snapshot: &Snapshot) {
        let before = std::mem::replace(&mut self.services, snapshot.services.clone());
        let changed: Vec<_> = before.differences(&snapshot.services).collect();
        let mut gone = HashMap::new();
        for (service, _, backend) in changed.iter().flat_map(|(before, _)| probed(*before)) {
            gone.extend(self.beds.remove_entry(&key(service, backend)));
        }
        for (service, check, backend) in changed.iter().flat_map(|(_, after)| probed(*after)) {
            let key = key(service, backend);
            let kept = gone.remove(&key);
            let Entry::Vacant(place) = self.beds.entry(key) else {
                // A server that is listed twice.
                continue;
            };
            // Where it changed, what was found out stays until the new probe finds something else.
            let kept = kept.filter(|bed| bed.is_for(service, check, backend));
            let (trust, turns) = (&self.trust, &self.turns);
            let new = || Bed::new(trust, turns, &mut self.tasks, (service, check, backend));
            place.insert(kept.unwrap_or_else(new));
        }
        self.discharge(gone);
        while self.tasks.try_join_next().is_some() {}
    }

    /// Probes these no more, and forgets what was found out: nobody would ever correct it.
    fn discharge(&self, gone: HashMap<Key, Bed>) {
        if gone.is_empty() {
            return;
        }
        let stays: HashSet<_> = self.beds.values().map(|bed| Arc::as_ptr(&bed.figures)).collect();
        for bed in gone.into_values() {
            if !stays.contains(&Arc::as_ptr(&bed.figures)) {
                bed.figures.standing.probe(Probed::Unknown, None);
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bed {
    fn new(
        trust: &Arc<Trust>,
        turns: &Arc<Semaphore>,
        tasks: &mut JoinSet<()>,
        (service, check, backend): (&Service, &HealthCheck, &Backend),
    ) -> Self {
        let patient = Patient::new(service, check, backend, trust.clone());
        Self {
            check: check.clone(),
            way: service.transport.clone(),
            figures: backend.figures.clone(),
            task: tasks.spawn(patient.watch(turns.clone())),
        }
    }

    fn is_for(&self, service: &Service, check: &HealthCheck, backend: &Backend) -> bool {
        Arc::ptr_eq(&self.figures, &backend.figures)
            && self.check == *check
            && self.way == service.transport
    }
}
