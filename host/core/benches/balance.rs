//! What the choice of a backend costs: `cargo bench -p portolan-core --features test-util`.
//!
//! The aim: no lock and no allocation, and turns and two choices that cost the same however many
//! backends there are. Hashing looks at each backend, least time at up to 32.

use std::{hint::black_box, sync::Arc};

use divan::Bencher;
use http::{HeaderValue, header::COOKIE};
use portolan_core::{
    balance::{Among, Ask, Tried, key},
    exchange::Headers,
    item::Health,
    moment::Moment,
    name::ObjectName,
    policy::{LoadBalancer, Passive, Sticky, Strategy},
    service::{Backend, Scheme, Service},
    standing::Probed,
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const NOW: Moment = Moment::from_millis(1_000_000);
const COUNTS: [usize; 3] = [2, 10, 100];

fn service(count: usize, options: LoadBalancer) -> Service {
    let backends = (0..count).map(|number| Backend {
        scheme: Scheme::Http,
        authority: format!("10.0.0.{number}:80").into(),
        path: None,
        weight: 1,
        health: Health::Passing,
        origin: "bench".into(),
        figures: Arc::default(),
    });
    Service::new(ObjectName::new("s", "bench"), options, backends.collect())
}

fn choose(bencher: Bencher<'_, '_>, service: &Service) {
    let (tried, mut client) = (Tried::default(), 0_u64);
    bencher.bench_local(|| {
        client += 1;
        let ask = Ask { tried: &tried, now: NOW, key: client, among: Among::All };
        black_box(service.balancer.next(&service.backends, black_box(&ask)))
    });
}

fn by(strategy: Strategy) -> LoadBalancer {
    LoadBalancer { strategy, ..LoadBalancer::default() }
}

#[divan::bench(args = COUNTS)]
fn round_robin(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, &service(count, by(Strategy::RoundRobin)));
}

#[divan::bench(args = COUNTS)]
fn round_robin_with_half_of_them_down(bencher: Bencher<'_, '_>, count: usize) {
    let service = service(count, by(Strategy::RoundRobin));
    for backend in service.backends.iter().step_by(2) {
        backend.figures.standing.probe(Probed::Down, None);
    }
    choose(bencher, &service);
}

#[divan::bench(args = COUNTS)]
fn round_robin_with_one_left_alone(bencher: Bencher<'_, '_>, count: usize) {
    let service = service(count, by(Strategy::RoundRobin));
    let passive = Passive { max_failed_attempts: 1, ..Passive::default() };
    service.backends[0].figures.standing.failed(NOW, NOW, &passive);
    choose(bencher, &service);
}

#[divan::bench(args = COUNTS)]
fn of_two(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, &service(count, by(Strategy::TwoChoices)));
}

#[divan::bench(args = COUNTS)]
fn least_time(bencher: Bencher<'_, '_>, count: usize) {
    let service = service(count, by(Strategy::LeastTime));
    for backend in &service.backends {
        backend.figures.standing.answered(NOW, 1_000_000);
    }
    choose(bencher, &service);
}

#[divan::bench(args = COUNTS)]
fn hashed(bencher: Bencher<'_, '_>, count: usize) {
    choose(bencher, &service(count, by(Strategy::Hashed)));
}

#[divan::bench(args = COUNTS)]
fn hashed_by_weight(bencher: Bencher<'_, '_>, count: usize) {
    let mut weighted = service(count, by(Strategy::Hashed));
    weighted.backends[0].weight = 2;
    let backends = std::mem::take(&mut weighted.backends);
    choose(bencher, &Service::new(weighted.name, by(Strategy::Hashed), backends));
}

#[divan::bench]
fn the_hash_of_a_client(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| key(black_box(&[10, 0, 0, 1])));
}

#[divan::bench(args = COUNTS)]
fn sticky(bencher: Bencher<'_, '_>, count: usize) {
    let sticky = Some(Sticky { name: Some("lb".to_owned()), ..Sticky::default() });
    let service = service(count, LoadBalancer { sticky, ..LoadBalancer::default() });
    let Some(cookie) = &service.cookie else { return };
    let mut headers = Headers::default();
    let line = cookie.header(count - 1).and_then(|line| line.to_str().ok().map(str::to_owned));
    let pair = line.as_deref().and_then(|line| line.split(';').next()).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("session=0123456789abcdef; {pair}")) {
        headers.insert(COOKIE, value);
    }
    let tried = Tried::default();
    bencher.bench_local(|| {
        let ask = Ask { tried: &tried, now: NOW, key: 0, among: Among::All };
        let place = cookie.place(black_box(&headers));
        place.map(|place| service.balancer.may_stay(&service.backends, place, &ask))
    });
}
