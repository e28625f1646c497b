//! One authority, and how far each certificate that is wanted of it is.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::problem::Problem;
use tokio::time::Instant;

use super::{
    ResolverConfig,
    desk::Desk,
    error::OrderError,
    pending::Pending,
    schedule::{DAY, Failure},
    slot::{Slot, Task, Waiting},
    storage::{Storage, StorageError},
    want::Want,
};
use crate::tls::{
    Certificate,
    challenge::Challenges,
    trouble::{SOURCE, stamp},
};

/// The most orders of one authority at once: it counts them. Another one has room of its own, so that
/// one which hangs holds up no other.
pub(super) const ORDERS: usize = 4;
/// The most certificates that are looked for in its storage at once.
pub(super) const LOOKS: usize = 16;
/// How long is remembered what was tried for certificates that nobody wants any more.
const MEMORY: Duration = Duration::from_secs(DAY);
/// For how many of them.
const MEMORIES: usize = 1000;

/// One authority.
pub(in crate::tls) struct Resolver {
    pub(in crate::tls) desk: Arc<Desk>,
    slots: BTreeMap<Want, Slot>,
    /// Those that nobody wants now, and until when they are remembered: whoever comes and goes shall
    /// not order twice, nor without a pause.
    former: BTreeMap<Want, (Instant, Slot)>,
    /// Nothing is ordered before then, since the authority says that it is too much.
    hold: Option<(Instant, Problem)>,
}

/// A certificate that must be looked after.
#[derive(Debug)]
pub(in crate::tls) struct Due {
    pub(in crate::tls) want: Want,
    pub(super) have: Option<Arc<Certificate>>,
    /// Whether it may be ordered now; else it is only looked whether another node has it.
    pub(super) may_order: bool,
    /// An order to go on with.
    pub(super) pending: Option<Pending>,
    /// What is to be kept, and nothing else done.
    pub(super) unkept: Option<Arc<str>>,
}

/// A certificate that could not be kept.
#[derive(Debug)]
pub(in crate::tls) struct Unkept {
    /// What is to be kept of it.
    pub(super) text: Arc<str>,
    /// Why it could not be.
    pub(super) error: StorageError,
}

/// What came of looking after a certificate.
#[derive(Debug)]
pub(in crate::tls) enum Outcome {
    /// There is nothing new.
    Nothing,
    /// This is the one to show.
    Have(Arc<Certificate>),
    /// The authority has just given us this one, which is kept, if not for this.
    Issued(Arc<Certificate>, Option<Unkept>),
    /// The one that was not kept is now.
    Kept,
    /// It is not, still.
    Unkept(Unkept),
    /// Another node is at it.
    Busy,
    /// It did not work, and counts as this.
    Failed(OrderError, Failure),
}

impl Resolver {
    pub(in crate::tls) fn new(
        config: &ResolverConfig,
        challenges: &Arc<Challenges>,
    ) -> Result<Self, StorageError> {
        let storage = Storage::open(&config.storage)?;
        Ok(Self::at(Desk::new(config.clone(), storage, challenges.clone(), None)))
    }

    pub(super) fn at(desk: Desk) -> Self {
        let (slots, former) = Default::default();
        Self { desk: Arc::new(desk), slots, former, hold: None }
    }

    /// Begins with the certificates of one that it takes the place of, if they are of the same
    /// authority, and with what is being done for them.
    pub(in crate::tls) fn inherit(&mut self, before: &mut Self) {
        if !self.desk.is_of_same_authority(&before.desk) {
            return;
        }
        let same_key = self.desk.config.key_type == before.desk.config.key_type;
        let until = Instant::now() + MEMORY;
        self.hold = before.hold.take();
        for (want, slot) in &mut before.slots {
            self.slots.insert(want.clone(), slot.inherit(same_key));
        }
        for (want, (_, slot)) in &mut before.former {
            self.former.insert(want.clone(), (until, slot.inherit(same_key)));
        }
    }

    /// These certificates are wanted, and no others.
    pub(in crate::tls) fn want(&mut self, wants: impl Iterator<Item = Want>) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.slots);
        for want in wants {
            let former = || self.former.remove(&want).map(|(_, slot)| slot.back());
            let slot = before.remove(&want).or_else(former).unwrap_or_default();
            self.slots.insert(want, slot);
        }
        self.former.extend(before.into_iter().map(|(want, mut slot)| {
            slot.leave();
            (want, (now + MEMORY, slot))
        }));
        self.former.retain(|_, (until, slot)| {
            slot.running.is_some() || *until > now && slot.is_remembered(now)
        });
        let mut excess = self.former.len().saturating_sub(MEMORIES);
        self.former.retain(|_, (_, slot)| {
            let forgotten = excess > 0 && slot.running.is_none();
            excess -= usize::from(forgotten);
            !forgotten
        });
    }

    /// What must be looked after now, as far as there is room; it is being looked after from now
    /// on. All are looked for in the storage before one is ordered: an order may take long, and
    /// what is kept is shown meanwhile.
    pub(in crate::tls) fn due(&mut self) -> Vec<Due> {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let (mut looks, mut orders) = (self.room(Task::Look), self.room(Task::Order));
        let held = self.held(instant).is_some();
        let mut due = Vec::new();
        for (want, slot) in &mut self.slots {
            let (task, when) = slot.next(now, instant);
            let room = match task {
                Task::Look | Task::Keep => &mut looks,
                Task::Order if held => continue,
                Task::Order => &mut orders,
            };
            if slot.running.is_some() || when > instant || *room == 0 {
                continue;
            }
            *room -= 1;
            slot.running = Some(task);
            if task != Task::Keep {
                slot.looked = true;
                slot.doubtful = false;
            }
            let may_order = task == Task::Order;
            let pending = if may_order { slot.pending.take() } else { None };
            let unkept = slot.unkept.as_ref().filter(|_| task == Task::Keep);
            due.push(Due {
                want: want.clone(),
                have: slot.certificate.clone(),
                may_order,
                pending,
                unkept: unkept.map(|unkept| unkept.text.clone()),
            });
        }
        due
    }

    /// When something must be looked after next; `None`: never, or not before something ends.
    pub(in crate::tls) fn next(&self) -> Option<Instant> {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let held = self.held(instant).map(|(until, _)| *until);
        let room = |task| self.room(task) > 0;
        let (looks, orders) = (room(Task::Look), room(Task::Order));
        let idle = self.slots.values().filter(|slot| slot.running.is_none());
        let next = idle.filter_map(|slot| match slot.next(now, instant) {
            (Task::Look | Task::Keep, when) => (looks || when > instant).then_some(when),
            (Task::Order, when) => {
                let when = held.map_or(when, |held| held.max(when));
                (orders || when > instant).then_some(when)
            }
        });
        // That nothing is ordered is told until then.
        next.chain(held).min()
    }

    /// For how many more there is room. Orders of those that nobody wants any more take it, too.
    fn room(&self, task: Task) -> usize {
        let former = self.former.values().map(|(_, slot)| slot);
        let running = self.slots.values().chain(former).filter_map(|slot| slot.running);
        let is_order = |task| task == Task::Order;
        let most = if is_order(task) { ORDERS } else { LOOKS };
        let running = running.filter(|running| is_order(*running) == is_order(task));
        most.saturating_sub(running.count())
    }

    /// Somebody knows that it will work now: no pause is waited for.
    pub(in crate::tls) fn retry(&mut self) {
        self.hold = None;
        let former = self.former.values_mut().map(|(_, slot)| slot);
        self.slots.values_mut().chain(former).for_each(Slot::retry);
    }

    /// Others may have written what is wanted.
    pub(in crate::tls) fn doubt(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.doubtful = true);
    }

    /// What came of looking after a certificate, and an order that is not done yet. `own`: with
    /// the configuration that we have.
    pub(in crate::tls) fn take(
        &mut self,
        want: &Want,
        outcome: Outcome,
        pending: Option<Pending>,
        own: bool,
    ) {
        let former = self.former.get_mut(want).map(|(_, slot)| slot);
        let Some(slot) = self.slots.get_mut(want).or(former) else { return };
        let task = slot.running.take();
        if task == Some(Task::Order) {
            slot.pending = pending;
        }
        let now = SystemTime::now();
        match outcome {
            Outcome::Nothing => {}
            Outcome::Have(certificate) => slot.have(certificate, now),
            Outcome::Issued(certificate, unkept) => {
                slot.issue(want, certificate, now);
                slot.unkept = unkept.map(|unkept| Waiting::new(want, unkept));
            }
            Outcome::Kept => slot.unkept = None,
            Outcome::Unkept(unkept) => slot.unkept = Some(Waiting::new(want, unkept)),
            Outcome::Busy => slot.busy(),
            // What another configuration could not do may work with this one.
            Outcome::Failed(..) if !own => slot.pending = None,
            Outcome::Failed(error, failure) => {
                slot.fail(want, &error, failure);
                if let Some(hold) = error.hold() {
                    self.hold_for(hold, &error);
                }
            }
        }
        if let Some((_, slot)) = self.former.get_mut(want) {
            slot.leave();
        }
    }

    /// Nothing is ordered for so long, nor for what is left of a longer time that was told before.
    fn hold_for(&mut self, hold: Duration, error: &OrderError) {
        let until = Instant::now() + hold;
        if self.hold.as_ref().is_none_or(|(before, _)| *before < until) {
            let name = &self.desk.config.name;
            let message = format!("the authority wants to be left alone: {error}");
            let problem = Problem::warning(SOURCE, format!("resolver `{name}`"), message)
                .hint(format!(
                    "nothing else is ordered of it before {}; what it refused has a time of its own",
                    stamp(SystemTime::now() + hold)
                ));
            self.hold = Some((until, problem));
        }
    }

    fn held(&self, instant: Instant) -> Option<&(Instant, Problem)> {
        self.hold.as_ref().filter(|(until, _)| *until > instant)
    }

    /// Every certificate that there is.
    pub(in crate::tls) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.slots.values().filter_map(|slot| slot.certificate.as_ref())
    }

    /// What is wrong.
    pub(in crate::tls) fn problems(&self) -> impl Iterator<Item = Problem> {
        let held = self.held(Instant::now()).map(|(_, problem)| problem);
        let of_slots = self.slots.values().flat_map(Slot::problems);
        of_slots.chain(held).cloned().chain(self.desk.problem())
    }
}
