//! Services that are made of other services.
//!
//! **Invariant:** whoever is made of others is made after them, and never of itself. A part that is
//! not there is a warning where the service can do without it: it may be there soon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    merge::ServiceObject,
    parts::Compounds,
    resolve::{Directory, End, Provider},
    services,
};
use crate::{
    balance::Cookie,
    declare::KindSpec,
    name::ObjectName,
    policy::{LoadBalancer, Sticky},
    problem::Problem,
    service::{Failover, Kind, Member, Mirror, Mirroring, Service, Weighted},
    snapshot::{Entries, ServiceEntry, Snapshot},
};

/// What they are made of.
pub(super) struct Parts<'a> {
    pub(super) compounds: &'a Compounds<ServiceObject>,
    /// Those that are to be made.
    pub(super) affected: &'a BTreeSet<ObjectName>,
    /// All services; those that are not to be made are as they are to be.
    pub(super) services: &'a Entries<ServiceEntry>,
    pub(super) directory: &'a Directory,
    pub(super) providers: &'a [Provider],
    /// Has what is to keep its identity.
    pub(super) previous: &'a Snapshot,
}

/// A service that is made of others, in the making.
pub(super) struct Draft {
    pub(super) entry: ServiceEntry,
    pub(super) problems: Vec<Problem>,
    /// How many services stand above each other in it, itself among them.
    pub(super) height: usize,
    /// Whether a part of it is not there.
    pub(super) is_lacking: bool,
}

/// Makes services that are made of others. Those that did not change are the very same as before.
pub(super) fn compose(parts: &Parts<'_>) -> BTreeMap<ObjectName, Draft> {
    let draft = |name: &ObjectName| {
        let entry = services::entry(name, parts.compounds.get(name)?);
        let draft = Draft { entry, problems: Vec::new(), height: 1, is_lacking: false };
        Some((name.clone(), draft))
    };
    let drafts = parts.affected.iter().filter_map(draft).collect();
    let mut composer = Composer { parts, drafts, path: Vec::new(), broken: BTreeSet::new() };
    for name in parts.affected {
        composer.live(name);
    }
    let mut drafts = composer.drafts;
    drafts.values_mut().for_each(|draft| services::judge(&mut draft.entry));
    drafts
}

struct Composer<'a> {
    parts: &'a Parts<'a>,
    drafts: BTreeMap<ObjectName, Draft>,
    /// What is being made: one for another.
    path: Vec<&'a ObjectName>,
    /// What cannot be made.
    broken: BTreeSet<&'a ObjectName>,
}

/// Services of services of services: nobody means more than this, and each costs every request.
const DEPTH: usize = 16;
/// How deep one is looked into to find how deep it is.
const DEEPEST: usize = 256;

impl<'a> Composer<'a> {
    /// The service of a name, made if it is not yet.
    fn live(&mut self, name: &ObjectName) -> Option<Arc<Service>> {
        let made = self.parts.affected.get(name);
        let Some((name, object)) = made.and_then(|it| Some((it, self.parts.compounds.get(it)?)))
        else {
            return self.parts.services.get(name)?.live.clone();
        };
        let Draft { entry, .. } = self.drafts.get(name)?;
        if entry.live.is_some() || self.broken.contains(name) {
            return entry.live.clone();
        }
        if let Some(start) = self.path.iter().position(|known| *known == name) {
            self.circle(start);
            return None;
        }
        if self.path.len() >= DEEPEST {
            self.too_deep(name);
            return None;
        }
        self.path.push(name);
        let kind = self.kind(name, &object.spec.kind);
        self.path.pop();
        if self.drafts.get(name).is_some_and(|draft| draft.height > DEPTH) {
            self.too_deep(name);
        }
        let kind = kind.filter(|_| !self.broken.contains(name));
        if kind.is_none() {
            self.broken.insert(name);
        }
        let mut service = Service::of(name.clone(), kind?);
        service.load_balancer = options(&object.spec.kind).into();
        let known = self.parts.previous.services.get(name).and_then(|entry| entry.live.as_ref());
        let live = match known {
            Some(before)
                if before.kind.is_same(&service.kind)
                    && before.load_balancer == service.load_balancer =>
            {
                before.clone()
            }
            Some(before) => Arc::new(service.after(before)),
            None => Arc::new(services::back(service, &self.parts.previous.departed_services)),
        };
        self.drafts.get_mut(name)?.entry.live = Some(live.clone());
        Some(live)
    }

    fn too_deep(&mut self, name: &'a ObjectName) {
        let message = format!("it is a service of services, more than {DEPTH} deep");
        self.complain(name, "", message, None, true);
        self.broken.insert(name);
    }

    /// How many services stand above each other in one.
    fn height(&self, name: &ObjectName) -> usize {
        match self.drafts.get(name) {
            Some(draft) => draft.height,
            None => self.parts.compounds.height(name),
        }
    }

    fn kind(&mut self, whole: &'a ObjectName, spec: &KindSpec) -> Option<Kind> {
        match spec {
            KindSpec::Backends => Some(Kind::Backends),
            KindSpec::Weighted { members, by_client, sticky } => {
                let mut all = Vec::new();
                for (number, member) in members.iter().enumerate() {
                    let key = format!("services/{number}");
                    let (name, service) = self.part(whole, &key, &member.name, true);
                    all.push(Member { name, weight: member.weight, service });
                }
                let cookie = sticky.as_ref().map(|sticky| cookie(whole, sticky, &all));
                Some(Kind::Weighted(Weighted::new(all, *by_client, cookie)))
            }
            KindSpec::Mirroring { service, mirrors, mirror_body, max_body } => {
                let (_, main) = self.part(whole, "service", service, false);
                let mut all = Vec::new();
                for (number, mirror) in mirrors.iter().enumerate() {
                    let key = format!("mirrors/{number}");
                    let (_, service) = self.part(whole, &key, &mirror.name, true);
                    all.extend(service.map(|service| Mirror::new(service, mirror.percent)));
                }
                let (mirror_body, max_body) = (*mirror_body, *max_body);
                Some(Kind::Mirroring(Mirroring {
                    main: main?,
                    mirrors: all,
                    mirror_body,
                    max_body,
                }))
            }
            KindSpec::Failover { service, fallback, statuses, max_body } => {
                let (_, main) = self.part(whole, "service", service, true);
                let (_, fallback) = self.part(whole, "fallback", fallback, true);
                let either = main.is_some() || fallback.is_some();
                let (statuses, max_body) = (statuses.clone(), *max_body);
                let failover = Failover { main, fallback, statuses, max_body };
                either.then_some(Kind::Failover(failover))
            }
        }
    }

    /// A service that another is made of.
    fn part(
        &mut self,
        whole: &'a ObjectName,
        key: &str,
        reference: &str,
        spare: bool,
    ) -> (ObjectName, Option<Arc<Service>>) {
        let Parts { directory, providers, .. } = *self.parts;
        match directory.resolve(reference, whole, providers).end {
            End::There(found) => {
                let part = self.live(&found);
                let height = self.height(&found) + 1;
                if let Some(draft) = self.drafts.get_mut(whole).filter(|_| part.is_some()) {
                    draft.height = draft.height.max(height);
                }
                // In a circle everybody is broken, and that was said.
                if part.is_none() && !self.broken.contains(whole) {
                    let message = format!("service `{found}` is broken and gets nothing");
                    self.complain(whole, key, message, None, !spare);
                }
                (found, part)
            }
            End::Missing(missing) => {
                if let Some(draft) = self.drafts.get_mut(whole) {
                    draft.is_lacking = true;
                }
                let hint = directory.work_out(&missing, providers);
                let missing = missing.looked;
                let message = match spare {
                    true => format!("there is no service `{missing}`, so it gets nothing"),
                    false => format!("there is no service `{missing}`"),
                };
                self.complain(whole, key, message, hint, !spare);
                (missing, None)
            }
        }
    }

    /// The service at a place of the path is made of itself.
    fn circle(&mut self, start: usize) {
        let circle = self.path.get(start..).unwrap_or_default().to_vec();
        let names = circle.iter().chain(circle.first()).map(|name| format!("`{}`", name.name));
        let message = format!("it is made of itself: {}", names.collect::<Vec<_>>().join(" → "));
        for name in circle {
            self.broken.insert(name);
            self.complain(name, "", message.clone(), None, true);
        }
    }

    fn complain(
        &mut self,
        name: &ObjectName,
        key: &str,
        message: String,
        hint: Option<String>,
        error: bool,
    ) {
        let Some(object) = self.parts.compounds.get(name) else { return };
        let Some(Draft { entry, problems, .. }) = self.drafts.get_mut(name) else { return };
        entry.entry.errors.push(message.clone());
        let (source, origin) = (&*name.provider, &*object.origin);
        let message = format!("service `{}`: {message}", name.name);
        let mut problem = match error {
            true => Problem::error(source, origin, message),
            false => Problem::warning(source, origin, message),
        };
        if !object.pointer.is_empty() {
            let kind = word(&object.spec.kind);
            let pointer = format!("{}/{kind}/{key}", object.pointer);
            problem = problem.at(pointer.trim_end_matches('/'));
        }
        problem.hint = hint;
        problems.push(problem);
    }
}

fn cookie(whole: &ObjectName, sticky: &Sticky, members: &[Member]) -> Cookie {
    Cookie::new(&whole.to_string(), sticky, members.iter().map(|member| member.name.to_string()))
}

/// The options of such a service: few, but what changes them makes it anew.
fn options(spec: &KindSpec) -> LoadBalancer {
    let sticky = match spec {
        KindSpec::Weighted { sticky, .. } => sticky.clone(),
        KindSpec::Backends | KindSpec::Mirroring { .. } | KindSpec::Failover { .. } => None,
    };
    LoadBalancer { sticky, ..LoadBalancer::default() }
}

/// The key of the configuration.
fn word(spec: &KindSpec) -> &'static str {
    match spec {
        KindSpec::Backends => "load-balancer",
        KindSpec::Weighted { by_client: false, .. } => "weighted",
        KindSpec::Weighted { by_client: true, .. } => "highest-random-weight",
        KindSpec::Mirroring { .. } => "mirroring",
        KindSpec::Failover { .. } => "failover",
    }
}
