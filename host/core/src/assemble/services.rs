//! Services made of what instances and files declare. What did not change keeps its identity, and
//! with it the balancer's position and the backends' figures.

use std::{collections::HashMap, sync::Arc};

use super::{
    backends::BackendSpec,
    merge::{Object, ServiceObject},
    resolve::INTERNAL,
};
use crate::{
    backend::{Backend, BackendFigures},
    departed::Departed,
    name::ObjectName,
    policy::Transport,
    problem::Problem,
    roll::Roll,
    service::{Kind, Service},
    snapshot::{Entry, ServiceEntry, Status},
};

/// How connections are made, and a number that tells this way from others.
pub(super) type Way = (u64, Arc<Transport>);

/// Why a service has no way to its backends.
pub(super) struct NoWay {
    pub(super) why: Why,
    /// Whether it is the way of all services that name none, which is told once.
    pub(super) is_default: bool,
}

/// What is wrong with a transport.
pub(super) enum Why {
    /// There is none of that name; what to do about it.
    Missing(ObjectName, Option<String>),
    /// It is there, but cannot be used for this reason.
    Unusable(ObjectName, Arc<str>),
}

impl Why {
    /// What is said of the service, and what to do about it.
    fn told(self) -> (String, Option<String>) {
        match self {
            Self::Missing(name, hint) => (format!("there is no servers-transport `{name}`"), hint),
            Self::Unusable(name, why) => (
                format!("servers-transport `{name}` is declared, but cannot be used: {why}"),
                Some("what is wrong with it is told at its declaration".to_owned()),
            ),
        }
    }
}

/// The name, in references, of the transport of services that name none (Traefik).
const DEFAULT_TRANSPORT: &str = "default@internal";

/// The transport that a service refers to, and whether it is that of all services that name none.
/// Our own services have nothing to do with that one.
pub(super) fn transport_of<'a>(
    name: &ObjectName,
    own: Option<&'a str>,
    default: Option<&'a str>,
) -> Option<(&'a str, bool)> {
    match own.filter(|own| !own.eq_ignore_ascii_case(DEFAULT_TRANSPORT)) {
        Some(own) => Some((own, false)),
        None if *name.provider == *INTERNAL => None,
        None => default.map(|default| (default, true)),
    }
}

/// Makes a service that has backends, with what stays taken from the one before. One without its
/// transport is in the answer all the same, disabled: the system's trust is not what was asked for,
/// so no answer is better.
pub(super) fn make(
    name: &ObjectName,
    object: &Object<ServiceObject>,
    way: Result<Option<Way>, NoWay>,
    before: Option<&Arc<Service>>,
    departed: &Departed,
) -> (ServiceEntry, Vec<Problem>) {
    let mut entry = entry(name, object);
    let mut problems = Vec::new();
    match way {
        // Whoever declared it has been told.
        Ok(_) if object.spec.load_balancer.is_closed => {
            entry.entry.errors.push("it lets nobody through: see its declaration".to_owned());
        }
        Ok(way) => {
            entry.live = Some(match before {
                Some(before) if same(before, &object.spec, &way) => before.clone(),
                Some(before) => {
                    Arc::new(service(name, &object.spec, way, Some(before)).after(before))
                }
                None => Arc::new(back(service(name, &object.spec, way, None), departed)),
            });
        }
        Err(NoWay { why, is_default: true }) => entry.entry.errors.push(why.told().0),
        Err(NoWay { why, is_default: false }) => {
            let (message, hint) = why.told();
            entry.entry.errors.push(message.clone());
            let message = format!("service `{}`: {message}", name.name);
            let problem = Problem::error(&*name.provider, &*object.origin, message);
            let mut problem = match object.pointer.is_empty() {
                true => problem,
                false => problem.at(format!("{}/load-balancer", object.pointer)),
            };
            problem.hint = hint;
            problems.push(problem);
        }
    }
    judge(&mut entry);
    (entry, problems)
}

fn same(service: &Service, object: &ServiceObject, way: &Option<Way>) -> bool {
    service.load_balancer == object.load_balancer
        && matches!(service.kind, Kind::Backends)
        && service.transport == *way
        && service.backends.len() == object.backends.len()
        && service.backends.iter().zip(&object.backends).all(|(backend, spec)| {
            backend.place() == spec.place()
                && backend.weight == spec.weight
                && backend.health == spec.health
                && backend.origin == spec.origin
        })
}

fn service(
    name: &ObjectName,
    object: &ServiceObject,
    way: Option<Way>,
    before: Option<&Arc<Service>>,
) -> Service {
    let known: HashMap<_, &Backend> = before
        .into_iter()
        .flat_map(|service| &service.backends)
        .map(|backend| (backend.place(), backend))
        .collect();
    let backends = object.backends.iter().map(|spec| {
        let before = known.get(&spec.place());
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
    service
}

/// One that was not there a moment before goes on with what it counted when it was.
pub(super) fn back(service: Service, departed: &Departed) -> Service {
    match departed.figures(&service.name) {
        Some(figures) => Service { figures, ..service },
        None => service,
    }
}

fn backend(spec: &BackendSpec, figures: Arc<BackendFigures>) -> Backend {
    Backend {
        scheme: spec.scheme,
        authority: spec.authority.clone(),
        path: spec.path.clone(),
        weight: spec.weight,
        health: spec.health,
        origin: spec.origin.clone(),
        figures,
    }
}

/// What is to be said of a service before it is made.
pub(super) fn entry(name: &ObjectName, object: &Object<ServiceObject>) -> ServiceEntry {
    let entry = Entry {
        name: name.clone(),
        origin: object.origin.clone(),
        status: Status::Enabled,
        errors: object.shown_doubts(),
        used_by: Roll::default(),
    };
    ServiceEntry { entry, live: None }
}

/// What is to be said of a service as it is now.
pub(super) fn judge(entry: &mut ServiceEntry) {
    let errors = &mut entry.entry.errors;
    entry.entry.status = match &entry.live {
        None => Status::Disabled,
        Some(live) => {
            let usable = live.backends.iter().any(Backend::is_usable);
            if matches!(live.kind, Kind::Backends) && !usable {
                errors.push(match live.backends.len() {
                    0 => "it has no backend with an address and a port".to_owned(),
                    1 => "its backend is not passing".to_owned(),
                    count => format!("none of its {count} backends is passing"),
                });
            }
            if errors.is_empty() { Status::Enabled } else { Status::Warning }
        }
    };
}
