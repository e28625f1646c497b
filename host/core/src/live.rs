//! The snapshot that is served now: any number of readers, exactly one writer.
//!
//! **Invariant:** [`Publisher`] is not `Clone`, so there is one place that changes what is served.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::snapshot::Snapshot;

/// Reads the snapshot that is served now.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Snapshot>>);

/// Replaces the snapshot that is served.
#[derive(Debug)]
pub struct Publisher(Arc<ArcSwap<Snapshot>>);

/// Reads the snapshot for one thread: an atomic load and a comparison while nothing changes.
#[derive(Debug)]
pub struct Reader(Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>);

/// A snapshot that is served, and the one who may replace it.
pub fn live(first: Snapshot) -> (Publisher, Live) {
    let shared = Arc::new(ArcSwap::from_pointee(first));
    (Publisher(shared.clone()), Live(shared))
}

impl Publisher {
    /// Serves this from now on.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }

    /// What is served now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl Live {
    /// What is served now.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// A reader for one thread.
    pub fn reader(&self) -> Reader {
        Reader(Cache::new(self.0.clone()))
    }
}

impl Reader {
    /// What is served now.
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.0.load()
    }
}
