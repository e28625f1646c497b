//! What a hook costs, with a real plugin: `request-id`, both hooks, as one request has them.

use std::{path::Path, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use portolan_core::{
    edit,
    exchange::{Exchange, Peer, RequestHead, ResponseHead},
    port::{Hooks, RequestVerdict},
};
use portolan_wasm::{Host, HostConfig, Plugin};
use serde_json::json;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// One request, there and back: an id is made, set, and repeated in the response.
#[divan::bench(threads = [1, 2])]
fn request_id(bencher: Bencher<'_, '_>) {
    through(bencher, &bindings(&plugin("request-id"), &["x-request-id"]));
}

/// The hook alone.
#[divan::bench]
fn request_id_request(bencher: Bencher<'_, '_>) {
    let hooks = bindings(&plugin("request-id"), &["x-request-id"]).remove(0);
    bencher.with_inputs(|| exchange().0).bench_values(|exchange| hooks.on_request(exchange));
}

/// Three bindings of one plugin in a row, as a router with three middlewares has them: the cost of
/// one hook must not depend on how many there are. Each does the same work as a single one.
#[divan::bench]
fn three_request_ids(bencher: Bencher<'_, '_>) {
    through(bencher, &bindings(&plugin("request-id"), &["x-a", "x-b", "x-c"]));
}

/// The same with three plugins: other code, other instances.
#[divan::bench]
fn three_plugins(bencher: Bencher<'_, '_>) {
    let host = Host::new(HostConfig::default()).expect("a host");
    let load = || host.load("request-id", &guest("request-id"), None).expect("a good plugin");
    let plugins = [load(), load(), load()];
    let names = ["x-a", "x-b", "x-c"];
    let hooks = plugins.iter().zip(names).flat_map(|(plugin, name)| bindings(plugin, &[name]));
    through(bencher, &hooks.collect::<Vec<_>>());
}

/// From the cache: mapped, not compiled.
#[divan::bench]
fn load_from_cache(bencher: Bencher<'_, '_>) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let cache_dir = Some(home.path().join("plugins"));
    let host = Host::new(HostConfig { cache_dir, ..HostConfig::default() }).expect("a host");
    let bytes = guest("request-id");
    host.load("request-id", &bytes, None).expect("a good plugin");
    bencher.bench(|| host.load("request-id", &bytes, None).expect("a good plugin"));
}

/// One request after the other through all hooks, inwards and outwards.
fn through(bencher: Bencher<'_, '_>, hooks: &[Arc<dyn Hooks>]) {
    let bencher = bencher.counter(ItemsCount::new(1_usize)).with_inputs(exchange);
    bencher.bench_values(|(mut exchange, response)| {
        let mut way = Vec::with_capacity(hooks.len());
        for hooks in hooks {
            let (returned, verdict) = hooks.on_request(exchange);
            let Ok(RequestVerdict::Continue { response: false, later, .. }) = verdict else {
                panic!("must go on: {verdict:?}")
            };
            way.push(later);
            exchange = returned;
        }
        exchange.response = Some(response);
        way.into_iter().rev().for_each(|later| edit::apply(later, &mut exchange));
        exchange
    });
}

fn guest(name: &str) -> Vec<u8> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist");
    std::fs::read(dist.join(format!("{name}.wasm"))).expect("a committed guest")
}

fn plugin(name: &str) -> Plugin {
    let host = Host::new(HostConfig::default()).expect("a host");
    host.load(name, &guest(name), None).expect("a good plugin")
}

fn bindings(plugin: &Plugin, headers: &[&str]) -> Vec<Arc<dyn Hooks>> {
    let middleware = plugin.middleware().expect("a middleware");
    let hooks = |header: &&str| {
        let bound = middleware.bind("bench", &json!({ "header": header }), &[], None);
        bound.expect("a good binding").hooks.expect("hooks")
    };
    headers.iter().map(hooks).collect()
}

fn exchange() -> (Box<Exchange>, ResponseHead) {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert("host", HeaderValue::from_static("a.example"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    let target = "/some/path?q=1".parse().expect("a target");
    let head = RequestHead::parse(Method::GET, target, Version::HTTP_11, headers);
    let address = "192.0.2.1:1000".parse().expect("an address");
    let peer = Peer { address, tls: false, sni: None };
    let exchange = Exchange::new(head.expect("a good request"), peer, Arc::from("web"));
    let headers = HeaderMap::with_capacity(8);
    (
        Box::new(exchange),
        ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false },
    )
}
