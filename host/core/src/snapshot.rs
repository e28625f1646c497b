//! Everything that is served, as one immutable whole, and the inventory that explains it.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    declare::TlsSpec,
    item::{Instance, Node},
    middleware::Middleware,
    name::ObjectName,
    problem::Problem,
    route::RouteTable,
    router::Router,
    service::Service,
    zone::Zones,
};

/// Whether something that was declared is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// In use, as declared.
    Enabled,
    /// In use, but something about it was left out or is doubtful.
    Warning,
    /// Not in use: something that it needs is wrong or missing.
    Disabled,
}

impl Status {
    /// The word for it in Traefik's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Warning => "warning",
            Self::Disabled => "disabled",
        }
    }
}

/// What every declared object has.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: ObjectName,
    /// The file, table or instance that declares it.
    pub origin: Arc<str>,
    /// Whether it is in use.
    pub status: Status,
    /// Why it is not, or what is doubtful about it.
    pub errors: Vec<String>,
    /// The names of the objects that use it.
    pub used_by: Vec<String>,
}

/// A router that was declared.
#[derive(Clone, Debug)]
pub struct RouterEntry {
    /// Name, origin, status.
    pub entry: Entry,
    /// The rule as written.
    pub rule: Arc<str>,
    /// Explicit, or the length of the rule.
    pub priority: i64,
    /// The entrypoints it serves.
    pub entrypoints: Vec<Arc<str>>,
    /// Its middlewares, as `name@provider`.
    pub middlewares: Vec<String>,
    /// Its service, as `name@provider`.
    pub service: Option<String>,
    /// What it says about encryption; then it answers on encrypted connections only.
    pub tls: Option<Arc<TlsSpec>>,
    /// The hosts its rule demands, lower case; DNS answers them with the edge addresses.
    pub hosts: Vec<String>,
    /// The router that works, unless it is disabled.
    pub live: Option<Arc<Router>>,
}

/// A service that was declared.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// Name, origin, status.
    pub entry: Entry,
    /// The service that works, unless it is disabled.
    pub live: Option<Arc<Service>>,
}

/// A middleware that was declared.
#[derive(Clone, Debug)]
pub struct MiddlewareEntry {
    /// Name, origin, status.
    pub entry: Entry,
    /// The plugin that it is a use of, as written.
    pub plugin: Arc<str>,
    /// Its configuration, as written.
    pub config: Arc<Value>,
    /// The middleware that works, unless it is disabled.
    pub live: Option<Arc<Middleware>>,
}

/// Everything that is served, as one immutable whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with every snapshot.
    pub generation: u64,
    /// The routers of each entrypoint.
    pub tables: Vec<(Arc<str>, RouteTable)>,
    /// Names and their answers.
    pub zones: Zones,
    /// Every router that was declared, by name.
    pub routers: Vec<RouterEntry>,
    /// Every service that was declared, by name.
    pub services: Vec<ServiceEntry>,
    /// Every middleware that was declared, by name.
    pub middlewares: Vec<MiddlewareEntry>,
    /// Every node of every provider.
    pub nodes: Vec<Arc<Node>>,
    /// Every instance of every provider, with the provider's name.
    pub instances: Vec<(Arc<str>, Arc<Instance>)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Snapshot {
    /// The routers of an entrypoint.
    pub fn table(&self, entrypoint: &str) -> Option<&RouteTable> {
        self.tables.iter().find(|(name, _)| &**name == entrypoint).map(|(_, table)| table)
    }
}
