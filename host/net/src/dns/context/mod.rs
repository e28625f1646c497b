//! One question, start to end, whatever it came by.
//!
//! The usual question is answered by [`DnsContext::handle`] in place: no allocation, no task, no
//! lock. What is not ours is in `foreign`; only what an upstream must be asked goes on to
//! [`DnsContext::forward`].

mod foreign;

use std::{
    cell::{Cell, RefCell, RefMut},
    net::Ipv4Addr,
    rc::Rc,
    sync::Arc,
};

use portolan_core::{
    live::{Live, Reader},
    zone::Zones,
};
use tokio::time::Instant;

use crate::random::Random;

use super::{
    asker::{Asker, Handled, Transport},
    cookie::Baker,
    figures::DnsFigures,
    forward::{Forwarder, Forwardings},
    limiter::{Allowance, Limiter},
    local::{self, Found, Local},
    log,
    message::{Incoming, MAX_TCP, Question, Rcode},
    policy::{Policies, Policy},
    reply::{self, Reply},
    zones::ZoneCounts,
};

/// What one worker needs to answer questions. It stays on its thread.
pub struct DnsContext {
    reader: RefCell<Reader>,
    forwarder: Rc<Forwarder>,
    policies: Arc<Policies>,
    policy: RefCell<Arc<Policy>>,
    limiter: Limiter,
    /// Questions until the next that is logged.
    until_logged: Cell<u32>,
    figures: Arc<DnsFigures>,
    zones: RefCell<ZoneCounts>,
    salt: Cell<u32>,
    /// Room for one reply over a stream. Nobody holds it while waiting.
    scratch: RefCell<Box<[u8]>>,
}

impl DnsContext {
    /// The context of one worker. Whoever holds `forwarding` and `policies` may replace them at
    /// any time.
    pub fn new(
        live: &Live,
        forwarding: Arc<Forwardings>,
        policies: Arc<Policies>,
        figures: Arc<DnsFigures>,
    ) -> Rc<Self> {
        Rc::new(Self {
            reader: RefCell::new(live.reader()),
            forwarder: Rc::new(Forwarder::new(forwarding, figures.clone())),
            policy: RefCell::new(Arc::clone(&policies.load())),
            policies,
            limiter: Limiter::new(),
            until_logged: Cell::new(0),
            figures,
            zones: RefCell::default(),
            salt: Cell::new(Random::seeded().next() | 1),
            scratch: RefCell::new(vec![0; MAX_TCP].into()),
        })
    }

    /// What this worker counts.
    pub(super) fn figures(&self) -> &DnsFigures {
        &self.figures
    }

    /// The longest reply over UDP that anybody gets.
    pub(super) fn longest_over_udp(&self) -> usize {
        self.policy.borrow().udp_size.into()
    }

    /// Room for the longest reply that there can be.
    pub(super) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    /// Answers a series of questions with one look at what is served now.
    pub(super) fn with_zones<T>(&self, work: impl FnOnce(&Zones) -> T) -> T {
        self.forwarder.refresh();
        let policy = self.policies.load();
        if !Arc::ptr_eq(&policy, &self.policy.borrow()) {
            *self.policy.borrow_mut() = Arc::clone(&policy);
        }
        drop(policy);
        let mut reader = self.reader.borrow_mut();
        let zones = &reader.load().zones;
        self.zones.borrow_mut().follow(zones, &self.figures);
        work(zones)
    }

    /// Answers a packet as if it had come over UDP, without any socket, and tells the length of
    /// the reply. `None`: it gets none, or an upstream would have to be asked.
    ///
    /// For benchmarks and fuzzing: it is what [`super::serve_udp`] does between two system calls.
    pub fn answer(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        self.with_zones(|zones| {
            let asker = Asker {
                transport: Transport::Udp,
                client: Ipv4Addr::LOCALHOST.into(),
                local: Ipv4Addr::LOCALHOST.into(),
            };
            match self.handle(packet, asker, zones, Instant::now(), out) {
                Handled::Reply(length) => Some(length),
                Handled::Ignore | Handled::Forward => None,
            }
        })
    }

    /// Answers a packet if no upstream has to be asked.
    pub(super) fn handle(
        &self,
        packet: &[u8],
        asker: Asker,
        zones: &Zones,
        now: Instant,
        out: &mut [u8],
    ) -> Handled {
        let mut question = match Incoming::parse(packet) {
            Incoming::Question(question) => question,
            Incoming::Ignore => {
                self.figures.malformed.increment();
                return Handled::Ignore;
            }
            Incoming::Unreadable(rcode) => {
                self.figures.malformed.increment();
                let policy = &*self.policy.borrow();
                let is_limited = asker.transport == Transport::Udp
                    && !policy.trusts(asker.client)
                    && self.allowance(asker, policy, now) != Allowance::Full;
                return match is_limited {
                    true => Handled::Ignore,
                    false => Handled::Reply(reply::header_only(packet, rcode, out)),
                };
            }
        };
        self.figures.clients.note(asker.client);
        let policy = &*self.policy.borrow();
        prepare(&mut question, asker, policy, &self.policies.baker);
        let limit = asker.transport.limit(&question, policy);
        if !question.may_recurse && asker.transport == Transport::Udp && !question.is_proven {
            match self.allowance(asker, policy, now) {
                Allowance::Full => (),
                Allowance::Nothing => return Handled::Ignore,
                Allowance::Short => {
                    let mut reply = Reply::to(&question, limit, out);
                    reply.truncated();
                    return Handled::Reply(reply.finish(Rcode::NO_ERROR));
                }
            }
        }
        let handled = self.answered(&question, asker, zones, now, limit, out);
        if policy.log > 0
            && let Handled::Reply(length) = handled
        {
            self.log(&question, asker, policy.log, out.get(..length).unwrap_or_default());
        }
        handled
    }

    fn answered(
        &self,
        question: &Question<'_>,
        asker: Asker,
        zones: &Zones,
        now: Instant,
        limit: usize,
        out: &mut [u8],
    ) -> Handled {
        if let Some(rcode) = question.refusal() {
            match rcode {
                Rcode::NO_ERROR => self.figures.local.increment(),
                _ => self.figures.refused.increment(),
            }
            return Handled::Reply(Reply::to(question, limit, out).finish(rcode));
        }
        let policy = self.policy.borrow();
        let mut reply = Reply::to(question, limit, out);
        let Found { local, zone } = local::answer(
            zones,
            &*self.forwarder,
            question,
            &policy.rewrites,
            (self.shuffle(), Some(policy.edges.to(asker.local))),
            &mut reply,
        );
        match local {
            Local::Answered(rcode) => {
                self.count_local(zone, rcode);
                Handled::Reply(reply.finish(rcode))
            }
            Local::NotOurs => self.handle_foreign(question, limit, now, out),
            Local::OnDemand(name) if name.as_bytes() == question.name.as_bytes() => {
                self.count_zone(zone, Rcode::NO_ERROR);
                self.handle_demand(question, limit, now, out)
            }
            Local::OnDemand(_) if question.may_recurse => {
                self.count_zone(zone, Rcode::NO_ERROR);
                Handled::Forward
            }
            Local::Outside(target) if question.may_recurse && self.may_ask(&target, question) => {
                Handled::Forward
            }
            // The alias alone is all that can be said.
            Local::Outside(_) | Local::OnDemand(_) => {
                self.count_local(zone, Rcode::NO_ERROR);
                Handled::Reply(reply.finish(Rcode::NO_ERROR))
            }
        }
    }

    /// How much a stranger gets now.
    fn allowance(&self, asker: Asker, policy: &Policy, now: Instant) -> Allowance {
        let Some(limit) = policy.limit else { return Allowance::Full };
        let allowance = self.limiter.ask(limit, asker.client, now);
        if allowance != Allowance::Full {
            self.figures.limited.increment();
        }
        allowance
    }

    /// Logs one in so many questions.
    fn log(&self, question: &Question<'_>, asker: Asker, sample: u32, reply: &[u8]) {
        let left = self.until_logged.get();
        if left > 0 {
            self.until_logged.set(left - 1);
            return;
        }
        self.until_logged.set(sample.saturating_sub(1));
        log::question(question, asker, reply);
    }

    /// `zone`: the place of ours that had the answer.
    fn count_zone(&self, zone: Option<usize>, rcode: Rcode) {
        if let Some(place) = zone {
            self.zones.borrow().count(place, rcode);
        }
    }

    fn count_local(&self, zone: Option<usize>, rcode: Rcode) {
        self.count_zone(zone, rcode);
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

/// Notes what a question may ask for, and answers its cookie.
fn prepare(question: &mut Question<'_>, asker: Asker, policy: &Policy, baker: &Baker) {
    question.may_recurse = policy.trusts(asker.client);
    if let Some(cookie) = question.edns.and_then(|edns| edns.cookie).filter(|_| policy.cookies) {
        let (answered, is_proven) = baker.answer(&cookie, asker.client);
        (question.cookie, question.is_proven) = (Some(answered), is_proven);
    }
}
