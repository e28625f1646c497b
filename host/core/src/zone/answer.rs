//! What a lookup finds: bodies that are ready to be copied behind the question.

use super::record::{self, BODY_HEAD, RecordType};

/// The answer to one question.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// These records.
    Records(RecordSet<'a>),
    /// The name is another name for the target of one of these records.
    Alias(RecordSet<'a>),
    /// The name exists, but not with this type.
    NoData(Authority<'a>),
    /// There is no such name.
    NoSuchName(Authority<'a>),
    /// The name is ours, but not every provider has told what it knows: better no answer than one
    /// that it does not exist, which would be cached.
    NotSynced(Authority<'a>),
    /// The name is ours, and a source may know it: [`super::Zones::demand`] says what to look up.
    OnDemand(Authority<'a>),
    /// The name is not ours.
    NotOurs,
}

/// Who says that something does not exist (RFC 2308).
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// The body of the SOA record.
    pub soa: &'a [u8],
    /// Whose SOA it is, in wire form; `None`: the name of the question itself.
    pub origin: Option<&'a [u8]>,
    /// Whether the zone is there only so that nobody else is asked (RFC 6303).
    pub is_built_in: bool,
    /// Whether nobody can have a name in it, so that it need not be waited for providers.
    pub(super) is_closed: bool,
}

/// The records of one name and type.
#[derive(Clone, Debug)]
pub struct RecordSet<'a>(Kept<'a>);

#[derive(Clone, Debug)]
enum Kept<'a> {
    /// As the table keeps them: `[body length, glue length, body, glue]` for each.
    Stored { count: u16, bytes: &'a [u8] },
    /// The one record of a name that spells its address.
    Spelled { body: [u8; SPELLED], length: u8 },
}

/// The longest address record.
const SPELLED: usize = BODY_HEAD + 16;

/// One record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// The record, its owner a pointer to the question.
    pub body: &'a [u8],
    /// The addresses of its target, one body after the other; their owner is the target.
    pub glue: &'a [u8],
}

impl<'a> RecordSet<'a> {
    pub(super) fn stored(count: u16, bytes: &'a [u8]) -> Self {
        Self(Kept::Stored { count, bytes })
    }

    /// One address.
    pub fn spelled(address: std::net::IpAddr, ttl: u32) -> Self {
        let made = record::address(address, ttl);
        let mut body = [0; SPELLED];
        let length = made.len().min(body.len());
        for (to, from) in body.iter_mut().zip(&made) {
            *to = *from;
        }
        Self(Kept::Spelled { body, length: length as u8 })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Kept::Stored { count, .. } => usize::from(count),
            Kept::Spelled { .. } => 1,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records in the order in which they were built.
    pub fn in_order(&self) -> InOrder<'_> {
        match &self.0 {
            Kept::Stored { bytes, .. } => InOrder(Left::Stored(bytes)),
            Kept::Spelled { body, length } => {
                InOrder(Left::Spelled(body.get(..usize::from(*length))))
            }
        }
    }

    /// The records in an order that a random number chooses: each is as often the first as any
    /// other, and the second does not depend on the first. That is all that clients look at.
    pub fn shuffled(&self, random: u32) -> impl Iterator<Item = Record<'_>> + Clone {
        let count = self.len();
        let start = if count > 1 { (random & 0xffff) as usize % count } else { 0 };
        let first = if count > 2 { (random >> 16) as usize % count } else { start };
        let skipping = move |(place, record)| (place != first).then_some(record);
        let rotated = self.in_order().enumerate().skip(start);
        let rotated = rotated.chain(self.in_order().enumerate().take(start));
        self.in_order().skip(first).take(1).chain(rotated.filter_map(skipping))
    }
}

/// Iterates over records in the order in which they were built.
#[derive(Clone, Debug)]
pub struct InOrder<'a>(Left<'a>);

#[derive(Clone, Debug)]
enum Left<'a> {
    Stored(&'a [u8]),
    Spelled(Option<&'a [u8]>),
}

impl<'a> Iterator for InOrder<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        match &mut self.0 {
            Left::Stored(bytes) => {
                let (&[b0, b1, g0, g1], rest) = bytes.split_first_chunk()?;
                let (body, rest) = rest.split_at_checked(u16::from_be_bytes([b0, b1]).into())?;
                let (glue, rest) = rest.split_at_checked(u16::from_be_bytes([g0, g1]).into())?;
                *bytes = rest;
                Some(Record { body, glue })
            }
            Left::Spelled(body) => body.take().map(|body| Record { body, glue: &[] }),
        }
    }
}

impl<'a> Record<'a> {
    /// Its type.
    pub fn rtype(&self) -> RecordType {
        record::body_type(self.body)
    }

    /// The bodies of the addresses of its target.
    pub fn glue(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut left = self.glue;
        std::iter::from_fn(move || {
            let length: [u8; 2] = left.get(BODY_HEAD - 2..BODY_HEAD)?.try_into().ok()?;
            let end = BODY_HEAD + usize::from(u16::from_be_bytes(length));
            let (body, rest) = left.split_at_checked(end)?;
            left = rest;
            Some(body)
        })
    }
}
