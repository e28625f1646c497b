//! Aliases that an upstream leaves where they lead out of what it knows: a server that answers for
//! its own zones only does so, and leaves the rest to who asks.
//!
//! **Invariant:** who is asked for everything never leads to what those say who are trusted with some
//! names only: so a page from elsewhere could reach what is inside.

use std::rc::Rc;

use hickory_proto::{op::Message, rr::RData};
use portolan_core::zone::Answer;
use tokio::time::{Instant, timeout_at};

use super::{
    super::{
        cache::Key,
        message::ShortName,
        stored::{Age, Stored},
    },
    ForwardError, Forwarder, Via, Way,
    demand::{joined, led_inside},
    groups::Group,
};

/// So many aliases are followed from one upstream to the next.
const MOST: usize = 4;
/// The longest chain of one answer.
const MAX_CHAIN: usize = 8;

impl Forwarder {
    /// An answer with what is said of the name that its aliases lead to; as it is if nobody can be
    /// asked for that. Not by way of a flight: of two names that lead to each other each would wait
    /// for the other.
    ///
    /// # Errors
    ///
    /// When those who can be asked do not answer until `deadline`: the alias alone would look as if
    /// there were nothing behind it.
    pub(super) async fn followed(
        self: &Rc<Self>,
        key: &Key,
        group: &Group,
        mut stored: Stored,
        deadline: Instant,
    ) -> Result<Stored, ForwardError> {
        let mut last: Option<ShortName> = None;
        for _ in 0..MOST {
            // Of one that is the same again there is nothing, though nobody says so with a SOA.
            let Some(next) = target(&stored)
                .filter(|next| last.as_ref().is_none_or(|last| last.as_bytes() != next.as_bytes()))
            else {
                break;
            };
            let target = key.with_name(next.as_bytes());
            last = Some(next);
            let Some(next) = self.may_follow(&target, group) else {
                stored = self.followed_inside(key, group, stored, &next);
                continue;
            };
            // Who may be trusted with the target's name is not so with what it is called here.
            let asking = timeout_at(deadline, self.ask(&target, key, &next));
            let found = asking.await.map_err(|_elapsed| ForwardError::NoAnswer)??;
            stored = joined(key, stored, &found, Age::Fresh(0));
        }
        Ok(stored)
    }

    /// An answer with what our own zones say of a name that it leads to; as it is if that is not theirs,
    /// or if who answers is asked for everything: so a page from elsewhere could reach what is inside.
    fn followed_inside(&self, key: &Key, from: &Group, stored: Stored, next: &ShortName) -> Stored {
        let Some(finder) = self.settings.finder().filter(|_| from.suffix.is_some()) else {
            return stored;
        };
        let served = finder.served();
        let answered = served.zones.answer_from(next.as_bytes(), key.rtype());
        let is_known = !matches!(answered.answer, Answer::OnDemand(_) | Answer::NotSynced(_))
            && !self.is_foreign(next.as_bytes(), &answered);
        match is_known {
            true => led_inside(key, &served.zones, stored, next),
            false => stored,
        }
    }

    /// Who is asked for what an answer of these leads to.
    fn may_follow(&self, target: &Key, from: &Group) -> Option<Rc<Group>> {
        let is_foreign = self.settings.finder().is_none_or(|finder| {
            let served = finder.served();
            let answered = served.zones.answer_from(target.name(), target.rtype());
            self.is_foreign(target.name(), &answered)
        });
        let may_ask = is_foreign
            && matches!(self.way(target.name(), target.rtype()), Way::Ask)
            && !self.with_filter(|filter| filter.blocks(target.name()));
        let group = may_ask.then(|| self.group(target, Via::Upstreams))?;
        (from.suffix.is_some() || group.suffix.is_none()).then_some(group)
    }
}

/// The name that the aliases of an answer lead to, if it says nothing of that.
fn target(stored: &Stored) -> Option<ShortName> {
    if !stored.is_half_way() {
        return None;
    }
    let message = Message::from_vec(stored.wire()).ok()?;
    let asked = message.queries.first()?.name();
    let mut name = asked;
    for _ in 0..MAX_CHAIN {
        let mut own = message.answers.iter().filter(|record| record.name == *name);
        let alias = own.find_map(|record| match &record.data {
            RData::CNAME(alias) => Some(&alias.0),
            _ => None,
        });
        let Some(alias) = alias else { break };
        name = alias;
    }
    let is_other = name != asked;
    let wire = portolan_core::zone::Name::parse(&name.to_ascii()).ok().filter(|_| is_other)?;
    ShortName::lower(wire.as_bytes())
}
