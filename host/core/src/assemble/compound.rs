//! Services that are made of other services.
//!
//! **Invariant:** whoever is made of others is made after them, and never of itself. A part that is
//! not there is a warning where the service can do without it: it may be there soon.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    merge::{Object, Objects, ServiceObject},
    resolve::{Catalogued, resolve},
    services::Known,
};
use crate::{
    balance::Cookie,
    declare::KindSpec,
    name::ObjectName,
    policy::{LoadBalancer, Sticky},
    problem::Problem,
    service::{Failover, Kind, Member, Mirror, Mirroring, Service, Weighted},
    snapshot::ServiceEntry,
};

/// Makes every service that is made of others. The others are in `entries` already.
pub(super) fn compose(
    objects: &Objects,
    catalogued: &Catalogued<'_>,
    known: &Known<'_>,
    entries: &mut [ServiceEntry],
    problems: &mut Vec<Problem>,
) {
    let objects: Vec<_> = objects.services.iter().collect();
    let is_made =
        |(_, object): &(_, &Object<ServiceObject>)| object.spec.kind != KindSpec::Backends;
    let made: Vec<usize> =
        (0..objects.len()).filter(|place| objects.get(*place).is_some_and(is_made)).collect();
    let mut composer = Composer {
        objects: &objects,
        catalogued,
        known,
        entries,
        problems,
        path: Vec::new(),
        broken: BTreeSet::new(),
    };
    for place in made {
        composer.live(place);
    }
}

struct Composer<'a, 'e> {
    objects: &'a [(&'a ObjectName, &'a Object<ServiceObject>)],
    catalogued: &'a Catalogued<'a>,
    known: &'a Known<'a>,
    entries: &'e mut [ServiceEntry],
    problems: &'e mut Vec<Problem>,
    /// What is being made: one for another.
    path: Vec<usize>,
    /// What cannot be made.
    broken: BTreeSet<usize>,
}

/// Services of services of services: nobody means more than this, and each costs every request.
const DEPTH: usize = 16;

impl Composer<'_, '_> {
    /// The service at a place, made if it is not yet.
    fn live(&mut self, place: usize) -> Option<Arc<Service>> {
        let entry = self.entries.get(place)?;
        let (name, object) = *self.objects.get(place)?;
        let is_known = entry.live.is_some() || self.broken.contains(&place);
        if is_known || object.spec.kind == KindSpec::Backends {
            return entry.live.clone();
        }
        if let Some(start) = self.path.iter().position(|known| *known == place) {
            self.circle(start);
            return None;
        }
        if self.path.len() >= DEPTH {
            let message = format!("it is a service of services, more than {DEPTH} deep");
            self.complain(place, "", message, None, true);
            self.broken.insert(place);
            return None;
        }
        self.path.push(place);
        let kind = self.kind(place, &object.spec.kind);
        self.path.pop();
        let kind = kind.filter(|_| !self.broken.contains(&place));
        if kind.is_none() {
            self.broken.insert(place);
        }
        let mut service = Service::of(name.clone(), kind?);
        service.load_balancer = options(&object.spec.kind);
        let live = match self.known.get(name) {
            Some(before)
                if before.kind.is_same(&service.kind)
                    && before.load_balancer == service.load_balancer =>
            {
                (*before).clone()
            }
            Some(before) => Arc::new(service.after(before)),
            None => Arc::new(service),
        };
        self.entries.get_mut(place)?.live = Some(live.clone());
        Some(live)
    }

    fn kind(&mut self, place: usize, spec: &KindSpec) -> Option<Kind> {
        match spec {
            KindSpec::Backends => Some(Kind::Backends),
            KindSpec::Weighted { members, by_client, sticky } => {
                let mut all = Vec::new();
                for (number, member) in members.iter().enumerate() {
                    let key = format!("services/{number}");
                    let (name, service) = self.part(place, &key, &member.name, true);
                    all.push(Member { name, weight: member.weight, service });
                }
                let cookie = sticky.as_ref().map(|sticky| self.cookie(place, sticky, &all));
                Some(Kind::Weighted(Weighted::new(all, *by_client, cookie)))
            }
            KindSpec::Mirroring { service, mirrors, mirror_body, max_body } => {
                let (_, main) = self.part(place, "service", service, false);
                let mut all = Vec::new();
                for (number, mirror) in mirrors.iter().enumerate() {
                    let key = format!("mirrors/{number}");
                    let (_, service) = self.part(place, &key, &mirror.name, true);
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
                let (_, main) = self.part(place, "service", service, true);
                let (_, fallback) = self.part(place, "fallback", fallback, true);
                let either = main.is_some() || fallback.is_some();
                let (statuses, max_body) = (statuses.clone(), *max_body);
                let failover = Failover { main, fallback, statuses, max_body };
                either.then_some(Kind::Failover(failover))
            }
        }
    }

    /// A service that the one at a place is made of.
    fn part(
        &mut self,
        place: usize,
        key: &str,
        reference: &str,
        spare: bool,
    ) -> (ObjectName, Option<Arc<Service>>) {
        let Some((name, _)) = self.objects.get(place) else {
            return (ObjectName::new(reference, ""), None);
        };
        match resolve(reference, name, self.catalogued, &self.catalogued.services) {
            Ok(found) => {
                let part = self.live(found);
                let meant = self.objects.get(found).map(|(name, _)| (*name).clone());
                let meant = meant.unwrap_or_else(|| ObjectName::new(reference, ""));
                // In a circle everybody is broken, and that was said.
                if part.is_none() && !self.broken.contains(&place) {
                    let message = format!("service `{meant}` is broken and gets nothing");
                    self.complain(place, key, message, None, !spare);
                }
                (meant, part)
            }
            Err((missing, hint)) => {
                let message = match spare {
                    true => format!("there is no service `{missing}`, so it gets nothing"),
                    false => format!("there is no service `{missing}`"),
                };
                self.complain(place, key, message, hint, !spare);
                (missing, None)
            }
        }
    }

    /// The service at a place of the path is made of itself.
    fn circle(&mut self, start: usize) {
        let circle = self.path.get(start..).unwrap_or_default().to_vec();
        let names: Vec<_> = circle
            .iter()
            .chain(circle.first())
            .filter_map(|place| self.objects.get(*place))
            .map(|(name, _)| format!("`{}`", name.name))
            .collect();
        let message = format!("it is made of itself: {}", names.join(" → "));
        for place in circle {
            self.broken.insert(place);
            self.complain(place, "", message.clone(), None, true);
        }
    }

    fn complain(
        &mut self,
        place: usize,
        key: &str,
        message: String,
        hint: Option<String>,
        error: bool,
    ) {
        let Some((name, object)) = self.objects.get(place) else { return };
        if let Some(entry) = self.entries.get_mut(place) {
            entry.entry.errors.push(message.clone());
        }
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
        self.problems.push(problem);
    }

    fn cookie(&self, place: usize, sticky: &Sticky, members: &[Member]) -> Cookie {
        let name = self.objects.get(place).map(|(name, _)| name.to_string()).unwrap_or_default();
        Cookie::new(&name, sticky, members.iter().map(|member| member.name.to_string()))
    }
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
