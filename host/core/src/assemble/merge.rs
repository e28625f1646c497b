//! Everything that providers declare, merged: each object once, with its origin.
//!
//! What is kept is who declares what. When an instance or a fragment changes, the objects that it
//! declares, or declared, are merged again, and no others.
//!
//! **Invariant:** instances that disagree never remove an object. The newest instance that is in
//! use wins, and the others become a warning (Traefik deletes the object: its issues 7817, 8256).

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{
    backends::{BackendSpec, Part, servers, shared},
    charge::Charges,
    complaints::{Complaints, Plaintiff},
    groups::{By, Groups, Statement, speakers},
    newest::{Doubt, Rank, Word, newest},
};
use crate::{
    catalog::{Parsed, Registered, Source, problem},
    declare::{KindSpec, MiddlewareSpec, RouterSpec, TransportSpec, tree},
    item::{Health, Instance, Node, Notice},
    name::{ObjectName, fold},
    policy::LoadBalancer,
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
    pub(super) doubts: Vec<Doubt>,
}

impl<T: Clone> Object<&T> {
    fn cloned(self) -> Object<T> {
        let Self { spec, origin, pointer, doubts } = self;
        Object { spec: spec.clone(), origin, pointer, doubts }
    }
}

impl<T> Object<T> {
    /// The same, with another thing said.
    pub(super) fn with<U>(&self, spec: U) -> Object<U> {
        let Self { origin, pointer, .. } = self;
        let (origin, pointer) = (origin.clone(), pointer.clone());
        Object { spec, origin, pointer, doubts: self.doubts.clone() }
    }

    /// What is doubtful about it, as it is shown beside it.
    pub(super) fn shown_doubts(&self) -> Vec<String> {
        self.doubts.iter().map(|doubt| doubt.message.clone()).collect()
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
    charges: Charges,
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
        let mut charged = HashSet::new();
        for Difference { before: was, after: is } in instances {
            let statement = |registered: &Shared<_, _>| By::Instance(registered.clone());
            self.restate(place, provider, was.map(statement), is.map(statement), touched);
            let [was, is] = [was, is].map(|it| it.map(|it| &it.1));
            self.note_node(place, was, is);
            self.charges.take(place, was, is, &mut charged);
        }
        for charge in charged {
            let problems = self.charges.told(&charge, provider);
            complaints.set(|| Plaintiff::Instances(charge), problems);
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
                let services = names.map(|name| self.services.meant(name, provider));
                touched.services.extend(services);
            }
        }
        // What a file held before may be gone.
        if before.notices != after.notices
            || !after.notices.is_empty() && before.fragments.len() != after.fragments.len()
        {
            let problems = after.notices.iter().map(|notice| noticed(after, notice));
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
        self.routers.restate(context, |it| &it.routers, &mut touched.routers);
        self.services.restate(context, |it| &it.services, &mut touched.services);
        self.middlewares.restate(context, |it| &it.middlewares, &mut touched.middlewares);
        self.transports.restate(context, |it| &it.transports, &mut touched.transports);
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

    /// A problem of a middleware, at the tag that a person wrote if an instance declares it.
    pub(super) fn placed(&self, name: &ObjectName, problem: Problem) -> Problem {
        let instance = self.middlewares.get(name).iter().find_map(|it| match &it.by {
            By::Instance(registered) if *registered.1.id == *problem.origin => {
                Some(&registered.1.instance)
            }
            By::Instance(_) | By::Fragment(..) => None,
        });
        let tree = instance.map(|instance| tree(&instance.declares));
        // A tag may hold a list, of which a plugin complains place by place.
        let mut places = std::iter::successors(Some(&*problem.path), |path| {
            path.rsplit_once('/').map(|(around, _)| around)
        });
        let tag = tree.as_ref().and_then(|tree| places.find_map(|place| tree.origin(place)));
        match tag {
            Some(tag) => Problem {
                origin: format!("{} tag {tag}", problem.origin),
                path: String::new(),
                ..problem
            },
            None => problem,
        }
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
            let Object { spec: (options, kind), origin, pointer, doubts } = object;
            let (load_balancer, kind) = (options.clone(), kind.clone());
            let statements = self.services.get(name);
            let backends = match kind {
                KindSpec::Backends => backends(statements, sources),
                _ => Vec::new(),
            };
            let spec = ServiceObject { load_balancer, backends, kind };
            Object { spec, origin, pointer, doubts }
        };
        (object.map(with_backends), problems)
    }

    /// A way of connecting to backends, as it is declared now.
    pub(super) fn transport(
        &self,
        name: &ObjectName,
    ) -> (Option<Object<TransportSpec>>, Vec<Problem>) {
        let (object, problems) = merge(
            &self.transports,
            name,
            "servers-transports",
            |statement| statement.find(|it| &it.transports),
            |transport| transport.is_ok(),
        );
        (object.map(Object::cloned), problems)
    }
}

/// Where it takes others to find out whether something works, all are as good.
fn any<T>(_: &T) -> bool {
    true
}

/// The object of a name: what the first of those who declare it says. Of instances that disagree
/// those count first whose word `is_sound`.
fn merge<'a, T: Word>(
    groups: &'a Groups,
    name: &ObjectName,
    kind: &str,
    spec: impl Fn(&'a Statement) -> Option<T>,
    mut is_sound: impl FnMut(&T) -> bool,
) -> (Option<Object<T>>, Vec<Problem>) {
    let statements = groups.get(name);
    let mut objects = speakers(statements)
        .filter_map(|statements| heard(statements, name, kind, &spec, &mut is_sound));
    let Some(first) = objects.next() else { return (None, Vec::new()) };
    let problem =
        |origin: &str, message: String| Problem::warning(&*name.provider, origin, message);
    let of_instances = |doubt: &Doubt| {
        let origin = format!("{} `{}`", singular(kind), name.name);
        problem(&origin, doubt.message.clone()).hint(doubt.hint.clone())
    };
    let mut problems: Vec<_> = first.doubts.iter().map(of_instances).collect();
    problems.extend(objects.map(|other| {
        let message =
            format!("`{}` is declared by {} already, which wins", name.name, first.origin);
        problem(&other.origin, message).at(other.pointer)
    }));
    (Some(first), problems)
}

/// What a provider left out, as a problem. A file that cannot be read costs all that it declares,
/// unless what it held before goes on.
fn noticed(source: &Source, notice: &Notice) -> Problem {
    let (provider, origin) = (&*source.provider, &*notice.origin);
    if fold(&source.plugin) != "file" {
        return Problem::warning(provider, origin, &*notice.message);
    }
    let is_its = |path: &String| {
        origin.strip_prefix(path.as_str()).is_some_and(|at| at.is_empty() || at.starts_with(':'))
    };
    match source.fragments.iter().any(|(path, _)| is_its(path)) {
        true => {
            Problem::warning(provider, origin, &*notice.message).hint("what it held before goes on")
        }
        false => Problem::error(provider, origin, &*notice.message),
    }
}

/// What one of a kind is called.
fn singular(kind: &str) -> &str {
    kind.strip_suffix('s').unwrap_or(kind)
}

/// What one speaker says.
fn heard<'a, T: Word>(
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
        _ => {
            let ranked = statements.iter().filter_map(ranked).collect();
            let (rank, spec, doubts) = newest(ranked, is_sound)?;
            Some(Object { doubts, ..object(spec, rank.id, String::new()) })
        }
    }
}

fn object<T>(spec: T, origin: &Arc<str>, pointer: String) -> Object<T> {
    Object { spec, origin: origin.clone(), pointer, doubts: Vec::new() }
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
