//! What routing costs: `cargo bench -p portolan-core --features test-util`.
//!
//! The aims: a router among 10,000 in under 300 ns, a planned header on each way in under 150 ns.

use std::{hint::black_box, sync::Arc};

use divan::Bencher;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use portolan_core::{
    exchange::{Exchange, HeaderLine, ResponseHead},
    middleware::{Action, Interest, PatternRedirect, PlanStep},
    pattern::Rewriting,
    route::RouteTable,
    router::Router,
    rule::Rule,
    test_util::{exchange, exchange_with, matchers, router},
};

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const COUNTS: [usize; 3] = [100, 10_000, 100_000];

fn table(count: usize, rule: impl Fn(usize) -> String) -> RouteTable {
    let routers = (0..count).map(|n| Arc::new(router(&format!("r{n}"), &rule(n))));
    RouteTable::build(routers.collect())
}

/// Selects for requests that are spread over the whole table.
fn select(bencher: Bencher<'_, '_>, table: &RouteTable, line: impl Fn(usize) -> String) {
    let count = table.len();
    let requests: Vec<Exchange> =
        (0..1024_usize).map(|n| browser(&line(n * 7919 % count))).collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % requests.len();
        table.select(black_box(&requests[next])).map(Arc::as_ptr)
    });
}

/// A request with the headers that browsers send.
fn browser(line: &str) -> Exchange {
    exchange_with(
        line,
        &[
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", "en-GB,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br"),
            ("cookie", "session=0123456789abcdef"),
            ("referer", "http://a.example.com/"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "same-origin"),
        ],
    )
}

#[divan::bench(args = COUNTS, sample_size = 1000)]
fn select_by_host(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(count, |n| format!("Host(`service-{n}.example.com`)"));
    select(bencher, &table, |n| format!("GET http://service-{n}.example.com/index.html"));
}

#[divan::bench(args = COUNTS, sample_size = 1000)]
fn select_by_host_and_path(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(count, |n| {
        let host = n / 4;
        match n % 4 {
            0 => format!("Host(`service-{host}.example.com`)"),
            n => format!("Host(`service-{host}.example.com`) && PathPrefix(`/api/{n}`)"),
        }
    });
    select(bencher, &table, |n| {
        format!("GET http://service-{}.example.com/api/{}/x", n / 4, n % 4)
    });
}

#[divan::bench(args = COUNTS, sample_size = 1000)]
fn select_by_path(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(count, |n| format!("PathPrefix(`/service-{n}/`)"));
    select(bencher, &table, |n| format!("GET http://example.com/service-{n}/x"));
}

#[divan::bench(args = COUNTS, sample_size = 1000)]
fn select_by_wildcard(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(count, |n| format!("Host(`*.service-{n}.example.com`)"));
    select(bencher, &table, |n| format!("GET http://www.service-{n}.example.com/"));
}

#[divan::bench(args = COUNTS, sample_size = 1000)]
fn select_nothing(bencher: Bencher<'_, '_>, count: usize) {
    let table = table(count, |n| format!("Host(`service-{n}.example.com`)"));
    select(bencher, &table, |n| format!("GET http://none-{n}.example.com/"));
}

#[divan::bench(args = [10_000])]
fn build_table(bencher: Bencher<'_, '_>, count: usize) {
    let routers: Vec<Arc<Router>> = (0..count)
        .map(|n| Arc::new(router(&format!("r{n}"), &format!("Host(`service-{n}.example.com`)"))))
        .collect();
    bencher.with_inputs(|| routers.clone()).bench_local_values(RouteTable::build);
}

#[divan::bench(sample_size = 100)]
fn parse_and_compile_a_rule(bencher: Bencher<'_, '_>) {
    let matchers = matchers();
    bencher.bench_local(|| {
        let rule = Rule::parse(black_box("Host(`a.example.com`) && PathPrefix(`/api`)"));
        rule.and_then(|rule| rule.compile(&matchers))
    });
}

/// One header on each way.
#[divan::bench(sample_size = 100)]
fn planned_headers(bencher: Bencher<'_, '_>) {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let actions = vec![
        Action::SetRequestHeader(HeaderLine::new(name("x-request-header"), value("1"))),
        Action::SetResponseHeader(HeaderLine::new(name("x-served-by"), value("portolan"))),
    ];
    let plan = vec![PlanStep { when: None, actions }];
    planned(bencher, &Interest { plan, ..Interest::default() });
}

#[divan::bench(sample_size = 100)]
fn planned_strip_prefix(bencher: Bencher<'_, '_>) {
    let actions = vec![Action::StripPrefix(vec!["/api".to_owned()])];
    let plan = vec![PlanStep { when: None, actions }];
    planned(bencher, &Interest { plan, ..Interest::default() });
}

/// An expression that is asked at each request, and hardly ever finds something.
#[divan::bench(sample_size = 100)]
fn planned_redirect_of_others(bencher: Bencher<'_, '_>) {
    let rewriting = Rewriting::compile(r"^https?://www\.(.+)", "https://${1}");
    let rewriting = Arc::new(rewriting.unwrap_or_else(|error| panic!("{error}")));
    let redirect = PatternRedirect { rewriting, permanent: true };
    let plan = vec![PlanStep { when: None, actions: vec![Action::RedirectPattern(redirect)] }];
    planned(bencher, &Interest { plan, ..Interest::default() });
}

#[divan::bench(sample_size = 100)]
fn planned_rewrite(bencher: Bencher<'_, '_>) {
    let rewriting = Rewriting::compile("^/api/(.*)", "/v2/$1");
    let rewriting = Arc::new(rewriting.unwrap_or_else(|error| panic!("{error}")));
    let plan = vec![PlanStep { when: None, actions: vec![Action::RewritePath(rewriting)] }];
    planned(bencher, &Interest { plan, ..Interest::default() });
}

fn planned(bencher: Bencher<'_, '_>, interest: &Interest) {
    let fresh = || {
        let mut exchange = browser("GET http://a.example.com/api/x");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.insert("content-length", HeaderValue::from_static("1234"));
        headers.insert("date", HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        headers.insert("etag", HeaderValue::from_static("\"0123456789\""));
        headers.insert("server", HeaderValue::from_static("nginx"));
        exchange.response =
            Some(ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false });
        exchange
    };
    bencher.with_inputs(fresh).bench_local_refs(|exchange| {
        let (steps, reply) = interest.plan_at_once(exchange);
        interest.plan_response(steps, exchange);
        reply
    });
}

/// What is done to every request before routing.
#[divan::bench(args = ["/index.html?a=b", "/a/../b%20c"], sample_size = 100)]
fn parse_a_head(bencher: Bencher<'_, '_>, target: &str) {
    bencher
        .with_inputs(|| {
            let from = exchange(&format!("GET http://a.example.com{target}")).request;
            let uri = target.parse().unwrap_or_default();
            (from.method, uri, from.version, from.headers)
        })
        .bench_local_values(|(method, uri, version, headers)| {
            portolan_core::exchange::RequestHead::parse(method, uri, version, headers)
        });
}
