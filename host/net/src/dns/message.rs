//! Questions as they come over the wire, and the walk over records.
//!
//! **Invariant:** total. Any bytes give a question, a refusal or nothing; nothing here panics, and
//! no count in a header makes us work longer than the packet is.

use portolan_core::zone::{MAX_NAME, RecordType};

use super::cookie::{Answered, Cookie};

/// The bytes before the question.
pub(super) const HEADER: usize = 12;
/// The size of a reply that every network carries unfragmented (DNS flag day 2020).
pub(super) const MAX_UDP: usize = 1232;
/// The size of a reply to those who do not say what they take (RFC 1035, 4.2.1).
pub(super) const PLAIN_UDP: usize = 512;
/// The longest message that TCP carries.
pub(super) const MAX_TCP: usize = 65_535;

/// How a question ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rcode(pub(super) u16);

impl Rcode {
    pub(super) const NO_ERROR: Self = Self(0);
    pub(super) const FORMAT: Self = Self(1);
    pub(super) const FAILURE: Self = Self(2);
    pub(super) const NO_SUCH_NAME: Self = Self(3);
    pub(super) const NOT_IMPLEMENTED: Self = Self(4);
    pub(super) const REFUSED: Self = Self(5);
    /// RFC 6891, 6.1.3.
    pub(super) const BAD_VERSION: Self = Self(16);
    /// RFC 7873, 8.
    pub(super) const BAD_COOKIE: Self = Self(23);
}

/// What the flags of a header mean, as masks of the third and fourth byte.
pub(super) mod flag {
    pub(in crate::dns) const RESPONSE: u16 = 0x8000;
    pub(in crate::dns) const OPCODE: u16 = 0x7800;
    pub(in crate::dns) const AUTHORITATIVE: u16 = 0x0400;
    pub(in crate::dns) const TRUNCATED: u16 = 0x0200;
    pub(in crate::dns) const RECURSION_DESIRED: u16 = 0x0100;
    pub(in crate::dns) const RECURSION_AVAILABLE: u16 = 0x0080;
    pub(in crate::dns) const AUTHENTIC: u16 = 0x0020;
    pub(in crate::dns) const CHECKING_DISABLED: u16 = 0x0010;
    pub(in crate::dns) const RCODE: u16 = 0x000f;
}

/// What came in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one packet; no allocation")]
pub(super) enum Incoming<'p> {
    /// A question that can be answered.
    Question(Question<'p>),
    /// Nothing that deserves an answer: too short, or an answer itself (RFC 5452 would have us
    /// answer those never; two servers could talk for ever).
    Ignore,
    /// A packet whose header alone can be answered.
    Unreadable(Rcode),
}

/// A name in wire form, on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortName {
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl ShortName {
    /// A copy in lower case; `None` when it is longer than a name can be.
    pub(super) fn lower(wire: &[u8]) -> Option<Self> {
        let mut name = Self { bytes: [0; MAX_NAME], length: u8::try_from(wire.len()).ok()? };
        let room = name.bytes.get_mut(..wire.len())?;
        room.copy_from_slice(wire);
        // The lengths of labels are at most 63 and so no letters.
        room.make_ascii_lowercase();
        Some(name)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Question<'p> {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Name, type and class as they were asked: they are echoed bit for bit, so that who mixes
    /// cases to be sure of the answer is answered. Empty: only a cookie is asked for.
    pub(super) echo: &'p [u8],
    pub(super) name: ShortName,
    pub(super) rtype: RecordType,
    pub(super) class: u16,
    pub(super) edns: Option<Edns>,
    /// What the reply says to a cookie, if the asker has sent one.
    pub(super) cookie: Option<Answered>,
    /// Whether the asker has shown by it that it has the address that it speaks from.
    pub(super) is_proven: bool,
    /// Whether the asker may ask for names that are not ours.
    pub(super) may_recurse: bool,
}

/// What the asker says by EDNS (RFC 6891).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Edns {
    pub(super) payload: u16,
    pub(super) version: u8,
    pub(super) dnssec: bool,
    /// RFC 7873.
    pub(super) cookie: Option<Cookie>,
}

impl<'p> Incoming<'p> {
    /// Reads a packet.
    pub(super) fn parse(packet: &'p [u8]) -> Self {
        let Some(header) = Header::parse(packet) else { return Self::Ignore };
        if header.flags & flag::RESPONSE != 0 {
            return Self::Ignore;
        }
        if header.flags & flag::OPCODE != 0 {
            return Self::Unreadable(Rcode::NOT_IMPLEMENTED);
        }
        Question::parse(packet, &header).map_or(Self::Unreadable(Rcode::FORMAT), Self::Question)
    }
}

/// The first twelve bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Questions, answers, authorities, additionals.
    pub(super) counts: [u16; 4],
}

impl Header {
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        packet.get(..HEADER)?;
        let at = |place| number(packet, place);
        Some(Self { id: at(0)?, flags: at(2)?, counts: [at(4)?, at(6)?, at(8)?, at(10)?] })
    }
}

impl<'p> Question<'p> {
    fn parse(packet: &'p [u8], header: &Header) -> Option<Self> {
        match header.counts[0] {
            0 => return Self::for_cookie(packet, header),
            1 => (),
            _ => return None,
        }
        let end = plain_name_end(packet, HEADER)?;
        let name = ShortName::lower(packet.get(HEADER..end)?)?;
        let (rtype, class) = (number(packet, end)?, number(packet, end + 2)?);
        let edns = match header.counts[1..] != [0, 0, 0] {
            true => Edns::find(packet, end + 4, header)?,
            false => None,
        };
        let echo = packet.get(HEADER..end + 4)?;
        let (id, flags, rtype) = (header.id, header.flags, RecordType(rtype));
        let (cookie, is_proven, may_recurse) = (None, false, true);
        Some(Self { id, flags, echo, name, rtype, class, edns, cookie, is_proven, may_recurse })
    }

    /// Nothing is asked but for a cookie (RFC 7873, 5.4).
    #[cold]
    fn for_cookie(packet: &'p [u8], header: &Header) -> Option<Self> {
        let edns = Edns::find(packet, HEADER, header)?;
        edns.and_then(|edns| edns.cookie)?;
        let (id, flags, class, rtype) = (header.id, header.flags, Self::IN, RecordType::OPT);
        let (echo, name): (&[u8], _) = (&[], ShortName::lower(&[0])?);
        let (cookie, is_proven, may_recurse) = (None, false, true);
        Some(Self { id, flags, echo, name, rtype, class, edns, cookie, is_proven, may_recurse })
    }

    /// How large a reply over UDP may be, when we send at most so much.
    pub(super) fn udp_limit(&self, most: u16) -> usize {
        let most = usize::from(most).max(PLAIN_UDP);
        self.edns.map_or(PLAIN_UDP, |edns| usize::from(edns.payload).clamp(PLAIN_UDP, most))
    }

    const IN: u16 = 1;

    /// Why it is not answered by records, if so.
    pub(super) fn refusal(&self) -> Option<Rcode> {
        if self.edns.is_some_and(|edns| edns.version > 0) {
            return Some(Rcode::BAD_VERSION);
        }
        match self.rtype {
            RecordType::OPT if self.echo.is_empty() => Some(self.greeting()),
            RecordType::OPT => Some(Rcode::FORMAT),
            _ if self.class != Self::IN => Some(Rcode::REFUSED),
            RecordType::AXFR | RecordType::IXFR => Some(Rcode::REFUSED),
            // The other types that are operations: TKEY, TSIG, MAILB, MAILA.
            RecordType(249..=254) => Some(Rcode::NOT_IMPLEMENTED),
            _ => None,
        }
    }

    /// What is said to who wants nothing but a cookie, beside it.
    fn greeting(&self) -> Rcode {
        let shows_one = self.edns.and_then(|edns| edns.cookie).is_some_and(|it| it.is_returned());
        match self.cookie {
            // None are given.
            None => Rcode::FORMAT,
            Some(_) if shows_one && !self.is_proven => Rcode::BAD_COOKIE,
            Some(_) => Rcode::NO_ERROR,
        }
    }

    /// Whether the asker wants DNSSEC records.
    pub(super) fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }
}

impl Edns {
    const COOKIE: u16 = 10;

    /// What a message says by EDNS behind its question. `None`: it cannot be read.
    fn find(packet: &[u8], behind: usize, header: &Header) -> Option<Option<Self>> {
        let mut edns = None;
        let mut walk = Walk::behind_question(packet, behind, header);
        while let Some(record) = walk.next_record()? {
            if record.rtype != RecordType::OPT {
                continue;
            }
            // RFC 6891, 6.1.1: one, among the additionals, owned by the root.
            let is_rooted = packet.get(record.start) == Some(&0);
            if edns.is_some() || record.section != Section::Additional || !is_rooted {
                return None;
            }
            edns = Some(Self::of(&record)?);
        }
        Some(edns)
    }

    /// `None`: its options make no sense.
    fn of(record: &RawRecord<'_>) -> Option<Self> {
        let mut cookie = None;
        let mut options = record.data;
        while !options.is_empty() {
            let (head, rest) = options.split_first_chunk::<4>()?;
            let (code, length) = (number(head, 0)?, number(head, 2)?);
            let (data, rest) = rest.split_at_checked(length.into())?;
            // RFC 7873, 5.2: of several, the first counts.
            if code == Self::COOKIE && cookie.is_none() {
                cookie = Some(Cookie::parse(data)?);
            }
            options = rest;
        }
        Some(Self {
            payload: record.class,
            version: (record.ttl >> 16) as u8,
            dnssec: record.ttl & 0x8000 != 0,
            cookie,
        })
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A record within a message, its names still compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRecord<'p> {
    pub(super) section: Section,
    pub(super) rtype: RecordType,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) data: &'p [u8],
    pub(super) start: usize,
    pub(super) ttl_at: usize,
    pub(super) end: usize,
}

/// Walks over the records of a message.
pub(super) struct Walk<'p> {
    packet: &'p [u8],
    at: usize,
    left: [u16; 3],
}

impl<'p> Walk<'p> {
    /// Begins at the byte behind the only question.
    pub(super) fn behind_question(packet: &'p [u8], at: usize, header: &Header) -> Self {
        let [_, answers, authorities, additionals] = header.counts;
        Self { packet, at, left: [answers, authorities, additionals] }
    }

    /// The next record; `Some(None)` behind the last, `None` when the bytes make no sense.
    pub(super) fn next_record(&mut self) -> Option<Option<RawRecord<'p>>> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let mut open = self.left.iter_mut().zip(sections).filter(|(left, _)| **left > 0);
        let Some((left, section)) = open.next() else { return Some(None) };
        *left -= 1;
        let packet = self.packet;
        let head = name_end(packet, self.at)?;
        let ttl = u32::from(number(packet, head + 4)?) << 16 | u32::from(number(packet, head + 6)?);
        let end = head + 10 + usize::from(number(packet, head + 8)?);
        let record = RawRecord {
            section,
            rtype: RecordType(number(packet, head)?),
            class: number(packet, head + 2)?,
            ttl,
            data: packet.get(head + 10..end)?,
            start: self.at,
            ttl_at: head + 4,
            end,
        };
        self.at = end;
        Some(Some(record))
    }
}

/// The byte behind a name that is not compressed. The first name of a message has nothing to
/// point at.
pub(super) fn plain_name_end(packet: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *packet.get(at)? {
            0 => return (at + 1 - start <= MAX_NAME).then_some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// The byte behind a name that may end with a pointer, which must lead back (RFC 1035, 4.1.4): others
/// get it as it is, and could go in circles. Pointers may lead to pointers, but no name needs more of
/// them than it has labels; without a bound each record could make us follow a chain through the packet.
fn name_end(packet: &[u8], start: usize) -> Option<usize> {
    /// What a name of 255 bytes has at most.
    const MOST_LABELS: usize = 127;
    let (mut at, mut bound, mut length, mut jumps) = (start, start, 1, 0);
    let mut end = None;
    loop {
        match *packet.get(at)? {
            0 => return end.or(Some(at + 1)),
            label @ 1..=63 => {
                let step = 1 + usize::from(label);
                (at, length) = (at + step, length + step);
                if length > MAX_NAME {
                    return None;
                }
            }
            0xc0..=0xff => {
                let target = usize::from(number(packet, at)? & 0x3fff);
                jumps += 1;
                if target < HEADER || target >= bound || jumps > MOST_LABELS {
                    return None;
                }
                end = end.or(Some(at + 2));
                (at, bound) = (target, target);
            }
            _ => return None,
        }
    }
}

/// The two bytes at a place.
pub(super) fn number(packet: &[u8], at: usize) -> Option<u16> {
    let pair = packet.get(at..at.checked_add(2)?)?;
    pair.try_into().ok().map(u16::from_be_bytes)
}
