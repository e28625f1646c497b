//! Catalog providers: the one kind of plugin that may wait.
//!
//! **Invariant:** a poll that is dropped, fails or takes too long takes its instance with it; the
//! next one finds a new one.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use portolan_core::{
    item::{Found, Step, Wanted},
    port::{BindError, CallError, FieldError, PollError, PortFuture, Provider},
};
use serde_json::Value;
use wasmtime::{
    Store, UpdateDeadline,
    component::{ComponentNamedList, InstancePre, Lift, Lower, TypedFunc},
};

use super::{field_errors, middleware::canonical, seek::Seekers, step::step};
use crate::{
    bindings::catalog::Failure,
    clock::TICK,
    error::call_error,
    facets::{Functions, Place, PollArgs, Polled},
    guest::{self, Budget, Guest},
    outbound::{Client, Folders, Waits},
    runtime::{Lane, Runtime, instance_error},
    schema::{Marked, Schema},
};

/// What an operator granted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    pub(crate) http: Option<Client>,
    pub(crate) files: Option<Folders>,
}

impl Grant {
    /// What a configuration says that the provider will ask for, and must not.
    pub(crate) fn beyond(&self, schema: &Schema, config: &Value) -> Vec<FieldError> {
        // One with errors is refused for them.
        let Ok(config) = schema.canonical(config) else { return Vec::new() };
        schema.reaches(&config).into_iter().filter_map(|reach| self.refusal(reach)).collect()
    }

    fn refusal(&self, reach: Marked) -> Option<FieldError> {
        let Marked { path, word: capability, text } = reach;
        let scope = match capability.as_str() {
            "http-client" => self.http.as_ref()?.refusal(&text)?,
            "files" => self.files.as_ref()?.refusal(&text).then(|| text.clone())?,
            _ => return None,
        };
        Some(FieldError {
            path,
            message: format!("`{text}` is not granted"),
            hint: Some(format!("add \"{scope}\" to its `grants.{capability}`")),
        })
    }
}

/// A provider, bound to its configuration and grants.
pub(crate) struct BoundProvider {
    pub(super) runtime: Arc<Runtime>,
    poll: Place,
    /// Where it looks things up, if it does.
    pub(super) find: Option<Place>,
    pre: InstancePre<Guest>,
    pub(super) budget: Budget,
    grant: Grant,
    config: String,
    label: String,
    /// The instance of the last poll, if that went well.
    resting: Mutex<Option<Warm>>,
    /// Instances that have looked something up.
    pub(super) seekers: Seekers,
}

/// An instance that has been configured, and the function of it that is called.
struct Warm {
    store: Store<Guest>,
    poll: TypedFunc<PollArgs, Polled>,
}

impl BoundProvider {
    /// Binds a provider, once its configuration has been judged by schema and plugin.
    pub(crate) fn bind(
        runtime: Arc<Runtime>,
        pre: InstancePre<Guest>,
        budget: Budget,
        grant: Grant,
        schema: Option<&Schema>,
        (label, config): (&str, &Value),
    ) -> Result<Self, BindError> {
        let Some(poll) = runtime.places.poll else {
            return Err(BindError::Refused(format!("`{}` is not a provider", runtime.name)));
        };
        let config = canonical(schema, config, &[])?;
        // In an instance that can reach nothing, and is not kept: reading needs nothing.
        let args = (BINDING, config.clone());
        let mut warm = runtime.take(Lane::Serving).map_err(BindError::Call)?;
        let (answer,) = runtime
            .run(&mut warm, runtime.limits.configure, |warm| {
                warm.functions.configure.call(&mut warm.store, args)
            })
            .map_err(BindError::Call)?;
        answer.map_err(|errors| BindError::Config(field_errors(errors)))?;
        let label = label.to_owned();
        let (find, resting, seekers) = (runtime.places.find, Mutex::default(), Seekers::default());
        Ok(Self { runtime, poll, find, pre, budget, grant, config, label, resting, seekers })
    }

    async fn step(&self, cursor: Option<&[u8]>, wait: Duration) -> Result<Step, PollError> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut warm = match resting {
            Some(warm) => warm,
            None => {
                let (store, poll) = self.instantiate(self.poll).await.map_err(PollError::Call)?;
                Warm { store, poll }
            }
        };
        let limit = wait.saturating_add(GRACE);
        let wait = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let args = (BINDING, cursor.map(<[u8]>::to_vec), wait);
        warm.store.data_mut().begin_call();
        warm.store.set_epoch_deadline(1);
        self.budget.figures.calls.increment();
        let call = self.timed(limit, warm.poll.call_async(&mut warm.store, args));
        let (answer,) = match call.await.map_err(|late| self.failed(late))? {
            Ok(answer) => answer,
            Err(error) => {
                let refused = warm.store.data().meter.refused();
                return Err(self.failed(call_error(&error, limit, refused)));
            }
        };
        if warm.store.data().meter.held() <= self.budget.instance / 2 {
            *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(warm);
        }
        match answer {
            Ok(found) => step(found).map_err(|error| self.failed(CallError::Nonsense(error))),
            Err(failure) => Err(refused(failure)),
        }
    }

    /// A fresh instance that has been configured, and one of its functions.
    pub(super) async fn instantiate<P, R>(
        &self,
        place: Place,
    ) -> Result<(Store<Guest>, TypedFunc<P, R>), CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let waits = Waits::new(self.grant.http.clone(), self.grant.files.clone());
        let name = self.runtime.name.clone();
        let mut store = guest::store(self.pre.engine(), name, &self.budget, waits);
        store.epoch_deadline_callback(|_| {
            // Wasmtime's own way of yielding comes back at once on tokio (wasmtime #10667).
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store.set_epoch_deadline(1);
        let limit = self.runtime.limits.configure.saturating_add(GRACE);
        let made = self.timed(limit, async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let functions = Functions::of(&self.runtime.places, instance, &mut store)?;
            let config = self.config.clone();
            let (answer,) = functions.configure.call_async(&mut store, (BINDING, config)).await?;
            Ok((place.function(instance, &mut store)?, answer))
        });
        match made.await.map_err(|late| self.fail(late))? {
            Ok((function, Ok(()))) => Ok((store, function)),
            Ok((_, Err(errors))) => {
                let what = errors.into_iter().next().map(|error| error.message);
                let what = what.unwrap_or_default();
                Err(self.fail(CallError::Nonsense(format!(
                    "refuses the configuration of `{}` that it took before: {what}",
                    self.label
                ))))
            }
            Err(error) => Err(self.fail(instance_error(&store, error, limit))),
        }
    }

    /// Runs a call within a time limit, most of which it may wait but not run.
    ///
    /// Keeps the clock ticking while the guest runs, not while it waits: it runs only when its
    /// future is polled, and it yields at every tick.
    pub(super) async fn timed<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = T>,
    ) -> Result<T, CallError> {
        let (mut call, mut ran) = (pin!(call), Duration::ZERO);
        let running = self.runtime.limits.running;
        let call = std::future::poll_fn(|cx| {
            if ran > running {
                return Poll::Ready(Err(CallError::Deadline { limit: running }));
            }
            self.runtime.clock.run_for(10 * TICK);
            let begun = Instant::now();
            let polled = call.as_mut().poll(cx);
            ran += begun.elapsed();
            polled.map(Ok)
        });
        let in_time = tokio::time::timeout(limit, call).await;
        in_time.unwrap_or(Err(CallError::Deadline { limit }))
    }

    pub(super) fn failed(&self, error: CallError) -> PollError {
        PollError::Call(self.fail(error))
    }

    fn fail(&self, error: CallError) -> CallError {
        self.runtime.failed(error)
    }
}

impl Provider for BoundProvider {
    fn poll<'a>(
        &'a self,
        cursor: Option<&'a [u8]>,
        wait: Duration,
    ) -> PortFuture<'a, Result<Step, PollError>> {
        Box::pin(self.step(cursor, wait))
    }

    fn looks_up(&self) -> bool {
        self.find.is_some()
    }

    fn find<'a>(&'a self, wanted: &'a Wanted) -> PortFuture<'a, Result<Option<Found>, PollError>> {
        Box::pin(self.seek(wanted))
    }
}

impl fmt::Debug for BoundProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundProvider").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Why the source does not answer.
pub(super) fn refused(failure: Failure) -> PollError {
    match failure {
        Failure::Temporary(reason) => PollError::Temporary(reason),
        Failure::Permanent(reason) => PollError::Permanent(reason),
        Failure::Resync(reason) => PollError::Resync(reason),
    }
}

/// An instance of a provider serves one binding, so its number says nothing.
pub(super) const BINDING: u32 = 0;

/// How much longer than asked a poll may take before it is stuck.
const GRACE: Duration = Duration::from_secs(30);
