//! From a question to its answer.
//!
//! One hash lookup when the name is in the table. Else the labels are cut off one by one until a
//! name is found that exists, the closest encloser of RFC 4592; there are few labels, and names
//! that are not ours have to wait for the network anyway.

use std::sync::Arc;

use super::{
    Zones,
    answer::{Answer, Authority, RecordSet},
    edge::Everywhere,
    grammar::{Grammar, Meaning, Short},
    name,
    record::RecordType,
    table::{Entry, Kind, LONE, Set},
};

/// What is known of a zone besides its names.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) origin: Arc<[u8]>,
    pub(super) soa: Soa,
    /// Of names that spell addresses, as of nodes (Consul).
    pub(super) node_ttl: u32,
    pub(super) grammar: Arc<Grammar>,
    /// Whether nobody can have a name in it, whatever providers will tell.
    pub(super) is_closed: bool,
}

/// An SOA record, as a set of records is kept. It changes with every snapshot, so it is not in the
/// table.
#[derive(Clone, Debug, Default)]
pub(super) struct Soa(Box<[u8]>);

impl Soa {
    pub(super) fn new(body: &[u8]) -> Self {
        let mut set = Set::default();
        set.push(body, &[]);
        Self(set.bytes.into())
    }

    /// The same, of another serial.
    pub(super) fn with_serial(&self, serial: u32) -> Self {
        let mut bytes = self.0.clone();
        // Five numbers end the record; the serial is the first of them.
        if let Some(at) = bytes.len().checked_sub(20)
            && let Some(number) = bytes.get_mut(at..at + 4)
        {
            number.copy_from_slice(&serial.to_be_bytes());
        }
        Self(bytes)
    }

    fn body(&self) -> &[u8] {
        self.0.get(4..).unwrap_or_default()
    }

    pub(super) fn records(&self) -> RecordSet<'_> {
        RecordSet::stored(1, &self.0)
    }
}

/// An answer, and where it comes from.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The answer.
    pub answer: Answer<'a>,
    /// The place among [`Zones::origins`] of the zone that the name lies in.
    pub zone: Option<usize>,
    /// Where it is that of a wildcard: how long the name is in wire form, in bytes, that the
    /// wildcard stands right below.
    pub wildcard: Option<usize>,
    /// Where it is what the host of a live router leads to, the edge: where else that is reached.
    pub edge: Option<Everywhere>,
}

impl Zones {
    /// Answers a question.
    ///
    /// `wire` is the name in wire form and lower case, the root label included. A name that is not
    /// well-formed is simply not ours.
    pub fn answer(&self, wire: &[u8], rtype: RecordType) -> Answer<'_> {
        self.answer_from(wire, rtype).answer
    }

    /// The same, and where it comes from.
    pub fn answer_from(&self, wire: &[u8], rtype: RecordType) -> Answered<'_> {
        match self.table.find(wire) {
            Some(entry) => self.written(&entry, rtype, None),
            None => self.inherited(wire, rtype),
        }
    }

    /// Where the zones of the configuration begin, in wire form.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = &Arc<[u8]>> {
        self.zones.iter().take(self.configured).map(|zone| &zone.origin)
    }

    /// The place of a zone that is one of the configuration.
    fn configured(&self, zone: u16) -> Option<usize> {
        Some(usize::from(zone)).filter(|place| *place < self.configured)
    }

    fn written<'a>(
        &'a self,
        entry: &Entry<'a>,
        rtype: RecordType,
        wildcard: Option<usize>,
    ) -> Answered<'a> {
        let is_edge = entry.about.kind == Kind::Router;
        let edge = is_edge.then_some(entry.about.everywhere);
        let zone = self.configured(entry.about.zone);
        Answered { answer: self.kept(entry, rtype), zone, wildcard, edge }
    }

    /// The answer of a name that is in the table, or stands for the one that was asked.
    fn kept<'a>(&'a self, entry: &Entry<'a>, rtype: RecordType) -> Answer<'a> {
        let authority = self.authority(entry.about.zone);
        if entry.about.is_absent() {
            return self.no_such_name(authority);
        }
        let mut alias = None;
        for (kept, records) in entry.sets() {
            // RFC 8482: one set is answer enough for a question for any.
            if kept == rtype || rtype == RecordType::ANY {
                return Answer::Records(match kept {
                    RecordType::SOA => self.soa(entry.about.zone).records(),
                    _ => records,
                });
            }
            if kept == RecordType::CNAME {
                alias = Some(records);
            }
        }
        alias.map_or(Answer::NoData(authority), Answer::Alias)
    }

    /// The answer of a name that is not in the table.
    fn inherited(&self, wire: &[u8], rtype: RecordType) -> Answered<'_> {
        let unwritten = |answer, zone| {
            let zone = self.configured(zone);
            Answered { answer, zone, wildcard: None, edge: None }
        };
        let mut suffix = wire;
        while let Some(parent) = name::parent(suffix) {
            if let Some(entry) = self.wildcard(parent) {
                return self.written(&entry, rtype, Some(parent.len()));
            }
            match self.table.find(parent) {
                Some(encloser) if encloser.about.zone != LONE => {
                    let zone = encloser.about.zone;
                    return unwritten(self.understood(wire, rtype, zone), zone);
                }
                _ => suffix = parent,
            }
        }
        unwritten(Answer::NotOurs, LONE)
    }

    pub(super) fn wildcard(&self, parent: &[u8]) -> Option<Entry<'_>> {
        let mut short = Short::new();
        (short.push(b"\x01*") && short.push(parent)).then(|| self.table.find(short.as_bytes()))?
    }

    /// The answer of a name in a zone that does not have it written down.
    fn understood(&self, wire: &[u8], rtype: RecordType, place: u16) -> Answer<'_> {
        let authority = self.authority(place);
        let Some(zone) = self.zones.get(usize::from(place)) else { return Answer::NotOurs };
        match zone.grammar.read(wire, &zone.origin) {
            Meaning::Same(short) => match self.table.find(short.as_bytes()) {
                Some(entry) => self.kept(&entry, rtype),
                None => self.no_such_name(authority),
            },
            Meaning::Address(address)
                if rtype == RecordType::of(address) || rtype == RecordType::ANY =>
            {
                Answer::Records(RecordSet::spelled(address, zone.node_ttl))
            }
            Meaning::Address(_) | Meaning::Nothing => Answer::NoData(authority),
            Meaning::OnDemand => Answer::OnDemand(authority),
            Meaning::Unknown => self.no_such_name(authority),
        }
    }

    fn no_such_name<'a>(&self, authority: Authority<'a>) -> Answer<'a> {
        match self.synced || authority.is_closed {
            true => Answer::NoSuchName(authority),
            false => Answer::NotSynced(authority),
        }
    }

    fn authority(&self, place: u16) -> Authority<'_> {
        match self.zones.get(usize::from(place)) {
            Some(zone) => Authority {
                soa: zone.soa.body(),
                origin: Some(&zone.origin),
                is_built_in: usize::from(place) >= self.configured,
                is_closed: zone.is_closed,
            },
            None => Authority {
                soa: self.lone_soa.body(),
                origin: None,
                is_built_in: true,
                is_closed: false,
            },
        }
    }

    /// The SOA of the name where a zone begins. Outside every zone only `local` has one.
    pub(super) fn soa(&self, place: u16) -> &Soa {
        self.zones.get(usize::from(place)).map_or(&self.local_soa, |zone| &zone.soa)
    }
}
