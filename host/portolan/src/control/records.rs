//! DNS records of providers' files, as zones take them.

use std::sync::Arc;

use portolan_core::{
    catalog::{Recorded, Source},
    zone::{LooseRecord, StaticRecord},
};

/// The records of all fragments; `before` itself if they are the same: zones are made anew for
/// others.
pub(super) fn loose(
    sources: &[Arc<Source>],
    ttl: u32,
    before: &Arc<[LooseRecord]>,
) -> Arc<[LooseRecord]> {
    let now: Vec<_> = sources.iter().flat_map(|source| of(source, ttl)).collect();
    if **before == *now { before.clone() } else { now.into() }
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
