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
    open: Vec<Entry>,
    by_path: Option<Box<ByPath>>,
}

#[derive(Debug, Default)]
struct ByPath {
    exact: HashMap<Box<str>, Vec<Entry>>,
    prefixes: Prefixes,
}

/// Prefixes in lexical order, each with the place of the longest other one that it starts with.
#[derive(Debug, Default)]
struct Prefixes(Vec<Prefix>);

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    parent: Option<u32>,
    entries: Vec<Entry>,
}

impl Bucket {
    /// Takes entries that are sorted by rank.
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        if entries.len() <= FEW {
            return Self { open: entries, by_path: None };
        }
        let mut open = Vec::new();
        let mut exact: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut prefixes: HashMap<String, Vec<Entry>> = HashMap::new();
        for entry in entries {
            let paths = entry.condition.paths();
            if paths.open {
                open.push(entry);
                continue;
            }
            for pattern in paths.patterns {
                match pattern {
                    PathPattern::Exact(path) => {
                        exact.entry(path.into()).or_default().push(entry.clone());
                    }
                    PathPattern::Prefix(path) => {
                        prefixes.entry(path).or_default().push(entry.clone());
                    }
                }
            }
        }
        let by_path = ByPath { exact, prefixes: Prefixes::new(prefixes) };
        Self { open, by_path: Some(Box::new(by_path)) }
    }

    /// The least rank, below `best`, of an entry that is true; else `best`.
    pub(super) fn search(&self, facts: &Facts<'_>, best: u32) -> u32 {
        let mut best = first(&self.open, facts, best);
        let Some(by_path) = &self.by_path else { return best };
        if let Some(entries) = by_path.exact.get(facts.path) {
            best = first(entries, facts, best);
        }
        for entries in by_path.prefixes.of(facts.path) {
            best = first(entries, facts, best);
        }
        best
    }
}

impl Prefixes {
    fn new(prefixes: HashMap<String, Vec<Entry>>) -> Self {
        let mut sorted: Vec<_> = prefixes.into_iter().collect();
        sorted.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        let mut all: Vec<Prefix> = Vec::with_capacity(sorted.len());
        for (text, entries) in sorted {
            // In lexical order, what a text starts with stands before it, and the longest such
            // is the one before it or an ancestor of that.
            let last = u32::try_from(all.len()).ok().and_then(|length| length.checked_sub(1));
            let parent = longest(&all, last, &text);
            all.push(Prefix { text: text.into(), parent, entries });
        }
        Self(all)
    }

    /// The entries of every prefix of a path, the longest first.
    fn of<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a [Entry]> {
        let after = self.0.partition_point(|prefix| &*prefix.text <= path);
        let last = u32::try_from(after).ok().and_then(|after| after.checked_sub(1));
        let get = |place: u32| self.0.get(place as usize);
        let fitting = longest(&self.0, last, path).and_then(get);
        std::iter::successors(fitting, move |prefix| prefix.parent.and_then(get))
            .map(|prefix| &*prefix.entries)
    }
}

/// The first of a prefix and its ancestors that a text starts with.
fn longest(prefixes: &[Prefix], from: Option<u32>, text: &str) -> Option<u32> {
    let mut place = from;
    while let Some(prefix) = place.and_then(|place| prefixes.get(place as usize)) {
        if text.starts_with(&*prefix.text) {
            return place;
        }
        place = prefix.parent;
    }
    None
}

fn first(entries: &[Entry], facts: &Facts<'_>, best: u32) -> u32 {
    entries
        .iter()
        .take_while(|entry| entry.rank < best)
        .find(|entry| entry.condition.holds(facts))
        .map_or(best, |entry| entry.rank)
}
