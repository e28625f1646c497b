//! Who is connected: the open connections of one entrypoint on one worker, when they were last
//! heard of, and how they learn that it is time to go.
//!
//! Time is counted in ticks of a second by the worker, so a request costs no timer and reads no
//! clock: a sweep once a second finds those who were quiet for too long.
//!
//! **Invariant:** a connection is on the roster exactly as long as its [`Seat`] lives.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use portolan_core::limit::Limit;
use tokio::sync::Notify;

use super::limits::ClientTimeouts;
use crate::h1::Awaits;

/// Seconds since the worker began.
pub(crate) type Tick = u32;

/// A worker's clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Rc<Cell<Tick>>);

impl Clock {
    pub(crate) fn now(&self) -> Tick {
        self.0.get()
    }

    pub(crate) fn advance(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

/// How long connections may be quiet, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Before their first request.
    fresh: Tick,
    /// Between requests.
    idle: Tick,
    /// Within one, for the next byte that is expected of the client.
    request: Tick,
    /// For the next byte that it is to take.
    response: Tick,
    /// Between bytes of a tunnel; `None`: for ever.
    tunnel: Option<Tick>,
}

impl Patience {
    /// Whole seconds.
    pub(crate) fn of(timeouts: &ClientTimeouts) -> Self {
        let ticks = super::edge::ticks;
        Self {
            fresh: ticks(timeouts.header),
            idle: ticks(timeouts.idle),
            request: ticks(timeouts.request_stall),
            response: ticks(timeouts.response_stall),
            tunnel: timeouts.tunnel_idle.map(ticks),
        }
    }
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Notice {
    /// The entrypoint closes: finish what is open.
    Drain,
    /// It was quiet for longer than this allows; `None`: than one waits while draining.
    Expired(Option<Limit>),
    /// Nobody reads what it sends: it is time to look whether it is still there.
    Look,
}

/// The open connections of an entrypoint on this worker.
#[derive(Debug)]
pub(crate) struct Roster {
    clock: Clock,
    patience: Cell<Patience>,
    entries: RefCell<Vec<Option<Rc<Entry>>>>,
    vacant: RefCell<Vec<usize>>,
    draining: Cell<bool>,
    open: Cell<usize>,
    empty: Notify,
}

#[derive(Debug)]
struct Entry {
    waker: RefCell<Option<Waker>>,
    /// Requests under way.
    busy: Cell<u32>,
    /// When the last of them ended, or the connection began.
    quiet_since: Cell<Tick>,
    /// Whether there was a request at all.
    used: Cell<bool>,
    /// What the request under way waits for.
    waits: Cell<Awaits>,
    /// Whether HTTP is over and a tunnel goes on.
    tunnels: Cell<bool>,
    notice: Cell<Option<Notice>>,
}

/// A connection's place on the roster.
#[derive(Debug)]
pub(crate) struct Seat {
    roster: Rc<Roster>,
    place: usize,
    entry: Rc<Entry>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Busy {
    entry: Rc<Entry>,
    clock: Clock,
}

/// How long a quiet connection is waited for while draining: its next request may be on its way,
/// and closing would lose it.
const DRAIN_QUIET: Tick = 1;
/// From when on it is looked whether somebody is there of whom nothing is read.
const LOOK: Tick = 2;

impl Roster {
    pub(crate) fn new(clock: Clock, patience: Patience) -> Rc<Self> {
        Rc::new(Self {
            clock,
            patience: Cell::new(patience),
            entries: RefCell::default(),
            vacant: RefCell::default(),
            draining: Cell::new(false),
            open: Cell::new(0),
            empty: Notify::new(),
        })
    }

    /// A place for a connection.
    pub(crate) fn enter(self: &Rc<Self>) -> Seat {
        let entry = Rc::new(Entry {
            waker: RefCell::default(),
            busy: Cell::new(0),
            quiet_since: Cell::new(self.clock.now()),
            used: Cell::new(false),
            waits: Cell::new(Awaits::Nothing),
            tunnels: Cell::new(false),
            notice: Cell::new(self.draining.get().then_some(Notice::Drain)),
        });
        let mut entries = self.entries.borrow_mut();
        let place = self.vacant.borrow_mut().pop().unwrap_or(entries.len());
        match entries.get_mut(place) {
            Some(vacant) => *vacant = Some(entry.clone()),
            None => entries.push(Some(entry.clone())),
        }
        self.open.set(self.open.get() + 1);
        Seat { roster: self.clone(), place, entry }
    }

    /// Has another patience from now on.
    pub(crate) fn set_patience(&self, patience: Patience) {
        self.patience.set(patience);
    }

    /// Tells everybody, now and later, to finish.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        for entry in self.entries.borrow().iter().flatten() {
            entry.tell(Notice::Drain);
        }
    }

    /// Whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.get() == 0
    }

    /// Waits until nobody is left.
    pub(crate) async fn emptied(&self) {
        while self.open.get() > 0 {
            self.empty.notified().await;
        }
    }

    /// Tells those who were quiet for too long.
    pub(crate) fn sweep(&self) {
        let (now, patience) = (self.clock.now(), self.patience.get());
        for entry in self.entries.borrow().iter().flatten() {
            if entry.tunnels.get() {
                entry.sweep_tunnel(now, patience);
                continue;
            }
            let is_busy = entry.busy.get() > 0;
            let (most, limit) = match (is_busy, self.draining.get(), entry.used.get()) {
                (true, ..) => match entry.waits.get() {
                    Awaits::Nothing => continue,
                    Awaits::Patience => {
                        if now.wrapping_sub(entry.quiet_since.get()) >= LOOK {
                            entry.tell(Notice::Look);
                        }
                        continue;
                    }
                    Awaits::Request => (patience.request, Some(Limit::RequestStall)),
                    Awaits::Room => (patience.response, Some(Limit::ResponseStall)),
                },
                (false, true, _) => (DRAIN_QUIET, None),
                (false, false, true) => (patience.idle, Some(Limit::IdleTimeout)),
                (false, false, false) => (patience.fresh, Some(Limit::HeaderTimeout)),
            };
            if now.wrapping_sub(entry.quiet_since.get()) > most {
                entry.tell(Notice::Expired(limit));
            }
        }
    }
}

impl Entry {
    /// A tunnel has its own time, whether its entrypoint closes or not.
    fn sweep_tunnel(&self, now: Tick, patience: Patience) {
        let quiet = now.wrapping_sub(self.quiet_since.get());
        if patience.tunnel.is_some_and(|most| quiet > most) {
            self.tell(Notice::Expired(Some(Limit::TunnelIdle)));
        }
    }

    fn tell(&self, notice: Notice) {
        self.notice.set(Some(notice));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Seat {
    /// A request begins.
    pub(crate) fn begin(&self) -> Busy {
        let entry = self.entry.clone();
        entry.used.set(true);
        // It came just in time.
        if let Some(Notice::Expired(_)) = entry.notice.get() {
            entry.notice.take();
        }
        entry.busy.set(entry.busy.get() + 1);
        Busy { entry, clock: self.roster.clock.clone() }
    }

    /// Whether requests are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.entry.busy.get() > 0
    }

    /// Part of a request is there: from now on the client has as long for the rest as a fresh one.
    pub(crate) fn note_reading(&self) {
        if self.entry.used.replace(false) {
            self.entry.quiet_since.set(self.roster.clock.now());
        }
    }

    /// What the request under way waits for, and whether the client has done something since this
    /// was last said. Patience begins with the waiting, and anew with every byte: a slow client is
    /// none that is gone.
    pub(crate) fn note_wait(&self, waits: Awaits, has_moved: bool) {
        let before = self.entry.waits.replace(waits);
        if has_moved || before != waits {
            self.entry.quiet_since.set(self.roster.clock.now());
        }
    }

    /// HTTP is over, and a tunnel goes on.
    pub(crate) fn begin_tunnel(&self) {
        self.entry.tunnels.set(true);
        // What was said of HTTP is over, too.
        self.entry.notice.take();
        self.note_tunnel();
    }

    /// Something went through the tunnel.
    pub(crate) fn note_tunnel(&self) {
        self.entry.quiet_since.set(self.roster.clock.now());
    }

    /// Who was told, and only then came to where that matters, is told again.
    pub(crate) fn remind(&self) {
        if self.is_draining() && self.entry.notice.get().is_none() {
            self.entry.notice.set(Some(Notice::Drain));
        }
    }

    /// Whether the entrypoint closes.
    pub(crate) fn is_draining(&self) -> bool {
        self.roster.draining.get()
    }

    /// The next notice; each is given once.
    pub(crate) fn poll_notice(&self, cx: &Context<'_>) -> Poll<Notice> {
        if let Some(notice) = self.entry.notice.take() {
            return Poll::Ready(notice);
        }
        let mut waker = self.entry.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(entry) = self.roster.entries.borrow_mut().get_mut(self.place) {
            *entry = None;
        }
        self.roster.vacant.borrow_mut().push(self.place);
        self.roster.open.set(self.roster.open.get() - 1);
        if self.roster.open.get() == 0 {
            self.roster.empty.notify_waiters();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.entry.busy.set(self.entry.busy.get().saturating_sub(1));
        self.entry.waits.set(Awaits::Nothing);
        self.entry.quiet_since.set(self.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn roster() -> (Clock, Rc<Roster>) {
        let clock = Clock::default();
        let patience = Patience { fresh: 3, idle: 5, request: 7, response: 9, tunnel: Some(20) };
        let roster = Roster::new(clock.clone(), patience);
        (clock, roster)
    }

    fn notice(seat: &Seat) -> Option<Notice> {
        match seat.poll_notice(&Context::from_waker(Waker::noop())) {
            Poll::Ready(notice) => Some(notice),
            Poll::Pending => None,
        }
    }

    fn expired(limit: Limit) -> Option<Notice> {
        Some(Notice::Expired(Some(limit)))
    }

    fn pass(clock: &Clock, roster: &Roster, seconds: u32) {
        for _ in 0..seconds {
            clock.advance();
        }
        roster.sweep();
    }

    #[test]
    fn quiet_connections_expire_and_busy_ones_do_not() {
        let (clock, roster) = roster();
        let (fresh, idle, busy) = (roster.enter(), roster.enter(), roster.enter());
        drop(idle.begin());
        let under_way = busy.begin();
        pass(&clock, &roster, 4);
        assert_eq!(notice(&fresh), expired(Limit::HeaderTimeout));
        assert_eq!(notice(&idle), None);
        pass(&clock, &roster, 2);
        assert_eq!(notice(&idle), expired(Limit::IdleTimeout));
        assert_eq!(notice(&busy), None);
        drop(under_way);
        pass(&clock, &roster, 5);
        assert_eq!(notice(&busy), None, "its patience begins when the request ends");
    }

    #[test]
    fn who_keeps_a_request_waiting_expires_and_who_is_slow_does_not() {
        let (clock, roster) = roster();
        let (gone, slow, patient) = (roster.enter(), roster.enter(), roster.enter());
        let deaf = roster.enter();
        let _busy = [gone.begin(), slow.begin(), patient.begin(), deaf.begin()];
        gone.note_wait(Awaits::Request, true);
        slow.note_wait(Awaits::Request, true);
        deaf.note_wait(Awaits::Room, true);
        pass(&clock, &roster, 6);
        slow.note_wait(Awaits::Request, true);
        pass(&clock, &roster, 2);
        let told = [&gone, &slow, &deaf].map(notice);
        assert_eq!(told, [expired(Limit::RequestStall), None, None]);
        pass(&clock, &roster, 2);
        assert_eq!(notice(&deaf), expired(Limit::ResponseStall));
        pass(&clock, &roster, 60);
        assert_eq!(notice(&patient), None, "it waits for its backend");
    }

    #[test]
    fn who_begins_just_in_time_is_not_told_that_it_is_late() {
        let (clock, roster) = roster();
        let seat = roster.enter();
        pass(&clock, &roster, 4);
        let busy = seat.begin();
        assert_eq!(notice(&seat), None);
        // Nobody reads its body: it is looked whether it is there.
        seat.note_wait(Awaits::Patience, true);
        pass(&clock, &roster, 1);
        assert_eq!(notice(&seat), None);
        pass(&clock, &roster, 60);
        assert_eq!(notice(&seat), Some(Notice::Look));
        drop(busy);
    }

    #[test]
    fn a_tunnel_that_lies_idle_expires_and_one_that_is_used_does_not() {
        let (clock, roster) = roster();
        let (silent, used) = (roster.enter(), roster.enter());
        for seat in [&silent, &used] {
            drop(seat.begin());
            seat.begin_tunnel();
        }
        pass(&clock, &roster, 20);
        assert_eq!([&silent, &used].map(notice), [None, None], "not as an idle connection");
        used.note_tunnel();
        roster.drain();
        pass(&clock, &roster, 1);
        let told = [&silent, &used].map(notice);
        assert_eq!(told, [expired(Limit::TunnelIdle), Some(Notice::Drain)]);
        roster.set_patience(Patience { tunnel: None, ..roster.patience.get() });
        pass(&clock, &roster, 10_000);
        assert_eq!(notice(&used), None);
    }

    #[test]
    fn a_notice_is_given_once_and_to_those_who_come_later_too() {
        let (_clock, roster) = roster();
        let early = roster.enter();
        roster.drain();
        let late = roster.enter();
        assert_eq!([notice(&early), notice(&early)], [Some(Notice::Drain), None]);
        assert_eq!(notice(&late), Some(Notice::Drain));
    }

    #[test]
    fn while_draining_patience_is_short() {
        let (clock, roster) = roster();
        let (fresh, idle, busy) = (roster.enter(), roster.enter(), roster.enter());
        drop(idle.begin());
        let _under_way = busy.begin();
        roster.drain();
        for seat in [&fresh, &idle, &busy] {
            assert_eq!(notice(seat), Some(Notice::Drain));
        }
        pass(&clock, &roster, 2);
        let told = [&fresh, &idle, &busy].map(notice);
        let quiet = Some(Notice::Expired(None));
        assert_eq!(told, [quiet, quiet, None]);
    }

    #[tokio::test]
    async fn emptied_waits_for_the_last() {
        let (_clock, roster) = roster();
        let seats = [roster.enter(), roster.enter()];
        let mut emptied = Box::pin(roster.emptied());
        poll_fn(|cx| {
            assert!(emptied.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(seats);
        emptied.await;
        assert_eq!(roster.enter().place, 1, "places are used again");
    }
}
