//! Names of ours that a source is asked for: looked up once for all who ask, and remembered like
//! the answers of upstreams.

use std::{future::Future, pin::Pin};

use portolan_core::zone::{Name, Zones};
use tokio::time::timeout;

use super::{
    super::{cache::Key, stored::Stored},
    ForwardError, Forwarder,
    settings::DEADLINE,
};
use crate::random::Random;

/// What a source was found to have: zones for this one question, and the name that they answer
/// what was asked under.
#[derive(Debug)]
pub struct Sought {
    /// The zones.
    pub zones: Zones,
    /// The name.
    pub name: Name,
}

/// Asks the sources of the catalog. Workers share it.
pub trait Finder: Send + Sync {
    /// Whether there is one that can be asked.
    fn is_ready(&self) -> bool;

    /// Looks up what a name of ours, in wire form and lower case, stands for; `None`: nobody can
    /// tell now.
    fn find(&self, name: &[u8]) -> Pin<Box<dyn Future<Output = Option<Sought>> + Send>>;
}

impl Forwarder {
    /// Asks the sources of the catalog for what a name stands for.
    pub(super) async fn look_up(&self, key: &Key) -> Result<Stored, ForwardError> {
        let finder = self.settings.finder().ok_or(ForwardError::NoAnswer)?;
        let found = timeout(DEADLINE, finder.find(key.name())).await;
        let Ok(Some(Sought { zones, name })) = found else { return Err(ForwardError::NoAnswer) };
        let random = Random::seeded().next();
        Stored::of_zones(key, &zones, &name, random).ok_or(ForwardError::NoAnswer)
    }
}
