//! One question, from packet to packet: parse, find, write. `cargo bench -p portolan-net`.

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use portolan_core::{
    item::{Instance, Node},
    live::live,
    snapshot::Snapshot,
    zone::{DnsConfig, Names, StaticRecord, ZoneConfig, ZoneInputs, ZoneOptions, Zones},
};
use portolan_net::dns::{DnsContext, DnsFigures, Forwardings};

/// Shows allocations beside the times: a question has none.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// What names are made of.
struct World {
    config: DnsConfig,
    nodes: Vec<Arc<Node>>,
    instances: Vec<Arc<Instance>>,
}

/// `services` services of three instances with one tag, and as many static records.
fn world(services: usize) -> World {
    let zone = |origin: &str, names| ZoneConfig {
        origin: origin.to_owned(),
        names,
        ttl: 5,
        options: ZoneOptions::default(),
    };
    let records = (0..services).map(|n| StaticRecord {
        name: format!("svc{n}"),
        rtype: "A".to_owned(),
        data: format!("127.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250),
        ttl: 60,
    });
    let config = DnsConfig {
        zones: vec![
            zone("consul", Names::Consul),
            zone("infra.local", Names::Static(records.collect())),
        ],
        ..DnsConfig::default()
    };
    let node = |n: usize| {
        let (name, address) = (format!("node{n}"), format!("10.0.0.{n}"));
        Arc::new(Node { name, address, datacenter: "dc1".to_owned(), ..Node::default() })
    };
    let instance = |n: usize| {
        Arc::new(Instance {
            id: n.to_string(),
            service: format!("service-{}", n / 3),
            node: format!("node{}", n % 50),
            datacenter: "dc1".to_owned(),
            address: format!("10.1.{}.{}", n / 250 % 250, n % 250),
            port: 8080,
            weight_passing: 1,
            tags: vec!["http".to_owned()],
            ..Instance::default()
        })
    };
    let nodes = (0..50).map(node).collect();
    World { config, nodes, instances: (0..services * 3).map(instance).collect() }
}

fn zones(world: &World) -> Zones {
    let inputs = ZoneInputs {
        config: &world.config,
        nodes: &world.nodes,
        instances: &world.instances,
        router_hosts: &[],
        synced: true,
        serial: 1,
    };
    Zones::build(&inputs).0
}

fn packet(name: &str, rtype: u16) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&rtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet
}

/// Asks for a thousand names in turn.
fn ask(bencher: Bencher<'_, '_>, names: usize, rtype: u16, name: impl Fn(usize) -> String) {
    let (_publisher, live) = live(Snapshot { zones: zones(&world(names)), ..Snapshot::default() });
    let forwarding = Arc::<Forwardings>::default();
    let context = DnsContext::new(&live, forwarding, Arc::default(), Arc::<DnsFigures>::default());
    let packets: Vec<_> = (0..1000).map(|n| packet(&name(n * 7919 % names), rtype)).collect();
    let mut turn = 0;
    let mut out = [0; 1232];
    bencher.bench_local(|| {
        turn = (turn + 1) % packets.len();
        black_box(context.answer(black_box(&packets[turn]), &mut out))
    });
}

#[divan::bench(sample_count = 50, sample_size = 5_000, args = [1_000, 10_000, 100_000])]
fn static_a(bencher: Bencher<'_, '_>, names: usize) {
    ask(bencher, names, 1, |n| format!("svc{n}.infra.local"));
}

#[divan::bench(sample_count = 50, sample_size = 5_000, args = [10_000])]
fn service_a(bencher: Bencher<'_, '_>, names: usize) {
    ask(bencher, names, 1, |n| format!("service-{n}.service.consul"));
}

#[divan::bench(sample_count = 50, sample_size = 5_000, args = [10_000])]
fn service_srv_rfc_2782(bencher: Bencher<'_, '_>, names: usize) {
    ask(bencher, names, 33, |n| format!("_service-{n}._http.service.dc1.consul"));
}

#[divan::bench(sample_count = 50, sample_size = 5_000, args = [10_000])]
fn no_such_name(bencher: Bencher<'_, '_>, names: usize) {
    ask(bencher, names, 1, |n| format!("absent-{n}.service.consul"));
}

#[divan::bench(sample_count = 20, args = [1_000])]
fn build(bencher: Bencher<'_, '_>, services: usize) {
    let world = world(services);
    bencher.bench_local(|| black_box(zones(black_box(&world))));
}
