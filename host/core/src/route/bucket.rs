//! The routers that share a host, found by path where they are many.
//!
//! **Invariant:** every list of entries is sorted by rank, so that a search can end at the first
//! entry that is true, or that comes after the best one so far.

use hashbrown::HashMap;

use crate::rule::{Facts, PathPattern, Predicate};

/// The rank of no router.
pub(super) const NONE: u32 = u32::MAX;

/// Up to this many routers, trying each is faster than finding out which.
const FEW: usize = 8;

/// A router, and what is left to find out about a request that came this far.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) rank: u32,
    pub(super) condition: Predicate,
}

/// The routers that share a host.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Those that are tried whatever the path.
    open: Entries,
    by_path: Option<Box<ByPath>>,
}

/// Entries, sorted by rank. Most hosts have one router, and one is found without going elsewhere.
#[derive(Debug)]
enum Entries {
    One(Entry),
    Many(Vec<Entry>),
}

/// Entries by the paths that they demand.
#[derive(Debug, Default)]
struct ByPath {
    exact: HashMap<Box<str>, Entries>,
    prefixes: HashMap<Box<str>, Entries>,
    /// The lengths that prefixes have, each once, in ascending order. There are few, however many
    /// prefixes there are, so looking for a prefix of each length is cheap.
    lengths: Vec<usize>,
}

impl Bucket {
    /// Takes entries that are sorted by rank.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        if entries.len() <= FEW {
            return Self { open: entries.into(), by_path: None };
        }
        let mut open = Vec::new();
        let mut exact: HashMap<String, Vec<Entry>> = HashMap::new();
        let mut prefixes: HashMap<String, Vec<Entry>> = HashMap::new();
        for entry in entries {
            let paths = entry.condition.paths();
            if paths.open {
                open.push(entry);
                continue;
            }
            for pattern in paths.patterns {
                let (index, path) = match pattern {
                    PathPattern::Exact(path) => (&mut exact, path),
                    PathPattern::Prefix(path) => (&mut prefixes, path),
                };
                index.entry(path).or_default().push(entry.clone());
            }
        }
        Self { open: open.into(), by_path: Some(Box::new(ByPath::new(exact, prefixes))) }
    }

    /// The least rank, below `best`, of an entry that is true; else `best`.
    pub(super) fn search(&self, facts: &Facts<'_>, best: u32) -> u32 {
        let best = self.open.search(facts, best);
        match &self.by_path {
            Some(by_path) => by_path.search(facts, best),
            None => best,
        }
    }
}

impl ByPath {
    fn new(exact: HashMap<String, Vec<Entry>>, prefixes: HashMap<String, Vec<Entry>>) -> Self {
        let mut lengths: Vec<usize> = prefixes.keys().map(String::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let finished = |index: HashMap<String, Vec<Entry>>| {
            index.into_iter().map(|(path, entries)| (path.into(), entries.into())).collect()
        };
        Self { exact: finished(exact), prefixes: finished(prefixes), lengths }
    }

    fn search(&self, facts: &Facts<'_>, best: u32) -> u32 {
        let exact = self.exact.get(facts.path);
        let heads = self.lengths.iter().map_while(|length| facts.path.as_bytes().get(..*length));
        // A cut within a character is no prefix of anything.
        let heads = heads.filter_map(|head| facts.path.get(..head.len()));
        let prefixes = heads.filter_map(|head| self.prefixes.get(head));
        exact.into_iter().chain(prefixes).fold(best, |best, entries| entries.search(facts, best))
    }
}

impl Entries {
    fn search(&self, facts: &Facts<'_>, best: u32) -> u32 {
        let entries = match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        };
        entries
            .iter()
            .take_while(|entry| entry.rank < best)
            .find(|entry| entry.condition.holds(facts))
            .map_or(best, |entry| entry.rank)
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(mut entries: Vec<Entry>) -> Self {
        match entries.pop() {
            Some(entry) if entries.is_empty() => Self::One(entry),
            last => {
                entries.extend(last);
                Self::Many(entries)
            }
        }
    }
}
