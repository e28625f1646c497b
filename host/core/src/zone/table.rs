//! The table of names: arenas of bytes, and a hash index into each.
//!
//! A name costs its bytes, its records' bytes and some thirty more, and lies in one piece, so that
//! a lookup touches an index and one place of its arena. Names are spread over many small arenas by
//! their hash: a copy shares them, and a change makes one of them anew.
//!
//! **Invariant:** an offset in an index is the beginning of an entry that [`Shard::push`] wrote.
//! Reading is total all the same: bytes that make no sense are no entry.

use std::{hash::BuildHasher as _, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{answer::RecordSet, edge::Everywhere, name::Name, record::RecordType};

/// The zone of a name that belongs to none: other names below it are not ours.
pub(super) const LONE: u16 = u16::MAX;
/// How many names an arena has, about, when names were spread.
const USUAL: usize = 32;
/// A change copies as many pointers as there are arenas.
const MOST: usize = 2048;
const HEAD: usize = 13;
const SET_HEAD: usize = 8;
/// Beside the kind in one byte.
const EVERYWHERE: [u8; 2] = [0x80, 0x40];

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
    /// Of the host of a router: where else than its records say it is reached.
    pub(super) everywhere: Everywhere,
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
        self.bytes.reserve(4 + body.len() + glue.len());
        self.bytes.extend_from_slice(&body_length.to_be_bytes());
        self.bytes.extend_from_slice(&glue_length.to_be_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(glue);
    }

    pub(super) fn records(&self) -> RecordSet<'_> {
        RecordSet::stored(self.count, &self.bytes)
    }
}

/// All names. A copy shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    /// As many as a power of two, or none.
    shards: Arc<[Arc<Shard>]>,
    names: usize,
}

/// Some of the names.
#[derive(Debug, Default)]
struct Shard {
    index: HashTable<u32>,
    arena: Box<[u8]>,
}

/// A name as it is kept, encoded.
pub(super) type Encoded = Box<[u8]>;

/// One name of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) about: About,
    sets: &'a [u8],
}

impl Table {
    /// Puts in, replaces or removes names, all of them in lower case, each once.
    pub(super) fn update(&mut self, changes: &[(Name, Option<Encoded>)]) {
        if changes.is_empty() {
            return;
        }
        let wanted = (self.names + changes.len()).div_ceil(USUAL).next_power_of_two().min(MOST);
        if self.shards.len() < wanted || wanted * 8 < self.shards.len() {
            self.cut(wanted);
        }
        let count = self.shards.len();
        let hashes = changes.iter().map(|(name, _)| self.hasher.hash_one(name.as_bytes()));
        let placed = by_place(hashes.collect(), count);
        let shards = Arc::make_mut(&mut self.shards);
        for placed in placed.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((place, ..)) = placed.first() else { continue };
            let Some(shard) = shards.get_mut(*place as usize) else { continue };
            let here = || {
                placed.iter().filter_map(|(_, number, hash)| {
                    let (name, entry) = changes.get(*number as usize)?;
                    Some((*hash, name.as_bytes(), entry.as_deref()))
                })
            };
            let mut entries: Vec<(u64, &[u8])> =
                Vec::with_capacity(shard.index.len() + placed.len());
            for entry in shard.encoded() {
                let name = name_at(entry, 0);
                if here().all(|(_, changed, _)| changed != name) {
                    entries.push((self.hasher.hash_one(name), entry));
                }
            }
            entries.extend(here().filter_map(|(hash, _, entry)| Some((hash, entry?))));
            let fresh = Shard::of(&entries, &self.hasher);
            self.names = (self.names + fresh.index.len()).saturating_sub(shard.index.len());
            *shard = Arc::new(fresh);
        }
    }

    /// Spreads the names over another number of arenas.
    fn cut(&mut self, count: usize) {
        let mut spread: Vec<Vec<(u64, &[u8])>> = vec![Vec::new(); count];
        for entry in self.shards.iter().flat_map(|it| it.encoded()) {
            let hash = self.hasher.hash_one(name_at(entry, 0));
            if let Some(entries) = spread.get_mut(place(hash, count)) {
                entries.push((hash, entry));
            }
        }
        let shards = spread.iter().map(|entries| match entries.is_empty() {
            true => Arc::default(),
            false => Arc::new(Shard::of(entries, &self.hasher)),
        });
        self.shards = shards.collect();
    }

    /// The entry of a name in lower case.
    pub(super) fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shards.get(place(hash, self.shards.len()))?;
        let offset = shard.index.find(hash, |offset| name_at(&shard.arena, *offset) == name)?;
        shard.entry(*offset as usize)
    }

    /// The entry of a name in lower case, as it is kept.
    pub(super) fn encoded(&self, name: &[u8]) -> Option<&[u8]> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shards.get(place(hash, self.shards.len()))?;
        let offset = *shard.index.find(hash, |offset| name_at(&shard.arena, *offset) == name)?;
        let start = offset as usize;
        shard.arena.get(start..start + shard.entry(start)?.length())
    }

    /// All entries, in no order that means anything.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.shards.iter().flat_map(|shard| {
            let mut offset = 0;
            std::iter::from_fn(move || {
                let entry = shard.entry(offset)?;
                offset += entry.length();
                Some(entry)
            })
        })
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let head = size_of::<Shard>() + 3 * size_of::<usize>();
        self.shards.iter().map(|it| head + it.arena.len() + it.index.allocation_size()).sum()
    }
}

/// An index looks at the lowest and at the highest bits of a hash: these are between.
fn place(hash: u64, count: usize) -> usize {
    (hash >> 32) as usize & count.wrapping_sub(1)
}

/// Hashes with their numbers, sorted by their places. There are few places: they are counted.
fn by_place(hashes: Vec<u64>, count: usize) -> Vec<(u32, u32, u64)> {
    let numbered =
        (0..).zip(hashes).map(|(number, hash)| (place(hash, count) as u32, number, hash));
    let mut placed: Vec<_> = numbered.collect();
    if placed.len() < count {
        placed.sort_unstable();
        return placed;
    }
    let mut ends = vec![0; count];
    for (place, ..) in &placed {
        ends[*place as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    let mut sorted = vec![(0, 0, 0); placed.len()];
    for entry in placed {
        let end = &mut ends[entry.0 as usize];
        *end -= 1;
        sorted[*end] = entry;
    }
    sorted
}

/// A name with its records, as it is kept. `None`: it is too long.
pub(super) fn encode(name: &Name, about: About, sets: &[Set]) -> Option<Encoded> {
    let name = name.as_bytes();
    let sets_length: usize = sets.iter().map(|set| SET_HEAD + set.bytes.len()).sum();
    let mut entry = Vec::with_capacity(HEAD + name.len() + sets_length);
    entry.push(u8::try_from(name.len()).ok()?);
    entry.extend_from_slice(&about.zone.to_le_bytes());
    let Everywhere { v4, v6 } = about.everywhere;
    let everywhere = EVERYWHERE.iter().zip([v4, v6]).filter(|(_, is_set)| *is_set);
    let kind = everywhere.fold(about.kind as u8, |byte, (bit, _)| byte | bit);
    entry.extend_from_slice(&[kind, about.subject]);
    entry.extend_from_slice(&about.usable.to_le_bytes());
    entry.extend_from_slice(&about.total.to_le_bytes());
    entry.extend_from_slice(&u32::try_from(sets_length).ok()?.to_le_bytes());
    entry.extend_from_slice(name);
    for set in sets {
        entry.extend_from_slice(&set.rtype.to_le_bytes());
        entry.extend_from_slice(&set.count.to_le_bytes());
        entry.extend_from_slice(&(set.bytes.len() as u32).to_le_bytes());
        entry.extend_from_slice(&set.bytes);
    }
    Some(entry.into())
}

impl Shard {
    /// Takes encoded entries over; each name stands once. What would go beyond 4 GiB is left out.
    fn of(entries: &[(u64, &[u8])], hasher: &DefaultHashBuilder) -> Self {
        let mut arena = Vec::with_capacity(entries.iter().map(|(_, entry)| entry.len()).sum());
        let mut index = HashTable::with_capacity(entries.len());
        for (hash, entry) in entries {
            let Ok(offset) = u32::try_from(arena.len()) else { break };
            arena.extend_from_slice(entry);
            let rehash = |offset: &u32| hasher.hash_one(name_at(&arena, *offset));
            index.insert_unique(*hash, offset, rehash);
        }
        Self { index, arena: arena.into() }
    }

    /// Every entry as it is kept.
    fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = &*self.arena;
        std::iter::from_fn(move || {
            let (entry, rest) = left.split_at_checked(entry_at(left, 0)?.length())?;
            left = rest;
            Some(entry)
        })
    }

    fn entry(&self, offset: usize) -> Option<Entry<'_>> {
        entry_at(&self.arena, offset)
    }
}

fn entry_at(arena: &[u8], offset: usize) -> Option<Entry<'_>> {
    let (head, rest) = arena.get(offset..)?.split_first_chunk::<HEAD>()?;
    let [name_length, z0, z1, kind, subject, u0, u1, t0, t1, s0, s1, s2, s3] = *head;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let sets = rest.get(..u32::from_le_bytes([s0, s1, s2, s3]) as usize)?;
    let about = About {
        zone: u16::from_le_bytes([z0, z1]),
        kind: Kind::ALL.get(usize::from(kind & !(EVERYWHERE[0] | EVERYWHERE[1]))).copied()?,
        subject,
        usable: u16::from_le_bytes([u0, u1]),
        total: u16::from_le_bytes([t0, t1]),
        everywhere: Everywhere { v4: kind & EVERYWHERE[0] != 0, v6: kind & EVERYWHERE[1] != 0 },
    };
    Some(Entry { name, about, sets })
}

impl<'a> Entry<'a> {
    /// How many bytes it takes in its arena.
    fn length(&self) -> usize {
        HEAD + self.name.len() + self.sets.len()
    }

    /// The records of each type, to go on with.
    pub(super) fn drafts(&self) -> impl Iterator<Item = Set> + use<'a> {
        self.raw().map(|(rtype, count, bytes)| Set { rtype: rtype.0, count, bytes: bytes.to_vec() })
    }

    /// The records of each type.
    pub(super) fn sets(&self) -> impl Iterator<Item = (RecordType, RecordSet<'a>)> + use<'a> {
        self.raw().map(|(rtype, count, bytes)| (rtype, RecordSet::stored(count, bytes)))
    }

    /// Type, number and bytes of each.
    fn raw(&self) -> impl Iterator<Item = (RecordType, u16, &'a [u8])> + use<'a> {
        let mut left = self.sets;
        std::iter::from_fn(move || {
            let (&[r0, r1, c0, c1, l0, l1, l2, l3], rest) = left.split_first_chunk::<SET_HEAD>()?;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (bytes, rest) = rest.split_at_checked(length)?;
            left = rest;
            let count = u16::from_le_bytes([c0, c1]);
            Some((RecordType(u16::from_le_bytes([r0, r1])), count, bytes))
        })
    }
}

fn name_at(arena: &[u8], offset: u32) -> &[u8] {
    let start = offset as usize;
    let length = arena.get(start).copied().map(usize::from).unwrap_or_default();
    arena.get(start + HEAD..start + HEAD + length).unwrap_or_default()
}
