//! One question, start to end, whatever it came by.
//!
//! The usual question is answered by [`DnsContext::handle`] in place: no allocation, no task, no
//! lock. Only one that an upstream must be asked goes on to [`DnsContext::forward`].

use std::{
    cell::{Cell, RefCell, RefMut},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};

use portolan_core::{
    live::{Live, Reader},
    zone::{Name, Zones},
};
use tokio::time::Instant;

use crate::random::Random;

use super::{
    cache::Key,
    chase,
    cookie::Baker,
    figures::DnsFigures,
    forward::{ForwardError, Forwarder, Forwardings, Way},
    limiter::{Allowance, Limiter},
    local::{self, Local},
    log,
    message::{Incoming, MAX_TCP, Question, Rcode, Section, ShortName},
    policy::{Policies, Policy},
    reply::{self, ExtendedError, Reply},
    stored::Age,
};

/// What a question came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
}

impl Transport {
    /// The word for it in the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }

    fn limit(self, question: &Question<'_>, policy: &Policy) -> usize {
        match self {
            Self::Udp => question.udp_limit(policy.udp_size),
            Self::Tcp | Self::Tls | Self::Https => MAX_TCP,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) transport: Transport,
    pub(super) client: IpAddr,
    /// The address of ours that was asked.
    pub(super) local: IpAddr,
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
    policies: Arc<Policies>,
    policy: RefCell<Arc<Policy>>,
    limiter: Limiter,
    /// Questions until the next that is logged.
    until_logged: Cell<u32>,
    figures: Arc<DnsFigures>,
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
            salt: Cell::new(Random::seeded().next() | 1),
            scratch: RefCell::new(vec![0; MAX_TCP].into()),
        })
    }

    /// What this worker counts.
    pub(super) fn figures(&self) -> &DnsFigures {
        &self.figures
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
        work(&self.reader.borrow_mut().load().zones)
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
                return Handled::Reply(reply::header_only(packet, rcode, out));
            }
        };
        self.figures.clients.note(asker.client);
        let policy = &*self.policy.borrow();
        let is_proven = prepare(&mut question, asker, policy, &self.policies.baker);
        let limit = asker.transport.limit(&question, policy);
        if !question.may_recurse && asker.transport == Transport::Udp && !is_proven {
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
            self.figures.refused.increment();
            return Handled::Reply(Reply::to(question, limit, out).finish(rcode));
        }
        let policy = self.policy.borrow();
        let near = policy.edges.to(asker.local);
        let mut reply = Reply::to(question, limit, out);
        match local::answer(zones, question, self.shuffle(), near, &mut reply) {
            Local::Answered(rcode) => {
                self.count_local(rcode);
                Handled::Reply(reply.finish(rcode))
            }
            Local::NotOurs => self.handle_foreign(question, limit, now, out),
            Local::Outside(target) if question.may_recurse && self.may_ask(&target, question) => {
                Handled::Forward
            }
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
        if !question.may_recurse {
            self.figures.refused.increment();
            let mut reply = Reply::to(question, limit, out);
            reply.because(ExtendedError::Prohibited);
            return Handled::Reply(reply.finish(Rcode::REFUSED));
        }
        let name = question.name.as_bytes();
        if self.forwarder.with_filter(|filter| filter.blocks(name)) {
            self.figures.blocked.increment();
            return Handled::Reply(nowhere(
                question,
                None,
                Some(ExtendedError::Blocked),
                limit,
                out,
            ));
        }
        let written = self.forwarder.cache.borrow().answer(question, now, limit, out);
        if let Some(written) = written {
            self.figures.cached.increment();
            if written.is_hot {
                self.forwarder.prefetch(&Key::new(name, question));
            }
            return Handled::Reply(written.length);
        }
        match self.forwarder.way(name, question.rtype) {
            Way::Ask => Handled::Forward,
            Way::Nowhere(suffix) => {
                self.figures.no_such_name.increment();
                Handled::Reply(nowhere(question, suffix.as_ref(), None, limit, out))
            }
            Way::Nobody => {
                self.figures.refused.increment();
                let mut reply = Reply::to(question, limit, out);
                reply.because(ExtendedError::NotSupported);
                Handled::Reply(reply.finish(Rcode::REFUSED))
            }
        }
    }

    /// Whether somebody can be asked for what a name of ours leads to.
    fn may_ask(&self, target: &ShortName, question: &Question<'_>) -> bool {
        let name = target.as_bytes();
        matches!(self.forwarder.way(name, question.rtype), Way::Ask)
            && !self.forwarder.with_filter(|filter| filter.blocks(name))
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

    /// Answers a packet that [`DnsContext::handle`] could not, and tells the length of the reply;
    /// 0: none.
    pub(super) async fn forward(&self, packet: &[u8], asker: Asker, out: &mut [u8]) -> usize {
        let Incoming::Question(mut question) = Incoming::parse(packet) else { return 0 };
        let policy = self.policy.borrow().clone();
        prepare(&mut question, asker, &policy, &self.policies.baker);
        let limit = asker.transport.limit(&question, &policy);
        let length = self.forward_to(&question, limit, out).await;
        if policy.log > 0 {
            self.log(&question, asker, policy.log, out.get(..length).unwrap_or_default());
        }
        length
    }

    async fn forward_to(&self, question: &Question<'_>, limit: usize, out: &mut [u8]) -> usize {
        let target = self.with_zones(|zones| {
            let mut scratch = [0; super::message::MAX_UDP];
            let mut reply = Reply::to(question, scratch.len(), &mut scratch);
            match local::answer(zones, question, 0, None, &mut reply) {
                Local::Outside(target) => Some((target, reply.finish(Rcode::NO_ERROR), scratch)),
                // Ours since a moment ago, or not ours: an upstream is asked all the same.
                Local::Answered(_) | Local::NotOurs => None,
            }
        });
        let name = target.as_ref().map_or(&question.name, |(target, ..)| target);
        let key = Key::new(name.as_bytes(), question);
        match (self.forwarder.resolve(&key).await, target) {
            (Ok((stored, age)), None) => {
                self.count_forwarded(age);
                stored.write(question, age, limit, out)
            }
            (Ok((stored, age)), Some((_, length, scratch))) => {
                self.count_forwarded(age);
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
                let mut reply = Reply::to(question, limit, out);
                if rcode == Rcode::FAILURE {
                    reply.because(ExtendedError::NoReachableAuthority);
                }
                reply.finish(rcode)
            }
        }
    }

    fn count_forwarded(&self, age: Age) {
        self.figures.forwarded.increment();
        if age == Age::Stale {
            self.figures.stale.increment();
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

/// Notes what a question may ask for, and answers its cookie. True: the asker has shown that it has
/// the address that it speaks from.
fn prepare(question: &mut Question<'_>, asker: Asker, policy: &Policy, baker: &Baker) -> bool {
    question.may_recurse = policy.trusts(asker.client);
    let Some(cookie) = question.edns.and_then(|edns| edns.cookie) else { return false };
    if !policy.cookies {
        return false;
    }
    let (answered, is_proven) = baker.answer(&cookie, asker.client);
    question.cookie = Some(answered);
    is_proven
}

/// There is no such name, and nobody is asked for it. `suffix` is what says so; `None`: the name
/// itself.
fn nowhere(
    question: &Question<'_>,
    suffix: Option<&Name>,
    why: Option<ExtendedError>,
    limit: usize,
    out: &mut [u8],
) -> usize {
    let mut reply = Reply::to(question, limit, out);
    if let Some(why) = why {
        reply.because(why);
    }
    let origin = suffix.map_or(question.name.as_bytes(), Name::as_bytes);
    reply.spelled(Section::Authority, origin, &SOA_NOWHERE);
    reply.finish(Rcode::NO_SUCH_NAME)
}

/// The SOA of what nobody is asked for: it says how long that may be remembered, in seconds, and
/// nothing else (RFC 2308, 3).
const SOA_NOWHERE: [u8; 34] = {
    const SOON: u8 = 60;
    let mut body = [0; 34];
    // A pointer to the question in place of the owner; type, class, TTL, length; two root names.
    (body[0], body[1], body[3], body[5], body[9], body[11]) = (0xc0, 12, 6, 1, SOON, 22);
    (body[17], body[33]) = (1, SOON);
    body
};
