//! Services made of what instances and files declare. What did not change keeps its identity, and
//! with it the balancer's position and the backends' figures.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::{
    compound::compose,
    merge::{BackendSpec, Object, Objects, ServiceObject},
    resolve::{Catalogued, resolve},
};
use crate::{
    backend::{Backend, BackendFigures, Scheme},
    declare::KindSpec,
    name::ObjectName,
    policy::Transport,
    problem::Problem,
    service::{Kind, Service},
    snapshot::{Entry, ServiceEntry, Snapshot, Status},
};

/// Services of the snapshot before, by name.
pub(super) type Known<'a> = HashMap<&'a ObjectName, &'a Arc<Service>>;

/// How connections are made, and a number that tells this way from others.
type Way = Option<(u64, Arc<Transport>)>;

/// Makes every service, with what stays taken from the previous snapshot.
pub(super) fn services(
    objects: &Objects,
    catalogued: &Catalogued<'_>,
    previous: &Snapshot,
    problems: &mut Vec<Problem>,
) -> Vec<ServiceEntry> {
    let known: Known<'_> = previous
        .services
        .iter()
        .filter_map(|entry| Some((&entry.entry.name, entry.live.as_ref()?)))
        .collect();
    let mut entries = Vec::with_capacity(objects.services.len());
    for (name, object) in &objects.services {
        let mut entry = entry(name, object);
        if object.spec.kind == KindSpec::Backends {
            match way(name, object, objects, catalogued) {
                Ok(way) => entry.live = Some(live(name, &object.spec, way, &known)),
                Err(problem) => {
                    // The system's trust is not what was asked for: better no answer.
                    entry.entry.errors.push(problem.message.clone());
                    problems.push(*problem);
                }
            }
        }
        entries.push(entry);
    }
    compose(objects, catalogued, &known, &mut entries, problems);
    entries.iter_mut().for_each(judge);
    entries
}

fn live(name: &ObjectName, spec: &ServiceObject, way: Way, known: &Known<'_>) -> Arc<Service> {
    match known.get(name) {
        Some(service) if same(service, spec, &way) => (*service).clone(),
        before => Arc::new(service(name, spec, way, before.copied())),
    }
}

fn same(service: &Service, object: &ServiceObject, way: &Way) -> bool {
    service.load_balancer == object.load_balancer
        && matches!(service.kind, Kind::Backends)
        && service.transport == *way
        && service.backends.len() == object.backends.len()
        && service.backends.iter().zip(&object.backends).all(|(backend, spec)| {
            backend.scheme == spec.scheme
                && backend.authority == spec.authority
                && backend.weight == spec.weight
                && backend.health == spec.health
                && backend.origin == spec.origin
        })
}

fn service(
    name: &ObjectName,
    object: &ServiceObject,
    way: Way,
    before: Option<&Arc<Service>>,
) -> Service {
    let known: HashMap<(Scheme, &str), &Backend> = before
        .into_iter()
        .flat_map(|service| &service.backends)
        .map(|backend| ((backend.scheme, &*backend.authority), backend))
        .collect();
    let backends = object.backends.iter().map(|spec| {
        let before = known.get(&(spec.scheme, &*spec.authority));
        let comes_back = before.is_some_and(|before| !before.is_usable());
        let figures = before.map(|before| before.figures.clone()).unwrap_or_default();
        let backend = backend(spec, figures);
        if comes_back && backend.is_usable() {
            backend.figures.standing.begin_again();
        }
        backend
    });
    let backends = backends.collect();
    let mut service = Service::new(name.clone(), object.load_balancer.clone(), backends);
    service.transport = way;
    match before {
        Some(before) => service.after(before),
        None => service,
    }
}

fn backend(spec: &BackendSpec, figures: Arc<BackendFigures>) -> Backend {
    Backend {
        scheme: spec.scheme,
        authority: spec.authority.clone(),
        weight: spec.weight,
        health: spec.health,
        origin: spec.origin.clone(),
        figures,
    }
}

/// The transport that a service refers to.
fn way(
    name: &ObjectName,
    object: &Object<ServiceObject>,
    objects: &Objects,
    catalogued: &Catalogued<'_>,
) -> Result<Way, Box<Problem>> {
    let Some(reference) = &object.spec.load_balancer.transport else { return Ok(None) };
    let place = resolve(reference, name, catalogued, &catalogued.transports);
    let found = place.map(|place| objects.transports.values().nth(place));
    let transport = match found {
        Ok(Some(object)) => &object.spec,
        Ok(None) => return Ok(None),
        Err((missing, hint)) => {
            let message =
                format!("service `{}`: there is no servers-transport `{missing}`", name.name);
            let problem = Problem::error(&*name.provider, &*object.origin, message);
            let mut problem = match object.pointer.is_empty() {
                true => problem,
                false => problem.at(format!("{}/load-balancer", object.pointer)),
            };
            problem.hint = hint;
            return Err(Box::new(problem));
        }
    };
    let mut hasher = DefaultHasher::new();
    transport.hash(&mut hasher);
    Ok(Some((hasher.finish(), Arc::new(transport.clone()))))
}

fn entry(name: &ObjectName, object: &Object<ServiceObject>) -> ServiceEntry {
    let entry = Entry {
        name: name.clone(),
        origin: object.origin.clone(),
        status: Status::Enabled,
        errors: object.warnings.clone(),
        used_by: Vec::new(),
    };
    ServiceEntry { entry, live: None }
}

/// What is to be said of a service as it is now.
fn judge(entry: &mut ServiceEntry) {
    let errors = &mut entry.entry.errors;
    entry.entry.status = match &entry.live {
        None => Status::Disabled,
        Some(live) => {
            let usable = live.backends.iter().any(Backend::is_usable);
            if matches!(live.kind, Kind::Backends) && !usable {
                errors.push(match live.backends.len() {
                    0 => "it has no backends".to_owned(),
                    1 => "its backend is not passing".to_owned(),
                    count => format!("none of its {count} backends is passing"),
                });
            }
            if errors.is_empty() { Status::Enabled } else { Status::Warning }
        }
    };
}
