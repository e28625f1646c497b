//! An origin: one address that a worker keeps connections to, and how it is reached.
//!
//! **Invariant:** an idle connection is ready for a request when it is put back; whether it still
//! is when it is taken is looked at then.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
};

use http::{HeaderValue, uri::Authority};
use portolan_core::service::Scheme;
use rustls_pki_types::ServerName;

use crate::transport::Way;

use super::{
    pool::Link,
    roster::{Clock, Tick},
    shared::{Lease, SharedLink, SharedLinks},
};

/// One address that a worker keeps connections to.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) target: Target,
    /// How it is trusted.
    pub(crate) way: Way,
    /// As the URI of a request to it has it.
    pub(crate) authority: Authority,
    /// As its own `Host` header has it.
    pub(crate) host: HeaderValue,
    /// The last one back is the first one out: the others may grow old and go.
    idle: RefCell<Vec<Idle>>,
    max_idle: usize,
    /// Nothing is kept any more: the backend is gone.
    retired: Cell<bool>,
    /// The connections that requests share, where HTTP/2 is spoken.
    shared: SharedLinks,
    /// Held while a connection to share is made, so that one is made and not many.
    pub(crate) dialing: tokio::sync::Mutex<()>,
    /// Whether its connections are to be shared, as the last one that was made was; `None`: there was none.
    pub(crate) is_shared: Cell<Option<bool>>,
    clock: Clock,
    used: Cell<Tick>,
}

/// Where connections go.
#[derive(Debug)]
pub(crate) enum Target {
    Address(SocketAddr),
    Name(String, u16),
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Tick,
}

impl Origin {
    /// An origin that nothing is connected to; `None` when the authority is none.
    pub(crate) fn parse(
        scheme: Scheme,
        authority: &str,
        way: &Way,
        max_idle: usize,
        clock: Clock,
    ) -> Option<Self> {
        let told = scheme.host_of(authority);
        let host = HeaderValue::from_str(told).ok()?;
        let parsed: Authority = authority.parse().ok()?;
        let port = parsed.port_u16().unwrap_or(match scheme {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        });
        let name = parsed.host().trim_start_matches('[').trim_end_matches(']');
        let target = match name.parse() {
            Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
            Err(_) => Target::Name(name.to_owned(), port),
        };
        Some(Self {
            scheme,
            target,
            way: way.clone(),
            authority: told.parse().ok()?,
            host,
            idle: RefCell::default(),
            max_idle,
            retired: Cell::new(false),
            shared: SharedLinks::default(),
            dialing: tokio::sync::Mutex::default(),
            is_shared: Cell::new(match scheme {
                Scheme::Http => Some(false),
                Scheme::Https => None,
                Scheme::H2c => Some(true),
            }),
            used: Cell::new(clock.now()),
            clock,
        })
    }

    /// The name that its certificate must be for.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        let own = self.way.as_ref().and_then(|(_, transport)| transport.server_name.as_ref());
        if let Some(name) = own {
            return ServerName::try_from(name.clone()).ok();
        }
        match &self.target {
            Target::Address(address) => Some(address.ip().into()),
            Target::Name(name, _) => ServerName::try_from(name.clone()).ok(),
        }
    }

    /// A connection that is ready for a request.
    pub(crate) fn take(&self) -> Option<Box<Link>> {
        self.used.set(self.clock.now());
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.link.is_ready() {
                return Some(idle.link);
            }
        }
    }

    /// Keeps a connection for later.
    pub(crate) fn put(&self, link: Box<Link>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.max_idle && !self.retired.get() {
            idle.push(Idle { link, since: self.clock.now() });
        } else {
            link.end();
        }
    }

    /// A place on a connection that requests share, if there is one with room.
    pub(crate) fn shared(&self) -> Option<Lease> {
        self.used.set(self.clock.now());
        self.shared.lease()
    }

    /// From now on requests may share this connection.
    pub(crate) fn share(&self, link: SharedLink) -> Lease {
        self.shared.share(link)
    }

    /// Closes connections for one request at a time that have none; answers whether there were any.
    pub(crate) fn close_idle(&self) -> bool {
        let idle = self.idle.take();
        let were_any = !idle.is_empty();
        idle.into_iter().for_each(|idle| idle.link.end());
        were_any
    }

    /// The backend is gone: connections close as they become idle.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.shared.clear();
        self.close_idle();
    }

    /// Closes what was idle for too long, and what the backend has closed: until we do too it costs both
    /// sides a descriptor. Answers whether the origin is still of use.
    pub(crate) fn sweep(self: &Rc<Self>, patience: Tick) -> bool {
        let now = self.clock.now();
        let is_old = |since: Tick| now.wrapping_sub(since) > patience;
        let mut idle = self.idle.borrow_mut();
        // The reactor knows of most that there is nothing to see: that takes no system call.
        let over = idle.extract_if(.., |idle| is_old(idle.since) || !idle.link.is_ready());
        over.for_each(|idle| idle.link.end());
        self.shared.tidy();
        let is_idle = idle.is_empty() && Rc::strong_count(self) == 1;
        if is_idle && is_old(self.used.get()) {
            // A shared connection ends when nobody can send over it any more.
            return false;
        }
        true
    }
}
