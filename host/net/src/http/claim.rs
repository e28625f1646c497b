//! A request's claim on a backend and a service: counted while the request is under way, and given
//! back when its last byte was handed on, or when it failed.
//!
//! **Invariant:** whatever becomes of a request, its claim is given back exactly once, and then
//! whoever waits for it is told.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use portolan_core::{
    policy::Limits,
    service::{Backend, BackendFigures, Freed, Service, ServiceState},
};
use tokio::time::{Instant, timeout_at};

/// How often whoever waits looks though nobody called: a backend may be well again, another service
/// may have left it, and limits change.
const AGAIN: Duration = Duration::from_millis(100);

/// A request that a backend works on.
#[derive(Debug)]
pub(crate) struct InFlight {
    figures: Arc<BackendFigures>,
    /// The number of the trial that it is, if the backend was left alone before.
    trial: Option<u64>,
    /// Given back after the backend was.
    seat: Option<Rc<Seat>>,
}

/// A request's place in a service that limits how many there are.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Arc<ServiceState>,
    /// Whether the requests of the service are limited, and not only those at each backend.
    is_counted: bool,
}

impl InFlight {
    /// A claim on a backend, if there is room, and on a seat in its service, unless the request has
    /// one. Without a claim, a `trial` is given up.
    pub(crate) fn claim(
        service: &Service,
        backend: &Backend,
        seat: &mut Option<Rc<Seat>>,
        trial: Option<u64>,
    ) -> Option<Self> {
        let (limits, figures) = (&service.load_balancer.limits, &backend.figures);
        let new = if seat.is_none() { limits.max_requests } else { None };
        let in_service = &service.state.in_flight;
        let is_taken = new.is_none_or(|limit| in_service.increment_within(limit)) && {
            let has_room = match limits.max_requests_per_backend {
                None => {
                    figures.in_flight.increment();
                    true
                }
                Some(limit) => figures.in_flight.increment_within(limit),
            };
            if !has_room && new.is_some() {
                in_service.decrement();
            }
            has_room
        };
        if !is_taken {
            trial.into_iter().for_each(|trial| figures.standing.give_up_trial(trial));
            return None;
        }
        if seat.is_none() && limits.any() {
            let (state, is_counted) = (service.state.clone(), new.is_some());
            *seat = Some(Rc::new(Seat { state, is_counted }));
        }
        Some(Self { figures: figures.clone(), trial, seat: seat.clone() })
    }

    /// A claim on a backend whatever its limits.
    pub(crate) fn unlimited(figures: &Arc<BackendFigures>) -> Self {
        figures.in_flight.increment();
        Self { figures: figures.clone(), trial: None, seat: None }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(trial) = self.trial {
            self.figures.standing.give_up_trial(trial);
        }
        self.figures.in_flight.decrement();
        // Whoever is called for the seat finds the backend, too. While the seat goes on to another
        // backend, who waits for this one need not wait for that.
        if let Some(seat) = &self.seat
            && (!seat.is_counted || Rc::strong_count(seat) > 1)
        {
            seat.state.queue.release(Freed::at(&*self.figures));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_counted {
            self.state.in_flight.decrement();
            self.state.queue.release(Freed::ANY);
        }
    }
}

/// There was no place in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

/// What somebody who waits in line looks for.
pub(crate) trait Seek {
    /// What there is to find.
    type Found;

    /// What it can only be; `None`: anything.
    fn only(&mut self) -> Option<Freed>;

    /// Takes it, if it is there, and says what was taken.
    fn look(&mut self) -> Option<(Self::Found, Freed)>;
}

/// Where somebody stands in line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// Behind all others.
    New,
    /// Where it stood before, with this ticket; without one before all others.
    Again(Option<u64>),
}

/// Stands in line until something is found. Gives that, and the ticket.
///
/// # Errors
///
/// When nothing was in time, or too many wait already.
pub(crate) async fn in_line<S: Seek>(
    state: &ServiceState,
    limits: &Limits,
    turn: Turn,
    seek: &mut S,
) -> Result<(S::Found, u64), Full> {
    if !limits.has_queue() {
        return Err(Full);
    }
    let only = seek.only();
    let stand = poll_fn(|cx| {
        Poll::Ready(match turn {
            Turn::New => state.queue.stand(limits.queue, only, cx.waker()),
            Turn::Again(ticket) => Some(state.queue.stand_again(ticket, only, cx.waker())),
        })
    });
    let waiting = stand.await.ok_or(Full)?;
    let end = Instant::now() + limits.queue_timeout;
    loop {
        let next = end.min(Instant::now() + AGAIN);
        let look = poll_fn(|cx| waiting.poll(cx, || seek.look()));
        match timeout_at(next, look).await {
            Ok(found) => return Ok((found, waiting.ticket())),
            Err(_elapsed) if next == end => return Err(Full),
            Err(_elapsed) => waiting.look_again(seek.only()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use portolan_core::{item::Health, name::ObjectName, policy::LoadBalancer, service::Scheme};

    use super::*;

    fn limited(limits: Limits) -> Service {
        let backend = Backend {
            scheme: Scheme::Http,
            authority: "10.0.0.1:80".into(),
            path: None,
            weight: 1,
            health: Health::Passing,
            origin: "test".into(),
            figures: Arc::default(),
        };
        let options = LoadBalancer { limits, ..LoadBalancer::default() };
        Service::new(ObjectName::new("a", "test"), options, vec![backend])
    }

    #[test]
    fn who_waits_for_a_backend_hears_of_it_though_the_request_goes_on_elsewhere() {
        let per_backend = Limits { max_requests_per_backend: Some(1), ..Limits::default() };
        let service = limited(per_backend);
        let (backend, mut seat) = (&service.backends[0], None);
        let claim = InFlight::claim(&service, backend, &mut seat, None);
        assert!(InFlight::claim(&service, backend, &mut None, None).is_none());
        let waiting = service.state.queue.stand(1, None, Waker::noop()).unwrap();
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(waiting.poll(&mut cx, || None::<((), Freed)>).is_pending());
        let mut look = || {
            waiting.poll(&mut cx, || {
                let claim = InFlight::claim(&service, backend, &mut None, None)?;
                Some((claim, Freed::at(&*backend.figures)))
            })
        };
        assert!(look().is_pending(), "it was not called");
        drop(claim);
        assert!(look().is_ready(), "though the seat is kept");
        drop(seat);
    }

    #[test]
    fn a_claim_that_fails_leaves_nothing_behind() {
        let both = Limits {
            max_requests: Some(5),
            max_requests_per_backend: Some(1),
            ..Limits::default()
        };
        let service = limited(both);
        let (backend, mut seat) = (&service.backends[0], None);
        let claim = InFlight::claim(&service, backend, &mut seat, None);
        assert!(InFlight::claim(&service, backend, &mut None, None).is_none());
        assert_eq!((service.state.in_flight.value(), backend.figures.in_flight.value()), (1, 1));
        drop(claim);
        assert_eq!((service.state.in_flight.value(), backend.figures.in_flight.value()), (1, 0));
        drop(seat);
        assert_eq!(service.state.in_flight.value(), 0);
    }
}
