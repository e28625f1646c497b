//! Plugins that middlewares are made of, and their hooks: the hot path.
//!
//! **Invariant:** an exchange that is handed over comes back, changed only if the hook returned
//! normally and its answer made sense.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_core::{
    exchange::Exchange,
    middleware::Interest,
    port::{BindError, CallError, Hooks, MiddlewarePlugin, RequestVerdict, ResponseVerdict},
};
use serde_json::Value;
use wasmtime::component::Resource;

use super::{answer::reply, field_errors, interest::interest};
use crate::{
    bindings::{
        middleware_interest as wit, request_hook::Verdict,
        response_hook::ResponseVerdict as WitResponseVerdict,
    },
    breaker::{Admission, Breaker},
    facets::Place,
    guest::Binding,
    runtime::{Lane, Runtime, Warm},
    schema::Schema,
};

/// A plugin that middlewares can be made of.
#[derive(Debug)]
pub(crate) struct Middlewares {
    runtime: Arc<Runtime>,
    declare: Place,
    schema: Option<Arc<Schema>>,
}

impl Middlewares {
    pub(crate) fn new(runtime: Arc<Runtime>, declare: Place, schema: Option<Arc<Schema>>) -> Self {
        Self { runtime, declare, schema }
    }

    /// Configures an instance for a new binding and asks what it wants.
    fn declare(&self, warm: &mut Warm, id: u32, config: &str) -> Result<wit::Interest, BindError> {
        let (runtime, limit) = (&self.runtime, self.runtime.limits.configure);
        let config = config.to_owned();
        let (answer,) = runtime
            .run(warm, limit, |warm| warm.functions.configure.call(&mut warm.store, (id, config)))
            .map_err(BindError::Call)?;
        answer.map_err(|errors| BindError::Config(field_errors(errors)))?;
        let declared = runtime.run(warm, limit, |warm| {
            let declare = warm.function::<(u32,), (wit::Interest,)>(self.declare)?;
            declare.call(&mut warm.store, (id,))
        });
        declared.map(|(interest,)| interest).map_err(BindError::Call)
    }
}

impl MiddlewarePlugin for Middlewares {
    fn name(&self) -> &str {
        &self.runtime.name
    }

    fn fingerprint(&self) -> &str {
        &self.runtime.hash
    }

    fn bind(
        &self,
        label: &str,
        config: &Value,
        limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        let runtime = &self.runtime;
        let limit = limit.unwrap_or(runtime.limits.hook);
        let lane = if limit > runtime.limits.call { Lane::Aside } else { Lane::Serving };
        let config = canonical(self.schema.as_deref(), config)?;
        let id = runtime.next_binding();
        let mut warm = runtime.take(lane).map_err(BindError::Call)?;
        let declared = self.declare(&mut warm, id, &config)?;
        let (mut found, slots) = interest(declared, &runtime.places)
            .map_err(|error| BindError::Call(runtime.failed(CallError::Nonsense(error))))?;
        let binding = Arc::new(Binding { id, label: label.to_owned(), config, slots });
        Runtime::note(&mut warm, &binding);
        let bound = Bound {
            binding,
            limit,
            lane,
            breaker: Breaker::new(Instant::now()),
            runtime: Releasing(runtime.clone()),
        };
        if found.on_request || found.on_response {
            found.hooks = Some(Arc::new(bound));
            found.aside = (lane == Lane::Aside).then_some(limit);
        }
        runtime.give_back(lane, warm);
        Ok(found)
    }
}

/// The configuration as the plugin expects it, as JSON.
pub(super) fn canonical(schema: Option<&Schema>, config: &Value) -> Result<String, BindError> {
    match schema {
        Some(schema) => {
            schema.canonical(config).map_err(BindError::Config).map(|it| it.to_string())
        }
        None => Ok(config.to_string()),
    }
}

/// The hooks of one binding. Fields are dropped in this order: first the binding is gone, then
/// instances are told to look for what is gone.
#[derive(Debug)]
struct Bound {
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

/// What a hook decided, or how it failed without a trap.
type Decided<T> = Result<T, CallError>;

impl Hooks for Bound {
    fn on_request(
        &self,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>) {
        self.enter(exchange, |warm| {
            let Some(hook) = warm.functions.request else { return Ok(Err(no_hook())) };
            let request = Resource::new_borrow(0);
            let (verdict,) = hook.call(&mut warm.store, (self.binding.id, request))?;
            Ok(match verdict {
                Verdict::Proceed(proceed) => Ok(RequestVerdict::Continue {
                    context: proceed.context,
                    response: proceed.response,
                }),
                Verdict::Reply(it) => {
                    reply(it).map(RequestVerdict::Reply).map_err(CallError::Nonsense)
                }
                Verdict::Fail(reason) => Err(CallError::Said(reason)),
            })
        })
    }

    fn on_response(
        &self,
        context: u64,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>) {
        self.enter(exchange, |warm| {
            let Some(hook) = warm.functions.response else { return Ok(Err(no_hook())) };
            let (request, response) = (Resource::new_borrow(0), Resource::new_borrow(0));
            let args = (self.binding.id, context, request, response);
            let (verdict,) = hook.call(&mut warm.store, args)?;
            Ok(match verdict {
                WitResponseVerdict::Proceed => Ok(ResponseVerdict::Continue),
                WitResponseVerdict::Replace(it) => {
                    reply(it).map(ResponseVerdict::Replace).map_err(CallError::Nonsense)
                }
                WitResponseVerdict::Fail(reason) => Err(CallError::Said(reason)),
            })
        })
    }
}

impl Bound {
    /// Runs a hook: takes an instance, hands it the exchange, and takes both back.
    fn enter<T>(
        &self,
        exchange: Box<Exchange>,
        hook: impl FnOnce(&mut Warm) -> wasmtime::Result<Decided<T>>,
    ) -> (Box<Exchange>, Result<T, CallError>) {
        let runtime = &self.runtime.0;
        let admission = self.breaker.admit(Instant::now);
        if admission == Admission::Refused {
            return (exchange, Err(runtime.failed(CallError::Suspended)));
        }
        let ready = runtime.take(self.lane).and_then(|mut warm| {
            let place = runtime.place(&mut warm, &self.binding)?;
            Ok((warm, place))
        });
        let (mut warm, place) = match ready {
            Ok(ready) => ready,
            Err(error) => return (exchange, Err(self.broke(admission, error))),
        };
        warm.store.data_mut().enter(exchange, place);
        let result = runtime.run(&mut warm, self.limit, hook);
        let is_good = matches!(result, Ok(Ok(_)));
        let exchange = warm.store.data_mut().leave(is_good);
        let exchange = exchange.expect("it was handed over above, and only `leave` takes it");
        let decided = match result {
            Ok(decided) => {
                runtime.give_back(self.lane, warm);
                decided.map_err(|error| runtime.failed(error))
            }
            Err(error) => Err(self.broke(admission, error)),
        };
        if decided.is_ok() {
            self.breaker.succeeded(admission);
        }
        (exchange, decided)
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
