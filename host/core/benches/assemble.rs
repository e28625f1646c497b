//! What a change of the catalog costs: one instance of a thousand services changes, and the next
//! snapshot is put together, its names and routes included.

use std::sync::Arc;

use divan::{Bencher, black_box};
use portolan_core::{
    assemble::{Assembler, Entrypoint, Inputs},
    catalog::Source,
    item::{Change, Declaration, Health, Instance, Item, Update},
    test_util::TestMatchers,
    zone::{DnsConfig, Names, ZoneConfig},
};

fn main() {
    divan::main();
}

fn instance(number: usize, health: Health) -> Item {
    let declaration = Declaration {
        path: format!("http.routers.svc{number}.rule"),
        value: format!("Host(`svc{number}.local`)"),
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

fn zone(origin: &str, names: Names) -> ZoneConfig {
    ZoneConfig { origin: origin.to_owned(), names, ttl: 5 }
}

fn inputs(services: usize) -> Inputs {
    let mut source = Source::new("consul", "consul");
    let items = (0..services).map(|number| instance(number, Health::Passing)).collect();
    source.apply(Update::Snapshot(items), Vec::new()).expect("a good snapshot");
    Inputs {
        entrypoints: vec![Entrypoint { name: "web".into(), tls: false }],
        dns: DnsConfig {
            edge_addresses: vec![[127, 0, 0, 1].into()],
            zones: vec![zone("consul", Names::Consul), zone("infra.local", Names::Services)],
        },
        sources: vec![Arc::new(source)],
        matchers: vec![Arc::new(TestMatchers::default())],
        middlewares: Vec::new(),
    }
}

/// From the provider's step to the new snapshot.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 20)]
fn one_instance_changes(bencher: Bencher<'_, '_>, services: usize) {
    let mut inputs = inputs(services);
    let mut assembler = Assembler::default();
    assembler.assemble(&inputs);
    let mut health = Health::Passing;
    bencher.bench_local(|| {
        health = if health == Health::Passing { Health::Warning } else { Health::Passing };
        let change = Update::Delta(vec![Change::Put(instance(7, health))]);
        let source = inputs.sources.first_mut().expect("there is one source");
        Arc::make_mut(source).apply(change, Vec::new()).expect("a good change");
        black_box(assembler.assemble(&inputs))
    });
}
