//! The plugin host with real components: what it loads, what it refuses, and what a guest can cost.

mod committed;
mod guest;
mod hooks;
mod loading;
mod providers;
mod slots;

use std::{path::Path, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Version};
use portolan_core::exchange::{Exchange, Peer, RequestHead};
use portolan_wasm::{Host, HostConfig, Plugin};

use crate::guest::Guest;

/// A host that keeps compiled code in a directory.
fn host_in(directory: &Path) -> Host {
    let cache_dir = Some(directory.join("plugins"));
    Host::new(HostConfig { cache_dir, ..HostConfig::default() }).expect("a host")
}

/// A host that keeps nothing.
fn host() -> Host {
    // Machines are slow: only tests of the limit itself run into one.
    let call_limit = Duration::from_secs(20);
    Host::new(HostConfig { call_limit, ..HostConfig::default() }).expect("a host")
}

fn load(host: &Host, guest: &Guest) -> Plugin {
    host.load(guest.name, &guest.component(), None).expect("a good plugin")
}

/// A request with `x-one: 1`.
fn exchange() -> Box<Exchange> {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("a.example"));
    headers.insert("x-one", HeaderValue::from_static("1"));
    let target = "/some/path?q=1".parse().expect("a target");
    let head = RequestHead::parse(Method::GET, target, Version::HTTP_11, headers);
    let address = "192.0.2.1:1000".parse().expect("an address");
    let peer = Peer { address, tls: false, sni: None };
    Box::new(Exchange::new(head.expect("a good request"), peer, Arc::from("web")))
}
