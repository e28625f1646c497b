//! How an account is closed: its request is counted, its line written, its spans handed over.
//!
//! **Invariant:** what is counted and what is written agree: both are made of one reading of the clock.

use std::{net::IpAddr, time::Instant};

use portolan_core::{
    figure::{Answer, AnswerKey},
    reason::Reason,
};

use super::{Account, CLIENT_CLOSED_REQUEST, between, tally::Tally, trail::key};
use crate::http::{
    access::{Ending, OriginEnding},
    config::Ledger,
    trace::Outcome,
};

impl Account {
    fn client(&self) -> IpAddr {
        self.client.unwrap_or_else(|| self.peer.ip())
    }

    fn key(&self, status: u16) -> AnswerKey {
        key(status, self.grpc, self.method, self.protocol)
    }

    /// Counts the request, and tells of it where that is wanted.
    pub(super) fn close(&mut self) {
        if !self.is_complete {
            // Dropped before its end, and not because the backend broke off.
            self.failed(Reason::ClientGone);
        }
        let now = Instant::now();
        let status = self.head.map_or(CLIENT_CLOSED_REQUEST, |head| head.status.as_u16());
        let is_unseen = self.head.is_some_and(|head| head.is_unseen);
        let answer = Answer {
            key: self.key(status),
            head_nanos: self.head.map(|head| head.nanos),
            nanos: between(self.begin, now),
            request_bytes: self.request_bytes.as_ref().map_or(0, |counter| counter.get()),
            response_bytes: if is_unseen { 0 } else { self.response_bytes },
            is_failure: self.head.is_some_and(|head| head.is_failure),
            encryption: self.encryption,
        };
        // Where no router took it the entrypoint has the word.
        self.leave_out();
        if let [_, true, _] = self.noted.wanted() {
            self.count(&answer, now);
        }
        if self.entry.is_some() || self.recording.is_some() {
            self.tell(status, &answer, now);
        }
    }

    /// Adds it to the figures of its entrypoint, its router and the services that it passed.
    fn count(&self, answer: &Answer, now: Instant) {
        let edge = &*self.door.edge;
        let tally = Tally::of(edge, self.combination);
        tally.count(&self.door.shard, answer);
        if let Some(router) = &self.router {
            tally.count(router, answer);
        }
        if let Some(origin) = &self.origin {
            let status = match self.head {
                Some(_) => origin.status.as_u16(),
                None => CLIENT_CLOSED_REQUEST,
            };
            let answer = Answer { key: self.key(status), ..*answer };
            origin.whole.count(&answer, origin.head_at, now, &tally);
            for part in &origin.parts {
                part.count(&answer, origin.head_at, now, &tally);
            }
        }
        if let Some(reason) = self.reason {
            edge.config.ledger.reasons.count(reason);
        }
    }

    /// Writes the line and hands over the spans.
    fn tell(&mut self, status: u16, answer: &Answer, now: Instant) {
        let edge = &*self.door.edge;
        let Answer { nanos, request_bytes, response_bytes, .. } = *answer;
        let (entrypoint, reason, retries) = (&*self.door.name, self.reason, self.retries);
        let origin = self.origin.as_ref().filter(|origin| origin.attempts > 0);
        let origin = origin.map(|origin| OriginEnding {
            status: origin.answered.map(|status| status.as_u16()),
            nanos: between(origin.whole.begin, now),
        });
        if let (Some(entry), Some(pen)) = (self.entry.take(), &edge.pen) {
            let ending = Ending {
                peer: self.peer,
                client: self.client(),
                subject: self.subject.as_deref(),
                entrypoint,
                encryption: self.encryption.map(|(_, encryption)| encryption),
                status,
                nanos,
                request_bytes,
                response_bytes,
                origin_bytes: self.origin_bytes.unwrap_or(response_bytes),
                retries,
                reason,
                origin,
                trace: self.context.map(|context| context.digits()),
            };
            pen.end(entry, &ending);
        }
        let Ledger { tracing, .. } = &edge.config.ledger;
        if let (Some(recording), Some(context), Some(tracing)) =
            (self.recording.take(), &self.context, tracing)
        {
            let outcome = Outcome {
                client: self.client(),
                entrypoint,
                status,
                reason,
                request_bytes,
                response_bytes,
                nanos,
            };
            recording.finish(context, tracing, &outcome);
        }
    }
}
