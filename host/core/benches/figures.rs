//! What it costs to note a request: `cargo bench -p portolan-core --bench figures`.
//!
//! The aim: under 50 ns for each of entrypoint, router and service, whatever other workers do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use divan::{Bencher, black_box};
use http::{HeaderName, StatusCode};
use portolan_core::figure::{
    Answer, AnswerKey, Buckets, Combinations, HeaderLabel, HeaderLabels, MethodLabel,
    ProtocolLabel, TrafficFigures,
};

fn main() {
    divan::main();
}

/// Statuses that a busy object sees, most frequent first.
const CODES: [u16; 8] = [200, 304, 404, 302, 500, 204, 206, 503];

fn answers() -> Vec<Answer> {
    let methods = [MethodLabel::Get, MethodLabel::Post];
    let kinds = CODES.iter().flat_map(|code| methods.map(|method| (*code, method)));
    kinds
        .map(|(code, method)| {
            let status = StatusCode::from_u16(code).unwrap_or_default();
            let key = AnswerKey::new(status, method, ProtocolLabel::Http);
            Answer { key, response_bytes: 512, ..Answer::plain(status, 2_000_000) }
        })
        .collect()
}

/// One worker, one kind of answer: the usual case.
#[divan::bench]
fn record_one_kind(bencher: Bencher<'_, '_>) {
    let (figures, buckets, answers) = (TrafficFigures::default(), Buckets::default(), answers());
    let shard = figures.shard(0);
    bencher.bench_local(|| shard.record(black_box(&answers[0]), &buckets));
}

/// One worker, sixteen kinds.
#[divan::bench]
fn record_sixteen_kinds(bencher: Bencher<'_, '_>) {
    let (figures, buckets, answers) = (TrafficFigures::default(), Buckets::default(), answers());
    let shard = figures.shard(0);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % answers.len();
        shard.record(black_box(&answers[next]), &buckets);
    });
}

/// The same while another worker does nothing else, with its own counters.
#[divan::bench]
fn record_beside_another_worker(bencher: Bencher<'_, '_>) {
    let (figures, buckets, answers) = (TrafficFigures::default(), Buckets::default(), answers());
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Relaxed) {
                figures.shard(1).record(black_box(&answers[0]), &buckets);
            }
        });
        let shard = figures.shard(0);
        bencher.bench_local(|| shard.record(black_box(&answers[0]), &buckets));
        enough.store(true, Relaxed);
    });
}

/// What a request takes with it: the counters of its router, held until its end.
#[divan::bench]
fn hold_and_let_go(bencher: Bencher<'_, '_>) {
    let figures = TrafficFigures::default();
    bencher.bench_local(|| {
        black_box(figures.shard(0).clone());
    });
}

/// A thousand tenants, as many as are told apart.
fn tenants() -> (Arc<Combinations>, Vec<String>) {
    let header = HeaderName::from_static("x-tenant");
    let labels = vec![HeaderLabel { name: "tenant".into(), header }];
    let wanted = HeaderLabels { labels, ..HeaderLabels::default() };
    let names: Vec<_> =
        (0..wanted.limit).map(|number| format!("tenant-{number}.example")).collect();
    let combinations = Combinations::new(wanted, 1);
    for name in &names {
        combinations.find(|_| Some(name.as_bytes()));
    }
    (Arc::new(combinations), names)
}

/// What a request's headers say, found among a thousand such combinations. Once when it comes, and again
/// when it is admitted.
#[divan::bench]
fn find_a_combination(bencher: Bencher<'_, '_>) {
    let (combinations, names) = tenants();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % names.len();
        combinations.find(|_| Some(black_box(names[next].as_bytes())))
    });
}

/// The same where there is no room for it.
#[divan::bench]
fn find_no_room_for_a_combination(bencher: Bencher<'_, '_>) {
    let (combinations, _) = tenants();
    bencher.bench_local(|| combinations.find(|_| Some(black_box(b"one too many"))));
}

/// One worker, one kind of answer, told apart by a thousand tenants.
#[divan::bench]
fn record_by_headers(bencher: Bencher<'_, '_>) {
    let (figures, buckets, answers) = (TrafficFigures::default(), Buckets::default(), answers());
    let (combinations, names) = tenants();
    let find = |name: &String| combinations.find(|_| Some(name.as_bytes()));
    let all: Vec<_> = names.iter().map(find).collect();
    let shard = figures.shard(0);
    for combination in &all {
        shard.combine(answers[0].key, &combinations, *combination);
    }
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % all.len();
        shard.combine(answers[0].key, &combinations, all[next]);
        shard.record(black_box(&answers[0]), &buckets);
    });
}
