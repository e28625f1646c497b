//! A map from text that is changed in place though others read an older version of it.
//!
//! It is cut into small tables by hash. A copy shares them; a change copies one. A lookup pays one
//! step more than in one table, which lies in the cache.
//!
//! **Invariant:** an entry lies in the table that its hash says.

use std::{fmt, hash::BuildHasher as _, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};

/// How many entries a table has, about, when the map was cut.
const USUAL: usize = 16;
/// A change of the map copies as many pointers as there are tables.
const MOST: usize = 2048;

type Table<V> = HashTable<(Box<str>, V)>;

#[derive(Clone)]
pub(super) struct Shards<V> {
    hasher: DefaultHashBuilder,
    /// As many as a power of two, or none.
    tables: Arc<[Arc<Table<V>>]>,
    length: usize,
}

impl<V: Clone> Shards<V> {
    /// What stands under a text.
    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let hash = self.hasher.hash_one(key);
        let table = self.tables.get(place(hash, self.tables.len()))?;
        table.find(hash, |(known, _)| **known == *key).map(|(_, value)| value)
    }

    /// Changes what stands under a text. What is empty afterwards is gone.
    pub(super) fn change(&mut self, key: &str, change: impl FnOnce(&mut V))
    where
        V: Default + Vacant,
    {
        let hash = self.hasher.hash_one(key);
        if self.tables.is_empty() {
            self.tables = [Arc::default()].into();
        }
        let at = place(hash, self.tables.len());
        let hasher = &self.hasher;
        let Some(table) = Arc::make_mut(&mut self.tables).get_mut(at) else { return };
        let table = Arc::make_mut(table);
        let rehash = |(key, _): &(Box<str>, V)| hasher.hash_one(&**key);
        match table.entry(hash, |(known, _)| **known == *key, rehash) {
            hashbrown::hash_table::Entry::Occupied(mut there) => {
                change(&mut there.get_mut().1);
                if there.get().1.is_vacant() {
                    there.remove();
                    self.length -= 1;
                }
            }
            hashbrown::hash_table::Entry::Vacant(free) => {
                let mut value = V::default();
                change(&mut value);
                if !value.is_vacant() {
                    free.insert((key.into(), value));
                    self.length += 1;
                }
            }
        }
        self.fit();
    }

    /// So many entries may come at once.
    pub(super) fn make_room(&mut self, entries: usize) {
        let wanted = (entries / USUAL).next_power_of_two().min(MOST);
        if wanted > self.tables.len() * 2 {
            self.cut(wanted, entries);
        }
    }

    /// Cuts the map anew when its tables have become long, or are hardly used.
    fn fit(&mut self) {
        let wanted = (self.length / USUAL).next_power_of_two().min(MOST);
        let count = self.tables.len();
        if wanted > count * 2 || wanted * 8 < count {
            self.cut(wanted, self.length);
        }
    }

    /// Cuts the map into so many tables, which so many entries shall fit into, nearly.
    fn cut(&mut self, count: usize, entries: usize) {
        let each = entries / count * 7 / 8;
        let mut tables: Vec<_> = (0..count).map(|_| Table::with_capacity(each)).collect();
        for table in Arc::make_mut(&mut self.tables) {
            for entry in Arc::unwrap_or_clone(std::mem::take(table)) {
                let hash = self.hasher.hash_one(&*entry.0);
                if let Some(table) = tables.get_mut(place(hash, count)) {
                    let rehash = |(key, _): &(Box<str>, V)| self.hasher.hash_one(&**key);
                    table.insert_unique(hash, entry, rehash);
                }
            }
        }
        self.tables = tables.into_iter().map(Arc::new).collect();
    }
}

impl<V> Shards<V> {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes of memory the tables take, without what their values point to.
    pub(super) fn bytes(&self) -> usize {
        let keys = |table: &Table<V>| table.iter().map(|(key, _)| key.len()).sum::<usize>();
        let head = size_of::<Table<V>>() + size_of::<usize>() * 3;
        self.tables.iter().map(|it| head + it.allocation_size() + keys(it)).sum()
    }
}

/// What can be empty.
pub(super) trait Vacant {
    /// Whether there is nothing in it.
    fn is_vacant(&self) -> bool;
}

/// The tables look at the lowest and at the highest bits of a hash: these are between.
fn place(hash: u64, count: usize) -> usize {
    (hash >> 32) as usize & count.wrapping_sub(1)
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { hasher: DefaultHashBuilder::default(), tables: Arc::default(), length: 0 }
    }
}

impl<V> fmt::Debug for Shards<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, tables, .. } = self;
        write!(f, "{length} entries in {} tables", tables.len())
    }
}
