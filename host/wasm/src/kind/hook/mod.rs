//! The hooks of a middleware: the hot path.
//!
//! **Invariant:** an exchange that is handed over comes back, changed only if the hook returned
//! normally and its answer made sense.

mod message;
mod slots;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_core::{
    exchange::Exchange,
    port::{CallError, Hooks, RequestVerdict, ResponseVerdict},
};

use crate::{
    breaker::{Admission, Breaker},
    facets::{RequestHook, ResponseHook},
    guest::Binding,
    runtime::{Lane, Runtime, Warm},
};

/// The hooks of one binding. Fields are dropped in this order: first the binding is gone, then
/// instances are told to look for what is gone.
#[derive(Debug)]
pub(super) struct Bound {
    binding: Arc<Binding>,
    /// How long one hook may take.
    limit: Duration,
    lane: Lane,
    breaker: Breaker,
    runtime: Releasing,
}

/// Tells the instances of a plugin that a binding is gone.
#[derive(Debug)]
struct Releasing(Arc<Runtime>);

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// An instance that can run the hook.
struct Ready {
    admission: Admission,
    warm: Box<Warm>,
    /// The place of the binding among those that it is configured for.
    place: usize,
}

/// What a hook decided, or how it failed without a trap.
type Decided<T> = Result<T, CallError>;

/// The same, or how the instance broke.
type Ran<T> = Result<Decided<T>, CallError>;

/// An exchange that was handed over and back, and what was decided.
type Returned<T> = (Box<Exchange>, Decided<T>);

impl Hooks for Bound {
    fn on_request(&self, mut exchange: Box<Exchange>) -> Returned<RequestVerdict> {
        let mut ready = match self.ready() {
            Ok(ready) => ready,
            Err(error) => return (exchange, Err(error)),
        };
        let result = match ready.warm.functions.request {
            Some(RequestHook::Slots(hook)) => {
                slots::on_request(self, hook, &mut ready, &mut exchange)
            }
            Some(RequestHook::Message(hook)) => {
                let (returned, result) = message::on_request(self, hook, &mut ready, exchange);
                exchange = returned;
                result
            }
            None => Ok(Err(no_hook())),
        };
        (exchange, self.settle(ready, result))
    }

    fn on_response(&self, context: u64, mut exchange: Box<Exchange>) -> Returned<ResponseVerdict> {
        let mut ready = match self.ready() {
            Ok(ready) => ready,
            Err(error) => return (exchange, Err(error)),
        };
        let result = match ready.warm.functions.response {
            Some(ResponseHook::Slots(hook)) => {
                slots::on_response(self, hook, &mut ready, context, &mut exchange)
            }
            Some(ResponseHook::Message(hook)) => {
                let (returned, result) =
                    message::on_response(self, hook, &mut ready, context, exchange);
                exchange = returned;
                result
            }
            None => Ok(Err(no_hook())),
        };
        (exchange, self.settle(ready, result))
    }
}

impl Bound {
    /// The hooks of a binding that a plugin was configured for.
    pub(super) fn new(
        binding: Arc<Binding>,
        limit: Duration,
        lane: Lane,
        runtime: Arc<Runtime>,
    ) -> Self {
        let (breaker, runtime) = (Breaker::new(Instant::now()), Releasing(runtime));
        Self { binding, limit, lane, breaker, runtime }
    }

    /// Takes an instance that is configured for the binding.
    fn ready(&self) -> Result<Ready, CallError> {
        let runtime = &self.runtime.0;
        let admission = self.breaker.admit(Instant::now);
        if admission == Admission::Refused {
            return Err(runtime.failed(CallError::Suspended));
        }
        let ready = runtime.take(self.lane).and_then(|mut warm| {
            let place = runtime.place(&mut warm, &self.binding)?;
            Ok(Ready { admission, warm, place })
        });
        ready.map_err(|error| self.broke(admission, error))
    }

    /// Puts the instance to rest again unless it broke.
    fn settle<T>(&self, ready: Ready, result: Ran<T>) -> Decided<T> {
        let (runtime, Ready { admission, warm, .. }) = (&self.runtime.0, ready);
        let decided = result.map_err(|error| self.broke(admission, error))?;
        runtime.give_back(self.lane, warm);
        let decided = decided.map_err(|error| runtime.failed(error))?;
        self.breaker.succeeded(admission);
        Ok(decided)
    }

    /// Runs the hook within its time limit.
    fn run<T>(
        &self,
        warm: &mut Warm,
        hook: impl FnOnce(&mut Warm) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        self.runtime.0.run(warm, self.limit, hook)
    }

    /// Notes a failure of the plugin itself. What it says about one request is not one.
    fn broke(&self, admission: Admission, error: CallError) -> CallError {
        let calls = &self.runtime.0.budget.figures.calls;
        self.breaker.failed(admission, Instant::now(), calls);
        tracing::debug!(
            plugin.name = %self.runtime.0.name,
            middleware = %self.binding.label,
            %error,
            "plugin failed"
        );
        error
    }
}

/// Cannot be: an interest that names a phase without its hook is refused.
fn no_hook() -> CallError {
    CallError::Nonsense("it has no such hook".to_owned())
}
