//! What is ours under Traefik's names. A router that leads to `api@internal` or `dashboard@internal`
//! reaches the admin API, and one that leads to `ping@internal` or `prometheus@internal` a part of it.
//! For each entrypoint that redirects there is the middleware `redirect-<from>-to-<to>@internal`,
//! since many routers name it that were written for Traefik.
//!
//! They are a source like any other, of which there is what somebody refers to. Who may come to the API
//! that way is for the router to say: it asks nobody for a password.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use portolan_core::{
    assemble::{Assembler, INTERNAL, INTERNAL_SERVICES},
    catalog::Source,
    item::{Fragment, Item, Update},
};
use portolan_net::http::{RedirectConfig, RedirectTarget};
use serde_json::{Map, Value, json};

use super::board::EntrypointReport;
use crate::config::Config;

/// The internal services and middlewares that somebody refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Internal {
    /// Services, and middlewares in lower case.
    wanted: BTreeSet<String>,
    /// Where the admin API is.
    address: Option<SocketAddr>,
    /// What entrypoints say of redirection, by the names of the middlewares.
    redirects: BTreeMap<String, RedirectConfig>,
    /// The ports of entrypoints, as far as they are known.
    ports: BTreeMap<String, u16>,
    /// What the source declares.
    content: Map<String, Value>,
    source: Option<Arc<Source>>,
}

impl Internal {
    /// Those that a configuration names, where it says; where a port is left to the system, that is
    /// not known before somebody listens.
    pub(super) fn of(config: &Config) -> Self {
        let address = config.admin.as_ref().map(|admin| admin.address);
        Self { address, ..Self::default() }.under(config)
    }

    pub(super) fn source(&self) -> Option<Arc<Source>> {
        self.source.clone()
    }

    /// The same with what another configuration says of redirections, and those that it names: it is
    /// read before anybody looks for them.
    pub(super) fn under(&self, config: &Config) -> Self {
        let mut other = self.clone();
        let entrypoints = &config.entrypoints;
        let redirects = entrypoints.iter().filter_map(|it| Some((it, it.redirect.as_ref()?)));
        other.redirects = redirects
            .map(|(from, redirect)| (middleware_name(&from.name, &redirect.to), redirect.clone()))
            .collect();
        let fixed = entrypoints.iter().filter(|it| it.address.port() != 0);
        other.ports.extend(fixed.map(|it| (it.name.clone(), it.address.port())));
        // What only looks like a reference costs nothing.
        let mut text = config.http.to_string().to_ascii_lowercase();
        for reference in entrypoints.iter().flat_map(|it| &it.middlewares) {
            text.push(' ');
            text.push_str(&reference.to_ascii_lowercase());
        }
        let known = INTERNAL_SERVICES.iter().copied().chain(other.redirects.keys().map(|it| &**it));
        let named = known.filter(|name| text.contains(&format!("{name}@{INTERNAL}")));
        let named: Vec<_> = named.map(str::to_owned).collect();
        other.wanted.extend(named);
        other.rebuild();
        other
    }

    /// Adds those that somebody looked for in vain. Answers whether there is more now.
    pub(super) fn want_missing(&mut self, assembler: &Assembler) -> bool {
        let services = assembler.missing_internal_services().map(str::to_ascii_lowercase);
        let services = services.filter(|name| INTERNAL_SERVICES.contains(&name.as_str()));
        self.wanted.extend(services);
        let middlewares = assembler.missing_internal_middlewares().map(str::to_ascii_lowercase);
        let middlewares = middlewares.filter(|name| self.redirects.contains_key(name));
        self.wanted.extend(middlewares);
        self.rebuild()
    }

    /// Follows the admin API and the entrypoints to where they listen. Answers whether that makes a
    /// difference.
    pub(super) fn follow(&mut self, bound: &[EntrypointReport]) -> bool {
        let admin = bound.iter().find(|report| report.protocol == "admin");
        self.address = admin.map(|report| report.address);
        let entrypoints = bound.iter().filter(|it| matches!(it.protocol, "http" | "https"));
        self.ports.extend(entrypoints.map(|it| (it.name.to_string(), it.address.port())));
        self.rebuild()
    }

    /// Answers whether anything is different now.
    fn rebuild(&mut self) -> bool {
        let content = self.declared();
        let is_other = content != self.content;
        if is_other {
            self.source = (!content.is_empty()).then(|| Arc::new(source(&content)));
            self.content = content;
        }
        is_other
    }

    fn declared(&self) -> Map<String, Value> {
        let mut declared = Map::new();
        let wanted = || self.wanted.iter();
        let services: Map<_, _> = self
            .address
            .into_iter()
            .flat_map(|address| wanted().map(move |name| (name, address)))
            .filter(|(name, _)| INTERNAL_SERVICES.contains(&name.as_str()))
            .map(|(name, address)| (name.clone(), service(name, address)))
            .collect();
        let middlewares: Map<_, _> = wanted()
            .filter_map(|name| Some((name.clone(), self.middleware(self.redirects.get(name)?))))
            .collect();
        for (kind, objects) in [("services", services), ("middlewares", middlewares)] {
            if !objects.is_empty() {
                declared.insert(kind.to_owned(), objects.into());
            }
        }
        declared
    }

    /// A middleware that sends whoever comes otherwise to where an entrypoint sends its requests.
    fn middleware(&self, redirect: &RedirectConfig) -> Value {
        let port = match &redirect.to {
            RedirectTarget::Port(port) => Some(*port),
            RedirectTarget::Entrypoint(name) => self.ports.get(&**name).copied(),
        };
        let mut options = Map::new();
        options.insert("scheme".to_owned(), redirect.scheme.as_str().into());
        options.insert("permanent".to_owned(), redirect.permanent.into());
        if let Some(port) = port {
            options.insert("port".to_owned(), port.into());
        }
        json!({ "redirect-scheme": options })
    }
}

/// The name that Traefik gives the middleware of a redirection, in lower case: what is neither a letter
/// nor a digit is a dash (`provider.Normalize`).
fn middleware_name(from: &str, to: &RedirectTarget) -> String {
    let to = match to {
        RedirectTarget::Port(port) => port.to_string(),
        RedirectTarget::Entrypoint(name) => name.to_string(),
    };
    let names = format!("{from}-to-{to}").to_ascii_lowercase();
    let words = names.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!("redirect-{}", words.join("-"))
}

fn source(http: &Map<String, Value>) -> Source {
    let mut source = Source::new(INTERNAL, INTERNAL);
    let fragment = Fragment { origin: "admin".to_owned(), config: json!({ "http": http }) };
    let snapshot = Update::Snapshot(vec![Item::Fragment(Arc::new(fragment))]);
    // One item fits into any bound.
    if let Err(error) = source.apply(snapshot, Vec::new()) {
        tracing::error!(%error, "internal services refused by the catalog");
    }
    source.synced = true;
    source
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_has_the_name_that_traefik_gives_it() {
        let to = |name: &str| RedirectTarget::Entrypoint(name.into());
        assert_eq!(middleware_name("web", &to("websecure")), "redirect-web-to-websecure");
        assert_eq!(middleware_name("Web_1", &to("a--b.c")), "redirect-web-1-to-a-b-c");
        assert_eq!(middleware_name("web", &RedirectTarget::Port(443)), "redirect-web-to-443");
    }
}
