//! A service: a named set of backends, or of other services, and how traffic is shared among them.

mod breaker;
mod budget;
mod compound;
mod queue;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod tests;

pub use breaker::{Circuit, Gate};
pub use budget::Budget;
pub use compound::{Failover, Kind, Member, Mirror, Mirroring, Weighted};
pub use queue::{Freed, Queue, Waiting};

use std::sync::Arc;

pub use crate::{
    backend::{Backend, BackendFigures, Out, Scheme},
    policy::{LoadBalancer, Transport},
};
use crate::{
    balance::{Balancer, Cookie, Panic},
    figure::{Gauge, TrafficFigures},
    moment::Moment,
    name::ObjectName,
    policy::Strategy,
};

/// A named set of backends.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ObjectName,
    /// How traffic is shared.
    pub load_balancer: Arc<LoadBalancer>,
    /// All of them, the unusable ones too; none where it is made of other services.
    pub backends: Vec<Backend>,
    /// Chooses among the usable ones.
    pub balancer: Balancer,
    /// What keeps a client with its backend.
    pub cookie: Option<Cookie>,
    /// How connections are made, and a number that tells this way from others.
    pub transport: Option<(u64, Arc<Transport>)>,
    /// Whether it has backends or is made of other services.
    pub kind: Kind,
    /// What it has under way, and how it has been.
    pub state: Arc<ServiceState>,
    /// Requests and their outcomes.
    pub figures: Arc<TrafficFigures>,
}

/// How a service has been. Kept when the snapshot changes and the service stays.
#[derive(Debug, Default)]
pub struct ServiceState {
    /// Requests under way; counted only where they are limited.
    pub in_flight: Gauge,
    /// Who waits until there are fewer.
    pub queue: Queue,
    /// How often requests may be sent again.
    pub budget: Budget,
    /// Whether it is given a rest.
    pub circuit: Circuit,
    /// Copies that were sent to mirrors.
    pub mirrored: Gauge,
}

/// Who of a service's backends gets requests at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    now: Moment,
    panic: Panic,
}

impl Asked {
    /// Why a backend gets none.
    pub fn out(&self, backend: &Backend) -> Option<Out> {
        backend.out(self.now).filter(|out| !self.is_asked_still(backend, out))
    }

    /// What speaks against one that gets them all the same: with too many left alone nobody is.
    pub fn failing(&self, backend: &Backend) -> Option<Out> {
        backend.out(self.now).filter(|out| self.is_asked_still(backend, out))
    }

    fn is_asked_still(&self, backend: &Backend, out: &Out) -> bool {
        matches!(out, Out::Ejected(_) | Out::Trial)
            && self.panic.asks(&backend.figures.standing, self.now)
    }
}

impl Service {
    /// A service with these backends, of which nothing is known yet.
    pub fn new(
        name: ObjectName,
        load_balancer: impl Into<Arc<LoadBalancer>>,
        backends: Vec<Backend>,
    ) -> Self {
        let load_balancer = load_balancer.into();
        let sticky = load_balancer.sticky.as_ref();
        let urls = || backends.iter().map(Backend::url);
        Self {
            cookie: sticky.map(|sticky| Cookie::new(&name.to_string(), sticky, urls())),
            balancer: Balancer::new(&backends, &load_balancer),
            name,
            load_balancer,
            backends,
            transport: None,
            kind: Kind::Backends,
            state: Arc::default(),
            figures: Arc::default(),
        }
    }

    /// A service that is made of others.
    pub fn of(name: ObjectName, kind: Kind) -> Self {
        Self { kind, ..Self::new(name, LoadBalancer::usual(), Vec::new()) }
    }

    /// The same, going on where another stopped that had its name.
    #[must_use]
    pub fn after(mut self, previous: &Self) -> Self {
        self.balancer = self.balancer.after(&previous.balancer);
        match (&mut self.kind, &previous.kind) {
            (Kind::Weighted(members), Kind::Weighted(before)) => members.go_on(before),
            (Kind::Mirroring(mirroring), Kind::Mirroring(before)) => mirroring.go_on(before),
            _ => {}
        }
        self.state = previous.state.clone();
        self.figures = previous.figures.clone();
        self
    }

    /// Whether any backend may get requests, as far as catalog and probes say.
    pub fn is_well(&self) -> bool {
        match &self.kind {
            Kind::Backends => self.backends.iter().any(Backend::is_well),
            Kind::Weighted(members) => members.is_well(),
            Kind::Mirroring(mirroring) => mirroring.main.is_well(),
            Kind::Failover(failover) => failover.parts().any(|part| part.is_well()),
        }
    }

    /// The same, and requests that failed do not say otherwise: whether one that comes now is likely to
    /// get an answer.
    pub fn is_ready(&self, now: Moment) -> bool {
        match &self.kind {
            Kind::Backends => {
                let rests = self.rests(now).is_some();
                let ready = |it: &Backend| it.is_well() && !it.figures.standing.is_avoided(now);
                !rests && self.backends.iter().any(ready)
            }
            Kind::Weighted(members) => members.is_ready(now),
            Kind::Mirroring(mirroring) => mirroring.main.is_ready(now),
            Kind::Failover(failover) => failover.parts().any(|part| part.is_ready(now)),
        }
    }

    /// Who of its backends gets requests now.
    pub fn asked(&self, now: Moment) -> Asked {
        Asked { now, panic: self.balancer.panic(&self.backends, now) }
    }

    /// Whether a request that comes now gets an answer of a backend: one can be asked, and no circuit
    /// breaker is in between. One that has no backends at all is said to, since somebody wanted it so.
    pub fn answers(&self, now: Moment) -> bool {
        let asked = self.asked(now);
        let is_asked = match self.kind {
            Kind::Backends if self.backends.is_empty() => true,
            Kind::Backends => self.backends.iter().any(|it| asked.out(it).is_none()),
            _ => self.is_well(),
        };
        is_asked && self.rests(now).is_none()
    }

    /// For how many milliseconds its circuit breaker lets nothing pass; of a service that is made of
    /// others, those of whoever would be asked now.
    pub fn rests(&self, now: Moment) -> Option<u64> {
        match &self.kind {
            Kind::Backends => {
                let breaker = self.load_balancer.breaker.as_ref();
                breaker.and_then(|breaker| self.state.circuit.rests(now, breaker))
            }
            Kind::Weighted(members) => members.rests(now),
            Kind::Mirroring(mirroring) => mirroring.main.rests(now),
            Kind::Failover(failover) => failover.rests(now),
        }
    }

    /// Whether it matters to it which client asks: the address, where nothing else tells clients apart.
    pub fn tells_clients_apart(&self) -> bool {
        match &self.kind {
            Kind::Backends => self.load_balancer.strategy == Strategy::Hashed,
            Kind::Weighted(weighted) => {
                let mut members = weighted.members.iter().filter_map(|it| it.service.as_ref());
                weighted.by_client || members.any(|member| member.tells_clients_apart())
            }
            Kind::Mirroring(mirroring) => {
                let mut mirrors = mirroring.mirrors.iter().map(|mirror| &mirror.service);
                mirroring.main.tells_clients_apart() || mirrors.any(|it| it.tells_clients_apart())
            }
            Kind::Failover(failover) => failover.parts().any(|part| part.tells_clients_apart()),
        }
    }

    /// The services that it is made of, those that only get copies included.
    pub fn parts(&self) -> Vec<&Arc<Self>> {
        match &self.kind {
            Kind::Backends => Vec::new(),
            Kind::Weighted(weighted) => {
                weighted.members.iter().filter_map(|member| member.service.as_ref()).collect()
            }
            Kind::Mirroring(mirroring) => std::iter::once(&mirroring.main)
                .chain(mirroring.mirrors.iter().map(|mirror| &mirror.service))
                .collect(),
            Kind::Failover(failover) => failover.parts().collect(),
        }
    }
}
