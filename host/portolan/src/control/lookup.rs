//! Who is asked for what the catalog does not have: prepared queries, other datacenters.

use std::sync::Arc;

use arc_swap::ArcSwap;
use portolan_core::{port::Provider, zone::ZoneConfig};

/// Who is asked, and how the answer is said.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    /// Those that look up what they do not report, in their order.
    pub(crate) providers: Vec<Arc<dyn Provider>>,
    /// The zones of the configuration.
    pub(crate) zones: Vec<ZoneConfig>,
}

/// The same, as it is now.
pub(crate) type SharedLookups = Arc<ArcSwap<Lookups>>;
