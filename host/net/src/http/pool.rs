//! Connections to backends, kept open between requests.
//!
//! An HTTP/1 connection is driven by whoever uses it: there is no task of its own that would have
//! to be woken to write a request and again to read the response. While it is idle nobody drives
//! it; the reactor notes what happens to its socket, and the next user sees it.
//!
//! **Invariant:** at any time at most one request is on an HTTP/1 connection.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hashbrown::{Equivalent, HashMap, HashSet};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use portolan_core::{
    service::{Backend, Scheme},
    snapshot::Snapshot,
};

use crate::transport::Way;

use super::{
    body::RequestBody,
    origin::Origin,
    roster::{Clock, Tick},
    wire::{Stream, Wire},
};

/// A worker's connections to backends.
#[derive(Debug)]
pub(crate) struct Pool {
    origins: RefCell<HashMap<Key, Rc<Origin>>>,
    clock: Clock,
    patience: Tick,
    max_idle: usize,
}

/// Scheme, address, and the number of the transport.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Key(Scheme, Box<str>, u64);

#[derive(Eq, Hash, PartialEq)]
struct Lookup<'a>(Scheme, &'a str, u64);

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.0 && *self.1 == *key.1 && self.2 == key.2
    }
}

/// An HTTP/1 connection to an origin.
#[derive(Debug)]
pub(crate) struct Link {
    sender: http1::SendRequest<RequestBody>,
    /// `None` when it has ended.
    connection: Option<http1::Connection<Wire, RequestBody>>,
    /// Set by the wire when it reads something.
    heard: Rc<Cell<bool>>,
    origin: Rc<Origin>,
}

impl Pool {
    pub(crate) fn new(clock: Clock, patience: Tick, max_idle: usize) -> Self {
        Self { origins: RefCell::default(), clock, patience, max_idle }
    }

    /// The origin of a backend; `None` when its address is none.
    pub(crate) fn origin(&self, backend: &Backend, way: &Way) -> Option<Rc<Origin>> {
        let mut origins = self.origins.borrow_mut();
        let (scheme, authority, id) = (backend.scheme, &*backend.authority, number(way));
        if let Some(origin) = origins.get(&Lookup(scheme, authority, id)) {
            return Some(origin.clone());
        }
        let origin = Origin::parse(scheme, authority, way, self.max_idle, self.clock.clone());
        let origin = Rc::new(origin?);
        origins.insert(Key(scheme, authority.into(), id), origin.clone());
        Some(origin)
    }

    /// Closes connections to what is not in the snapshot any more. What is under way there is
    /// finished first.
    pub(crate) fn retain(&self, snapshot: &Snapshot) {
        let mut origins = self.origins.borrow_mut();
        if origins.is_empty() {
            return;
        }
        let services = snapshot.services.iter().filter_map(|entry| entry.live.as_ref());
        let known: HashSet<Lookup<'_>> = services
            .flat_map(|service| {
                let id = number(&service.transport);
                service.backends.iter().map(move |it| Lookup(it.scheme, &it.authority, id))
            })
            .collect();
        origins.retain(|Key(scheme, authority, id), origin| {
            let stays = known.contains(&Lookup(*scheme, authority, *id));
            if !stays {
                origin.retire();
            }
            stays
        });
    }

    /// Closes what was idle for too long.
    pub(crate) fn sweep(&self) {
        self.origins.borrow_mut().retain(|_, origin| origin.sweep(self.patience));
    }
}

fn number(way: &Way) -> u64 {
    way.as_ref().map_or(0, |(id, _)| *id)
}

impl Link {
    pub(crate) fn new(
        sender: http1::SendRequest<RequestBody>,
        connection: http1::Connection<Wire, RequestBody>,
        heard: Rc<Cell<bool>>,
        origin: Rc<Origin>,
    ) -> Box<Self> {
        Box::new(Self { sender, connection: Some(connection), heard, origin })
    }

    /// Sends a request and waits for the head of its response. The error holds the request if
    /// not a byte of it was written.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.heard.set(false);
        let mut response = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|cx| {
            let ended = match connection {
                Some(open) => open.poll_without_shutdown(cx).is_ready(),
                None => false,
            };
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(response);
            }
            if ended {
                // It closed before it took the request: dropping it gives the request back.
                *connection = None;
                return response.as_mut().poll(cx);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the backend has said anything since the request was sent.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard.get()
    }

    /// Lets the connection read and write.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.poll_without_shutdown(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Whether a request can be sent now. Looks at what the reactor has noted, without a system
    /// call, and leaves no one to be woken.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Gives the connection back to its origin, unless it cannot be used again.
    pub(crate) fn release(mut self: Box<Self>) {
        if self.is_ready() {
            let origin = self.origin.clone();
            origin.put(self);
        }
    }

    /// The stream below, after the backend agreed to speak another protocol on it, and what was
    /// read of that already.
    pub(crate) async fn into_stream(mut self: Box<Self>) -> Option<(Stream, Bytes)> {
        let connection = self.connection.as_mut()?;
        poll_fn(|cx| connection.poll_without_shutdown(cx)).await.ok()?;
        let parts = self.connection.take()?.into_parts();
        Some((parts.io.into_stream(), parts.read_buf))
    }
}
