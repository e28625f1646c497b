//! One question, start to end, whatever it came by.
//!
//! The usual question is answered by [`DnsContext::handle`] in place: no allocation, no task, no
//! lock. Only one that an upstream must be asked goes on to [`DnsContext::forward`].

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use arc_swap::ArcSwap;
use portolan_core::{
    live::{Live, Reader},
    zone::Zones,
};
use tokio::time::Instant;

use crate::random::Random;

use super::{
    cache::Key,
    chase,
    figures::DnsFigures,
    forward::{ForwardError, Forwarder, Forwarding},
    local::{self, Local},
    message::{Incoming, MAX_TCP, Question, Rcode},
    reply::{self, Reply},
};

/// What a question came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    fn limit(self, question: &Question<'_>) -> usize {
        match self {
            Self::Udp => question.udp_limit(),
            Self::Tcp => MAX_TCP,
        }
    }
}

/// What is to be done after a question was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    /// Send so many bytes.
    Reply(usize),
    /// Send nothing.
    Ignore,
    /// Ask [`DnsContext::forward`].
    Forward,
}

/// What one worker needs to answer questions. It stays on its thread.
pub struct DnsContext {
    reader: RefCell<Reader>,
    forwarder: Rc<Forwarder>,
    figures: Arc<DnsFigures>,
    salt: Cell<u32>,
}

impl DnsContext {
    /// The context of one worker. Whoever holds `forwarding` may replace it at any time.
    pub fn new(
        live: &Live,
        forwarding: Arc<ArcSwap<Forwarding>>,
        figures: Arc<DnsFigures>,
    ) -> Rc<Self> {
        Rc::new(Self {
            reader: RefCell::new(live.reader()),
            forwarder: Rc::new(Forwarder::new(forwarding, figures.clone())),
            figures,
            salt: Cell::new(Random::seeded().next() | 1),
        })
    }

    /// What this worker counts.
    pub(super) fn figures(&self) -> &DnsFigures {
        &self.figures
    }

    /// Answers a series of questions with one look at what is served now.
    pub(super) fn with_zones<T>(&self, work: impl FnOnce(&Zones) -> T) -> T {
        self.forwarder.refresh();
        work(&self.reader.borrow_mut().load().zones)
    }

    /// Answers a packet as if it had come over UDP, without any socket, and tells the length of
    /// the reply. `None`: it gets none, or an upstream would have to be asked.
    ///
    /// For benchmarks and fuzzing: it is what [`super::serve_udp`] does between two system calls.
    pub fn answer(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        self.with_zones(|zones| {
            match self.handle(packet, Transport::Udp, zones, Instant::now(), out) {
                Handled::Reply(length) => Some(length),
                Handled::Ignore | Handled::Forward => None,
            }
        })
    }

    /// Answers a packet if no upstream has to be asked.
    pub(super) fn handle(
        &self,
        packet: &[u8],
        transport: Transport,
        zones: &Zones,
        now: Instant,
        out: &mut [u8],
    ) -> Handled {
        let question = match Incoming::parse(packet) {
            Incoming::Question(question) => question,
            Incoming::Ignore => {
                self.figures.malformed.increment();
                return Handled::Ignore;
            }
            Incoming::Unreadable(rcode) => {
                self.figures.malformed.increment();
                return Handled::Reply(reply::header_only(packet, rcode, out));
            }
        };
        let limit = transport.limit(&question);
        if let Some(rcode) = question.refusal() {
            self.figures.refused.increment();
            return Handled::Reply(Reply::to(&question, limit, out).finish(rcode));
        }
        let mut reply = Reply::to(&question, limit, out);
        match local::answer(zones, &question, self.shuffle(), &mut reply) {
            Local::Answered(rcode) => {
                self.count_local(rcode);
                Handled::Reply(reply.finish(rcode))
            }
            Local::NotOurs => self.handle_foreign(&question, limit, now, out),
            Local::Outside(_) if self.forwarder.has_upstreams() => Handled::Forward,
            // The alias alone is all that can be said.
            Local::Outside(_) => {
                self.figures.local.increment();
                Handled::Reply(reply.finish(Rcode::NO_ERROR))
            }
        }
    }

    fn handle_foreign(
        &self,
        question: &Question<'_>,
        limit: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Handled {
        if let Some(length) = self.forwarder.cache.borrow().answer(question, now, limit, out) {
            self.figures.cached.increment();
            return Handled::Reply(length);
        }
        if self.forwarder.has_upstreams() {
            return Handled::Forward;
        }
        self.figures.refused.increment();
        Handled::Reply(Reply::to(question, limit, out).finish(Rcode::REFUSED))
    }

    /// Answers a packet that [`DnsContext::handle`] could not, and tells the length of the reply;
    /// 0: none.
    pub(super) async fn forward(
        &self,
        packet: &[u8],
        transport: Transport,
        out: &mut [u8],
    ) -> usize {
        let Incoming::Question(question) = Incoming::parse(packet) else { return 0 };
        let limit = transport.limit(&question);
        let target = self.with_zones(|zones| {
            let mut scratch = [0; super::message::MAX_UDP];
            let mut reply = Reply::to(&question, scratch.len(), &mut scratch);
            match local::answer(zones, &question, 0, &mut reply) {
                Local::Outside(target) => Some((target, reply.finish(Rcode::NO_ERROR), scratch)),
                // Ours since a moment ago, or not ours: an upstream is asked all the same.
                Local::Answered(_) | Local::NotOurs => None,
            }
        });
        let name = target.as_ref().map_or(&question.name, |(target, ..)| target);
        let key = Key::new(name.as_bytes(), &question);
        match (self.forwarder.resolve(&key).await, target) {
            (Ok((stored, age)), None) => {
                self.figures.forwarded.increment();
                stored.write(&question, age, limit, out)
            }
            (Ok((stored, age)), Some((_, length, scratch))) => {
                self.figures.forwarded.increment();
                let chain = scratch.get(..length).unwrap_or_default();
                chase::join(chain, &stored, age, limit, out)
            }
            (Err(error), _) => {
                let rcode = match error {
                    ForwardError::NoUpstreams => Rcode::REFUSED,
                    ForwardError::Full | ForwardError::NoAnswer => Rcode::FAILURE,
                };
                match rcode {
                    Rcode::REFUSED => self.figures.refused.increment(),
                    _ => self.figures.failed.increment(),
                }
                Reply::to(&question, limit, out).finish(rcode)
            }
        }
    }

    fn count_local(&self, rcode: Rcode) {
        match rcode {
            Rcode::FAILURE => self.figures.failed.increment(),
            Rcode::NO_SUCH_NAME => self.figures.no_such_name.increment(),
            _ => self.figures.local.increment(),
        }
    }

    /// A number that nobody has to be unable to guess: Marsaglia's xorshift.
    fn shuffle(&self) -> u32 {
        let mut salt = self.salt.get();
        salt ^= salt << 13;
        salt ^= salt >> 17;
        salt ^= salt << 5;
        self.salt.set(salt);
        salt
    }
}
