//! Names of ours that a source is asked for: looked up once for all who ask, and remembered like
//! the answers of upstreams.

use std::{future::Future, pin::Pin, rc::Rc};

use portolan_core::zone::{Name, Zones};
use tokio::time::timeout;

use super::{
    super::{
        cache::Key,
        chase,
        message::{MAX_TCP, ShortName},
        stored::Stored,
    },
    ForwardError, Forwarder, Via, Way,
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
    /// Whether the order in which they were found says which is the best.
    pub is_ranked: bool,
}

/// Asks the sources of the catalog. Workers share it.
pub trait Finder: Send + Sync {
    /// Whether there is one that can be asked.
    fn is_ready(&self) -> bool;

    /// Whether a name, in wire form and lower case, lies in a zone of ours.
    fn is_ours(&self, name: &[u8]) -> bool;

    /// Looks up what a name of ours, in wire form and lower case, stands for; `None`: nobody can
    /// tell now.
    fn find(&self, name: &[u8]) -> Pin<Box<dyn Future<Output = Option<Sought>> + Send>>;
}

impl Forwarder {
    /// Asks the sources of the catalog for what a name stands for.
    pub(super) async fn look_up(self: &Rc<Self>, key: &Key) -> Result<Stored, ForwardError> {
        let finder = self.settings.finder().ok_or(ForwardError::NoAnswer)?;
        let found = timeout(DEADLINE, finder.find(key.name())).await;
        let Ok(Some(Sought { zones, name, is_ranked })) = found else {
            return Err(ForwardError::NoAnswer);
        };
        let random = if is_ranked { 0 } else { Random::seeded().next() };
        let (stored, target) =
            Stored::of_zones(key, &zones, &name, random).ok_or(ForwardError::NoAnswer)?;
        match target {
            Some(target) if !finder.is_ours(target.as_bytes()) => {
                Ok(self.led_outside(key, stored, &target).await)
            }
            _ => Ok(stored),
        }
    }

    /// An alias with what upstreams say of its target; alone if nobody can be asked, or none
    /// answers.
    async fn led_outside(self: &Rc<Self>, key: &Key, alias: Stored, target: &ShortName) -> Stored {
        let target = key.with_name(target.as_bytes());
        let may_ask = matches!(self.way(target.name(), target.rtype()), Way::Ask)
            && !self.with_filter(|filter| filter.blocks(target.name()));
        if !may_ask {
            return alias;
        }
        // A question of its own: it is asked once for all, and kept under its own name too.
        let asked = Box::pin(self.resolve(&target, Via::Upstreams)).await;
        let Ok((outside, age)) = asked else { return alias };
        let mut out = vec![0; MAX_TCP];
        let length = chase::join(alias.wire(), &outside, age, MAX_TCP, &mut out);
        Stored::ours(key, out.get(..length).unwrap_or_default()).unwrap_or(alias)
    }
}
