//! Answers of upstreams, as they are kept: the wire form, and where its TTLs stand.
//!
//! **Invariant:** the message of a [`Stored`] has been walked once from end to end, answers the
//! question that it was asked, and has no OPT record: that belongs to each hop (RFC 6891, 6.2.6).

mod censor;
mod order;

use portolan_core::zone::{Name, RecordType, Zones};

use super::{
    cache::Key,
    forward::CacheConfig,
    local,
    message::{
        HEADER, Header, Incoming, MAX_TCP, Question, Rcode, Section, ShortName, Walk, flag, number,
    },
    question::{self, Dress},
    reply::{ExtendedError, MAX_POINTER, Reply},
};

/// The answer of an upstream.
#[derive(Debug)]
pub(super) struct Stored {
    /// The message, without its OPT record and what stands behind that.
    wire: Box<[u8]>,
    records: Box<[Place]>,
    flags: u16,
    /// The type that was asked for.
    rtype: RecordType,
    /// How long it may be remembered, in seconds; 0: not at all.
    pub(super) life: u32,
    /// Whether something was taken out because nobody outside can truly say it.
    is_censored: bool,
    /// Whether it is about a name of ours.
    is_ours: bool,
    /// Whether its answers stand in another order each time.
    is_shuffled: bool,
    /// Whether it is put together of what was said of several names.
    is_joined: bool,
}

/// How old a remembered answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    /// So many seconds.
    Fresh(u32),
    /// Too old, but better than none (RFC 8767).
    Stale,
}

/// The TTL of what is too old, in seconds (RFC 8767, 4).
pub(super) const STALE_TTL: u32 = 30;

/// Where a record stands in the message.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u16,
    ttl_at: u16,
    end: u16,
    section: Section,
}

/// What an upstream may answer that is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unusable {
    /// It is not an answer to the question, or cannot be read.
    #[error("the answer cannot be read")]
    Garbage,
    /// The upstream cannot or will not answer: another one may.
    #[error("the upstream answers with code {0}")]
    Failed(u16),
    /// The answer did not fit into a datagram.
    #[error("the answer is truncated")]
    Truncated,
}

/// Seconds for which it is remembered that there is nothing behind an alias, where nobody says how long.
const MOMENT: u32 = 5;

impl Stored {
    /// Reads the answer to a question, given as name in lower case and type.
    pub(super) fn parse(wire: &[u8], name: &[u8], rtype: RecordType) -> Result<Self, Unusable> {
        let header = Header::parse(wire).ok_or(Unusable::Garbage)?;
        let rcode = Rcode(header.flags & flag::RCODE);
        // Old servers that EDNS is nonsense to send back no more than their header.
        if rcode == Rcode::FORMAT && header.flags & flag::RESPONSE != 0 && header.counts[0] == 0 {
            return Err(Unusable::Failed(rcode.0));
        }
        if !is_answer_to(wire, &header, name, rtype) {
            return Err(Unusable::Garbage);
        }
        if !matches!(rcode, Rcode::NO_ERROR | Rcode::NO_SUCH_NAME) {
            return Err(Unusable::Failed(rcode.0));
        }
        if header.flags & flag::TRUNCATED != 0 {
            return Err(Unusable::Truncated);
        }
        let end = HEADER + name.len();
        let walked = Self::walk(wire, &header, end + 4, rtype).ok_or(Unusable::Garbage)?;
        let (mut stored, extended) = walked;
        // The rest of the code stands in the OPT record (RFC 6891, 6.1.3): BADVERS is no answer.
        if extended != 0 {
            return Err(Unusable::Failed(extended << 4 | rcode.0));
        }
        // Its letters may have been mixed on the way to the upstream: names that point here would
        // have them too.
        if let Some(asked) = stored.wire.get_mut(HEADER..end) {
            asked.copy_from_slice(name);
        }
        Ok(stored)
    }

    /// Answers also what an OPT record says of the code.
    fn walk(
        wire: &[u8],
        header: &Header,
        question_end: usize,
        rtype: RecordType,
    ) -> Option<(Self, u16)> {
        let mut walk = Walk::behind_question(wire, question_end, header);
        let mut records = Vec::new();
        let mut end = question_end;
        let (mut positive, mut negative, mut extended) = (None, None, 0);
        while let Some(record) = walk.next_record()? {
            if record.rtype == RecordType::OPT {
                // What stands behind it could only be a signature of this hop.
                extended = (record.ttl >> 24) as u16;
                break;
            }
            // RFC 8767, 4: one with its top bit set is merely large.
            let ttl = record.ttl.min(i32::MAX as u32);
            match record.section {
                Section::Answer => positive = Some(positive.map_or(ttl, |life: u32| life.min(ttl))),
                Section::Authority if record.rtype == RecordType::SOA => {
                    let minimum = record.data.last_chunk().copied().map(u32::from_be_bytes)?;
                    negative = Some(ttl.min(minimum));
                }
                Section::Authority | Section::Additional => (),
            }
            records.push(Place {
                start: record.start as u16,
                ttl_at: record.ttl_at as u16,
                end: u16::try_from(record.end).ok()?,
                section: record.section,
            });
            end = record.end;
        }
        let mut wire: Box<[u8]> = wire.get(..end)?.into();
        let kept = records.iter().filter(|place: &&Place| place.section == Section::Additional);
        let kept = u16::try_from(kept.count()).ok()?.to_be_bytes();
        wire.get_mut(HEADER - 2..HEADER)?.copy_from_slice(&kept);
        let (records, flags): (Box<[_]>, _) = (records.into(), header.flags);
        let mut stored = Self {
            wire,
            records,
            flags,
            rtype,
            life: 0,
            is_censored: false,
            is_ours: false,
            is_shuffled: false,
            is_joined: false,
        };
        stored.life = match (stored.says_no(), positive) {
            // Behind aliases that there is nothing counts no longer than those. Without a SOA it should
            // not be remembered (RFC 2308, 5), but many resolvers leave it out, and are asked for
            // addresses of IPv6 again and again: a moment, as in Unbound.
            (true, Some(positive)) => negative.unwrap_or(MOMENT).min(positive),
            (true, None) => negative.unwrap_or(0),
            (false, positive) => positive.unwrap_or(0),
        };
        Some((stored, extended))
    }

    /// What zones have to say to a question, by the name that they answer it under, and the name outside
    /// of them that this leads to; `is_whole`: see [`local::answer_as`]. `None`: it is no question.
    pub(super) fn of_zones(
        key: &Key,
        zones: &Zones,
        name: &Name,
        (random, is_whole): (u32, bool),
    ) -> Option<(Self, Option<ShortName>)> {
        let asked = question::write(key, 0, Dress::default());
        let Incoming::Question(question) = Incoming::parse(&asked) else { return None };
        let mut out = vec![0; MAX_TCP];
        let mut reply = Reply::to(&question, MAX_TCP, &mut out);
        let name = ShortName::lower(name.as_bytes())?;
        let (rcode, target) =
            local::answer_as(zones, &question, name, (random, is_whole), &mut reply);
        let length = reply.finish(rcode);
        Some((Self::ours(key, out.get(..length)?)?, target))
    }

    /// A message of our own about a name of ours.
    pub(super) fn ours(key: &Key, wire: &[u8]) -> Option<Self> {
        let stored = Self::parse(wire, key.name(), key.rtype()).ok()?;
        Some(Self { is_ours: true, ..stored })
    }

    /// An alias, as it is together with what was said of its target.
    pub(super) fn longer(&self, key: &Key, target: &Self, wire: &[u8]) -> Option<Self> {
        let stored = Self::parse(wire, key.name(), key.rtype()).ok()?;
        let is_censored = self.is_censored || target.is_censored;
        Some(Self { is_ours: self.is_ours, is_censored, is_joined: true, ..stored })
    }

    /// Whether another block list may make another answer of it: an alias was followed, or was not.
    pub(super) fn depends_on_lists(&self) -> bool {
        self.is_joined || self.is_half_way()
    }

    /// Whether it is an alias, and says nothing of the name that it leads to: not even that there is
    /// nothing (RFC 2308, 2.2).
    pub(super) fn is_half_way(&self) -> bool {
        let is_soa = |place: &Place| {
            place.section == Section::Authority
                && rtype_of(&self.wire, place) == Some(RecordType::SOA)
        };
        self.rcode() == Rcode::NO_ERROR
            && !self.is_censored
            && self.says_no()
            && self.records.first().is_some_and(|first| first.section == Section::Answer)
            && !self.records.iter().any(is_soa)
    }

    /// Keeps lives within what is configured. TTLs that are raised are so in the answer too: others
    /// may remember it as long as we do.
    pub(super) fn clamp(&mut self, config: &CacheConfig) {
        let says_no = self.says_no();
        let most = if says_no { config.negative_ttl.min(config.max_ttl) } else { config.max_ttl };
        // What must not be remembered at all stays so.
        let least = if self.life > 0 || !says_no { config.min_ttl.min(most) } else { 0 };
        self.life = self.life.clamp(least, most);
        for place in &self.records {
            let is_soa = place.section == Section::Authority
                && rtype_of(&self.wire, place) == Some(RecordType::SOA);
            let at = usize::from(place.ttl_at);
            let Some(ttl) = self.wire.get_mut(at..at + 4) else { continue };
            let Ok(bytes) = <[u8; 4]>::try_from(&*ttl) else { continue };
            let kept = match says_no && is_soa {
                // Who asks us remembers the no for as long as its SOA lives (RFC 2308, 5).
                true => self.life,
                false => u32::from_be_bytes(bytes).clamp(least, most.max(least)),
            };
            ttl.copy_from_slice(&kept.to_be_bytes());
        }
    }

    /// Whether it says that there is no such name, or nothing of that type: an alias alone, whose
    /// target has nothing of it, says so too (RFC 2308, 2.2).
    fn says_no(&self) -> bool {
        let is_answer = |place: &Place| {
            place.section == Section::Answer
                && (self.rtype == RecordType::ANY
                    || rtype_of(&self.wire, place) == Some(self.rtype))
        };
        self.rcode() == Rcode::NO_SUCH_NAME || !self.records.iter().any(is_answer)
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.wire.len() + self.records.len() * size_of::<Place>()
    }

    /// How it ended.
    pub(super) fn rcode(&self) -> Rcode {
        Rcode(self.flags & flag::RCODE)
    }

    /// The message as it came, without OPT.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Why it is not what an upstream would say now, if that is so.
    pub(super) fn reason(&self, age: Age) -> Option<ExtendedError> {
        match age {
            _ if self.is_censored => Some(ExtendedError::Blocked),
            Age::Stale => Some(ExtendedError::StaleAnswer),
            Age::Fresh(_) => None,
        }
    }

    /// Writes it as the reply to a question for the same name, `age` seconds after it came. Where the
    /// order of answers says nothing, `random` chooses one.
    pub(super) fn write(
        &self,
        question: &Question<'_>,
        age: Age,
        (limit, random): (usize, u32),
        out: &mut [u8],
    ) -> usize {
        let mut reply = Reply::to(question, limit, out);
        if self.is_ours {
            reply.authoritative();
        }
        if let Some(error) = self.reason(age) {
            reply.because(error);
        }
        // Only to those who know what the bit means (RFC 6840, 5.7), and while it holds: a signature may
        // be over when the TTL is.
        let knows = question.wants_dnssec() || question.flags & flag::AUTHENTIC != 0;
        if knows && age != Age::Stale && self.flags & flag::AUTHENTIC != 0 {
            reply.authentic();
        }
        let random = if self.is_shuffled { random } else { 0 };
        for place in self.in_order(random) {
            let Some(record) = self.wire.get(usize::from(place.start)..usize::from(place.end))
            else {
                break;
            };
            let start = reply.position();
            let is_behind = self.is_shuffled && place.section != Section::Answer;
            let owner = if is_behind { self.owner_in(random, record) } else { None };
            // What cannot be pointed at is left out.
            let fits = owner.is_none_or(|owner| owner <= MAX_POINTER);
            if !fits || !reply.raw(place.section, record) {
                // Authorities may be missing, unless they are all there is.
                if place.section == Section::Answer || reply.has_no_answers() {
                    reply.truncated();
                }
                break;
            }
            let ttl_at = start + usize::from(place.ttl_at - place.start);
            match age {
                Age::Fresh(age) => reply.older(ttl_at, age),
                Age::Stale => reply.live(ttl_at, STALE_TTL),
            }
            if let Some(owner) = owner {
                reply.owned(start, owner);
            }
        }
        reply.finish(self.rcode())
    }
}

/// The type of a record: it stands before its class and its TTL.
fn rtype_of(wire: &[u8], place: &Place) -> Option<RecordType> {
    number(wire, usize::from(place.ttl_at).saturating_sub(4)).map(RecordType)
}

/// Whether it is a response to exactly this question.
fn is_answer_to(wire: &[u8], header: &Header, name: &[u8], rtype: RecordType) -> bool {
    let expected = [rtype.0.to_be_bytes(), [0, 1]];
    let end = HEADER + name.len();
    header.flags & flag::RESPONSE != 0
        && header.flags & flag::OPCODE == 0
        && header.counts[0] == 1
        && wire.get(HEADER..end).is_some_and(|asked| asked.eq_ignore_ascii_case(name))
        && wire.get(end..end + 4) == Some(expected.as_flattened())
}
