//! What a change of the catalog costs, from the provider's step to the next snapshot, its names and
//! routes included. As in the control loop, the source is shared: with the snapshot that is served,
//! and with whoever writes it to disk.
//!
//! The aims: a change among 10,000 services in under 2 ms, the first snapshot of 1,000 in under
//! 20 ms.

#![expect(clippy::print_stdout, reason = "what memory is taken stands above the times")]

use std::{hint::black_box, sync::Arc};

use divan::Bencher;
use portolan_core::{
    assemble::{Assembler, Entrypoint, Inputs},
    catalog::Source,
    item::{Change, Declaration, Health, Instance, Item, Key, Update},
    live,
    snapshot::Snapshot,
    test_util::TestMatchers,
    zone::{DnsConfig, Names, ZoneConfig},
};

fn main() {
    let (mut small, mut large) = (World::new(1_000), World::new(11_000));
    let (small, large) = (small.step(vec![]), large.step(vec![]));
    let each = |bytes: fn(&Snapshot) -> usize| (bytes(&large) - bytes(&small)) / 10_000;
    println!("per service: {} bytes of names, {} of routes", each(names), each(routes));
    divan::main();
}

fn names(snapshot: &Snapshot) -> usize {
    snapshot.zones.bytes()
}

fn routes(snapshot: &Snapshot) -> usize {
    snapshot.tables.iter().map(|(_, table)| table.bytes()).sum()
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

fn instance(number: usize, host: &str, health: Health) -> Item {
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

fn put(number: usize, health: Health) -> Change {
    Change::Put(instance(number, &format!("svc{number}.local"), health))
}

fn zone(origin: &str, names: Names) -> ZoneConfig {
    ZoneConfig { origin: origin.to_owned(), names, ttl: 5 }
}

/// What the control loop holds.
struct World {
    inputs: Inputs,
    assembler: Assembler,
    publisher: live::Publisher,
    /// The state that is about to be written to disk.
    kept: Option<Arc<Source>>,
}

impl World {
    fn new(services: usize) -> Self {
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
            entrypoints: vec![Entrypoint { name: "web".into(), tls: false }],
            dns: DnsConfig {
                edge_addresses: vec![[127, 0, 0, 1].into()],
                zones: vec![zone("consul", Names::Consul), zone("infra.local", Names::Services)],
            },
            sources: vec![Arc::new(Source::new("consul", "consul"))],
            matchers: vec![Arc::new(TestMatchers::default())],
            ..Inputs::default()
        };
        let (publisher, _) = live::live(Snapshot::default());
        Self { inputs, assembler: Assembler::default(), publisher, kept: None }
    }

    /// From the provider's step to the new snapshot.
    fn step(&mut self, changes: Vec<Change>) -> Arc<Snapshot> {
        let source = self.inputs.sources.first_mut().expect("there is one source");
        Arc::make_mut(source).apply(Update::Delta(changes), Vec::new()).expect("a good change");
        self.kept = Some(source.clone());
        let snapshot = self.assembler.assemble(&self.inputs);
        self.publisher.publish(snapshot.clone());
        snapshot
    }
}

fn bench(bencher: Bencher<'_, '_>, services: usize, change: impl Fn(usize) -> Vec<Change>) {
    let mut world = World::new(services);
    world.step(Vec::new());
    let mut turn = 0;
    bencher
        .with_inputs(|| {
            turn += 1;
            change(turn)
        })
        .bench_local_values(|changes| black_box(world.step(changes)));
}

fn health(turn: usize) -> Health {
    if turn.is_multiple_of(2) { Health::Passing } else { Health::Critical }
}

#[divan::bench(args = SIZES, sample_count = 200)]
fn health_flips(bencher: Bencher<'_, '_>, services: usize) {
    bench(bencher, services, |turn| vec![put(7, health(turn))]);
}

#[divan::bench(args = SIZES, sample_count = 200)]
fn instance_comes_or_goes(bencher: Bencher<'_, '_>, services: usize) {
    bench(bencher, services, |turn| {
        let key = Key::Instance(format!("dc1/node/svc{services}"));
        vec![if turn.is_multiple_of(2) {
            Change::Remove(key)
        } else {
            put(services, Health::Passing)
        }]
    });
}

#[divan::bench(args = SIZES, sample_count = 200)]
fn tag_changes(bencher: Bencher<'_, '_>, services: usize) {
    bench(bencher, services, |turn| {
        vec![Change::Put(instance(7, &format!("host{turn}.local"), Health::Passing))]
    });
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn a_hundred_flip(bencher: Bencher<'_, '_>, services: usize) {
    bench(bencher, services, |turn| {
        (0..100).map(|number| put(number * services / 100, health(turn))).collect()
    });
}

#[divan::bench(args = SIZES, sample_count = 10)]
fn first_snapshot(bencher: Bencher<'_, '_>, services: usize) {
    bencher
        .with_inputs(|| World::new(services))
        .bench_local_values(|mut world| world.step(Vec::new()));
}
