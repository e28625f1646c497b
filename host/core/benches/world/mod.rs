//! A catalog of any size, as the control loop holds it.

use std::sync::Arc;

use portolan_core::{
    assemble::{Assembler, Entrypoint, Inputs},
    catalog::Source,
    item::{Change, Declaration, Health, Instance, Item, Update},
    live,
    snapshot::Snapshot,
    test_util::TestMatchers,
    zone::{DnsConfig, Edges, Names, ZoneConfig, ZoneOptions},
};

pub(crate) fn instance(number: usize, host: &str, health: Health) -> Item {
    let declaration = Declaration {
        path: format!("http.routers.svc{number}.rule"),
        value: format!("Host(`{host}`)"),
        origin: format!("traefik.http.routers.svc{number}.rule"),
    };
    Item::Instance(Arc::new(Instance {
        id: format!("dc1/node/svc{number}"),
        service: format!("svc{number}"),
        node: "node".to_owned(),
        datacenter: "dc1".to_owned(),
        address: format!("10.{}.{}.{}", number / 62_500, number / 250 % 250, number % 250),
        port: 8080,
        weight_passing: 1,
        weight_warning: 1,
        health,
        declares: vec![declaration],
        ..Instance::default()
    }))
}

pub(crate) fn put(number: usize, health: Health) -> Change {
    Change::Put(instance(number, &format!("svc{number}.local"), health))
}

fn zone(origin: &str, names: Names) -> ZoneConfig {
    ZoneConfig { origin: origin.to_owned(), names, ttl: 5, options: ZoneOptions::default() }
}

/// What the control loop holds.
pub(crate) struct World {
    inputs: Inputs,
    assembler: Assembler,
    publisher: live::Publisher,
    /// The state that is about to be written to disk.
    kept: Option<Arc<Source>>,
}

impl World {
    pub(crate) fn new(services: usize) -> Self {
        let mut world = Self::empty();
        let items = (0..services).map(|number| put(number, Health::Passing));
        let items = items.filter_map(|change| match change {
            Change::Put(item) => Some(item),
            Change::Remove(_) => None,
        });
        let source = world.inputs.sources.first_mut().expect("there is one source");
        let update = Update::Snapshot(items.collect());
        Arc::make_mut(source).apply(update, Vec::new()).expect("a good snapshot");
        world
    }

    fn empty() -> Self {
        let inputs = Inputs {
            entrypoints: vec![Entrypoint::new("web", false)],
            dns: DnsConfig {
                edges: Edges::Same(vec![[127, 0, 0, 1].into()]),
                zones: vec![zone("consul", Names::Consul), zone("infra.local", Names::Services)],
                ..DnsConfig::default()
            },
            sources: vec![Arc::new(Source::new("consul", "consul"))],
            matchers: vec![Arc::new(TestMatchers::default())],
            ..Inputs::default()
        };
        let (publisher, _) = live::live(Snapshot::default());
        Self { inputs, assembler: Assembler::default(), publisher, kept: None }
    }

    /// From the provider's step to the new snapshot.
    pub(crate) fn step(&mut self, changes: Vec<Change>) -> Arc<Snapshot> {
        let source = self.inputs.sources.first_mut().expect("there is one source");
        Arc::make_mut(source).apply(Update::Delta(changes), Vec::new()).expect("a good change");
        self.kept = Some(source.clone());
        let snapshot = self.assembler.assemble(&self.inputs);
        self.publisher.publish(snapshot.clone());
        snapshot
    }
}
