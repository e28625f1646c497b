//! Which backend is next.

/// Chooses among the usable backends of a service.
#[derive(Debug, Default)]
pub struct Balancer {}
