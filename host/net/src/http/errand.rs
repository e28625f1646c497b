//! A request on its way to a service, and who asks.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use portolan_core::{
    balance::address_key,
    exchange::RequestHead,
    moment::Moment,
    policy::{Retries, Timeouts},
    service::Service,
};

use super::{
    body::{Progress, RequestBody},
    headers::{self, Hop},
    interim::Interim,
};

/// Who asks, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The client, as trusted proxies have it where clients are told apart.
    pub(crate) ip: IpAddr,
    pub(crate) begin: Instant,
}

/// A request on its way to a service. In a box where it is handed on: each that it passes through
/// would else have a copy in its future.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) head: Cow<'a, RequestHead>,
    pub(crate) body: RequestBody,
    pub(crate) asker: Asker,
    /// The host, where it is not a header of the request.
    pub(crate) host: Option<HeaderValue>,
    /// What is said of our own connection.
    pub(crate) hop: HeaderMap,
    /// Where interim responses go, if the client can have them.
    pub(crate) interim: Option<&'a Interim>,
    /// The client wants to change the protocol.
    pub(crate) upgrade: bool,
    /// How long it may take, where its router says so.
    pub(crate) timeouts: Option<&'a Timeouts>,
    /// How it is tried again, where its router says so.
    pub(crate) retries: Option<&'a Retries>,
    /// How its body gets on, where somebody asks; `None`: there is none.
    pub(crate) progress: Option<Progress>,
}

impl Asker {
    /// The client as a number.
    pub(super) fn key(self) -> u64 {
        address_key(self.ip)
    }

    pub(super) fn now(self) -> Moment {
        Moment::of(self.begin)
    }
}

impl<'a> Errand<'a> {
    /// A request as it leaves the middlewares, and how long its router lets it take and how it has it tried again.
    pub(crate) fn of(
        head: &'a RequestHead,
        asker: Asker,
        hop: Hop,
        body: RequestBody,
        interim: Option<&'a Interim>,
        (timeouts, retries): (Option<&'a Timeouts>, Option<&'a Retries>),
    ) -> Box<Self> {
        let upgrade = hop.upgrade.is_some();
        let mut told = HeaderMap::new();
        headers::connect(&mut told, hop);
        let authority = head.uri().authority().map(|_| head.authority());
        let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
        let (head, hop) = (Cow::Borrowed(head), told);
        let progress = None;
        Box::new(Self {
            head,
            body,
            asker,
            host,
            hop,
            interim,
            upgrade,
            timeouts,
            retries,
            progress,
        })
    }

    /// One of the limits, if there is any.
    pub(crate) fn timeout(
        &self,
        service: &Service,
        of: impl Fn(&Timeouts) -> Option<Duration>,
    ) -> Option<Duration> {
        self.said(service, of).filter(|limit| !limit.is_zero())
    }

    /// What is said of a limit, by the router, else by the service; 0: that there is none.
    pub(crate) fn said(
        &self,
        service: &Service,
        of: impl Fn(&Timeouts) -> Option<Duration>,
    ) -> Option<Duration> {
        let own = self.timeouts.and_then(&of);
        own.or_else(|| of(&service.load_balancer.timeouts))
    }

    /// Records the body on its way, so that it can be copied.
    pub(crate) fn record_body(&mut self, limit: u64) {
        let body = std::mem::replace(&mut self.body, RequestBody::EMPTY);
        self.body = body.recorded(limit);
    }

    /// The same again; `None` where the body can be read only once.
    pub(crate) fn copy(&self) -> Option<Box<Self>> {
        let body = self.body.copy()?;
        let mut copy = self.bodiless();
        copy.body = body;
        Some(copy)
    }

    /// The same again, without its body.
    pub(crate) fn bodiless(&self) -> Box<Self> {
        let (head, host, hop) = (self.head.clone(), self.host.clone(), self.hop.clone());
        Box::new(Self { head, host, hop, body: RequestBody::EMPTY, progress: None, ..*self })
    }

    /// The same, for those who outlive the request. Nobody hears of it before it is over.
    pub(crate) fn into_owned(self) -> Box<Errand<'static>> {
        let Self { head, body, asker, host, hop, upgrade, .. } = self;
        let head = Cow::Owned(head.into_owned());
        let (interim, timeouts, retries, progress) = (None, None, None, None);
        Box::new(Errand {
            head,
            body,
            asker,
            host,
            hop,
            interim,
            upgrade,
            timeouts,
            retries,
            progress,
        })
    }
}
