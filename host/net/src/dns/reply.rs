//! Writes replies into a buffer that somebody else owns.
//!
//! **Invariant:** a reply is never longer than its limit; what does not fit is left out whole, and
//! when that is an answer, TC says so (RFC 2181, 9).

use hashbrown::HashSet;
use portolan_core::zone::{
    Answer, BODY_HEAD, Everywhere, QUESTION_POINTER, Record, RecordSet, RecordType, Zones,
    body_type,
};

use super::{
    cookie::Answered,
    message::{HEADER, MAX_UDP, Question, Rcode, Section, ShortName, flag},
    nearby::{Kept, Near},
};

const OPT: usize = 11;
const OPTION_HEAD: usize = 4;
/// The option that says why (RFC 8914, 2).
pub(super) const EXTENDED_ERROR: u16 = 15;
/// Pointers are 14 bits wide.
pub(super) const MAX_POINTER: usize = 0x3fff;

/// A reply while it is written.
pub(super) struct Reply<'o> {
    out: &'o mut [u8],
    length: usize,
    /// Where records end, so that OPT still fits.
    limit: usize,
    /// 1, unless nothing was asked.
    questions: u16,
    counts: [u16; 3],
    flags: u16,
    edns: Option<Options>,
}

/// What the OPT record of a reply holds.
#[derive(Clone, Copy, Debug)]
struct Options {
    dnssec: bool,
    cookie: Option<Answered>,
    error: Option<ExtendedError>,
}

/// Why an answer is what it is (RFC 8914). A failure that another server may not have tells none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ExtendedError {
    StaleAnswer = 3,
    Blocked = 15,
    Prohibited = 18,
    NotSupported = 21,
}

impl<'o> Reply<'o> {
    /// Begins with the question. `limit` is the size of the whole reply.
    pub(super) fn to(question: &Question<'_>, limit: usize, out: &'o mut [u8]) -> Self {
        let kept = flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
        let edns = question.edns.map(|edns| Options {
            dnssec: edns.dnssec,
            cookie: question.cookie,
            error: None,
        });
        let opt = edns.map_or(0, |edns| OPT + edns.cookie.map_or(0, |it| OPTION_HEAD + it.len()));
        let limit = limit.min(out.len()).saturating_sub(opt);
        let available = if question.may_recurse { flag::RECURSION_AVAILABLE } else { 0 };
        let mut reply = Self {
            out,
            length: HEADER,
            limit,
            questions: u16::from(!question.echo.is_empty()),
            counts: [0; 3],
            flags: question.flags & kept | flag::RESPONSE | available,
            edns,
        };
        reply.put(0, &question.id.to_be_bytes());
        reply.push(question.echo);
        reply
    }

    /// Says why, to those who would understand it.
    pub(super) fn because(&mut self, error: ExtendedError) {
        if let Some(options) = &mut self.edns {
            options.error = Some(error);
        }
    }

    /// Where the next record will begin.
    pub(super) fn position(&self) -> usize {
        self.length
    }

    /// Says that the answer is ours.
    pub(super) fn authoritative(&mut self) {
        self.flags |= flag::AUTHORITATIVE;
    }

    /// Says that an upstream has checked the answer (RFC 6840, 5.8).
    pub(super) fn authentic(&mut self) {
        self.flags |= flag::AUTHENTIC;
    }

    /// Says that something is missing.
    pub(super) fn truncated(&mut self) {
        self.flags |= flag::TRUNCATED;
    }

    /// Adds a record as it is. False: it does not fit.
    pub(super) fn raw(&mut self, section: Section, record: &[u8]) -> bool {
        let fits = self.push(record);
        if fits && let Some(count) = self.counts.get_mut(section as usize) {
            *count = count.saturating_add(1);
        }
        fits
    }

    /// Adds a record whose owner is the name at a place of this reply.
    pub(super) fn record(&mut self, section: Section, body: &[u8], owner: usize) -> bool {
        let start = self.length;
        if owner > MAX_POINTER || !self.raw(section, body) {
            return false;
        }
        if owner != HEADER {
            self.owned(start, owner);
        }
        true
    }

    /// The owner of the record that begins here is the name at a place of this reply.
    pub(super) fn owned(&mut self, start: usize, owner: usize) {
        let pointer = (owner as u16 | 0xc000).to_be_bytes();
        self.put(start, &pointer);
    }

    /// Takes the age of a remembered record off its TTL.
    pub(super) fn older(&mut self, ttl_at: usize, age: u32) {
        let Some(ttl) = self.out.get(ttl_at..).and_then(|bytes| bytes.first_chunk()) else {
            return;
        };
        let ttl = u32::from_be_bytes(*ttl);
        // RFC 2181, 8: a TTL with its top bit set is zero.
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl.saturating_sub(age) };
        self.put(ttl_at, &ttl.to_be_bytes());
    }

    /// Gives a record this TTL.
    pub(super) fn live(&mut self, ttl_at: usize, ttl: u32) {
        self.put(ttl_at, &ttl.to_be_bytes());
    }

    /// Whether there are no answers so far.
    pub(super) fn has_no_answers(&self) -> bool {
        self.counts == [0; 3]
    }

    /// Adds the answers, in an order that `random` chooses, then what fits of their additionals, and of
    /// what `zones` know of their targets. Of edge addresses only those that are near are added, where
    /// any is.
    pub(super) fn answers(
        &mut self,
        (records, edge): (RecordSet<'_>, Option<Everywhere>),
        owner: usize,
        zones: &Zones,
        (random, nearby): (u32, Option<Near<'_>>),
    ) {
        let (records, near) = near_ones((records, edge), nearby);
        let kept = |record: &Record<'_>| near.is_none_or(|near| near.keeps(record));
        let first = self.length;
        let mut written = 0;
        for record in records.shuffled(random).filter(kept) {
            if !self.record(Section::Answer, record.body, owner) {
                self.truncated();
                return;
            }
            written += 1;
        }
        let answers = records.shuffled(random).filter(kept).take(written);
        self.additionals(answers.clone(), first);
        self.targets(answers, first, zones, nearby);
    }

    /// Adds the addresses that our zones have for targets that none came along with (RFC 2782). Those
    /// of others are not asked for, nor taken from memory: who asked looks them up all the same
    /// (RFC 2181, 5.4.1).
    fn targets<'r>(
        &mut self,
        records: impl Iterator<Item = Record<'r>>,
        first: usize,
        zones: &Zones,
        near: Option<Near<'_>>,
    ) {
        let (mut at, mut led) = (first, Led::default());
        // A set is of one type.
        for record in records.take_while(is_of_server) {
            let target = at + target_at(record.body);
            at += record.body.len();
            let Some(name) = unknown_target(&record) else { continue };
            if led.again(record.body) {
                continue;
            }
            for rtype in [RecordType::A, RecordType::AAAA] {
                let found = zones.answer_from(name.as_bytes(), rtype);
                let Answer::Records(records) = found.answer else { continue };
                let (found, near) = near_ones((records, found.edge), near);
                let kept = |record: &Record<'_>| near.is_none_or(|near| near.keeps(record));
                for address in found.in_order().filter(kept) {
                    if !self.record(Section::Additional, address.body, target) {
                        return;
                    }
                }
            }
        }
    }

    /// The target of a record owns its addresses.
    fn additionals<'r>(&mut self, records: impl Iterator<Item = Record<'r>> + Clone, first: usize) {
        // Addresses first: what else is known of targets is of less use.
        for are_addresses in [true, false] {
            let (mut at, mut led) = (first, Led::default());
            for record in records.clone() {
                let wanted = |body: &&[u8]| is_address(body) == are_addresses;
                let mut glue = record.glue().filter(wanted).peekable();
                if glue.peek().is_some() && led.again(record.body) {
                    at += record.body.len();
                    continue;
                }
                for body in glue {
                    if !self.record(Section::Additional, body, at + target_at(record.body)) {
                        return;
                    }
                }
                at += record.body.len();
            }
        }
    }

    /// Adds a record whose owner is spelled out.
    pub(super) fn spelled(&mut self, section: Section, owner: &[u8], body: &[u8]) -> bool {
        let data = body.strip_prefix(&QUESTION_POINTER).unwrap_or(body);
        let start = self.length;
        if self.push(owner) && self.raw(section, data) {
            return true;
        }
        self.length = start;
        false
    }

    /// Closes the reply and tells its length.
    pub(super) fn finish(mut self, rcode: Rcode) -> usize {
        let [answers, authorities, additionals] = self.counts;
        let additionals = additionals + u16::from(self.edns.is_some());
        if let Some(options) = self.edns {
            self.opt(options, rcode);
        }
        let flags = self.flags | rcode.0 & flag::RCODE;
        for (place, value) in
            [flags, self.questions, answers, authorities, additionals].iter().enumerate()
        {
            self.put(2 + 2 * place, &value.to_be_bytes());
        }
        self.length
    }

    /// Room for all but the error was kept.
    fn opt(&mut self, options: Options, rcode: Rcode) {
        const COOKIE: u16 = 10;
        let left = self.out.len() - self.length.min(self.out.len());
        let cookie = options.cookie.map_or(0, |cookie| OPTION_HEAD + cookie.len());
        // What explains an answer must not make it larger than it may be.
        let room = self.limit.saturating_sub(self.length);
        let error = options.error.filter(|_| room >= OPTION_HEAD + 2);
        let length = cookie + error.map_or(0, |_| OPTION_HEAD + 2);
        self.limit = self.limit.saturating_add(left);
        let size = (MAX_UDP as u16).to_be_bytes();
        let dnssec = if options.dnssec { 0x80 } else { 0 };
        self.push(&[0, 0, 41, size[0], size[1], (rcode.0 >> 4) as u8, 0, dnssec, 0]);
        self.push(&(length as u16).to_be_bytes());
        if let Some(cookie) = options.cookie {
            self.option(COOKIE, &cookie);
        }
        if let Some(error) = error {
            self.option(EXTENDED_ERROR, &(error as u16).to_be_bytes());
        }
    }

    fn option(&mut self, code: u16, data: &[u8]) {
        self.push(&code.to_be_bytes());
        self.push(&(data.len() as u16).to_be_bytes());
        self.push(data);
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.length + bytes.len();
        if end > self.limit {
            return false;
        }
        let Some(room) = self.out.get_mut(self.length..end) else { return false };
        room.copy_from_slice(bytes);
        self.length = end;
        true
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.out.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}

/// The records for one asker, and which of them.
fn near_ones<'r>(
    (records, edge): (RecordSet<'r>, Option<Everywhere>),
    near: Option<Near<'_>>,
) -> (RecordSet<'r>, Option<Kept>) {
    match near.zip(edge) {
        Some((near, everywhere)) => near.choose(records, everywhere),
        None => (records, None),
    }
}

/// Where the target of a record stands: a SRV record has three numbers before it, one of MX one.
fn target_at(body: &[u8]) -> usize {
    let numbers = match body_type(body) {
        RecordType::SRV => 3,
        RecordType::MX => 1,
        _ => 0,
    };
    BODY_HEAD + 2 * numbers
}

/// The targets that records have led to so far: two ports of a node lead to the same, and a record
/// stands in an answer once (RFC 2181, 5). What fits into a datagram is few.
#[derive(Default)]
struct Led<'r> {
    few: [&'r [u8]; 16],
    count: usize,
    others: HashSet<&'r [u8]>,
}

impl<'r> Led<'r> {
    /// Whether the target of a record is one of them. From now on it is.
    fn again(&mut self, body: &'r [u8]) -> bool {
        let target = body.get(target_at(body)..).unwrap_or_default();
        if self.few.iter().take(self.count).any(|known| *known == target) {
            return true;
        }
        if let Some(place) = self.few.get_mut(self.count) {
            *place = target;
            self.count += 1;
            return false;
        }
        !self.others.insert(target)
    }
}

/// Whether a record leads to a server, whose addresses are of use (RFC 1035, 3.3).
fn is_of_server(record: &Record<'_>) -> bool {
    matches!(record.rtype(), RecordType::SRV | RecordType::MX | RecordType::NS)
}

/// The target of such a record, if no address came along with it.
fn unknown_target(record: &Record<'_>) -> Option<ShortName> {
    let is_known = record.glue().any(is_address);
    ShortName::lower(record.body.get(target_at(record.body)..).filter(|_| !is_known)?)
}

fn is_address(body: &[u8]) -> bool {
    matches!(body_type(body), RecordType::A | RecordType::AAAA)
}

/// Says in a finished reply that something is missing.
pub(super) fn cut_short(reply: &mut [u8]) {
    if let Some(flags) = reply.get_mut(2) {
        *flags |= (flag::TRUNCATED >> 8) as u8;
    }
}

/// A reply that is a header alone, to a packet whose question cannot be read.
pub(super) fn header_only(packet: &[u8], rcode: Rcode, out: &mut [u8]) -> usize {
    let (Some(packet), Some(out)) =
        (packet.first_chunk::<HEADER>(), out.first_chunk_mut::<HEADER>())
    else {
        return 0;
    };
    let flags = u16::from_be_bytes([packet[2], packet[3]]);
    let kept = flags & (flag::OPCODE | flag::RECURSION_DESIRED);
    let [high, low] = (kept | flag::RESPONSE | rcode.0 & flag::RCODE).to_be_bytes();
    *out = [packet[0], packet[1], high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    HEADER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_again_however_many_there_are() {
        let body = |number: u8| {
            let mut body = QUESTION_POINTER.to_vec();
            body.extend_from_slice(&RecordType::MX.0.to_be_bytes());
            body.resize(BODY_HEAD, 0);
            // The preference is no part of it.
            body.extend_from_slice(&[0, number, 1, b'a' + number, 0]);
            body
        };
        let bodies: Vec<_> = (0..26).map(body).collect();
        let mut others = bodies.clone();
        others.iter_mut().for_each(|body| body[BODY_HEAD] = 7);
        let mut led = Led::default();
        assert!(bodies.iter().all(|body| !led.again(body)));
        assert!(others.iter().all(|body| led.again(body)));
    }
}
