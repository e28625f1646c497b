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

/// So many aliases that a source has are followed, one lookup for each.
const MOST_ALIASES: usize = 4;

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
        self.look_up_behind(key, 0).await
    }

    /// The same, behind so many aliases that were looked up.
    async fn look_up_behind(
        self: &Rc<Self>,
        key: &Key,
        aliases: usize,
    ) -> Result<Stored, ForwardError> {
        let finder = self.settings.finder().ok_or(ForwardError::NoAnswer)?;
        let found = timeout(DEADLINE, finder.find(key.name())).await;
        let Ok(Some(Sought { zones, name, is_ranked })) = found else {
            return Err(ForwardError::NoAnswer);
        };
        // Which of several aliases it is, is chosen once.
        let random = if is_ranked { 0 } else { Random::seeded().next() };
        let (stored, target) =
            Stored::of_zones(key, &zones, &name, (random, false)).ok_or(ForwardError::NoAnswer)?;
        let Some(target) = target else {
            return Ok(if is_ranked { stored } else { stored.shuffled() });
        };
        let served = finder.served();
        let answered = served.zones.answer_from(target.as_bytes(), key.rtype());
        if self.is_foreign(target.as_bytes(), &answered) {
            return Ok(self.led_outside(key, stored, &target).await);
        }
        match answered.answer {
            Answer::OnDemand(_) if aliases < MOST_ALIASES => {
                // Not by way of a flight: of two names that lead to each other each would wait for
                // the other.
                let target = key.with_name(target.as_bytes());
                match Box::pin(self.look_up_behind(&target, aliases + 1)).await {
                    Ok(found) => Ok(joined(key, stored, &found, Age::Fresh(0))),
                    Err(_nobody_can_tell) => Ok(stored),
                }
            }
            Answer::OnDemand(_) => Ok(stored),
            _ => Ok(led_inside(key, &served.zones, stored, &target)),
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
        match Box::pin(self.resolve(&target, Via::Upstreams)).await {
            Ok((outside, age)) => joined(key, alias, &outside, age),
            Err(_nobody_answers) => alias,
        }
    }
}

/// An alias with what was said of its target; alone if they do not fit together.
pub(super) fn joined(key: &Key, alias: Stored, target: &Stored, age: Age) -> Stored {
    let mut out = vec![0; MAX_TCP];
    let length = chase::join(alias.wire(), target, age, MAX_TCP, &mut out);
    alias.longer(key, target, out.get(..length).unwrap_or_default()).unwrap_or(alias)
}

/// An alias with what our own zones say of its target.
pub(super) fn led_inside(key: &Key, zones: &Zones, alias: Stored, target: &ShortName) -> Stored {
    let key_of_target = key.with_name(target.as_bytes());
    let name = Name::parse(&Text(target.as_bytes()).to_string());
    let way = (Random::seeded().next(), true);
    let found = name.ok().and_then(|name| Stored::of_zones(&key_of_target, zones, &name, way));
    match found {
        Some((found, _)) => joined(key, alias, &found, Age::Fresh(0)),
        None => alias,
    }
}
