//! Answers of upstreams, as they are kept: the wire form, and where its TTLs stand.
//!
//! **Invariant:** the message of a [`Stored`] has been walked once from end to end, answers the
//! question that it was asked, and has no OPT record: that belongs to each hop (RFC 6891, 6.2.6).

use portolan_core::zone::RecordType;

use super::{
    message::{HEADER, Header, Question, Rcode, Section, Walk, flag},
    reply::Reply,
};

/// No answer is remembered for longer, in seconds.
const MAX_LIFE: u32 = 86_400;
/// No negative answer is remembered for longer, in seconds (RFC 2308, 5).
const MAX_NEGATIVE_LIFE: u32 = 10_800;

/// The answer of an upstream.
#[derive(Debug)]
pub(super) struct Stored {
    /// The message, without its OPT record and what stands behind that.
    wire: Box<[u8]>,
    records: Box<[Place]>,
    flags: u16,
    /// How long it may be remembered, in seconds; 0: not at all.
    pub(super) life: u32,
}

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

impl Stored {
    /// Reads the answer to a question, given as name in lower case and type.
    pub(super) fn parse(wire: &[u8], name: &[u8], rtype: RecordType) -> Result<Self, Unusable> {
        let header = Header::parse(wire).ok_or(Unusable::Garbage)?;
        if !is_answer_to(wire, &header, name, rtype) {
            return Err(Unusable::Garbage);
        }
        let rcode = Rcode(header.flags & flag::RCODE);
        if !matches!(rcode, Rcode::NO_ERROR | Rcode::NO_SUCH_NAME) {
            return Err(Unusable::Failed(rcode.0));
        }
        if header.flags & flag::TRUNCATED != 0 {
            return Err(Unusable::Truncated);
        }
        Self::walk(wire, &header, HEADER + name.len() + 4).ok_or(Unusable::Garbage)
    }

    fn walk(wire: &[u8], header: &Header, question_end: usize) -> Option<Self> {
        let mut walk = Walk::behind_question(wire, question_end, header);
        let mut records = Vec::new();
        let mut end = question_end;
        let (mut positive, mut negative) = (None, None);
        while let Some(record) = walk.next_record()? {
            if record.rtype == RecordType::OPT {
                // What stands behind it could only be a signature of this hop.
                break;
            }
            // RFC 2181, 8: a TTL with its top bit set is zero.
            let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            match record.section {
                Section::Answer => positive = Some(positive.map_or(ttl, |life: u32| life.min(ttl))),
                Section::Authority if record.rtype == RecordType::SOA => {
                    let minimum = record.data.last_chunk().copied().map(u32::from_be_bytes)?;
                    negative = Some(ttl.min(minimum).min(MAX_NEGATIVE_LIFE));
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
        let says_no = header.flags & flag::RCODE == Rcode::NO_SUCH_NAME.0 || positive.is_none();
        let life = match (says_no, positive) {
            // RFC 2308, 5: without a SOA it must not be remembered.
            (true, Some(positive)) => negative.map_or(0, |negative| negative.min(positive)),
            (true, None) => negative.unwrap_or(0),
            (false, positive) => positive.unwrap_or(0),
        };
        let mut wire: Box<[u8]> = wire.get(..end)?.into();
        let kept = records.iter().filter(|place: &&Place| place.section == Section::Additional);
        let kept = u16::try_from(kept.count()).ok()?.to_be_bytes();
        wire.get_mut(HEADER - 2..HEADER)?.copy_from_slice(&kept);
        Some(Self { wire, records: records.into(), flags: header.flags, life: life.min(MAX_LIFE) })
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

    /// Writes it as the reply to a question for the same name, `age` seconds after it came.
    pub(super) fn write(
        &self,
        question: &Question<'_>,
        age: u32,
        limit: usize,
        out: &mut [u8],
    ) -> usize {
        let mut reply = Reply::to(question, limit, out);
        // Only to those who know what the bit means (RFC 6840, 5.7).
        let knows = question.wants_dnssec() || question.flags & flag::AUTHENTIC != 0;
        if knows && self.flags & flag::AUTHENTIC != 0 {
            reply.authentic();
        }
        for place in &self.records {
            let Some(record) = self.wire.get(usize::from(place.start)..usize::from(place.end))
            else {
                break;
            };
            let start = reply.position();
            if !reply.raw(place.section, record) {
                // Authorities may be missing, unless they are all there is.
                if place.section == Section::Answer || reply.has_no_answers() {
                    reply.truncated();
                }
                break;
            }
            reply.older(start + usize::from(place.ttl_at - place.start), age);
        }
        reply.finish(self.rcode())
    }
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
