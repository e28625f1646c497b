//! What counting costs: `cargo bench -p portolan-core --features test-util --bench throttle`.
//!
//! The aim: no lock and no allocation once a source is known, however many there are.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use divan::{Bencher, counter::ItemsCount};
use portolan_core::{
    exchange::Exchange,
    moment::Fine,
    name::ObjectName,
    rule::ClientStrategy,
    test_util,
    throttle::{By, InFlightLimit, Rate, RateLimit, Sources},
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn limit() -> RateLimit {
    let sources = Sources { by: By::Client(ClientStrategy::PEER), together: false };
    // So many that nobody is refused.
    let rate = Rate { average: 1_000_000_000, period: Duration::from_secs(1), burst: 1000 };
    RateLimit::new(rate, sources)
}

fn asking(client: u32) -> Exchange {
    let mut exchange = test_util::exchange("GET http://a.local/");
    exchange.peer.address = (client.to_be_bytes(), 4000).into();
    exchange
}

/// Clients that ask in turns, on so many threads.
fn clients(bencher: Bencher<'_, '_>, count: u32) {
    let (limit, router) = (limit(), ObjectName::new("r", "bench"));
    let keys: Vec<_> =
        (0..count).map(|client| limit.sources.key(&router, &asking(client))).collect();
    let turn = AtomicU64::new(0);
    bencher.counter(ItemsCount::new(1_u32)).bench(|| {
        let turn = turn.fetch_add(1, Relaxed);
        let key = keys[turn as usize % keys.len()];
        black_box(limit.take(black_box(key), Fine::from_nanos(1_000_000_000 + turn * 100)))
    });
}

#[divan::bench(args = [1, 1000, 50_000])]
fn one_thread(bencher: Bencher<'_, '_>, count: u32) {
    clients(bencher, count);
}

#[divan::bench(args = [1, 1000, 50_000], threads = 2)]
fn two_threads(bencher: Bencher<'_, '_>, count: u32) {
    clients(bencher, count);
}

/// With finding out who asks.
#[divan::bench]
fn a_request(bencher: Bencher<'_, '_>) {
    let (limit, router, exchange) = (limit(), ObjectName::new("r", "bench"), asking(1));
    let mut now = 1_000_000_000;
    bencher.bench_local(|| {
        now += 100;
        let key = limit.sources.key(black_box(&router), black_box(&exchange));
        black_box(limit.take(key, Fine::from_nanos(now)))
    });
}

/// A place that is taken and given back.
#[divan::bench(threads = [1, 2])]
fn in_flight(bencher: Bencher<'_, '_>) {
    let limit = InFlightLimit::new(100, Sources { by: By::Host, together: false });
    let key = limit.sources.key(&ObjectName::new("r", "bench"), &asking(1));
    bencher.bench(|| drop(black_box(limit.take(black_box(key)))));
}
