//! Services made of what instances and files declare. What did not change keeps its identity, and
//! with it the balancer's position and the backends' figures.

use std::{collections::HashMap, sync::Arc};

use super::merge::{BackendSpec, Object, ServiceObject};
use crate::{
    backend::{Backend, BackendFigures, Scheme},
    balance::Balancer,
    name::ObjectName,
    roll::Roll,
    service::Service,
    snapshot::{Entry, ServiceEntry, Status},
};

/// Makes a service, with what stays taken from the one before.
pub(super) fn make(
    name: &ObjectName,
    object: &Object<ServiceObject>,
    before: Option<&Arc<Service>>,
) -> ServiceEntry {
    let live = match before {
        Some(before) if same(before, &object.spec) => before.clone(),
        before => Arc::new(service(name, &object.spec, before)),
    };
    entry(name, object, live)
}

fn same(service: &Service, object: &ServiceObject) -> bool {
    service.load_balancer == object.load_balancer
        && service.backends.len() == object.backends.len()
        && service.backends.iter().zip(&object.backends).all(|(backend, spec)| {
            backend.scheme == spec.scheme
                && backend.authority == spec.authority
                && backend.weight == spec.weight
                && backend.health == spec.health
                && backend.origin == spec.origin
        })
}

fn service(name: &ObjectName, object: &ServiceObject, before: Option<&Arc<Service>>) -> Service {
    let known: HashMap<(Scheme, &str), &Arc<BackendFigures>> = before
        .into_iter()
        .flat_map(|service| &service.backends)
        .map(|backend| ((backend.scheme, &*backend.authority), &backend.figures))
        .collect();
    let backends: Vec<_> = object
        .backends
        .iter()
        .map(|spec| {
            let figures = known.get(&(spec.scheme, &*spec.authority));
            backend(spec, figures.map(|figures| (*figures).clone()).unwrap_or_default())
        })
        .collect();
    let balancer = Balancer::new(&backends);
    Service {
        name: name.clone(),
        load_balancer: object.load_balancer.clone(),
        balancer: match before {
            Some(service) => balancer.after(&service.balancer),
            None => balancer,
        },
        backends,
        figures: before.map(|service| service.figures.clone()).unwrap_or_default(),
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

fn entry(name: &ObjectName, object: &Object<ServiceObject>, live: Arc<Service>) -> ServiceEntry {
    let mut errors = object.warnings.clone();
    if !live.backends.iter().any(Backend::is_usable) {
        errors.push(match live.backends.len() {
            0 => "it has no backends".to_owned(),
            1 => "its backend is not passing".to_owned(),
            count => format!("none of its {count} backends is passing"),
        });
    }
    let status = if errors.is_empty() { Status::Enabled } else { Status::Warning };
    let entry = Entry {
        name: name.clone(),
        origin: object.origin.clone(),
        status,
        errors,
        used_by: Roll::default(),
    };
    ServiceEntry { entry, live: Some(live) }
}
