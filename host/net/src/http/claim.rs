//! A request's claim on a backend and a service: counted while the request is under way, and given
//! back when its last byte was handed on, or when it failed.
//!
//! **Invariant:** whatever becomes of a request, its claim is given back exactly once, and then
//! whoever waits for it is told.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use portolan_core::{
    policy::Limits,
    service::{BackendFigures, Service, ServiceState},
};
use tokio::time::{Instant, timeout_at};

/// A request that a backend works on.
#[derive(Debug)]
pub(crate) struct InFlight {
    figures: Arc<BackendFigures>,
    /// Given back after the backend was.
    seat: Option<Rc<Seat>>,
}

/// A request's place in a service that limits how many there are.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Arc<ServiceState>,
    counted: bool,
}

impl InFlight {
    /// A claim on a backend, if that has fewer requests under way than `limit`.
    pub(crate) fn claim(
        figures: &Arc<BackendFigures>,
        limit: Option<u64>,
        seat: &Option<Rc<Seat>>,
    ) -> Option<Self> {
        let claimed = match limit {
            None => {
                figures.in_flight.increment();
                true
            }
            Some(limit) => figures.in_flight.increment_within(limit),
        };
        claimed.then(|| Self { figures: figures.clone(), seat: seat.clone() })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.figures.in_flight.decrement();
        // The seat may go on to another backend; who waits for this one need not wait for that.
        if let Some(seat) = &self.seat {
            seat.state.queue.release();
        }
    }
}

impl Seat {
    /// A place in a service; `None` in the answer when nothing is limited there. Waits for one as
    /// long as that is allowed.
    ///
    /// # Errors
    ///
    /// When there was none in time, or too many wait already.
    pub(crate) async fn take(service: &Service) -> Result<Option<Self>, Full> {
        let (limits, state) = (&service.load_balancer.limits, &service.state);
        if !limits.any() {
            return Ok(None);
        }
        let Some(limit) = limits.max_requests else {
            return Ok(Some(Self { state: state.clone(), counted: false }));
        };
        let seat = || {
            let taken = state.in_flight.increment_within(limit);
            taken.then(|| Self { state: state.clone(), counted: true })
        };
        in_line(state, limits, seat).await.map(Some)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.counted {
            self.state.in_flight.decrement();
        }
        self.state.queue.release();
    }
}

/// There was no place in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

/// Tries to take something; while that does not work, waits in line until something is given back.
pub(crate) async fn in_line<T>(
    state: &ServiceState,
    limits: &Limits,
    mut take: impl FnMut() -> Option<T>,
) -> Result<T, Full> {
    // Who waits already comes first.
    if state.queue.is_empty()
        && let Some(taken) = take()
    {
        return Ok(taken);
    }
    if state.queue.len() >= limits.queue || limits.queue_timeout.is_zero() {
        return Err(Full);
    }
    let waiting = async {
        loop {
            let mut waiting = state.queue.wait();
            let mut is_new = true;
            let taken = poll_fn(|cx| {
                if std::mem::take(&mut is_new) {
                    waiting.stand(cx.waker());
                    // What was given back before we stood in line is not missed.
                    if let Some(taken) = take() {
                        return Poll::Ready(Some(taken));
                    }
                }
                Pin::new(&mut waiting).poll(cx).map(|()| take())
            });
            if let Some(taken) = taken.await {
                return taken;
            }
        }
    };
    timeout_at(Instant::now() + limits.queue_timeout, waiting).await.map_err(|_elapsed| Full)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn who_waits_for_a_backend_hears_of_it_though_the_request_goes_on_elsewhere() {
        let state = Arc::<ServiceState>::default();
        let seat = Some(Rc::new(Seat { state: state.clone(), counted: false }));
        let figures = Arc::<BackendFigures>::default();
        let claim = InFlight::claim(&figures, Some(1), &seat);
        assert!(InFlight::claim(&figures, Some(1), &seat).is_none());
        let mut waiting = state.queue.wait();
        waiting.stand(Waker::noop());
        assert_eq!(state.queue.len(), 1);
        drop(claim);
        assert!(state.queue.is_empty(), "it was called");
        assert!(InFlight::claim(&figures, Some(1), &seat).is_some());
    }
}
