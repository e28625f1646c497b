//! The next snapshot, from everything that is known now.
//!
//! **Invariant:** what did not change keeps its identity from one snapshot to the next: bindings
//! (and so warm guests), balancers, figures. What is wrong becomes a problem and costs itself.

mod bind;
mod compound;
mod merge;
mod resolve;
mod routers;
mod services;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;

pub use resolve::CONFIG;
pub use routers::Entrypoint;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    catalog::Source,
    matcher::{MatcherCache, MatcherSet},
    name::ObjectName,
    port::{MatcherPlugin, MiddlewarePlugin},
    problem::Problem,
    route::RouteTable,
    snapshot::{MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot},
    zone::{DnsConfig, ZoneInputs, Zones},
};

use bind::Bindings;
use merge::Objects;
use resolve::{Catalogued, names, providers};
use routers::{Rules, Surroundings};

/// Everything that a snapshot is made of.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The entrypoints of the configuration.
    pub entrypoints: Vec<Entrypoint>,
    /// Zones and edge addresses.
    pub dns: DnsConfig,
    /// What providers reported; `config.toml` is one of them.
    pub sources: Vec<Arc<Source>>,
    /// Plugins that add matchers.
    pub matchers: Vec<Arc<dyn MatcherPlugin>>,
    /// Plugins that middlewares are made of.
    pub middlewares: Vec<Arc<dyn MiddlewarePlugin>>,
}

/// Makes snapshots, one after the other.
#[derive(Debug, Default)]
pub struct Assembler {
    bindings: Bindings,
    rules: Rules,
    matcher_cache: Arc<MatcherCache>,
    matchers: Vec<String>,
    previous: Arc<Snapshot>,
    generation: u64,
}

impl Assembler {
    /// The next snapshot. What stays is carried over from the one before.
    pub fn assemble(&mut self, inputs: &Inputs) -> Arc<Snapshot> {
        let mut objects = Objects::merge(inputs.sources.iter().map(|source| &**source));
        let mut problems = std::mem::take(&mut objects.problems);
        let mut middlewares = self.bindings.bind(&objects, &inputs.middlewares, &mut problems);
        let matchers = self.matchers(inputs, &mut problems);
        let catalogued = Catalogued {
            services: names(objects.services.keys()),
            middlewares: names(objects.middlewares.keys()),
            transports: names(objects.transports.keys()),
            providers: providers(inputs.sources.iter().map(|source| &**source)),
        };
        let mut services = services::services(&objects, &catalogued, &self.previous, &mut problems);
        let routers = self.rules.routers(
            &objects,
            &matchers,
            &Surroundings {
                entrypoints: &inputs.entrypoints,
                catalogued: &catalogued,
                services: &services,
                middlewares: &middlewares,
                previous: &self.previous,
            },
            &mut problems,
        );
        note_uses(&routers, &mut services, &mut middlewares);
        self.generation += 1;
        let zones = zones(inputs, &routers, self.generation, &mut problems);
        problems.sort();
        problems.dedup();
        let snapshot = Arc::new(Snapshot {
            generation: self.generation,
            tables: tables(inputs, &routers),
            zones,
            routers,
            services,
            middlewares,
            nodes: inputs.sources.iter().flat_map(|s| s.nodes.values().cloned()).collect(),
            instances: instances(inputs),
            problems,
        });
        self.previous = snapshot.clone();
        snapshot
    }

    fn matchers(&mut self, inputs: &Inputs, problems: &mut Vec<Problem>) -> MatcherSet {
        let fingerprints: Vec<_> =
            inputs.matchers.iter().map(|plugin| plugin.fingerprint().to_owned()).collect();
        if self.matchers != fingerprints {
            self.rules.clear();
            self.matchers = fingerprints;
        }
        let (set, duplicates) = MatcherSet::build(&inputs.matchers, &self.matcher_cache);
        problems.extend(duplicates);
        set
    }
}

fn tables(inputs: &Inputs, routers: &[RouterEntry]) -> Vec<(Arc<str>, RouteTable)> {
    let providers: Vec<_> = inputs.sources.iter().map(|source| source.provider.clone()).collect();
    let table = |entrypoint: &Entrypoint| {
        let live = routers.iter().filter_map(|entry| entry.live.as_ref());
        let here = live.filter(|router| router.entrypoints.contains(&entrypoint.name));
        (entrypoint.name.clone(), RouteTable::with_providers(here.cloned().collect(), &providers))
    };
    inputs.entrypoints.iter().map(table).collect()
}

fn instances(inputs: &Inputs) -> Vec<(Arc<str>, Arc<crate::item::Instance>)> {
    let of = |source: &Arc<Source>| {
        let provider = source.provider.clone();
        let instances: Vec<_> =
            source.instances.values().map(|r| (provider.clone(), r.instance.clone())).collect();
        instances
    };
    inputs.sources.iter().flat_map(of).collect()
}

fn zones(
    inputs: &Inputs,
    routers: &[RouterEntry],
    generation: u64,
    problems: &mut Vec<Problem>,
) -> Zones {
    let nodes: Vec<_> = inputs.sources.iter().flat_map(|s| s.nodes.values().cloned()).collect();
    let instances: Vec<_> = instances(inputs).into_iter().map(|(_, instance)| instance).collect();
    let live = routers.iter().filter(|entry| entry.live.is_some());
    // Without DNS nobody asks for them, and it is no problem that they lead nowhere.
    let is_served = inputs.dns != DnsConfig::default();
    let hosts: BTreeSet<_> =
        live.filter(|_| is_served).flat_map(|entry| entry.hosts.iter().cloned()).collect();
    let (zones, wrong) = Zones::build(&ZoneInputs {
        config: &inputs.dns,
        nodes: &nodes,
        instances: &instances,
        router_hosts: &hosts.into_iter().collect::<Vec<_>>(),
        synced: inputs.sources.iter().all(|source| source.synced),
        // Serials compare modulo 2^32 (RFC 1982), so the generation may be cut.
        serial: generation as u32,
    });
    problems.extend(wrong);
    zones
}

/// Tells services and middlewares which routers use them.
fn note_uses(
    routers: &[RouterEntry],
    services: &mut [ServiceEntry],
    middlewares: &mut [MiddlewareEntry],
) {
    let place = |name: &str, names: &[ObjectName]| {
        let (name, provider) = name.rsplit_once('@')?;
        let wanted = ObjectName::new(name, provider);
        names.binary_search(&wanted).ok()
    };
    let service_names: Vec<_> = services.iter().map(|entry| entry.entry.name.clone()).collect();
    let names: Vec<_> = middlewares.iter().map(|entry| entry.entry.name.clone()).collect();
    for router in routers {
        let user = router.entry.name.to_string();
        let used = router.service.as_deref().and_then(|name| place(name, &service_names));
        if let Some(service) = used.and_then(|place| services.get_mut(place)) {
            service.entry.used_by.push(user.clone());
        }
        for name in &router.middlewares {
            let used = place(name, &names);
            if let Some(middleware) = used.and_then(|place| middlewares.get_mut(place))
                && middleware.entry.used_by.last() != Some(&user)
            {
                middleware.entry.used_by.push(user.clone());
            }
        }
    }
}
