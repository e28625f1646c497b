//! Names that are not ours: what is said at once, and what is said after an upstream was asked.

use portolan_core::zone::Zones;
use tokio::time::Instant;

use super::{
    super::{
        asker::{Asker, Handled},
        cache::Key,
        chase,
        forward::{ForwardError, Via, Way},
        local::{self, Local},
        message::{Incoming, Question, Rcode, ShortName},
        nowhere,
        policy::Policy,
        reply::{ExtendedError, Reply},
        stored::Age,
    },
    DnsContext, prepare,
};

/// How an answer begins that needs somebody else.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one question")]
enum Beginning {
    /// With all there is to say: it does not any more.
    Whole(usize),
    /// With aliases, perhaps.
    Open {
        /// What has to be asked for.
        target: ShortName,
        /// The length of a whole reply with the aliases that lead to the target; 0: it is the name itself.
        aliases: usize,
        via: Via,
    },
}

impl DnsContext {
    pub(super) fn handle_foreign(
        &self,
        question: &Question<'_>,
        limit: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Handled {
        if !question.may_recurse {
            return self.prohibited(question, limit, out);
        }
        let name = question.name.as_bytes();
        let blocked =
            self.forwarder.with_filter(|filter| filter.blocks(name).then_some(filter.block_answer));
        if let Some(answer) = blocked {
            self.figures.blocked.increment();
            return Handled::Reply(nowhere::blocked(question, answer, limit, out));
        }
        let written =
            self.forwarder.cache.borrow().answer(question, now, (limit, self.shuffle()), out);
        if let Some(written) = written {
            self.figures.cached.increment();
            if written.is_hot {
                self.forwarder.prefetch(&Key::new(name, question));
            }
            return Handled::Reply(written.length);
        }
        match self.forwarder.way(name, question.rtype) {
            Way::Ask => Handled::Forward,
            // Below it are names of ours, perhaps: hosts files and routers have them one by one.
            Way::Nowhere(Some(suffix)) if suffix.as_bytes() == name => {
                self.figures.local.increment();
                Handled::Reply(nowhere::no_data(question, limit, out))
            }
            Way::Nowhere(suffix) => {
                self.figures.no_such_name.increment();
                Handled::Reply(nowhere::no_such_name(question, suffix.as_ref(), limit, out))
            }
            Way::Nobody => {
                self.figures.refused.increment();
                let mut reply = Reply::to(question, limit, out);
                reply.because(ExtendedError::NotSupported);
                Handled::Reply(reply.finish(Rcode::REFUSED))
            }
        }
    }

    /// A name that a source is asked for. What was found serves everybody; but a stranger is not one
    /// for whom we ask others, and it could be something else each time.
    pub(super) fn handle_demand(
        &self,
        question: &Question<'_>,
        limit: usize,
        now: Instant,
        out: &mut [u8],
    ) -> Handled {
        let written =
            self.forwarder.cache.borrow().answer(question, now, (limit, self.shuffle()), out);
        if let Some(written) = written {
            self.figures.cached.increment();
            return Handled::Reply(written.length);
        }
        match question.may_recurse {
            true => Handled::Forward,
            false => self.prohibited(question, limit, out),
        }
    }

    /// Nobody else is asked for strangers.
    fn prohibited(&self, question: &Question<'_>, limit: usize, out: &mut [u8]) -> Handled {
        self.figures.refused.increment();
        let mut reply = Reply::to(question, limit, out);
        reply.because(ExtendedError::Prohibited);
        Handled::Reply(reply.finish(Rcode::REFUSED))
    }

    /// Whether somebody can be asked for what a name of ours leads to.
    pub(super) fn may_ask(&self, target: &ShortName, question: &Question<'_>) -> bool {
        let name = target.as_bytes();
        matches!(self.forwarder.way(name, question.rtype), Way::Ask)
            && !self.forwarder.with_filter(|filter| filter.blocks(name))
    }

    /// Answers a packet that [`DnsContext::handle`] could not, and tells the length of the reply;
    /// 0: none.
    pub(in crate::dns) async fn forward(
        &self,
        packet: &[u8],
        asker: Asker,
        out: &mut [u8],
    ) -> usize {
        let Incoming::Question(mut question) = Incoming::parse(packet) else { return 0 };
        let policy = self.policy.borrow().clone();
        prepare(&mut question, asker, &policy, &self.policies.baker);
        let limit = asker.transport.limit(&question, &policy);
        let length = self.forward_to(&question, asker, &policy, limit, out).await;
        if policy.log > 0 {
            self.log(&question, asker, policy.log, out.get(..length).unwrap_or_default());
        }
        length
    }

    async fn forward_to(
        &self,
        question: &Question<'_>,
        asker: Asker,
        policy: &Policy,
        limit: usize,
        out: &mut [u8],
    ) -> usize {
        let beginning = self.with_zones(|zones| {
            let reply = Reply::to(question, limit, out);
            self.beginning(zones, question, asker, policy, reply)
        });
        let (target, chain, via) = match beginning {
            Beginning::Whole(length) => return length,
            Beginning::Open { target, aliases, via } => {
                let chain = (aliases > 0).then(|| out.get(..aliases).unwrap_or_default().to_vec());
                (target, chain, via)
            }
        };
        let key = Key::new(target.as_bytes(), question);
        match (self.forwarder.resolve(&key, via).await, chain) {
            (Ok((stored, age)), None) => {
                self.count_forwarded(age);
                stored.write(question, age, (limit, self.shuffle()), out)
            }
            (Ok((stored, age)), Some(chain)) => {
                self.count_forwarded(age);
                chase::join(&chain, &stored, age, limit, out)
            }
            (Err(error), _) => self.failed(error, question, limit, out),
        }
    }

    fn failed(
        &self,
        error: ForwardError,
        question: &Question<'_>,
        limit: usize,
        out: &mut [u8],
    ) -> usize {
        let reply = Reply::to(question, limit, out);
        match error {
            ForwardError::NoUpstreams => {
                self.figures.refused.increment();
                reply.finish(Rcode::REFUSED)
            }
            ForwardError::Full | ForwardError::NoAnswer => {
                self.figures.failed.increment();
                // A reason would keep some from asking the next server, as in `local`.
                reply.finish(Rcode::FAILURE)
            }
        }
    }

    fn beginning(
        &self,
        zones: &Zones,
        question: &Question<'_>,
        asker: Asker,
        policy: &Policy,
        mut reply: Reply<'_>,
    ) -> Beginning {
        let (others, rewrites) = (&*self.forwarder, &policy.rewrites);
        let chosen = (self.shuffle(), Some(policy.edges.to(asker.local)));
        let found = local::answer(zones, others, question, rewrites, chosen, &mut reply);
        let (target, via) = match found.local {
            // Of several aliases it is another one this time, or the catalog has changed.
            Local::Answered(rcode) => {
                self.count_local(found.zone, rcode);
                return Beginning::Whole(reply.finish(rcode));
            }
            Local::Outside(target) => (target, Via::Upstreams),
            Local::OnDemand(target) => (target, Via::Catalog),
            Local::NotOurs => (question.name, Via::Upstreams),
        };
        let is_alias = target.as_bytes() != question.name.as_bytes();
        let length = reply.finish(Rcode::NO_ERROR);
        Beginning::Open { target, aliases: if is_alias { length } else { 0 }, via }
    }

    fn count_forwarded(&self, age: Age) {
        self.figures.forwarded.increment();
        if age == Age::Stale {
            self.figures.stale.increment();
        }
    }
}
