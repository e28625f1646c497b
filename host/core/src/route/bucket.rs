//! The routers that share a host, found by path where they are many.
//!
//! **Invariant:** every list of entries is sorted by precedence, so that a search can end at the
//! first entry that is true, or that comes after the best one so far.

use std::sync::Arc;

use super::{
    order::Precedence,
    shards::{Shards, Vacant},
};
use crate::{
    router::Router,
    rule::{Facts, Methods, PathPattern, Predicate},
};

/// Up to this many routers, trying each is faster than finding out which.
const FEW: usize = 8;

/// A router, and what is left to find out about a request that came this far.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) precedence: Arc<Precedence>,
    /// Of any other method it is not for.
    pub(super) methods: Methods,
    pub(super) condition: Predicate,
    pub(super) router: Arc<Router>,
}

/// The routers that share a host. A copy shares those that are found by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// Those that are tried whatever the path.
    open: Entries,
    by_path: Option<Arc<ByPath>>,
}

/// Entries, sorted by precedence. Most hosts have one router, and one is found without going
/// elsewhere.
#[derive(Clone, Debug)]
enum Entries {
    One(Entry),
    Many(Vec<Entry>),
}

/// Entries by the paths that they demand.
#[derive(Clone, Debug, Default)]
struct ByPath {
    exact: Shards<Entries>,
    prefixes: Shards<Entries>,
    /// The lengths that prefixes have, in ascending order, with how many have each. There are few,
    /// however many prefixes there are, so looking for a prefix of each length is cheap.
    lengths: Vec<(usize, usize)>,
}

impl Bucket {
    pub(super) fn insert(&mut self, entry: Entry) {
        if self.by_path.is_none() && self.open.as_slice().len() < FEW {
            self.open.insert(entry);
            return;
        }
        let by_path = Arc::make_mut(self.by_path.get_or_insert_default());
        let mut entries = vec![entry];
        if by_path.is_empty() && self.open.as_slice().len() == FEW {
            entries.extend(std::mem::take(&mut self.open).into_vec());
        }
        for entry in entries {
            let paths = entry.condition.paths();
            match paths.open {
                true => self.open.insert(entry),
                false => paths.patterns.iter().for_each(|path| by_path.insert(path, &entry)),
            }
        }
    }

    /// Removes the entry of this precedence, which has this condition.
    pub(super) fn remove(&mut self, precedence: &Precedence, condition: &Predicate) {
        let is_open = self.open.remove(precedence);
        let Some(by_path) = &mut self.by_path else { return };
        if !is_open {
            let by_path = Arc::make_mut(by_path);
            condition.paths().patterns.iter().for_each(|path| by_path.remove(path, precedence));
        }
        if by_path.is_empty() {
            self.by_path = None;
        }
    }

    /// The first entry that is true, if it comes before `best`; else `best`.
    pub(super) fn search<'a>(
        &'a self,
        facts: &Facts<'_>,
        best: Option<&'a Entry>,
    ) -> Option<&'a Entry> {
        let best = self.open.search(facts, best);
        match &self.by_path {
            Some(by_path) => by_path.search(facts, best),
            None => best,
        }
    }

    /// About how many bytes it takes besides its own.
    pub(super) fn bytes(&self) -> usize {
        let by_path = self.by_path.as_ref().map_or(0, |it| it.exact.bytes() + it.prefixes.bytes());
        by_path + size_of_val(self.open.as_slice())
    }
}

impl ByPath {
    fn insert(&mut self, path: &PathPattern, entry: &Entry) {
        match path {
            PathPattern::Exact(path) => self.exact.change(path, |it| it.insert(entry.clone())),
            PathPattern::Prefix(path) => {
                let mut is_new = false;
                self.prefixes.change(path, |entries| {
                    is_new = entries.is_vacant();
                    entries.insert(entry.clone());
                });
                if is_new {
                    match self.lengths.binary_search_by_key(&path.len(), |(length, _)| *length) {
                        Ok(place) => self.lengths[place].1 += 1,
                        Err(place) => self.lengths.insert(place, (path.len(), 1)),
                    }
                }
            }
        }
    }

    fn remove(&mut self, path: &PathPattern, precedence: &Precedence) {
        match path {
            PathPattern::Exact(path) => self.exact.change(path, |it| {
                it.remove(precedence);
            }),
            PathPattern::Prefix(path) => {
                let mut is_gone = false;
                self.prefixes.change(path, |entries| {
                    is_gone = entries.remove(precedence) && entries.is_vacant();
                });
                let of_length = self.lengths.binary_search_by_key(&path.len(), |(it, _)| *it);
                if let (true, Ok(place)) = (is_gone, of_length) {
                    self.lengths[place].1 -= 1;
                    if self.lengths[place].1 == 0 {
                        self.lengths.remove(place);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    fn search<'a>(&'a self, facts: &Facts<'_>, best: Option<&'a Entry>) -> Option<&'a Entry> {
        let exact = self.exact.get(facts.path);
        let path = facts.path.as_bytes();
        let heads = self.lengths.iter().map_while(|(length, _)| path.get(..*length));
        // A cut within a character is no prefix of anything.
        let heads = heads.filter_map(|head| facts.path.get(..head.len()));
        let prefixes = heads.filter_map(|head| self.prefixes.get(head));
        exact.into_iter().chain(prefixes).fold(best, |best, entries| entries.search(facts, best))
    }
}

impl Entries {
    fn as_slice(&self) -> &[Entry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    fn into_vec(self) -> Vec<Entry> {
        match self {
            Self::One(entry) => vec![entry],
            Self::Many(entries) => entries,
        }
    }

    fn insert(&mut self, entry: Entry) {
        let mut entries = std::mem::take(self).into_vec();
        let place = entries.partition_point(|it| it.precedence < entry.precedence);
        entries.insert(place, entry);
        *self = entries.into();
    }

    /// Answers whether the entry was there.
    fn remove(&mut self, precedence: &Precedence) -> bool {
        let found = self.as_slice().binary_search_by(|it| (*it.precedence).cmp(precedence));
        if let Ok(place) = found {
            let mut entries = std::mem::take(self).into_vec();
            entries.remove(place);
            *self = entries.into();
        }
        found.is_ok()
    }

    #[inline]
    fn search<'a>(&'a self, facts: &Facts<'_>, best: Option<&'a Entry>) -> Option<&'a Entry> {
        let is_better = |entry: &&Entry| match best {
            Some(best) => entry.precedence < best.precedence,
            None => true,
        };
        let better = self.as_slice().iter().take_while(is_better);
        let is_true =
            |entry: &&Entry| entry.methods.meet(facts.methods) && entry.condition.holds(facts);
        better.into_iter().find(is_true).or(best)
    }
}

impl Vacant for Entries {
    fn is_vacant(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Vacant for Bucket {
    fn is_vacant(&self) -> bool {
        self.open.is_vacant() && self.by_path.is_none()
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
