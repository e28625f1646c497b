//! What providers' fragments say of DNS, as zones take it.

use std::{collections::BTreeSet, sync::Arc};

use portolan_core::{
    catalog::{Recorded, Source},
    zone::{LooseRecord, StaticRecord},
};

/// What all fragments say.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Records with whole names.
    pub(super) records: Arc<[LooseRecord]>,
    /// Datacenters that there are.
    pub(super) datacenters: Arc<[String]>,
}

impl Said {
    /// What they say now; what is the same is shared with this: zones are made anew for others.
    pub(super) fn follow(&self, sources: &[Arc<Source>], ttl: u32) -> Self {
        Self {
            records: loose(sources, ttl, &self.records),
            datacenters: datacenters(sources, &self.datacenters),
        }
    }
}

/// The records of all fragments; `before` itself if they are the same.
fn loose(sources: &[Arc<Source>], ttl: u32, before: &Arc<[LooseRecord]>) -> Arc<[LooseRecord]> {
    let now: Vec<_> = sources.iter().flat_map(|source| of(source, ttl)).collect();
    if **before == *now { before.clone() } else { now.into() }
}

/// The datacenters that fragments name, each once.
fn datacenters(sources: &[Arc<Source>], before: &Arc<[String]>) -> Arc<[String]> {
    let fragments = sources.iter().flat_map(|source| source.fragments.values());
    let now: BTreeSet<_> = fragments.flat_map(|parsed| parsed.datacenters.iter()).collect();
    match before.iter().eq(now.iter().copied()) {
        true => before.clone(),
        false => now.into_iter().cloned().collect(),
    }
}

fn of(source: &Source, ttl: u32) -> impl Iterator<Item = LooseRecord> {
    source.fragments.iter().flat_map(move |(origin, parsed)| {
        parsed.records.iter().map(move |recorded| {
            let Recorded { name, rtype, data, path, .. } = recorded.clone();
            LooseRecord {
                record: StaticRecord { name, rtype, data, ttl: recorded.ttl.unwrap_or(ttl) },
                provider: source.provider.to_string(),
                origin: origin.clone(),
                path,
            }
        })
    })
}
