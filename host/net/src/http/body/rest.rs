//! What is left of a request when its response is complete: a backend may answer before it has read all, and
//! read on.
//!
//! **Invariant:** nobody waits for it without bound: neither a backend that takes no more, nor a client that
//! sends no more.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task,
    time::{Instant, Sleep, sleep_until},
};

use crate::http::{claim::InFlight, pool::Link};

/// How long a backend that has answered may take no more of the request, where nothing else is said of that.
const ROOM: Duration = Duration::from_secs(10);
/// How long the next piece may be in coming. Clients have limits of their own; this is for bodies that nobody
/// gives any more.
const PIECE: Duration = Duration::from_secs(60);

/// The rest of a request.
#[derive(Debug)]
pub(crate) struct Rest {
    link: Option<Box<Link>>,
    /// The backend still works on it.
    _in_flight: Option<InFlight>,
    /// Whether it is the backend that is waited for.
    is_blocked: bool,
    timer: Pin<Box<Sleep>>,
}

/// How long the rest of a request may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RestLimits {
    /// How long the backend may take no more of it.
    pub(crate) room: Option<Duration>,
    /// When all of it must be over.
    pub(crate) deadline: Option<Instant>,
}

impl Rest {
    /// Of the request that is on this connection.
    pub(super) fn new(link: Box<Link>, in_flight: Option<InFlight>) -> Self {
        let timer = Box::pin(sleep_until(link.limits.next(false)));
        Self { link: Some(link), _in_flight: in_flight, is_blocked: false, timer }
    }

    /// Sends on what has arrived. Ready: it is over, and the connection is given back if it can be used again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(link) = &mut self.link else { return Poll::Ready(()) };
        link.poll_upload(cx);
        if !link.goes_on() {
            self.link.take().into_iter().for_each(Link::release);
            return Poll::Ready(());
        }
        let is_blocked = !link.line.is_flushed();
        if link.line.has_moved() || is_blocked != self.is_blocked {
            self.is_blocked = is_blocked;
            self.timer.as_mut().reset(link.limits.next(is_blocked));
        }
        self.timer.as_mut().poll(cx).map(|()| self.link = None)
    }

    /// Sees to it that it comes to its end, when nobody else does.
    pub(super) fn go_on(mut self) {
        task::spawn_local(async move { poll_fn(|cx| self.poll(cx)).await });
    }
}

impl RestLimits {
    fn next(&self, is_blocked: bool) -> Instant {
        let most = if is_blocked { self.room.unwrap_or(ROOM) } else { PIECE };
        let next = Instant::now() + most;
        self.deadline.map_or(next, |deadline| deadline.min(next))
    }
}
