//! Everything that providers declare, merged: each object once, with its origin.
//!
//! What is kept is who declares what. When an instance or a fragment changes, the objects that it
//! declares, or declared, are merged again, and no others.
//!
//! **Invariant:** instances that disagree never remove an object. The newest instance that is in
//! use wins, and the others become a warning (Traefik deletes the object: its issues 7817, 8256).

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use super::{
    backends::{BackendSpec, Part, servers, shared},
    complaints::{Complaints, Plaintiff},
};
use crate::{
    catalog::{Parsed, Registered, Source, problem},
    declare::{Declared, KindSpec, MiddlewareSpec, RouterSpec},
    item::{Health, Instance, Node},
    name::ObjectName,
    policy::{LoadBalancer, Transport},
    problem::Problem,
    roll::{Difference, Shared},
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

impl<T: Clone> Object<&T> {
    fn cloned(self) -> Object<T> {
        let Self { spec, origin, pointer, warnings } = self;
        Object { spec: spec.clone(), origin, pointer, warnings }
    }
}

/// A service with all its backends.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceObject {
    pub(super) load_balancer: Arc<LoadBalancer>,
    pub(super) backends: Vec<BackendSpec>,
    pub(super) kind: KindSpec,
}

/// The objects that may be different now, in no order, some perhaps more than once.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) routers: Vec<ObjectName>,
    pub(super) services: Vec<ObjectName>,
    pub(super) middlewares: Vec<ObjectName>,
    pub(super) transports: Vec<ObjectName>,
}

/// Who declares what.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    routers: Groups,
    services: Groups,
    middlewares: Groups,
    transports: Groups,
    /// The instances that have the address of a node: provider, `datacenter/node`, their ids.
    on_node: HashMap<(u16, String), BTreeSet<String>>,
}

/// What is said of each object, sorted by who says it.
type Groups = HashMap<ObjectName, Vec<Statement>>;

/// What somebody says of an object: the place in a list of what is declared.
#[derive(Clone, Debug)]
struct Statement {
    source: u16,
    at: u32,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Fragment(Arc<str>, Arc<Declared>),
    Instance(Shared<String, Registered>),
}

impl Statement {
    /// Providers in their order; of one, fragments first (Traefik's order of files).
    fn rank(&self) -> (u16, bool, &str, u32) {
        let (is_instance, id) = match &self.by {
            By::Fragment(origin, _) => (false, &**origin),
            By::Instance(registered) => (true, &*registered.0),
        };
        (self.source, is_instance, id, self.at)
    }

    fn find<'a, T>(&'a self, list: impl Fn(&'a Declared) -> &'a [(Arc<str>, T)]) -> Option<&'a T> {
        let declared = match &self.by {
            By::Fragment(_, declared) => declared,
            By::Instance(registered) => &registered.1.declared,
        };
        list(declared).get(self.at as usize).map(|(_, spec)| spec)
    }
}

impl Objects {
    /// Takes in what is different in a source.
    pub(super) fn take(
        &mut self,
        place: u16,
        before: &Source,
        after: &Source,
        touched: &mut Touched,
        complaints: &mut Complaints,
    ) {
        let provider = &after.provider;
        let instances = before.instances.differences(&after.instances);
        self.make_room(&instances);
        for difference in before.fragments.differences(&after.fragments) {
            let [was, is] = [difference.before, difference.after];
            let statement = |parsed: &Shared<String, Parsed>| {
                By::Fragment(parsed.0.as_str().into(), parsed.1.declared.clone())
            };
            self.restate(place, provider, was.map(statement), is.map(statement), touched);
            if let Some((origin, _)) = was.or(is).map(|it| &**it) {
                let flaws = is.iter().flat_map(|it| &it.1.declared.flaws);
                let problems =
                    flaws.map(|flaw| problem(provider, origin.clone(), flaw, &flaw.pointer));
                complaints.set(|| Plaintiff::Fragment(place, origin.clone()), problems.collect());
            }
        }
        for Difference { before: was, after: is } in instances {
            let statement = |registered: &Shared<_, _>| By::Instance(registered.clone());
            self.restate(place, provider, was.map(statement), is.map(statement), touched);
            let [was, is] = [was, is].map(|it| it.map(|it| &it.1));
            self.note_node(place, was, is);
            if let Some(Registered { instance, .. }) = was.or(is) {
                let problems = is.map(|it| it.problems.to_vec()).unwrap_or_default();
                complaints.set(|| Plaintiff::Instance(place, instance.id.clone()), problems);
            }
        }
        for difference in before.nodes.differences(&after.nodes) {
            let address =
                |it: Option<&Shared<String, Arc<Node>>>| it.map(|it| it.1.address.clone());
            if address(difference.before) == address(difference.after) {
                continue;
            }
            let changed = difference.before.or(difference.after);
            let Some((key, _)) = changed.map(|it| &**it) else { continue };
            for id in self.on_node.get(&(place, key.clone())).into_iter().flatten() {
                let declared = after.instances.get(id).map(|it| it.declared.services.iter());
                let names = declared.into_iter().flatten().map(|(name, _)| name);
                touched.services.extend(names.map(|name| lower(name, provider)));
            }
        }
        if before.notices != after.notices {
            let problems = after
                .notices
                .iter()
                .map(|notice| Problem::warning(&**provider, &*notice.origin, &*notice.message));
            complaints.set(|| Plaintiff::Notices(place), problems.collect());
        }
    }

    /// Somebody who declared one thing declares another.
    fn restate(
        &mut self,
        source: u16,
        provider: &Arc<str>,
        was: Option<By>,
        is: Option<By>,
        touched: &mut Touched,
    ) {
        let context = (source, provider, was.as_ref(), is.as_ref());
        restate(context, &mut self.routers, |it| &it.routers, &mut touched.routers);
        restate(context, &mut self.services, |it| &it.services, &mut touched.services);
        restate(context, &mut self.middlewares, |it| &it.middlewares, &mut touched.middlewares);
        restate(context, &mut self.transports, |it| &it.transports, &mut touched.transports);
    }

    /// The first instances are many.
    fn make_room(&mut self, instances: &[Difference<'_, String, Registered>]) {
        let new = || instances.iter().filter(|it| it.before.is_none()).filter_map(|it| it.after);
        if self.services.is_empty() && self.routers.is_empty() {
            self.routers.reserve(new().map(|it| it.1.declared.routers.len()).sum());
            self.services.reserve(new().map(|it| it.1.declared.services.len()).sum());
        }
    }

    fn note_node(&mut self, place: u16, was: Option<&Registered>, is: Option<&Registered>) {
        let without_address = |registered: Option<&Registered>| {
            let instance = registered.map(|it| it.instance.clone());
            instance.filter(|instance| instance.address.is_empty())
        };
        let key =
            |instance: &Instance| (place, format!("{}/{}", instance.datacenter, instance.node));
        if let Some(instance) = without_address(was)
            && let hashbrown::hash_map::Entry::Occupied(mut there) =
                self.on_node.entry(key(&instance))
        {
            there.get_mut().remove(&instance.id);
            if there.get().is_empty() {
                there.remove();
            }
        }
        if let Some(instance) = without_address(is) {
            self.on_node.entry(key(&instance)).or_default().insert(instance.id.clone());
        }
    }

    /// A router as it is declared now, and what is wrong with that.
    pub(super) fn router<'a>(
        &'a self,
        name: &ObjectName,
        mut is_sound: impl FnMut(&RouterSpec) -> bool,
    ) -> (Option<Object<&'a RouterSpec>>, Vec<Problem>) {
        let spec = |statement: &'a Statement| statement.find(|it| &it.routers);
        merge(&self.routers, name, "routers", spec, |spec: &&RouterSpec| is_sound(spec))
    }

    /// A middleware as it is declared now.
    pub(super) fn middleware(
        &self,
        name: &ObjectName,
        mut is_sound: impl FnMut(&MiddlewareSpec) -> bool,
    ) -> (Option<Object<MiddlewareSpec>>, Vec<Problem>) {
        let (object, problems) = merge(
            &self.middlewares,
            name,
            "middlewares",
            |statement| statement.find(|it| &it.middlewares),
            |spec: &&MiddlewareSpec| is_sound(spec),
        );
        (object.map(Object::cloned), problems)
    }

    /// A service as it is declared now, with everybody's backends.
    pub(super) fn service(
        &self,
        name: &ObjectName,
        sources: &[Arc<Source>],
    ) -> (Option<Object<ServiceObject>>, Vec<Problem>) {
        let (object, problems) = merge(
            &self.services,
            name,
            "services",
            |statement| statement.find(|it| &it.services).map(|spec| (&spec.options, &spec.kind)),
            any,
        );
        let with_backends = |object: Object<(&Arc<LoadBalancer>, &KindSpec)>| {
            let Object { spec: (options, kind), origin, pointer, warnings } = object;
            let (load_balancer, kind) = (options.clone(), kind.clone());
            let statements = self.services.get(name).map(Vec::as_slice).unwrap_or_default();
            let backends = match kind {
                KindSpec::Backends => backends(statements, sources),
                _ => Vec::new(),
            };
            let spec = ServiceObject { load_balancer, backends, kind };
            Object { spec, origin, pointer, warnings }
        };
        (object.map(with_backends), problems)
    }

    /// A way of connecting to backends, as it is declared now.
    pub(super) fn transport(&self, name: &ObjectName) -> (Option<Object<Transport>>, Vec<Problem>) {
        let (object, problems) = merge(
            &self.transports,
            name,
            "servers-transports",
            |statement| statement.find(|it| &it.transports),
            any,
        );
        (object.map(Object::cloned), problems)
    }
}

/// Names of instances are compared without case, as Traefik matches tags.
fn lower(name: &Arc<str>, provider: &Arc<str>) -> ObjectName {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => ObjectName::new(name.to_ascii_lowercase(), provider.clone()),
        false => ObjectName { name: name.clone(), provider: provider.clone() },
    }
}

type Context<'a> = (u16, &'a Arc<str>, Option<&'a By>, Option<&'a By>);

/// Takes back what somebody said of objects of one kind, and notes what they say now.
fn restate<T: PartialEq>(
    (source, provider, was, is): Context<'_>,
    groups: &mut Groups,
    list: impl Fn(&Declared) -> &[(Arc<str>, T)],
    touched: &mut Vec<ObjectName>,
) {
    let said = |by: &By| {
        let (declared, is_instance) = match by {
            By::Fragment(_, declared) => (declared, false),
            By::Instance(registered) => (&registered.1.declared, true),
        };
        let named = |(at, (name, _)): (u32, &(Arc<str>, T))| {
            let name = match is_instance {
                true => lower(name, provider),
                false => ObjectName { name: name.clone(), provider: provider.clone() },
            };
            (name, Statement { source, at, by: by.clone() })
        };
        (0..).zip(list(declared)).map(named).collect::<Vec<_>>()
    };
    let mut before: HashMap<ObjectName, Statement> = HashMap::new();
    for (name, statement) in was.map(said).unwrap_or_default() {
        if let Some(group) = groups.get_mut(&name) {
            if let Ok(place) = group.binary_search_by(|it| it.rank().cmp(&statement.rank())) {
                group.remove(place);
            }
            if group.is_empty() {
                groups.remove(&name);
            }
        }
        before.insert(name, statement);
    }
    for (name, statement) in is.map(said).unwrap_or_default() {
        let is_same = match (before.remove(&name), &statement.by) {
            // Of a file with a thousand routers, mostly one is edited.
            (Some(before), By::Fragment(..)) => before.find(&list) == statement.find(&list),
            _ => false,
        };
        if !is_same {
            touched.push(name.clone());
        }
        // Mostly there is one.
        let group = groups.entry(name).or_insert_with(|| Vec::with_capacity(1));
        let place = group.binary_search_by(|it| it.rank().cmp(&statement.rank()));
        group.insert(place.unwrap_or_else(|place| place), statement);
    }
    touched.extend(before.into_keys());
}

/// How much an instance's word counts: one in use before one that is not, one that is trusted before
/// one that is being tried, then the newest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank<'a> {
    usable: bool,
    trusted: bool,
    version: u64,
    id: &'a Arc<str>,
}

impl<'a> Rank<'a> {
    fn of(registered: &'a Registered) -> Self {
        let trusted = registered.instance.canary.is_none();
        let usable = registered.instance.edge_health().is_usable();
        Self { usable, trusted, version: registered.instance.version, id: &registered.id }
    }
}

/// The statements of one speaker: a fragment has one, all instances of a provider speak together.
fn speakers(statements: &[Statement]) -> impl Iterator<Item = &[Statement]> {
    statements.chunk_by(|one, other| {
        let instances = |it: &Statement| matches!(it.by, By::Instance(_));
        one.source == other.source && instances(one) && instances(other)
    })
}

/// Where it takes others to find out whether something works, all are as good.
fn any<T>(_: &T) -> bool {
    true
}

/// The object of a name: what the first of those who declare it says. Of instances that disagree
/// those count first whose word `is_sound`.
fn merge<'a, T: PartialEq>(
    groups: &'a Groups,
    name: &ObjectName,
    kind: &str,
    spec: impl Fn(&'a Statement) -> Option<T>,
    mut is_sound: impl FnMut(&T) -> bool,
) -> (Option<Object<T>>, Vec<Problem>) {
    let statements = groups.get(name).map(Vec::as_slice).unwrap_or_default();
    let mut objects = speakers(statements)
        .filter_map(|statements| heard(statements, name, kind, &spec, &mut is_sound));
    let Some(first) = objects.next() else { return (None, Vec::new()) };
    let problem =
        |origin: &str, message: String| Problem::warning(&*name.provider, origin, message);
    let doubts = first.warnings.iter();
    let mut problems: Vec<_> =
        doubts.map(|doubt| problem(&format!("`{}`", name.name), doubt.clone())).collect();
    problems.extend(objects.map(|other| {
        let message =
            format!("`{}` is declared by {} already, which wins", name.name, first.origin);
        problem(&other.origin, message).at(other.pointer)
    }));
    (Some(first), problems)
}

/// What one speaker says.
fn heard<'a, T: PartialEq>(
    statements: &'a [Statement],
    name: &ObjectName,
    kind: &str,
    spec: &impl Fn(&'a Statement) -> Option<T>,
    is_sound: impl FnMut(&T) -> bool,
) -> Option<Object<T>> {
    if let [Statement { by: By::Fragment(origin, _), .. }, ..] = statements {
        let pointer = format!("/http/{kind}/{}", name.name);
        return Some(object(spec(statements.first()?)?, origin, pointer));
    }
    let ranked = |statement: &'a Statement| match &statement.by {
        By::Instance(registered) => Some((Rank::of(&registered.1), spec(statement)?)),
        By::Fragment(..) => None,
    };
    match statements {
        // Mostly there is one.
        [only] => ranked(only).map(|(rank, spec)| object(spec, rank.id, String::new())),
        _ => newest(statements.iter().filter_map(ranked).collect(), is_sound),
    }
}

/// The word of the newest instance in use; a warning names the others. A word that is wrong does not
/// take the place of one that is right.
fn newest<T: PartialEq>(
    mut ranked: Vec<(Rank<'_>, T)>,
    mut is_sound: impl FnMut(&T) -> bool,
) -> Option<Object<T>> {
    ranked.sort_by_key(|(rank, _)| Reverse(*rank));
    let newest = ranked.first().map(|(rank, _)| rank.id)?;
    if let [(_, first), others @ ..] = &*ranked
        && others.iter().any(|(_, other)| other != first)
    {
        // Finding out may take a while, and most say what others say.
        let mut wrong: Vec<&T> = Vec::new();
        let right = ranked.iter().position(|(_, spec)| {
            let is_right = !wrong.contains(&spec) && is_sound(spec);
            if !is_right {
                wrong.push(spec);
            }
            is_right
        });
        if let Some(before) = right.and_then(|place| ranked.get_mut(..=place)) {
            before.rotate_right(1);
        }
    }
    let mut ranked = ranked.into_iter();
    let (rank, spec) = ranked.next()?;
    let others: Vec<_> = ranked
        .filter(|(_, other)| spec != *other)
        .map(|(rank, _)| format!("`{}`", rank.id))
        .collect();
    let mut object = object(spec, rank.id, String::new());
    if !others.is_empty() {
        let (others, winner) = (others.join(", "), rank.id);
        object.warnings.push(match winner == newest {
            true => format!(
                "instances disagree: `{winner}` is the newest in use and wins, {others} declare it \
                 otherwise"
            ),
            false => format!(
                "instances disagree: what the newest in use, `{newest}`, declares does not work, so \
                 `{winner}` wins; {others} declare it otherwise"
            ),
        });
    }
    Some(object)
}

fn object<T>(spec: T, origin: &Arc<str>, pointer: String) -> Object<T> {
    Object { spec, origin: origin.clone(), pointer, warnings: Vec::new() }
}

/// The servers that a file lists, or the backends of all instances, each once.
fn backends(statements: &[Statement], sources: &[Arc<Source>]) -> Vec<BackendSpec> {
    let Some(first) = speakers(statements).next() else { return Vec::new() };
    let mut parts = Vec::with_capacity(first.len());
    for statement in first {
        let Some(spec) = statement.find(|it| &it.services) else { continue };
        match &statement.by {
            By::Fragment(origin, _) => return servers(spec, origin, Health::Passing),
            // An instance that declares a service of services is not a part of it.
            By::Instance(_) if spec.kind != KindSpec::Backends => (),
            By::Instance(registered) => {
                let source = sources.get(usize::from(statement.source));
                parts.push(Part::of(source, &registered.1, spec));
            }
        }
    }
    let mut backends = shared(parts);
    // Of several at one address the one that is well counts: it is what one reaches there.
    backends.sort_by(|one, other| {
        let (left, right) = ((one.place(), one.health), (other.place(), other.health));
        left.cmp(&right).then_with(|| one.cmp(other))
    });
    backends.dedup_by(|one, other| one.place() == other.place());
    backends
}
