//! Connections to one origin over which many requests go at once (HTTP/2).
//!
//! **Invariant:** no connection is given more requests than the other side takes at once: what is
//! beyond would wait, without a word and without end where answers are streams.
//! What it says of that later counts from the next request on.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
};

use hyper::{client::conn::http2::SendRequest, rt::Executor};
use tokio::{sync::Notify, task};

use super::{body::RequestBody, frames::Resets};

/// Stands for how many requests the other side takes at once until it has said so, which it does first
/// of all. Nobody says this.
pub(super) const UNKNOWN: usize = 1_000_003;

/// The connections of one origin.
#[derive(Debug, Default)]
pub(super) struct SharedLinks(RefCell<Vec<SharedLink>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct SharedLink {
    sender: SendRequest<RequestBody>,
    under_way: Rc<Cell<usize>>,
    most: Rc<Most>,
    resets: Resets,
}

/// How many requests the other side takes at once, as whoever drives the connection finds it.
#[derive(Debug)]
pub(super) struct Most {
    now: Cell<usize>,
    is_known: Notify,
    /// Who is to look when something has come: it may be another number, or a goodbye.
    driver: RefCell<Option<Waker>>,
}

/// Runs hyper's task for the frames of a connection, and has its driver look at what they have brought.
#[derive(Clone)]
pub(super) struct Watcher(pub(super) Rc<Most>);

impl<F: Future + 'static> Executor<F> for Watcher {
    fn execute(&self, future: F) {
        let most = self.0.clone();
        task::spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                let polled = future.as_mut().poll(cx);
                if let Some(driver) = &*most.driver.borrow() {
                    driver.wake_by_ref();
                }
                polled.map(drop)
            })
            .await;
        });
    }
}

impl Most {
    /// Not known yet.
    pub(super) fn unknown() -> Rc<Self> {
        let (now, driver) = (Cell::new(UNKNOWN), RefCell::default());
        Rc::new(Self { now, is_known: Notify::new(), driver })
    }

    /// Notes what is found, by one who looks again when more has come.
    pub(super) fn set(&self, most: usize, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        if self.now.replace(most) == UNKNOWN && most != UNKNOWN {
            self.is_known.notify_one();
        }
    }

    /// The connection has ended, and will not say it.
    pub(super) fn end(&self) {
        self.driver.take();
        self.is_known.notify_one();
    }

    /// Whether the other side takes requests at all.
    pub(super) fn is_any(&self) -> bool {
        self.now.get() > 0
    }

    /// Whether the other side has said it.
    pub(super) fn is_known(&self) -> bool {
        self.now.get() != UNKNOWN
    }

    /// Waits until the other side has said it, or is gone: what is sent before may be refused, or wait
    /// for ever.
    pub(super) async fn known(&self) {
        if !self.is_known() {
            self.is_known.notified().await;
        }
    }
}

/// A place for one request on such a connection.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) place: Place,
    /// Whether nobody had one before: what goes wrong may be this request's doing.
    pub(super) is_first: bool,
}

/// Is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(under_way: &Rc<Cell<usize>>) -> Self {
        under_way.set(under_way.get() + 1);
        Self(under_way.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl SharedLink {
    /// A connection, and how many requests the other side takes at once.
    pub(super) fn new(sender: SendRequest<RequestBody>, most: Rc<Most>, resets: Resets) -> Self {
        Self { sender, under_way: Rc::default(), most, resets }
    }

    fn has_room(&self) -> bool {
        !self.is_over() && self.under_way.get() < self.most.now.get()
    }

    /// Whether it takes no more requests. Those that are under way go on.
    fn is_over(&self) -> bool {
        self.sender.is_closed() || self.resets.are_too_many()
    }

    fn lease(&self, is_first: bool) -> Lease {
        Lease { sender: self.sender.clone(), place: Place::take(&self.under_way), is_first }
    }
}

impl SharedLinks {
    /// A place on a connection that is there.
    pub(super) fn lease(&self) -> Option<Lease> {
        let mut links = self.0.borrow_mut();
        // Mostly there is one, and it is open.
        if links.iter().any(SharedLink::is_over) {
            links.retain(|link| !link.is_over());
        }
        links.iter().find(|link| link.has_room()).map(|link| link.lease(false))
    }

    /// A place on a new connection, which others share from now on, unless somebody else made one
    /// meanwhile.
    pub(super) fn share(&self, link: SharedLink) -> Lease {
        let lease = link.lease(true);
        let mut links = self.0.borrow_mut();
        if !links.iter().any(SharedLink::has_room) {
            links.push(link);
        }
        lease
    }

    /// Closes those that are of no use any more.
    pub(super) fn tidy(&self) {
        let mut is_first = true;
        self.0.borrow_mut().retain(|link| {
            let is_spare = !std::mem::replace(&mut is_first, false);
            !(link.is_over() || is_spare && link.under_way.get() == 0)
        });
    }

    /// Closes all of them, when their requests are over.
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
