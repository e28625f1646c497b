//! A service: a named set of backends, and how traffic is shared among them.

use std::sync::Arc;

pub use crate::backend::{Backend, BackendFigures, Scheme};
use crate::{balance::Balancer, figure::TrafficFigures, name::ObjectName};

/// How traffic is shared, and how requests are sent on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadBalancer {
    /// Whether the backend sees the client's `Host`, or its own address.
    pub pass_host_header: bool,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self { pass_host_header: true }
    }
}

/// A named set of backends.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ObjectName,
    /// How traffic is shared.
    pub load_balancer: LoadBalancer,
    /// All of them, the unusable ones too.
    pub backends: Vec<Backend>,
    /// Chooses among the usable ones.
    pub balancer: Balancer,
    /// Requests and their outcomes.
    pub figures: Arc<TrafficFigures>,
}
