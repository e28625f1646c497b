//! Names of ours that a source is asked for: looked up once for all who ask, and remembered like
//! the answers of upstreams.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use portolan_core::{
    snapshot::Snapshot,
    zone::{Answer, Name, Text, Zones},
};
use tokio::time::timeout;

use super::{
    super::{
        cache::Key,
        chase,
        message::{MAX_TCP, ShortName},
        stored::{Age, Stored},
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

    /// What is served now.
    fn served(&self) -> Arc<Snapshot>;

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
            Stored::of_zones(key, &zones, &name, (random, false)).ok_or(ForwardError::NoAnswer)?;
        let Some(target) = target else { return Ok(stored) };
        let served = finder.served();
        match served.zones.answer(target.as_bytes(), key.rtype()) {
            Answer::NotOurs => Ok(self.led_to(key, stored, &target, Via::Upstreams).await),
            Answer::OnDemand(_) => Ok(self.led_to(key, stored, &target, Via::Catalog).await),
            _ => Ok(led_inside(key, &served.zones, stored, &target)),
        }
    }

    /// An alias with what others say of its target; alone if nobody can be asked, or none answers.
    async fn led_to(
        self: &Rc<Self>,
        key: &Key,
        alias: Stored,
        target: &ShortName,
        via: Via,
    ) -> Stored {
        let target = key.with_name(target.as_bytes());
        // One that leads to itself would wait for itself.
        let is_other = target.name() != key.name();
        let may_ask = match via {
            Via::Catalog => is_other,
            Via::Upstreams => {
                matches!(self.way(target.name(), target.rtype()), Way::Ask)
                    && !self.with_filter(|filter| filter.blocks(target.name()))
            }
        };
        if !may_ask {
            return alias;
        }
        // A question of its own: it is asked once for all, and kept under its own name too.
        let asked = Box::pin(self.resolve(&target, via)).await;
        let Ok((outside, age)) = asked else { return alias };
        let mut out = vec![0; MAX_TCP];
        let length = chase::join(alias.wire(), &outside, age, MAX_TCP, &mut out);
        Stored::ours(key, out.get(..length).unwrap_or_default()).unwrap_or(alias)
    }
}

/// An alias with what our own zones say of its target.
fn led_inside(key: &Key, zones: &Zones, alias: Stored, target: &ShortName) -> Stored {
    let joined = || {
        let key_of_target = key.with_name(target.as_bytes());
        let name = Name::parse(&Text(target.as_bytes()).to_string()).ok()?;
        let way = (Random::seeded().next(), true);
        let (found, _) = Stored::of_zones(&key_of_target, zones, &name, way)?;
        let mut out = vec![0; MAX_TCP];
        let length = chase::join(alias.wire(), &found, Age::Fresh(0), MAX_TCP, &mut out);
        Stored::ours(key, out.get(..length)?)
    };
    joined().unwrap_or(alias)
}
