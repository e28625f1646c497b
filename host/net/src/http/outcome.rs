//! What requests tell of a backend.
//!
//! **Invariant:** noting takes no lock, and nothing is written of a backend that is well and was
//! well before.

use std::time::Instant;

use http::StatusCode;
use portolan_core::{
    moment::Moment,
    policy::Strategy,
    service::{Backend, Service},
};

use super::rescue::ForwardError;

/// A connection was made; where answers do not count, that is all that does.
pub(crate) fn connected(service: &Service, backend: &Backend) {
    let standing = &backend.figures.standing;
    standing.dialed(true);
    if !service.load_balancer.passive.on_status && standing.has_failed() {
        standing.succeeded(Moment::of(Instant::now()));
    }
}

/// It answered a request that was for it since `begun`, after so many nanoseconds.
pub(crate) fn answered(
    service: &Service,
    backend: &Backend,
    begun: Moment,
    status: StatusCode,
    nanos: u64,
) {
    let options = &service.load_balancer;
    let standing = &backend.figures.standing;
    let is_bad = options.passive.on_status && status.is_server_error();
    if is_bad {
        return failed(service, backend, begun);
    }
    let is_timed = options.strategy == Strategy::LeastTime;
    if is_timed || standing.has_failed() {
        let now = Moment::of(Instant::now());
        standing.succeeded(now);
        if is_timed {
            standing.answered(now, nanos);
        }
    }
}

/// There was no connection.
pub(crate) fn not_connected(service: &Service, backend: &Backend, begun: Moment) {
    backend.figures.connect_failures.increment();
    backend.figures.standing.dialed(false);
    failed(service, backend, begun);
}

/// There was a connection, and no answer.
pub(crate) fn lost(service: &Service, backend: &Backend, begun: Moment, error: &ForwardError) {
    let is_its_own = match error {
        ForwardError::Exchange { .. }
        | ForwardError::Timeout { .. }
        | ForwardError::Upgrade { .. } => true,
        ForwardError::NoBackend
        | ForwardError::Full
        | ForwardError::Resting { .. }
        | ForwardError::Address(_)
        | ForwardError::Dial { .. }
        | ForwardError::Client(_)
        | ForwardError::Slow => false,
    };
    if is_its_own && service.load_balancer.passive.on_status {
        failed(service, backend, begun);
    }
}

fn failed(service: &Service, backend: &Backend, begun: Moment) {
    let (now, passive) = (Moment::of(Instant::now()), &service.load_balancer.passive);
    if let Some(millis) = backend.figures.standing.failed(begun, now, passive) {
        tracing::info!(
            service = %service.name,
            backend = backend.url(),
            millis,
            "requests fail: backend left alone for a while"
        );
    }
}
