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
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use hashbrown::{Equivalent, HashMap, HashSet};
use http::StatusCode;
use portolan_core::{
    service::{Backend, Scheme, Service},
    snapshot::{Entries, MiddlewareEntry, ServiceEntry, Snapshot},
};

use super::{
    body::{Progress, RequestBody, RestLimits, StreamError},
    interim::Interim,
    origin::Origin,
    roster::{Clock, Tick},
};
use crate::{
    h1::{
        self, Buffers, Framing, Line, Outgoing, PourError, Poured, ResponseHead, Stream, WireError,
    },
    transport::Way,
};

/// A worker's connections to backends.
#[derive(Debug)]
pub(crate) struct Pool {
    origins: RefCell<HashMap<Key, Rc<Origin>>>,
    /// As they were when it was last looked which origins are theirs.
    services: RefCell<Entries<ServiceEntry>>,
    /// The same of middlewares that ask others.
    middlewares: RefCell<Entries<MiddlewareEntry>>,
    /// Whether an origin came since: it may have gone again between two looks.
    has_new: Cell<bool>,
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

/// An HTTP/1 connection to an origin, and the exchange that is on it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) line: Line,
    /// The request body, until it is sent.
    upload: Option<RequestBody>,
    upload_framing: Framing,
    /// How much of it was sent.
    uploaded: u64,
    /// Why the request body ended early, if the client is to blame.
    client_error: Option<StreamError>,
    /// How the request under way gets on, where somebody wants to know.
    progress: Option<Progress>,
    /// Whether the connection can be used again when this exchange is over.
    keep_alive: bool,
    /// Whether the backend takes no more, since it has closed.
    is_broken: bool,
    /// How long the rest of the request may take when the response is complete.
    pub(crate) limits: RestLimits,
    origin: Rc<Origin>,
}

/// A request that was sent in vain.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) source: SendErrorKind,
    /// Whether the backend has said anything: then it has acted.
    pub(crate) has_heard: bool,
    /// What is left of the body.
    pub(crate) body: RequestBody,
}

/// Whose fault it is.
#[derive(Debug)]
pub(crate) enum SendErrorKind {
    /// The client's: its body broke off.
    Client(StreamError),
    /// The backend's, or the connection's.
    Backend(WireError),
}

impl Pool {
    pub(crate) fn new(clock: Clock, patience: Tick, max_idle: usize) -> Self {
        let (origins, services, middlewares, has_new) = Default::default();
        Self { origins, services, middlewares, has_new, clock, patience, max_idle }
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
        self.has_new.set(true);
        Some(origin)
    }

    /// Closes connections to what is not in the snapshot any more. What is under way there is
    /// finished first. All services are looked at only when one has lost a backend to which there
    /// are connections, since another may have it too, or when there is a new one.
    pub(crate) fn retain(&self, snapshot: &Snapshot) {
        let mut origins = self.origins.borrow_mut();
        let before = self.services.replace(snapshot.services.clone());
        let has_lost = self.has_new.take()
            || before.differences(&snapshot.services).any(|(before, after)| {
                let [before, after] =
                    [before, after].map(|it| it.and_then(|it| it.live.as_deref()));
                before.is_some_and(|before| {
                    backends(before).any(|it| {
                        origins.contains_key(&it)
                            && !after.is_some_and(|after| backends(after).any(|other| other == it))
                    })
                })
            });
        let before = self.middlewares.replace(snapshot.middlewares.clone());
        let has_lost = has_lost
            || before.differences(&snapshot.middlewares).any(|(before, _)| {
                let mut asked = before.into_iter().flat_map(authorities);
                asked.any(|service| backends(service).any(|it| origins.contains_key(&it)))
            });
        if !has_lost {
            return;
        }
        let services = snapshot.services.iter().filter_map(|entry| entry.live.as_deref());
        let asked = snapshot.middlewares.iter().flat_map(authorities);
        let known: HashSet<Lookup<'_>> = services.chain(asked).flat_map(backends).collect();
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

    /// Closes connections that nobody uses; answers whether there were any.
    pub(crate) fn close_idle(&self) -> bool {
        let origins = self.origins.borrow();
        origins.values().filter(|origin| origin.close_idle()).count() > 0
    }
}

fn backends(service: &Service) -> impl Iterator<Item = Lookup<'_>> {
    let id = number(&service.transport);
    service.backends.iter().map(move |it| Lookup(it.scheme, &it.authority, id))
}

/// Those whom a middleware asks.
fn authorities(entry: &MiddlewareEntry) -> impl Iterator<Item = &Service> {
    let live = entry.live.iter();
    live.flat_map(|middleware| middleware.interest.authorities()).map(|it| it.service())
}

fn number(way: &Way) -> u64 {
    way.as_ref().map_or(0, |(id, _)| *id)
}

impl Link {
    pub(crate) fn new(stream: Stream, origin: Rc<Origin>, buffers: Rc<Buffers>) -> Box<Self> {
        Box::new(Self {
            line: Line::new(stream, Bytes::new(), buffers),
            upload: None,
            upload_framing: Framing::Empty,
            uploaded: 0,
            client_error: None,
            progress: None,
            keep_alive: true,
            is_broken: false,
            limits: RestLimits::default(),
            origin,
        })
    }

    /// Nothing is sent over it after the next request.
    pub(crate) fn use_once(&mut self) {
        self.keep_alive = false;
    }

    /// Sends a request and waits for the head of its response. Interim responses (1xx) go to the
    /// client at once, if it can have them; `100 Continue` was for us.
    pub(crate) async fn send(
        &mut self,
        head: Outgoing<'_>,
        body: RequestBody,
        interim: Option<&Interim>,
        limit: usize,
    ) -> Result<ResponseHead, SendError> {
        self.line.has_heard = false;
        self.client_error = None;
        self.upload_framing = body.framing();
        self.progress = body.progress();
        self.upload = Some(body);
        self.uploaded = 0;
        let mut is_begun = false;
        let received = poll_fn(|cx| {
            if !std::mem::replace(&mut is_begun, true) {
                self.begin(cx, head);
            }
            self.poll_upload(cx);
            if let Some(error) = self.client_error.take() {
                return Poll::Ready(Err(SendErrorKind::Client(error)));
            }
            loop {
                let polled = self.line.poll_response(cx, head.method, limit);
                let response = ready!(polled).map_err(SendErrorKind::Backend)?;
                let status = response.status;
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(response));
                }
                if let Some(client) = interim.filter(|_| status != StatusCode::CONTINUE) {
                    client.tell(cx, response);
                }
            }
        });
        let received = received.await;
        self.progress = None;
        match received {
            Ok(response) => {
                self.keep_alive &= response.keep_alive;
                Ok(response)
            }
            Err(source) => Err(SendError {
                source,
                has_heard: self.line.has_heard,
                body: self.upload.take().unwrap_or(RequestBody::EMPTY),
            }),
        }
    }

    /// Whether the request was sent to its end.
    pub(crate) fn is_sent(&self) -> bool {
        self.upload.is_none() && self.line.is_flushed()
    }

    /// Whether there is more of the request to be sent, and it may come and be taken.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_sent() && !self.is_broken && self.client_error.is_none()
    }

    /// Sends on what has arrived of the request body.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if self.upload.is_none() {
            return self.flush(cx);
        }
        let buffers = self.line.buffers();
        buffers.with_output(|output| self.pump(cx, output));
    }

    /// Whether a request can be sent now. Looks at what the reactor has noted, mostly without a
    /// system call, and leaves no one to be woken.
    pub(crate) fn is_ready(&mut self) -> bool {
        // Nothing is expected, so whatever has come is the end, or nonsense.
        let mut cx = Context::from_waker(Waker::noop());
        self.keep_alive && self.line.is_read() && !self.line.has_begun() && {
            self.line.poll_gone(&mut cx).is_pending() && !self.line.has_begun()
        }
    }

    /// Gives the connection back to its origin, unless it cannot be used again.
    pub(crate) fn release(self: Box<Self>) {
        if self.keep_alive && self.is_sent() && self.line.is_read() && !self.line.has_begun() {
            let origin = self.origin.clone();
            origin.put(self);
        } else if self.is_sent() {
            self.end();
        }
    }

    /// Closes a connection that nothing is on. An encrypted one says so (RFC 8446, 6.1), if the system
    /// takes that at once: backends log an end without a word as an error.
    pub(crate) fn end(mut self: Box<Self>) {
        if self.line.is_encrypted() {
            let mut cx = Context::from_waker(Waker::noop());
            _ = self.line.poll_shutdown(&mut cx);
        }
    }

    /// The stream below, after the backend agreed to speak another protocol on it, and what was
    /// read of that already.
    pub(crate) fn into_stream(self: Box<Self>) -> (Stream, Bytes) {
        self.line.into_parts()
    }

    /// Writes the head, and what has arrived of the body.
    fn begin(&mut self, cx: &mut Context<'_>, head: Outgoing<'_>) {
        let buffers = self.line.buffers();
        buffers.with_output(|output| {
            h1::encode_request(output, head, self.upload_framing);
            self.pump(cx, output);
        });
    }

    /// Hands on what is still to be taken by the system, the last of a body perhaps.
    fn flush(&mut self, cx: &mut Context<'_>) {
        match self.line.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => self.broken(),
            Poll::Pending => self.blocked(),
        }
    }

    fn broken(&mut self) {
        (self.keep_alive, self.is_broken) = (false, true);
    }

    /// The backend does not take what there is for it.
    fn blocked(&mut self) {
        if let Some(progress) = &self.progress {
            progress.blocked(self.line.has_moved());
        }
    }

    /// Pours the request body into the connection, for as long as both sides are willing.
    fn pump(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        loop {
            // What the backend does not take is not made more of.
            if !self.line.is_flushed() {
                let written = match output.is_empty() {
                    true => Ok(()),
                    false => self.line.write(cx, output),
                };
                output.clear();
                match written.map(|()| self.line.poll_flush(cx)) {
                    Ok(Poll::Ready(Ok(()))) => {}
                    Ok(Poll::Pending) => return self.blocked(),
                    Ok(Poll::Ready(Err(_))) | Err(_) => return self.broken(),
                }
            }
            let mut outlet = self.line.outlet(output, self.upload_framing);
            let Some(upload) = &mut self.upload else { return };
            let poured = upload.poll_pour(cx, &mut outlet);
            self.uploaded += outlet.content;
            if let Poll::Ready(Ok(Poured::End(trailers))) = &poured {
                outlet.end(trailers.as_ref());
            }
            let written = match &poured {
                Poll::Ready(Ok(Poured::More)) if outlet.may_wait() => Ok(()),
                _ => outlet.flush(cx),
            };
            match (poured, written) {
                (Poll::Ready(Ok(Poured::More)), Ok(())) => {}
                (Poll::Pending, Ok(())) => return self.flush(cx),
                (Poll::Ready(Ok(Poured::End(_))), Ok(())) => {
                    self.upload = None;
                    // The backend waits for the rest of what was announced.
                    let is_cut =
                        matches!(self.upload_framing, Framing::Length(all) if all != self.uploaded);
                    self.keep_alive &= !is_cut;
                    return self.flush(cx);
                }
                (Poll::Ready(Err(PourError::Source(error))), _) => {
                    self.client_error = Some(error);
                    self.keep_alive = false;
                    return;
                }
                // It does not read any more; perhaps it has said why.
                (Poll::Ready(Err(PourError::Sink(_))), _) | (_, Err(_)) => return self.broken(),
            }
        }
    }
}
