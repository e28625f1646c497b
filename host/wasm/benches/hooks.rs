//! What a hook costs, with a real plugin: `request-id`, both hooks, as one request has them.

use std::{path::Path, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use portolan_core::{
    exchange::{Exchange, Peer, RequestHead, ResponseHead},
    port::{Hooks, RequestVerdict},
};
use portolan_wasm::{Host, HostConfig};
use serde_json::json;

fn main() {
    divan::main();
}

/// Request and response hook of one request: an id is made, set, and repeated in the response.
#[divan::bench(threads = [1, 2])]
fn request_id(bencher: Bencher<'_, '_>) {
    let hooks = hooks("request-id");
    bencher.counter(ItemsCount::new(1_usize)).with_inputs(exchange).bench_values(|exchange| {
        let (mut exchange, verdict) = hooks.on_request(exchange);
        let Ok(RequestVerdict::Continue { context, response: true }) = verdict else {
            panic!("must go on: {verdict:?}")
        };
        let headers = HeaderMap::with_capacity(8);
        exchange.response = Some(ResponseHead { status: StatusCode::OK, headers, local: false });
        hooks.on_response(context, exchange)
    });
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

fn guest(name: &str) -> Vec<u8> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist");
    std::fs::read(dist.join(format!("{name}.wasm"))).expect("a committed guest")
}

fn hooks(name: &str) -> Arc<dyn Hooks> {
    let host = Host::new(HostConfig::default()).expect("a host");
    let plugin = host.load(name, &guest(name), None).expect("a good plugin");
    let middleware = plugin.middleware().expect("a middleware");
    middleware.bind("bench", &json!({})).expect("a good binding").hooks.expect("hooks")
}

fn exchange() -> Box<Exchange> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert("host", HeaderValue::from_static("a.example"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    let target = "/some/path?q=1".parse().expect("a target");
    let head = RequestHead::parse(Method::GET, target, Version::HTTP_11, headers);
    let address = "192.0.2.1:1000".parse().expect("an address");
    let peer = Peer { address, tls: false, sni: None };
    Box::new(Exchange::new(head.expect("a good request"), peer, Arc::from("web")))
}
