//! Traefik's internal services: a router that leads to `api@internal` or `dashboard@internal` reaches the
//! admin API, and one that leads to `ping@internal` or `prometheus@internal` a part of it.
//!
//! They are a source like any other, of which there is what somebody refers to. Who may come that way
//! is for the router to say: the API asks nobody for a password.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use portolan_core::{
    assemble::{INTERNAL, INTERNAL_SERVICES},
    catalog::Source,
    item::{Fragment, Item, Update},
};
use serde_json::{Map, Value, json};

use super::board::EntrypointReport;
use crate::config::Config;

/// The internal services that somebody refers to, and where they are.
#[derive(Debug, Default)]
pub(super) struct Internal {
    wanted: BTreeSet<&'static str>,
    address: Option<SocketAddr>,
    source: Option<Arc<Source>>,
}

impl Internal {
    /// Those that a configuration names, where it says; where a port is left to the system, that is
    /// not known before somebody listens.
    pub(super) fn of(config: &Config) -> Self {
        let address = config.admin.as_ref().map(|admin| admin.address);
        let mut internal = Self { address, ..Self::default() };
        internal.want_of(config);
        internal
    }

    pub(super) fn source(&self) -> Option<Arc<Source>> {
        self.source.clone()
    }

    /// Adds those that a configuration names: it is read before anybody looks for them.
    pub(super) fn want_of(&mut self, config: &Config) {
        // What only looks like a reference costs nothing.
        let text = config.http.to_string().to_ascii_lowercase();
        let is_named = |name: &&&str| text.contains(&format!("{name}@{INTERNAL}"));
        let named: Vec<_> = INTERNAL_SERVICES.iter().filter(is_named).copied().collect();
        self.want(named.into_iter());
    }

    /// Adds those that somebody looked for in vain. Answers whether there is more now.
    pub(super) fn want<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> bool {
        let before = self.wanted.len();
        for name in names {
            let known = INTERNAL_SERVICES.iter().find(|known| known.eq_ignore_ascii_case(name));
            self.wanted.extend(known);
        }
        let is_more = self.wanted.len() > before;
        if is_more {
            self.build();
        }
        is_more && self.source.is_some()
    }

    /// Follows the admin API to where it listens. Answers whether that makes a difference.
    pub(super) fn follow(&mut self, bound: &[EntrypointReport]) -> bool {
        let admin = bound.iter().find(|report| report.protocol == "admin");
        let address = admin.map(|report| report.address);
        let is_other = address != self.address;
        if is_other {
            self.address = address;
            self.build();
        }
        is_other && !self.wanted.is_empty()
    }

    fn build(&mut self) {
        let address = self.address.filter(|_| !self.wanted.is_empty());
        self.source = address.map(|address| {
            let mut source = Source::new(INTERNAL, INTERNAL);
            let services: Map<_, _> = self
                .wanted
                .iter()
                .map(|name| ((*name).to_owned(), service(name, address)))
                .collect();
            let config = json!({ "http": { "services": services } });
            let fragment = Fragment { origin: "admin".to_owned(), config };
            let snapshot = Update::Snapshot(vec![Item::Fragment(Arc::new(fragment))]);
            // One item fits into any bound.
            if let Err(error) = source.apply(snapshot, Vec::new()) {
                tracing::error!(%error, "internal services refused by the catalog");
            }
            source.synced = true;
            Arc::new(source)
        });
    }
}

/// A service that leads to the admin API. Traefik answers `ping` and `prometheus` at any path.
fn service(name: &str, address: SocketAddr) -> Value {
    let base = match name {
        "ping" => "/internal/ping",
        "prometheus" => "/internal/metrics",
        _ => "",
    };
    // Where it listens on every address, it is here.
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}{base}", SocketAddr::new(ip, address.port().max(1)));
    json!({ "load-balancer": {
        "servers": [{ "url": url, "preserve-path": !base.is_empty() }],
        // The API answers to no other name (DNS rebinding).
        "pass-host-header": false,
    } })
}
