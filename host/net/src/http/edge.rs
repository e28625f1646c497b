//! What one worker has: the snapshot that it serves, its connections to backends, its clock.
//!
//! **Invariant:** nothing here is shared with another worker, so nothing here locks; a request
//! that reads the snapshot counts a reference that only this worker counts.

use std::{
    cell::{Cell, RefCell},
    fs, io,
    net::SocketAddr,
    ops::Deref,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use crate::random::Random;
use http::{HeaderName, HeaderValue};
use portolan_core::{
    exchange::{Headers, ResponseHead},
    figure::{Combination, Combinations},
    live::{Live, Reader},
    service::{Kind, Service},
    snapshot::Snapshot,
};

use super::{
    access::Pen,
    account::Account,
    aside::Aside,
    body::Body,
    complaint::{About, Complaints},
    config::HttpConfig,
    dial::Dialer,
    page::Taste,
    pool::Pool,
    rescue::HttpError,
    roster::{Clock, Tick},
};
use crate::h1::Buffers;

/// What one worker has.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) config: Arc<HttpConfig>,
    pub(crate) pool: Pool,
    pub(crate) dialer: Dialer,
    pub(crate) clock: Clock,
    /// For hooks that may take long.
    pub(crate) aside: Aside,
    /// The name of this machine.
    pub(crate) server: HeaderValue,
    pub(crate) buffers: Rc<Buffers>,
    /// The time of day as responses have it, and when that was.
    date: RefCell<Option<(Tick, HeaderValue)>>,
    /// Ids of traces and spans.
    pub(crate) random: Random,
    /// The number of this worker.
    pub(crate) worker: usize,
    /// What its lines of the access log are written with; `None`: there is none.
    pub(crate) pen: Option<Pen>,
    /// By what headers of requests these are counted; `None`: by none.
    pub(crate) combinations: RefCell<Option<Arc<Combinations>>>,
    reader: RefCell<Reader>,
    serving: RefCell<Rc<Serving>>,
    /// The snapshot that the pool was last compared with.
    swept: Cell<u64>,
    complaints: Complaints,
}

/// A snapshot behind a count of this worker's own: that of the `Arc` is contended for by all.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Snapshot>);

impl Edge {
    pub(crate) fn new(config: Arc<HttpConfig>, live: &Live, worker: usize) -> Rc<Self> {
        let clock = Clock::default();
        let patience = ticks(config.backend_idle_timeout);
        let buffers = Rc::<Buffers>::default();
        Rc::new(Self {
            pool: Pool::new(clock.clone(), patience, config.max_idle_backends),
            dialer: Dialer::new(
                buffers.clone(),
                config.transport.clone(),
                config.max_response_head,
            ),
            buffers,
            date: RefCell::default(),
            aside: Aside::default(),
            server: host_name(),
            random: Random::seeded(),
            worker,
            pen: config.ledger.access_log.clone().map(Pen::new),
            combinations: RefCell::default(),
            reader: RefCell::new(live.reader()),
            serving: RefCell::new(Rc::new(Serving(live.load()))),
            swept: Cell::default(),
            complaints: Complaints::default(),
            clock,
            config,
        })
    }

    /// What is served now.
    pub(crate) fn serving(&self) -> Rc<Serving> {
        let mut reader = self.reader.borrow_mut();
        let current = reader.load();
        let mut serving = self.serving.borrow_mut();
        if !Arc::ptr_eq(current, &serving.0) {
            *serving = Rc::new(Serving(current.clone()));
        }
        serving.clone()
    }

    /// What became of a service with backends since; `None`: it is as it was, or there is none any more.
    pub(crate) fn newer(&self, service: &Service) -> Option<Arc<Service>> {
        let serving = self.serving();
        let live = serving.services.get(&service.name)?.live.as_ref()?;
        let is_newer = !std::ptr::eq(&**live, service)
            && Arc::ptr_eq(&live.state, &service.state)
            && matches!(live.kind, Kind::Backends);
        is_newer.then(|| live.clone())
    }

    /// What headers say of a request by which it is counted. Nothing new, unless it is `admitted`: what
    /// is refused shall not fill the room that there is.
    pub(crate) fn combination(&self, headers: &Headers, admitted: bool) -> Combination {
        let value = |name: &HeaderName| headers.first(name);
        match &*self.combinations.borrow() {
            None => Combination::default(),
            Some(combinations) if admitted => combinations.find(value),
            Some(combinations) => combinations.known(value),
        }
    }

    /// A second has passed.
    pub(crate) fn tick(&self) {
        self.clock.advance();
        self.pool.sweep();
        // A worker without requests must let go of old snapshots too.
        let serving = self.serving();
        if self.swept.replace(serving.generation) != serving.generation {
            self.pool.retain(&serving);
        }
    }

    /// The time of day, for responses that do not say it (RFC 9110, 6.6.1).
    pub(crate) fn date(&self) -> HeaderValue {
        let now = self.clock.now();
        let mut date = self.date.borrow_mut();
        match &*date {
            Some((then, text)) if *then == now => text.clone(),
            _ => {
                let text = httpdate::fmt_http_date(SystemTime::now());
                // A date is a valid value.
                let text = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
                date.insert((now, text)).1.clone()
            }
        }
    }

    /// The response for an error, which is noted.
    pub(crate) fn rescue(
        &self,
        error: &HttpError,
        taste: &Taste,
        account: &mut Account,
        about: About<'_>,
    ) -> (ResponseHead, Body) {
        account.failed(error.reason());
        if let Some(limit) = error.limit() {
            account.exceeded(limit);
        }
        self.complain(error, about);
        error.rescue(taste.page(), self.config.reason_header.as_ref())
    }

    /// Notes that a proxy before us did not say who its client is.
    pub(crate) fn complain_of_proxy(&self, entrypoint: &str, peer: SocketAddr, error: &io::Error) {
        self.complaints.note_proxy(entrypoint, peer, error, self.clock.now());
    }

    /// Notes an error.
    pub(crate) fn complain(&self, error: &HttpError, about: About<'_>) {
        self.complaints.note(error, about, self.clock.now());
    }
}

impl Deref for Serving {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// In whole seconds.
pub(crate) fn ticks(duration: std::time::Duration) -> Tick {
    Tick::try_from(duration.as_secs()).unwrap_or(Tick::MAX)
}

/// What backends are told that this machine is called.
pub(super) fn host_name() -> HeaderValue {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = Some(name.trim()).filter(|name| !name.is_empty());
    let value = HeaderValue::from_str(name.unwrap_or("portolan"));
    value.unwrap_or(HeaderValue::from_static("portolan"))
}
