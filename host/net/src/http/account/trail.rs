//! The services that a request passes: one that is made of others goes on to one of those, and each
//! is counted.
//!
//! **Invariant:** a service that was passed is counted exactly once, with the answer that it gave: by
//! the account of its request, or by a [`Stray`] where the client's answer is another one.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{StatusCode, Version};
use hyper::body::Frame;
use portolan_core::{
    exchange::ResponseHead,
    figure::{
        Answer, AnswerKey, Combination, Encryption, MethodLabel, ProtocolLabel, TrafficFigures,
        TrafficShard,
    },
    reason::Reason,
    service::{Backend, Service},
};

use super::{Account, between, grpc_status, tally::Tally};
use crate::http::{edge::Edge, rescue::ForwardError, trace::TraceContext};

/// A service that a request passed.
#[derive(Debug)]
pub(super) struct Stop {
    figures: Arc<TrafficShard>,
    pub(super) begin: Instant,
}

/// By whom it is noted what becomes of a request on its way to a backend.
#[derive(Debug)]
pub(crate) enum Notes<'a> {
    /// The account of the client's request.
    Account(&'a mut Account),
    /// Of a copy.
    Stray(&'a mut Stray),
}

/// What services are counted with whose answer is not the client's: mirrors, and those that failed
/// where another took over. Counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Stray {
    edge: Rc<Edge>,
    stops: Vec<Stop>,
    is_counted: bool,
    method: MethodLabel,
    protocol: ProtocolLabel,
    /// What the headers of the client's request say by which it is counted.
    combination: Combination,
    encryption: Option<(u32, Encryption)>,
    head: Option<StrayHead>,
    /// The code of gRPC, where that is spoken.
    grpc: Option<u16>,
    request_bytes: Rc<Cell<u64>>,
    response_bytes: u64,
}

/// What came of a stray, or is noted in its stead.
#[derive(Clone, Copy, Debug)]
struct StrayHead {
    status: StatusCode,
    at: Instant,
    is_local: bool,
}

impl Stop {
    pub(super) fn new(figures: &TrafficFigures, worker: usize, begin: Instant) -> Self {
        Self { figures: figures.shard(worker).clone(), begin }
    }

    /// Counts an answer, whose head was there at `head`, by the time that it took from here.
    pub(super) fn count(
        &self,
        answer: &Answer,
        head: Option<Instant>,
        now: Instant,
        tally: &Tally<'_>,
    ) {
        let head_nanos = head.map(|head| between(self.begin, head));
        let answer = Answer { head_nanos, nanos: between(self.begin, now), ..*answer };
        tally.count(&self.figures, &answer);
    }
}

impl Notes<'_> {
    /// The same for a while.
    pub(crate) fn again(&mut self) -> Notes<'_> {
        match self {
            Self::Account(account) => Notes::Account(account),
            Self::Stray(stray) => Notes::Stray(stray),
        }
    }

    /// Notes that it goes on to a service that another is made of.
    pub(crate) fn pass(&mut self, service: &Service) {
        match self {
            Self::Account(account) => account.pass(service),
            Self::Stray(stray) => stray.pass(service),
        }
    }

    /// How many such services it passed.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Account(account) => account.parts().len(),
            Self::Stray(stray) => stray.stops.len(),
        }
    }

    /// Notes that a backend of a service is asked; answers the span that it is to be told of, if that is
    /// another than the request names.
    pub(crate) fn attempt(
        &mut self,
        service: &Service,
        backend: &Backend,
    ) -> Option<(TraceContext, u64)> {
        match self {
            Self::Account(account) => account.attempt(service, backend),
            Self::Stray(_) => None,
        }
    }

    /// Notes whether it answered, and what was spoken.
    pub(crate) fn attempted(
        &mut self,
        version: Option<Version>,
        result: Result<&ResponseHead, Reason>,
    ) {
        if let Self::Account(account) = self {
            account.attempted(version, result);
        }
    }

    /// Parts with the services that were passed beyond this depth: another one takes over.
    pub(crate) fn part_with(&mut self, depth: usize) -> Box<Stray> {
        let mut stray = self.copy();
        match self {
            Self::Account(account) => {
                if let Some(origin) = &mut account.origin {
                    stray.stops = origin.parts.split_off(depth.min(origin.parts.len()));
                }
                let came = account.request_bytes.as_ref().map_or(0, |counter| counter.get());
                stray.request_bytes.set(came);
            }
            Self::Stray(all) => {
                stray.stops = all.stops.split_off(depth.min(all.stops.len()));
                stray.request_bytes.set(all.request_bytes.get());
            }
        }
        stray
    }

    /// What is noted of a copy of the same request.
    pub(crate) fn copy(&self) -> Box<Stray> {
        let (edge, kind, encryption, is_counted) = match self {
            Self::Account(it) => {
                let [_, metrics, _] = it.noted.wanted();
                let kind = (it.method, it.protocol, it.combination);
                (&it.door.edge, kind, it.encryption, metrics)
            }
            Self::Stray(it) => {
                let kind = (it.method, it.protocol, it.combination);
                (&it.edge, kind, it.encryption, it.is_counted)
            }
        };
        let (method, protocol, combination) = kind;
        Box::new(Stray {
            edge: edge.clone(),
            stops: Vec::new(),
            is_counted,
            method,
            protocol,
            combination,
            encryption,
            head: None,
            grpc: None,
            request_bytes: Rc::default(),
            response_bytes: 0,
        })
    }
}

impl Stray {
    /// Notes that it goes on to a service.
    pub(crate) fn pass(&mut self, service: &Service) {
        let worker = self.edge.worker;
        self.stops.push(Stop::new(&service.figures, worker, Instant::now()));
    }

    /// A counter of the bytes that are sent.
    pub(crate) fn request_bytes(&self) -> Rc<Cell<u64>> {
        self.request_bytes.clone()
    }

    /// Notes what a backend answered.
    pub(crate) fn answered(&mut self, head: &ResponseHead) {
        let at = Instant::now();
        self.head = Some(StrayHead { status: head.status, at, is_local: head.local });
        if self.protocol.is_grpc() {
            self.grpc = grpc_status(&head.headers);
        }
    }

    /// Notes that there was no answer.
    pub(crate) fn failed(&mut self, error: &ForwardError) {
        let (status, at) = (error.status(), Instant::now());
        self.head = Some(StrayHead { status, at, is_local: true });
    }

    /// Notes what came of the content of an answer.
    pub(crate) fn came(&mut self, frame: &Frame<Bytes>) {
        self.response_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        self.grpc = frame.trailers_ref().and_then(grpc_status).or(self.grpc);
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        let now = Instant::now();
        // Without a head it was given up.
        let status = self.head.map_or(StatusCode::GATEWAY_TIMEOUT, |head| head.status);
        let is_local = self.head.is_none_or(|head| head.is_local);
        let answer = Answer {
            key: key(status.as_u16(), self.grpc, self.method, self.protocol),
            head_nanos: None,
            nanos: 0,
            request_bytes: self.request_bytes.get(),
            response_bytes: self.response_bytes,
            is_failure: is_local && matches!(status.as_u16(), 502..=504),
            encryption: self.encryption,
        };
        let head = self.head.map(|head| head.at);
        let tally = Tally::of(&self.edge, self.combination);
        for stop in &self.stops {
            stop.count(&answer, head, now, &tally);
        }
    }
}

/// By what an answer is counted.
pub(super) fn key(
    status: u16,
    grpc: Option<u16>,
    method: MethodLabel,
    protocol: ProtocolLabel,
) -> AnswerKey {
    let code = match grpc {
        Some(code) => code,
        // Without a word from the backend nobody knows (gRPC calls that 2).
        None if protocol.is_grpc() => 2,
        None => status,
    };
    AnswerKey { code, method, protocol }
}
