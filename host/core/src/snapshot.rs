//! Everything that is served, as one immutable whole.

use std::sync::Arc;

use crate::{problem::Problem, route::RouteTable, router::Router, service::Service, zone::Zones};

/// Everything that is served, as one immutable whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with every snapshot.
    pub generation: u64,
    /// The routers of each entrypoint.
    pub tables: Vec<(Arc<str>, RouteTable)>,
    /// Every router that works.
    pub routers: Vec<Arc<Router>>,
    /// Every service.
    pub services: Vec<Arc<Service>>,
    /// Names and their answers.
    pub zones: Zones,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Snapshot {
    /// The routers of an entrypoint.
    pub fn table(&self, entrypoint: &str) -> Option<&RouteTable> {
        self.tables.iter().find(|(name, _)| &**name == entrypoint).map(|(_, table)| table)
    }
}
