//! Everything that is served, as one immutable whole, and the inventory that explains it.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    catalog::Source, declare::TlsSpec, departed::Departed, middleware::Middleware,
    name::ObjectName, problem::Problem, roll::Roll, route::RouteTable, router::Router,
    service::Service, zone::Zones,
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
    /// The names of the routers that use it.
    pub used_by: Roll<ObjectName, ()>,
}

/// Something that was declared: it has a name, an origin, a status.
pub trait HasEntry {
    /// What every declared object has.
    fn entry(&self) -> &Entry;
}

/// Declared objects of one kind, by name. A copy shares what is the same.
#[derive(Clone, Debug)]
pub struct Entries<T>(Roll<ObjectName, T>);

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
    /// The same as it is written, or as its only service is called where nothing is.
    pub reference: Option<Arc<str>>,
    /// What it says about encryption; then it answers on encrypted connections only.
    pub tls: Option<Arc<TlsSpec>>,
    /// The hosts its rule demands, lower case; DNS answers them with the addresses of its
    /// entrypoints.
    pub hosts: Arc<[String]>,
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
    /// Its configuration: as written, or in camel case if it could be bound.
    pub config: Arc<Value>,
    /// The middleware that works, unless it is disabled, or a chain.
    pub live: Option<Arc<Middleware>>,
    /// What a chain stands for, those of chains within it in their place; `None`: it is none. Who is
    /// missing is in it, closed.
    pub chain: Option<Arc<[Arc<Middleware>]>>,
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
    pub routers: Entries<RouterEntry>,
    /// Every service that was declared, by name.
    pub services: Entries<ServiceEntry>,
    /// Every middleware that was declared, by name.
    pub middlewares: Entries<MiddlewareEntry>,
    /// Routers that are gone, and of which something is to be told.
    pub departed_routers: Departed,
    /// The same of services.
    pub departed_services: Departed,
    /// What each provider reported: nodes, instances, fragments.
    pub sources: Vec<Arc<Source>>,
    /// What is wrong.
    pub problems: Problems,
}

/// What is wrong: errors first, each problem once. A copy shares what is the same.
#[derive(Clone, Debug, Default)]
pub struct Problems(Roll<Problem, usize>);

impl Snapshot {
    /// The routers of an entrypoint.
    pub fn table(&self, entrypoint: &str) -> Option<&RouteTable> {
        self.tables.iter().find(|(name, _)| &**name == entrypoint).map(|(_, table)| table)
    }
}

impl HasEntry for RouterEntry {
    fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl HasEntry for ServiceEntry {
    fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl HasEntry for MiddlewareEntry {
    fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl<T: HasEntry> Entries<T> {
    /// What is different in a newer version, by name: as it was, and as it is. The cost is that of
    /// what is different.
    pub fn differences<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
        let found = self.0.differences(&newer.0).into_iter();
        found.map(|it| (it.before.map(|entry| &entry.1), it.after.map(|entry| &entry.1)))
    }

    /// The entry of this name.
    pub fn get(&self, name: &ObjectName) -> Option<&T> {
        self.0.get(name)
    }

    /// Adds an entry, in place of one of its name.
    pub fn push(&mut self, entry: T) {
        self.0.insert(entry.entry().name.clone(), entry);
    }

    /// Makes many changes at once: `None` removes.
    pub(crate) fn update(&mut self, changes: Vec<(ObjectName, Option<T>)>) {
        self.0.update(changes);
    }

    /// Changes the entry of this name, if there is one.
    pub(crate) fn change(&mut self, name: &ObjectName, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.0.change(name, change);
    }
}

impl<T> Entries<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.0.values()
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Roll::default())
    }
}

impl<T: HasEntry> FromIterator<T> for Entries<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let named = |entry: T| (entry.entry().name.clone(), entry);
        Self(entries.into_iter().map(named).collect())
    }
}

impl Problems {
    /// The problems, errors first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Problem> + Clone {
        self.0.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes who has each of these problems now and had not before (a positive number), or the
    /// other way round.
    pub(crate) fn update(&mut self, changes: impl IntoIterator<Item = (Problem, isize)>) {
        let count = |(problem, change): (Problem, isize)| {
            let before = self.0.get(&problem).copied().unwrap_or_default();
            let after = before.saturating_add_signed(change);
            let is_different = after != before;
            is_different.then_some((problem, Some(after).filter(|count| *count > 0)))
        };
        let changes: Vec<_> = changes.into_iter().filter_map(count).collect();
        self.0.update(changes);
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        Self(problems.into_iter().map(|problem| (problem, 1)).collect())
    }
}
