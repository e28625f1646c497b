//! What a change of the catalog costs, from the provider's step to the next snapshot, its names and
//! routes included. As in the control loop, the source is shared: with the snapshot that is served,
//! and with whoever writes it to disk.
//!
//! The aims: a change among 10,000 services in under 2 ms, the first snapshot of 1,000 in under
//! 20 ms.

mod world;

use std::hint::black_box;

use divan::Bencher;
use portolan_core::item::{Change, Health, Key};
use world::{World, instance, put};

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

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
        // What a world holds is given back after the time was taken.
        .bench_local_refs(|world| world.step(Vec::new()));
}
