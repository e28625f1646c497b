//! Everything that a provider declares, merged: each object once, with its origin.
//!
//! **Invariant:** instances that disagree never remove an object. The newest instance that is in
//! use wins, and the others become a warning (Traefik deletes the object: its issues 7817, 8256).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    backend::Scheme,
    catalog::{Parsed, Registered, Source, problem},
    declare::{KindSpec, MiddlewareSpec, RouterSpec, ServiceSpec, pool},
    item::{Health, Instance},
    name::ObjectName,
    policy::{LoadBalancer, Transport},
    problem::Problem,
};

/// An object and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Object<T> {
    pub(super) spec: T,
    /// The file, table or instance that declares it.
    pub(super) origin: Arc<str>,
    /// JSON Pointer within the origin; empty for tags.
    pub(super) pointer: String,
    /// What is doubtful about it.
    pub(super) warnings: Vec<String>,
}

/// A backend before it is known what it has done.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct BackendSpec {
    pub(super) scheme: Scheme,
    pub(super) authority: Arc<str>,
    pub(super) weight: u32,
    pub(super) health: Health,
    pub(super) origin: Arc<str>,
}

/// A service with all its backends.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceObject {
    pub(super) load_balancer: LoadBalancer,
    pub(super) backends: Vec<BackendSpec>,
    pub(super) kind: KindSpec,
}

/// Every object of every provider.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) routers: BTreeMap<ObjectName, Object<RouterSpec>>,
    pub(super) services: BTreeMap<ObjectName, Object<ServiceObject>>,
    pub(super) middlewares: BTreeMap<ObjectName, Object<MiddlewareSpec>>,
    pub(super) transports: BTreeMap<ObjectName, Object<Transport>>,
    pub(super) problems: Vec<Problem>,
}

impl Objects {
    /// Merges what all sources declare.
    pub(super) fn merge<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let mut objects = Self::default();
        for source in sources {
            for (origin, parsed) in &source.fragments {
                objects.add_fragment(source, origin, parsed);
            }
            objects.add_instances(source);
            objects.problems.extend(source.notices.iter().map(|notice| {
                Problem::warning(&*source.provider, &*notice.origin, &*notice.message)
            }));
        }
        objects
    }

    fn add_fragment(&mut self, source: &Source, origin: &str, parsed: &Parsed) {
        let (declared, origin) = (&parsed.declared, Arc::<str>::from(origin));
        let flaws = declared.flaws.iter();
        self.problems.extend(
            flaws.map(|flaw| problem(&source.provider, origin.to_string(), flaw, &flaw.pointer)),
        );
        for (name, spec) in &declared.routers {
            let object = object(spec.clone(), &origin, format!("/http/routers/{name}"));
            put(&mut self.routers, &mut self.problems, source, name, object);
        }
        for (name, spec) in &declared.services {
            let service = static_service(spec, &origin);
            let object = object(service, &origin, format!("/http/services/{name}"));
            put(&mut self.services, &mut self.problems, source, name, object);
        }
        for (name, spec) in &declared.middlewares {
            let object = object(spec.clone(), &origin, format!("/http/middlewares/{name}"));
            put(&mut self.middlewares, &mut self.problems, source, name, object);
        }
        for (name, spec) in &declared.transports {
            let pointer = format!("/http/servers-transports/{name}");
            let object = object(spec.clone(), &origin, pointer);
            put(&mut self.transports, &mut self.problems, source, name, object);
        }
    }

    fn add_instances(&mut self, source: &Source) {
        let mut routers = Candidates::default();
        let mut services = Candidates::default();
        let mut middlewares = Candidates::default();
        let mut transports = Candidates::default();
        for registered in source.instances.values() {
            self.problems.extend(registered.problems.iter().cloned());
            let rank = Rank::of(registered);
            let served = served(registered);
            for (name, spec) in &registered.declared.routers {
                let mut spec = spec.clone();
                link(&mut spec, &served, registered, &source.provider, &mut self.problems);
                routers.add(name, rank, spec);
            }
            for (name, spec) in &served {
                let part = Part {
                    spec: spec.clone(),
                    backends: backends(source, registered, spec),
                    percent: registered.canary.and_then(|canary| canary.percent),
                };
                services.add(name, rank, part);
            }
            for (name, spec) in &registered.declared.middlewares {
                middlewares.add(name, rank, spec.clone());
            }
            for (name, spec) in &registered.declared.transports {
                transports.add(name, rank, spec.clone());
            }
        }
        for (name, candidates) in transports.0 {
            let object = newest(candidates, |one, other| one == other);
            put(&mut self.transports, &mut self.problems, source, &name, object);
        }
        for (name, candidates) in routers.0 {
            let object = newest(candidates, |one, other| one == other);
            put(&mut self.routers, &mut self.problems, source, &name, object);
        }
        for (name, candidates) in middlewares.0 {
            let object = newest(candidates, |one, other| one == other);
            put(&mut self.middlewares, &mut self.problems, source, &name, object);
        }
        for (name, candidates) in services.0 {
            let object = union(candidates);
            put(&mut self.services, &mut self.problems, source, &name, object);
        }
    }
}

/// How much an instance's word counts: one in use before one that is not, one that is trusted before
/// one that is being tried, then the newest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank<'a> {
    usable: bool,
    trusted: bool,
    version: u64,
    id: &'a str,
}

impl<'a> Rank<'a> {
    fn of(registered: &'a Registered) -> Self {
        let Instance { health, version, id, .. } = &*registered.instance;
        let trusted = registered.canary.is_none();
        Self { usable: health.is_usable(), trusted, version: *version, id }
    }
}

/// What instances say of each object, by its name without case (as Traefik matches tags).
struct Candidates<'a, T>(BTreeMap<Arc<str>, Vec<(Rank<'a>, T)>>);

impl<T> Default for Candidates<'_, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'a, T> Candidates<'a, T> {
    fn add(&mut self, name: &Arc<str>, rank: Rank<'a>, spec: T) {
        let key = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.clone(),
        };
        self.0.entry(key).or_default().push((rank, spec));
    }
}

/// The word of the newest instance in use; a warning names the others.
fn newest<T>(mut candidates: Vec<(Rank<'_>, T)>, same: impl Fn(&T, &T) -> bool) -> Object<T> {
    candidates.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    let mut candidates = candidates.into_iter();
    let (rank, spec) = candidates.next().expect("a name is there because a candidate is");
    let others: Vec<_> = candidates
        .filter(|(_, other)| !same(&spec, other))
        .map(|(rank, _)| format!("`{}`", rank.id))
        .collect();
    let mut object = object(spec, &rank.id.into(), String::new());
    if !others.is_empty() {
        let others = others.join(", ");
        object.warnings.push(format!(
            "instances disagree: `{}` is the newest in use and wins, {others} declare it otherwise",
            rank.id
        ));
    }
    object
}

/// What an instance is for one of its services.
struct Part {
    spec: ServiceSpec,
    backends: Vec<BackendSpec>,
    /// For a canary: of a hundred requests, how many all canaries get.
    percent: Option<u8>,
}

/// One service of all the instances that declare it: everybody's backends, the newest's options.
fn union(candidates: Vec<(Rank<'_>, Part)>) -> Object<ServiceObject> {
    let mut backends = shared(&candidates);
    backends.sort();
    backends.dedup_by(|one, other| one.scheme == other.scheme && one.authority == other.authority);
    let word = newest(candidates, |one, other| {
        (&one.spec.options, &one.spec.kind) == (&other.spec.options, &other.spec.kind)
    });
    let ServiceSpec { options: load_balancer, kind, .. } = word.spec.spec;
    if kind != KindSpec::Backends {
        // An instance that declares it is not a part of it.
        backends.clear();
    }
    Object {
        spec: ServiceObject { load_balancer, backends, kind },
        origin: word.origin,
        pointer: String::new(),
        warnings: word.warnings,
    }
}

/// Everybody's backends. Where some are canaries, weights are such that those get their part of the
/// traffic, however many there are.
fn shared(candidates: &[(Rank<'_>, Part)]) -> Vec<BackendSpec> {
    let all = || candidates.iter().map(|(_, part)| part);
    let sum = |canaries: bool| {
        let parts = all().filter(|part| part.percent.is_some() == canaries);
        parts.flat_map(|part| &part.backends).map(|backend| u64::from(backend.weight)).sum::<u64>()
    };
    let (trusted, tried) = (sum(false), sum(true));
    let Some(percent) = all().filter_map(|part| part.percent).max().map(u64::from) else {
        return all().flat_map(|part| part.backends.clone()).collect();
    };
    // How much more a weight counts, so that the sums are as the part says.
    let (own, others) = match (trusted, tried) {
        (0, _) | (_, 0) => (1, 1),
        _ => reduced(trusted * percent, tried * (100 - percent.min(100))),
    };
    let backends = || all().flat_map(|part| part.backends.iter().map(move |one| (part, one)));
    let factor = |part: &Part| u128::from(if part.percent.is_some() { own } else { others });
    let weight = |(part, one): (&Part, &BackendSpec)| u128::from(one.weight) * factor(part);
    let scale = backends().map(weight).max().unwrap_or(0).div_ceil(u128::from(u32::MAX)).max(1);
    let scaled = |(part, one): (&Part, &BackendSpec)| {
        let weight = weight((part, one));
        // Rounded, but not to nothing.
        let weight = (weight / scale).max(u128::from(weight > 0));
        BackendSpec { weight: u32::try_from(weight).unwrap_or(u32::MAX), ..one.clone() }
    };
    backends().map(scaled).collect()
}

/// A ratio in smallest numbers.
fn reduced(one: u64, other: u64) -> (u64, u64) {
    let (mut divisor, mut rest) = (one, other);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (one / divisor.max(1), other / divisor.max(1))
}

fn object<T>(spec: T, origin: &Arc<str>, pointer: String) -> Object<T> {
    Object { spec, origin: origin.clone(), pointer, warnings: Vec::new() }
}

/// Adds an object unless an earlier file declares one of that name (Traefik's order of files).
fn put<T>(
    objects: &mut BTreeMap<ObjectName, Object<T>>,
    problems: &mut Vec<Problem>,
    source: &Source,
    name: &Arc<str>,
    object: Object<T>,
) {
    let name = ObjectName::new(name.clone(), source.provider.clone());
    if let Some(first) = objects.get(&name) {
        let message =
            format!("`{}` is declared by {} already, which wins", name.name, first.origin);
        let problem = Problem::warning(&*source.provider, &*object.origin, message);
        problems.push(problem.at(object.pointer));
        return;
    }
    let doubts = object.warnings.iter();
    problems.extend(doubts.map(|doubt| {
        Problem::warning(&*source.provider, format!("`{}`", name.name), doubt.as_str())
    }));
    objects.insert(name, object);
}

fn static_service(spec: &ServiceSpec, origin: &Arc<str>) -> ServiceObject {
    let backends = spec.servers.iter().map(|server| BackendSpec {
        scheme: server.scheme,
        authority: server.authority.as_str().into(),
        weight: server.weight,
        health: Health::Passing,
        origin: origin.clone(),
    });
    let (load_balancer, kind) = (spec.options.clone(), spec.kind.clone());
    ServiceObject { load_balancer, backends: backends.collect(), kind }
}

/// The services that an instance is a backend of: those it declares, else one of its own name. A
/// canary is in a pool of its own, and in the service itself when it gets a part of that's traffic.
fn served(registered: &Registered) -> Vec<(Arc<str>, ServiceSpec)> {
    let declared = &registered.declared.services;
    if declared.iter().any(|(_, spec)| spec.kind == KindSpec::Backends) {
        return declared.clone();
    }
    let instance = &registered.instance;
    let name = normalize(&instance.service);
    let mut names = Vec::new();
    if registered.canary.is_none_or(|canary| canary.percent.is_some()) {
        names.push(name.clone());
    }
    if registered.canary.is_some() {
        names.push(pool(&name, &instance.tags));
    }
    // Services that are made of others are not what the instance is a backend of.
    let own = names.into_iter().map(|name| (name.into(), ServiceSpec::default()));
    own.chain(declared.iter().cloned()).collect()
}

/// Traefik's name for a service of the catalog: runs of anything but letters and digits become
/// one hyphen.
fn normalize(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// A router of an instance goes to the instance's only service unless it names one.
fn link(
    router: &mut RouterSpec,
    served: &[(Arc<str>, ServiceSpec)],
    registered: &Registered,
    provider: &str,
    problems: &mut Vec<Problem>,
) {
    let own: Vec<_> = served.iter().filter(|(_, spec)| spec.kind == KindSpec::Backends).collect();
    match (&router.service, own.as_slice()) {
        (Some(_), _) => (),
        // Of a canary the first is the service that it is a canary of.
        (None, [(first, _), ..]) if registered.canary.is_some() => {
            router.service = Some(first.to_string());
        }
        (None, [(only, _)]) => router.service = Some(only.to_string()),
        (None, _) => {
            let names: Vec<_> = served.iter().map(|(name, _)| format!("`{name}`")).collect();
            let message =
                format!("the router names no service, and there are {}", names.join(", "));
            problems.push(Problem::error(provider, &*registered.instance.id, message));
        }
    }
}

/// The backends that an instance is for one of its services.
fn backends(source: &Source, registered: &Registered, spec: &ServiceSpec) -> Vec<BackendSpec> {
    let instance = &registered.instance;
    let origin: Arc<str> = instance.id.as_str().into();
    // What is out of use keeps the share that it will have when it comes back.
    let weight = spec.weight.unwrap_or_else(|| match instance.health.is_usable() {
        true => instance.weight(),
        false => instance.weight_passing,
    });
    let backend = |scheme, authority: &str, weight| BackendSpec {
        scheme,
        authority: authority.into(),
        weight,
        health: instance.health,
        origin: origin.clone(),
    };
    if !spec.servers.is_empty() {
        let servers = spec.servers.iter();
        return servers.map(|s| backend(s.scheme, &s.authority, s.weight)).collect();
    }
    let port = spec.port.unwrap_or(instance.port);
    let address = match instance.address.as_str() {
        "" => node_address(source, instance).unwrap_or_default(),
        address => address,
    };
    if port == 0 || address.is_empty() {
        return Vec::new();
    }
    let authority = match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    };
    vec![backend(spec.scheme.unwrap_or_default(), &authority, weight)]
}

fn node_address<'a>(source: &'a Source, instance: &Instance) -> Option<&'a str> {
    let key = format!("{}/{}", instance.datacenter, instance.node);
    source.nodes.get(&key).map(|node| node.address.as_str())
}
