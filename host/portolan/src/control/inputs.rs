//! What a snapshot is made of, and what it says of `config.toml`.

use std::sync::Arc;

use portolan_core::{
    assemble::{CONFIG, Entrypoint, Inputs},
    catalog::Source,
    item::{Fragment, Item, Update},
    problem::Problem,
    zone::{DnsConfig, HostEntry},
};

use super::{files::ContentFiles, plugins::Plugins, records::Said};
use crate::config::{Config, Place, Report, edge::Whereabouts};

/// Everything that a snapshot is made of.
pub(super) fn inputs(
    config: &Config,
    here: Whereabouts,
    (hosts, said): (Arc<[HostEntry]>, Said),
    sources: Vec<Arc<Source>>,
    (plugins, files): (&Plugins, Arc<ContentFiles>),
) -> Inputs {
    let entrypoints = config.entrypoints.iter().map(|entrypoint| Entrypoint {
        name: entrypoint.name.as_str().into(),
        tls: entrypoint.tls.is_some(),
        takes_plain: entrypoint.takes_plain,
        is_default: entrypoint.is_default,
        redirected: entrypoint.redirected(),
        middlewares: entrypoint.middlewares.clone(),
    });
    let dns = config.dns.as_ref().map(|dns| DnsConfig {
        edges: here.edges,
        server_addresses: here.servers,
        zones: dns.zones.clone(),
        records: said.records,
        hosts,
        hosts_ttl: dns.ttl,
        router_ttl: dns.router_ttl,
        datacenters: said.datacenters,
        suffixes: dns.suffixes.iter().map(|(name, all)| (name.clone(), !all.is_empty())).collect(),
        forwards_private: !dns.filter.bogus_priv,
    });
    Inputs {
        entrypoints: entrypoints.collect(),
        rule_priority: config.rule_priority,
        default_transport: config.default_transport.clone(),
        dns: dns.unwrap_or_default(),
        sources,
        matchers: plugins.matchers(),
        middlewares: plugins.middlewares(),
        files: Some(files),
    }
}

/// Adds what the catalog found in `config.toml` to the report of the file.
pub(crate) fn blame<'a>(report: &mut Report, problems: impl Iterator<Item = &'a Problem>) {
    for problem in problems.filter(|problem| problem.source == CONFIG) {
        let pointer = problem.path.clone();
        report.add(Place::Pointer(&pointer), problem.clone());
    }
}

/// `[http]` as a source like any other.
pub(super) fn config_source(config: &Config, name: &str) -> Source {
    let mut source = Source::new(CONFIG, CONFIG);
    let fragment =
        Fragment { origin: name.to_owned(), config: serde_json::json!({ "http": config.http }) };
    let snapshot = Update::Snapshot(vec![Item::Fragment(Arc::new(fragment))]);
    // One item fits into any bound.
    if let Err(error) = source.apply(snapshot, Vec::new()) {
        tracing::error!(%error, "configuration refused by the catalog");
    }
    source
}
