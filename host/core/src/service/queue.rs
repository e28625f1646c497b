//! Who waits for a place: first come, first served, over all threads.
//!
//! What becomes free is offered to whoever has waited longest. Who cannot use it keeps its place in
//! the line, and the offer goes on to the next. Whoever comes new looks too, once nobody before it has
//! an offer.
//!
//! **Invariant:** whoever waits without an offer has looked in vain since anything that it could use
//! became free, so a place is never free while somebody waits for it and nobody was called. While
//! nobody waits, giving a place back is a fence and an atomic read; the lock is taken only by those who
//! wait and by those who call them. Looking is done under the lock: nothing is given back meanwhile.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst, fence},
    },
    task::{Context, Poll, Waker},
};

/// Those who wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    /// By ticket.
    places: VecDeque<Place>,
    /// The next one.
    ticket: u64,
}

impl Default for Line {
    fn default() -> Self {
        // There is room before the first.
        Self { places: VecDeque::new(), ticket: u64::MAX / 2 }
    }
}

#[derive(Debug)]
struct Place {
    ticket: u64,
    waker: Waker,
    call: Call,
    /// What it waits for; `None`: anything.
    only: Option<Freed>,
}

/// What may be free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freed(Option<usize>);

/// Why somebody may look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    /// It may not: it has looked in vain.
    None,
    /// It has not looked yet.
    New,
    /// Something is offered to it.
    Offer(Freed),
    /// It is not known what has changed: the next are to look, too, whatever it finds.
    Change,
}

/// Somebody who waits. Who goes without a place hands on what was offered to it.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Freed {
    /// Anything.
    pub const ANY: Self = Self(None);

    /// Room at whatever this belongs to, which is told from others by where it is.
    pub fn at<T>(owner: &T) -> Self {
        Self(Some(std::ptr::from_ref(owner).addr()))
    }

    fn is_for(self, only: Option<Self>) -> bool {
        self == Self::ANY || only.is_none_or(|only| only == self)
    }
}

impl Call {
    /// What is left of it for the next, when something was taken.
    fn after(self, taken: Freed) -> Self {
        match self {
            Self::Offer(freed) if freed == taken || freed == Freed::ANY => Self::None,
            Self::None | Self::New => Self::None,
            Self::Offer(_) | Self::Change => self,
        }
    }
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each who waits does so for one backend only: what else there is, is free to take.
    pub fn leaves_others(&self) -> bool {
        self.line().places.iter().all(|place| place.only.is_some())
    }

    /// Stands in line, to look when it is one's turn; `None`: as many as may wait do.
    pub fn stand(&self, most: usize, only: Option<Freed>, waker: &Waker) -> Option<Waiting<'_>> {
        let line = self.line();
        if line.places.len() >= most {
            return None;
        }
        let ticket = line.ticket;
        Some(self.stand_at(line, ticket, only, waker))
    }

    /// Stands in line once more, where one stood before: what was found was of no use. Who has no
    /// ticket came when nobody waited, and so before all who do. However many wait.
    pub fn stand_again(
        &self,
        ticket: Option<u64>,
        only: Option<Freed>,
        waker: &Waker,
    ) -> Waiting<'_> {
        let line = self.line();
        let first = line.places.front().map(|first| first.ticket - 1);
        let ticket = ticket.or(first).unwrap_or(line.ticket);
        self.stand_at(line, ticket, only, waker)
    }

    fn stand_at(
        &self,
        mut line: MutexGuard<'_, Line>,
        ticket: u64,
        only: Option<Freed>,
        waker: &Waker,
    ) -> Waiting<'_> {
        line.ticket = line.ticket.max(ticket + 1);
        let at = line.places.partition_point(|place| place.ticket < ticket);
        line.places.insert(at, Place { ticket, waker: waker.clone(), call: Call::New, only });
        self.count(&line);
        Waiting { queue: self, ticket }
    }

    /// Something became free. Not to be called by whoever looks.
    pub fn release(&self, freed: Freed) {
        // What was given back before is seen by whoever stands in line after this.
        fence(SeqCst);
        if self.is_empty() {
            return;
        }
        let called = self.line().offer(0, Call::Offer(freed));
        called.into_iter().for_each(Waker::wake);
    }

    fn count(&self, line: &Line) {
        self.waiting.store(line.places.len(), SeqCst);
        // Whoever gives something back from now on sees that somebody waits.
        fence(SeqCst);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn place(&self, ticket: u64) -> Option<usize> {
        self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()
    }

    /// Calls the first from a place on who has no offer and can use it.
    fn offer(&mut self, from: usize, call: Call) -> Option<Waker> {
        let freed = match call {
            Call::Offer(freed) => freed,
            Call::Change => Freed::ANY,
            Call::None | Call::New => return None,
        };
        let mut others = self.places.iter_mut().skip(from);
        let next = others.find(|place| {
            matches!(place.call, Call::None | Call::New) && freed.is_for(place.only)
        })?;
        next.call = call;
        Some(next.waker.clone())
    }

    /// Who came new may look when nobody before it is about to.
    fn newcomer(&self) -> Option<Waker> {
        let first = self.places.iter().find(|place| place.call != Call::None)?;
        (first.call == Call::New).then(|| first.waker.clone())
    }

    fn may_look(&self, at: usize) -> bool {
        match self.places.get(at).map(|place| place.call) {
            None | Some(Call::None) => false,
            Some(Call::Offer(_) | Call::Change) => true,
            Some(Call::New) => self.places.iter().take(at).all(|place| place.call == Call::None),
        }
    }

    /// One leaves the line, or stays in it after a look in vain: what it was called for goes on.
    fn hand_on(&mut self, from: usize, call: Call) -> [Option<Waker>; 2] {
        [self.offer(from, call), self.newcomer()]
    }
}

impl Waiting<'_> {
    /// What tells its place in the line from others.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Looks if it is one's turn. Who finds something, and says what that is, has left the line.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        look: impl FnOnce() -> Option<(T, Freed)>,
    ) -> Poll<T> {
        let mut line = self.queue.line();
        let Some(at) = line.place(self.ticket) else { return Poll::Pending };
        let may_look = line.may_look(at);
        let Some(place) = line.places.get_mut(at) else { return Poll::Pending };
        place.waker.clone_from(cx.waker());
        if !may_look {
            return Poll::Pending;
        }
        let call = std::mem::replace(&mut place.call, Call::None);
        let found = look();
        let others = match &found {
            None => line.hand_on(at + 1, call),
            Some((_, taken)) => {
                line.places.remove(at);
                self.queue.count(&line);
                line.hand_on(at, call.after(*taken))
            }
        };
        drop(line);
        others.into_iter().flatten().for_each(Waker::wake);
        found.map_or(Poll::Pending, |(found, _)| Poll::Ready(found))
    }

    /// Something may have changed that nobody tells of. Who is first in line looks, and has the others
    /// look; who waits for something else than before looks as if it were new.
    pub fn look_again(&self, only: Option<Freed>) {
        let mut line = self.queue.line();
        let Some(at) = line.place(self.ticket) else { return };
        let Some(place) = line.places.get_mut(at) else { return };
        let is_other = std::mem::replace(&mut place.only, only) != only;
        if place.call == Call::None {
            place.call = match (at, is_other) {
                (0, _) => Call::Change,
                (_, true) => Call::New,
                (_, false) => Call::None,
            };
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        let Some(at) = line.place(self.ticket) else { return };
        let call = line.places.remove(at).map_or(Call::None, |place| place.call);
        self.queue.count(&line);
        let others = line.hand_on(at, call);
        drop(line);
        others.into_iter().flatten().for_each(Waker::wake);
    }
}
