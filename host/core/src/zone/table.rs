//! The table of names: one arena of bytes, and a hash index into it.
//!
//! A name costs its bytes, its records' bytes and some twenty more, and lies in one piece, so that
//! a lookup touches the index and one place of the arena.
//!
//! **Invariant:** an offset in the index is the beginning of an entry that [`Table::insert`] wrote.
//! Reading is total all the same: bytes that make no sense are no entry.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{answer::RecordSet, record::RecordType};

/// The zone of a name that belongs to none: other names below it are not ours.
pub(super) const LONE: u16 = u16::MAX;
const HEAD: usize = 13;
const SET_HEAD: usize = 8;

/// Where a name comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Kind {
    /// A record of the configuration.
    Static,
    /// The host of a live router.
    Router,
    /// The instances of a service.
    Service,
    /// The instances of a service that have a tag.
    Tag,
    /// A node.
    Node,
    /// The name of an address.
    Reverse,
    /// The zone itself, or its name server.
    Zone,
    /// Names that every resolver knows: `localhost` (RFC 6761).
    BuiltIn,
    /// Nothing, but there are names below it.
    Implied,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Static,
        Self::Router,
        Self::Service,
        Self::Tag,
        Self::Node,
        Self::Reverse,
        Self::Zone,
        Self::BuiltIn,
        Self::Implied,
    ];

    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Router => "router",
            Self::Service => "service",
            Self::Tag => "tag",
            Self::Node => "node",
            Self::Reverse => "reverse",
            Self::Zone => "zone",
            Self::BuiltIn => "built-in",
            Self::Implied => "implied",
        }
    }
}

/// What is known of a name besides its records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct About {
    /// The index of its zone, or [`LONE`].
    pub(super) zone: u16,
    pub(super) kind: Kind,
    /// Where in the name the label of the service begins.
    pub(super) subject: u8,
    /// How many instances are answered.
    pub(super) usable: u16,
    /// How many instances there are.
    pub(super) total: u16,
}

impl About {
    /// Whether it is the name of a service that has no instance to answer with. Consul says that
    /// such a name does not exist; it is kept to explain that.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Service | Kind::Tag) && self.usable == 0
    }
}

/// The records of one type, to be put into the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) rtype: u16,
    pub(super) count: u16,
    pub(super) bytes: Vec<u8>,
}

impl Set {
    /// Adds a record, unless it is there already or there are too many.
    pub(super) fn push(&mut self, body: &[u8], glue: &[u8]) {
        let (Ok(body_length), Ok(glue_length)) =
            (u16::try_from(body.len()), u16::try_from(glue.len()))
        else {
            return;
        };
        let Some(count) = self.count.checked_add(1) else { return };
        self.count = count;
        self.bytes.extend_from_slice(&body_length.to_be_bytes());
        self.bytes.extend_from_slice(&glue_length.to_be_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(glue);
    }

    pub(super) fn records(&self) -> RecordSet<'_> {
        RecordSet::stored(self.count, &self.bytes)
    }
}

/// All names.
#[derive(Debug, Default)]
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    arena: Vec<u8>,
}

/// One name of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) about: About,
    sets: &'a [u8],
}

impl Table {
    /// Makes room for that many names.
    pub(super) fn with_capacity(names: usize, bytes: usize) -> Self {
        let index = HashTable::with_capacity(names);
        Self { hasher: DefaultHashBuilder::default(), index, arena: Vec::with_capacity(bytes) }
    }

    /// Adds a name in lower case. False: it is there already, or the arena is full (4 GiB).
    pub(super) fn insert(&mut self, name: &[u8], about: About, sets: &[Set]) -> bool {
        let Ok(offset) = u32::try_from(self.arena.len()) else { return false };
        let Ok(name_length) = u8::try_from(name.len()) else { return false };
        if self.find(name).is_some() {
            return false;
        }
        let sets_length: usize = sets.iter().map(|set| SET_HEAD + set.bytes.len()).sum();
        self.arena.push(name_length);
        self.arena.extend_from_slice(&about.zone.to_le_bytes());
        self.arena.extend_from_slice(&[about.kind as u8, about.subject]);
        self.arena.extend_from_slice(&about.usable.to_le_bytes());
        self.arena.extend_from_slice(&about.total.to_le_bytes());
        self.arena.extend_from_slice(&(sets_length as u32).to_le_bytes());
        self.arena.extend_from_slice(name);
        for set in sets {
            self.arena.extend_from_slice(&set.rtype.to_le_bytes());
            self.arena.extend_from_slice(&set.count.to_le_bytes());
            self.arena.extend_from_slice(&(set.bytes.len() as u32).to_le_bytes());
            self.arena.extend_from_slice(&set.bytes);
        }
        let Self { hasher, index, arena } = self;
        let rehash = |offset: &u32| hasher.hash_one(name_at(arena, *offset));
        index.insert_unique(hasher.hash_one(name), offset, rehash);
        true
    }

    /// The entry of a name in lower case.
    pub(super) fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hasher.hash_one(name);
        let offset = self.index.find(hash, |offset| name_at(&self.arena, *offset) == name)?;
        self.entry(*offset as usize)
    }

    /// All entries, in the order in which they were added.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let entry = self.entry(offset)?;
            offset += HEAD + entry.name.len() + entry.sets.len();
            Some(entry)
        })
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.arena.capacity() + self.index.allocation_size()
    }

    /// Gives back the room that was not needed.
    pub(super) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
    }

    fn entry(&self, offset: usize) -> Option<Entry<'_>> {
        let (head, rest) = self.arena.get(offset..)?.split_first_chunk::<HEAD>()?;
        let [name_length, z0, z1, kind, subject, u0, u1, t0, t1, s0, s1, s2, s3] = *head;
        let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
        let sets = rest.get(..u32::from_le_bytes([s0, s1, s2, s3]) as usize)?;
        let about = About {
            zone: u16::from_le_bytes([z0, z1]),
            kind: Kind::ALL.get(usize::from(kind)).copied()?,
            subject,
            usable: u16::from_le_bytes([u0, u1]),
            total: u16::from_le_bytes([t0, t1]),
        };
        Some(Entry { name, about, sets })
    }
}

impl<'a> Entry<'a> {
    /// The records of each type.
    pub(super) fn sets(&self) -> impl Iterator<Item = (RecordType, RecordSet<'a>)> + use<'a> {
        let mut left = self.sets;
        std::iter::from_fn(move || {
            let (&[r0, r1, c0, c1, l0, l1, l2, l3], rest) = left.split_first_chunk::<SET_HEAD>()?;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (bytes, rest) = rest.split_at_checked(length)?;
            left = rest;
            let count = u16::from_le_bytes([c0, c1]);
            Some((RecordType(u16::from_le_bytes([r0, r1])), RecordSet::stored(count, bytes)))
        })
    }
}

fn name_at(arena: &[u8], offset: u32) -> &[u8] {
    let start = offset as usize;
    let length = arena.get(start).copied().map(usize::from).unwrap_or_default();
    arena.get(start + HEAD..start + HEAD + length).unwrap_or_default()
}
