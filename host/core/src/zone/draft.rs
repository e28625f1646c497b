//! Names while their records are gathered: who may claim one, and which names lie between.
//!
//! **Invariant:** names are drafted from the highest claim to the lowest (static records, router
//! hosts, the catalog, what is built in), and a name that has an owner keeps it.

use std::iter;

use hashbrown::{HashMap, hash_map::Entry};

use super::{
    edge::Everywhere,
    name::Name,
    record::{self, RecordType},
    table::{self, About, Kind, LONE, Set, Table},
};

/// All names while they are gathered.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    origins: HashMap<Name, u16>,
    index: HashMap<Name, usize>,
    drafts: Vec<Draft>,
}

/// One name while its records are gathered.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    name: Name,
    pub(super) about: About,
    sets: Vec<Set>,
}

impl Draft {
    /// A name without records.
    pub(super) fn new(name: Name, zone: u16, kind: Kind) -> Self {
        let everywhere = Everywhere::default();
        let about = About { zone, kind, subject: 0, usable: 0, total: 0, everywhere };
        Self { name, about, sets: Vec::new() }
    }

    /// Claims the name: to go on with it when its owner is of the same kind, else only when nobody
    /// owns it.
    pub(super) fn claim(&mut self, kind: Kind) -> Option<&mut Self> {
        if self.about.kind == Kind::Implied {
            self.about.kind = kind;
        }
        (self.about.kind == kind).then_some(self)
    }

    /// Notes that it is the origin of a zone. Its SOA changes with every snapshot, so only its place
    /// is kept.
    pub(super) fn push_soa(&mut self) {
        let soa = Set { rtype: RecordType::SOA.0, ..Set::default() };
        self.sets.push(soa);
    }

    /// A name as it was kept.
    pub(super) fn decode(name: Name, entry: &table::Entry<'_>) -> Self {
        Self { name, about: entry.about, sets: entry.drafts().collect() }
    }

    /// As it is kept.
    pub(super) fn encode(&self) -> Option<Box<[u8]>> {
        table::encode(&self.name, self.about, &self.sets)
    }

    /// In lower case.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it has no records.
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Adds a record.
    pub(super) fn push(&mut self, body: &[u8]) {
        self.push_with_glue(body, &[]);
    }

    /// Adds a record, unless it is there already, and the addresses of its target.
    pub(super) fn push_with_glue(&mut self, body: &[u8], glue: &[u8]) {
        let rtype = record::body_type(body);
        if !self.set(rtype).is_some_and(|set| holds(set, body)) {
            self.push_new(body, glue);
        }
    }

    /// Adds a record that is known not to be there: sets of thousands are not searched each time.
    pub(super) fn push_new(&mut self, body: &[u8], glue: &[u8]) {
        let rtype = record::body_type(body);
        let place = self.sets.iter().position(|set| set.rtype == rtype.0);
        let place = place.unwrap_or_else(|| {
            self.sets.push(Set { rtype: rtype.0, ..Set::default() });
            self.sets.len() - 1
        });
        if let Some(set) = self.sets.get_mut(place) {
            set.push(body, glue);
        }
    }

    /// The records of a type.
    pub(super) fn set(&self, rtype: RecordType) -> Option<&Set> {
        self.sets.iter().find(|set| set.rtype == rtype.0)
    }

    /// Whether it has a record that is not of this type.
    pub(super) fn has_other_than(&self, rtype: RecordType) -> bool {
        self.sets.iter().any(|set| set.rtype != rtype.0)
    }
}

fn holds(set: &Set, body: &[u8]) -> bool {
    set.records().in_order().any(|record| record.body == body)
}

impl Drafts {
    /// Adds a zone. False: there is one of this name.
    pub(super) fn add_zone(&mut self, origin: &Name, zone: u16) -> bool {
        match self.origins.entry(origin.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(zone);
                true
            }
        }
    }

    /// The zone with the longest origin that a name lies in, or [`LONE`].
    pub(super) fn zone_of(&self, name: &Name) -> u16 {
        let mut suffixes = iter::once(name.as_bytes()).chain(name.ancestors());
        suffixes.find_map(|suffix| self.origins.get(suffix).copied()).unwrap_or(LONE)
    }

    /// Claims a name: to go on with it when its owner is of the same kind, else only when nobody
    /// owns it.
    pub(super) fn claim(&mut self, name: &Name, kind: Kind) -> Option<&mut Draft> {
        let place = match self.index.get(name) {
            Some(place) => *place,
            None => self.add(name.clone(), self.zone_of(name), kind),
        };
        self.drafts.get_mut(place)?.claim(kind)
    }

    /// The draft of a name.
    pub(super) fn find(&self, name: &Name) -> Option<&Draft> {
        self.index.get(name).and_then(|place| self.drafts.get(*place))
    }

    /// Makes sure that a name exists, be it without records.
    pub(super) fn imply(&mut self, name: &Name) {
        match self.index.get(name) {
            Some(place) => self.exists(*place),
            None => {
                let zone = self.zone_of(name);
                self.add(name.clone(), zone, Kind::Implied);
            }
        }
    }

    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.drafts.iter().map(Draft::name)
    }

    /// All that was gathered, as it is kept.
    pub(super) fn into_table(self) -> Table {
        let Self { origins: _, index, drafts } = self;
        drop(index);
        let encoded = drafts.into_iter().map(|draft| (draft.name().clone(), draft.encode()));
        let mut table = Table::default();
        table.update(&encoded.collect::<Vec<_>>());
        table
    }

    /// Adds a name, and within a zone the names between it and the origin (RFC 8020: a name below
    /// which there are names exists).
    fn add(&mut self, name: Name, zone: u16, kind: Kind) -> usize {
        if zone != LONE && !self.origins.contains_key(&name) {
            for between in name.ancestors() {
                if self.origins.contains_key(between) {
                    break;
                }
                if let Some(place) = self.index.get(between) {
                    self.exists(*place);
                    break;
                }
                self.place(Name::of_wire(between), zone, Kind::Implied);
            }
        }
        self.place(name, zone, kind)
    }

    /// There is something below a name: it is no longer absent.
    fn exists(&mut self, place: usize) {
        if let Some(draft) = self.drafts.get_mut(place)
            && draft.about.is_absent()
        {
            draft.about.kind = Kind::Implied;
        }
    }

    fn place(&mut self, name: Name, zone: u16, kind: Kind) -> usize {
        let place = self.drafts.len();
        self.index.insert(name.clone(), place);
        self.drafts.push(Draft::new(name, zone, kind));
        place
    }
}
