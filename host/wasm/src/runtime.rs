//! One loaded plugin at work: its instances, and how they are called.
//!
//! **Invariant:** an instance in which a call failed is never used again, and no call runs without
//! a time limit.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portolan_core::port::CallError;
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use crate::{
    clock::{Clock, ticks},
    error::{Cause, call_error},
    facets::{Functions, Place, Places},
    guest::{self, Binding, Budget, Configured, Guest},
    outbound::Waits,
    shelf::{Shelf, Stack},
};

/// A loaded plugin, as far as calls go.
pub(crate) struct Runtime {
    pub(crate) name: Arc<str>,
    /// Identifies the code.
    pub(crate) hash: Arc<str>,
    pub(crate) places: Places,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<Clock>,
    pre: InstancePre<Guest>,
    /// Instances at rest: a shelf for each thread, so that threads do not meet.
    shelves: Box<[Shelf<Warm>]>,
    /// Those for hooks that may take long. Whichever thread comes takes the one that was used last,
    /// so that few instances do the work, and what they remember is of use to many.
    aside: Stack<Warm>,
    next_binding: AtomicU32,
    /// Grows whenever a binding is gone.
    releases: AtomicU64,
}

/// Where instances rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lane {
    /// With the thread that uses them.
    Serving,
    /// Where all threads find them.
    Aside,
}

/// How long calls may take, and how long instances live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For everything that must be quick: a thread that serves waits for it.
    pub(crate) call: Duration,
    /// For a hook, unless its binding says otherwise. One that may take longer than `call` is not
    /// called on a thread that serves.
    pub(crate) hook: Duration,
    /// For `configure` and `declare-interest`, which may parse much.
    pub(crate) configure: Duration,
    /// For one call of a provider, apart from what it waits.
    pub(crate) running: Duration,
    /// An instance is dropped after so many calls, so that what it leaks is bounded.
    pub(crate) uses: u32,
    /// An instance at rest that has more memory than this is dropped.
    pub(crate) resting: usize,
}

/// An instance that can be called.
pub(crate) struct Warm {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Instance,
    pub(crate) functions: Functions,
    uses: u32,
    /// The plugin's `releases` when this instance last released what was gone.
    released: u64,
}

impl Runtime {
    /// A plugin whose instances are made from `pre`.
    pub(crate) fn new(
        (name, hash): (Arc<str>, Arc<str>),
        clock: Arc<Clock>,
        pre: InstancePre<Guest>,
        places: Places,
        budget: Budget,
        limits: Limits,
    ) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name,
            hash,
            places,
            budget,
            limits,
            clock,
            pre,
            shelves: (0..=threads).map(|_| Shelf::new()).collect(),
            aside: Stack::new(),
            next_binding: AtomicU32::new(0),
            releases: AtomicU64::new(0),
        }
    }

    /// A number for a new binding.
    pub(crate) fn next_binding(&self) -> u32 {
        self.next_binding.fetch_add(1, Ordering::Relaxed)
    }

    /// A binding is gone: instances forget it when they are next used.
    pub(crate) fn release(&self) {
        self.releases.fetch_add(1, Ordering::Release);
    }

    /// An instance at rest, or a new one.
    pub(crate) fn take(&self, lane: Lane) -> Result<Box<Warm>, CallError> {
        let at_rest = match lane {
            Lane::Serving => self.shelf().take(),
            Lane::Aside => self.aside.take(),
        };
        match at_rest {
            Some(mut warm) => {
                self.forget(&mut warm)?;
                Ok(warm)
            }
            None => self.instantiate().map(Box::new),
        }
    }

    /// Puts an instance in which no call failed to rest, or to an end.
    pub(crate) fn give_back(&self, lane: Lane, mut warm: Box<Warm>) {
        warm.uses += 1;
        let is_old = warm.uses >= self.limits.uses;
        let is_fat = warm.store.data().meter.held() > self.limits.resting;
        if is_old || is_fat {
            return;
        }
        match lane {
            Lane::Serving => self.shelf().put(warm),
            Lane::Aside => self.aside.put(warm),
        }
    }

    /// Runs something in an instance, within a time limit. After an error the instance is spent.
    pub(crate) fn run<T>(
        &self,
        warm: &mut Warm,
        limit: Duration,
        work: impl FnOnce(&mut Warm) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        self.clock.run_for(limit);
        warm.store.data_mut().begin_call();
        warm.store.set_epoch_deadline(ticks(limit));
        let result = work(warm);
        self.record(begun);
        result.map_err(|error| {
            let refused = warm.store.data().meter.refused();
            self.failed(call_error(&error, limit, refused))
        })
    }

    /// Calls a function that is not called often, in any instance.
    pub(crate) fn ask<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Warm) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let mut warm = self.take(Lane::Serving)?;
        let answer = self.run(&mut warm, limit, work)?;
        self.give_back(Lane::Serving, warm);
        Ok(answer)
    }

    /// Makes sure that an instance is configured for a binding, and answers the binding's place
    /// in it.
    pub(crate) fn place(
        &self,
        warm: &mut Warm,
        binding: &Arc<Binding>,
    ) -> Result<usize, CallError> {
        let configured = &warm.store.data().configured;
        match configured.binary_search_by_key(&binding.id, |it| it.id) {
            Ok(place) => Ok(place),
            Err(place) => {
                self.configure(warm, binding)?;
                Self::keep(warm, place, binding);
                Ok(place)
            }
        }
    }

    /// Notes that an instance has been configured for a new binding.
    pub(crate) fn note(warm: &mut Warm, binding: &Arc<Binding>) {
        let configured = &warm.store.data().configured;
        let place = configured.partition_point(|it| it.id < binding.id);
        Self::keep(warm, place, binding);
    }

    /// Counts a failure by its cause.
    pub(crate) fn failed(&self, error: CallError) -> CallError {
        let figures = &self.budget.figures;
        match &error {
            CallError::Deadline { .. } => figures.deadlines.increment(),
            CallError::Memory { .. } | CallError::PluginMemory { .. } => {
                figures.out_of_memory.increment()
            }
            CallError::Trap { .. } | CallError::Instance(_) => figures.traps.increment(),
            CallError::Said(_) | CallError::Nonsense(_) => figures.failures.increment(),
            CallError::Suspended => figures.suspended.increment(),
        }
        error
    }

    fn record(&self, begun: Instant) {
        let figures = &self.budget.figures;
        figures.calls.increment();
        figures.duration.record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    fn keep(warm: &mut Warm, place: usize, binding: &Arc<Binding>) {
        let configured = Configured {
            id: binding.id,
            binding: Arc::downgrade(binding),
            slots: binding.slots.copied(),
        };
        warm.store.data_mut().configured.insert(place, configured);
    }

    /// The plugin has taken this configuration before, in another instance.
    fn configure(&self, warm: &mut Warm, binding: &Binding) -> Result<(), CallError> {
        let (id, config) = (binding.id, binding.config.clone());
        let (answer,) = self.run(warm, self.limits.configure, |warm| {
            warm.functions.configure.call(&mut warm.store, (id, config))
        })?;
        answer.map_err(|errors| {
            let what = errors.first().map(|error| error.message.as_str()).unwrap_or_default();
            let label = &binding.label;
            self.failed(CallError::Nonsense(format!(
                "refuses the configuration of `{label}` that it took before: {what}"
            )))
        })
    }

    /// Releases the bindings that are gone.
    fn forget(&self, warm: &mut Warm) -> Result<(), CallError> {
        let releases = self.releases.load(Ordering::Acquire);
        if warm.released == releases {
            return Ok(());
        }
        warm.released = releases;
        let is_gone = |it: &mut Configured| it.binding.strong_count() == 0;
        let gone: Vec<Configured> =
            warm.store.data_mut().configured.extract_if(.., is_gone).collect();
        for Configured { id, .. } in gone {
            self.run(warm, self.limits.call, |warm| {
                warm.functions.release.call(&mut warm.store, (id,))
            })?;
        }
        Ok(())
    }

    fn instantiate(&self) -> Result<Warm, CallError> {
        let released = self.releases.load(Ordering::Acquire);
        let mut store =
            guest::store(self.pre.engine(), self.name.clone(), &self.budget, Waits::default());
        self.clock.run_for(self.limits.configure);
        store.set_epoch_deadline(ticks(self.limits.configure));
        let made = self.pre.instantiate(&mut store).and_then(|instance| {
            Functions::of(&self.places, instance, &mut store).map(|it| (instance, it))
        });
        match made {
            Ok((instance, functions)) => Ok(Warm { store, instance, functions, uses: 0, released }),
            Err(error) => Err(self.failed(instance_error(&store, error, self.limits.configure))),
        }
    }

    fn shelf(&self) -> &Shelf<Warm> {
        &self.shelves[thread_number() % self.shelves.len()]
    }
}

impl Warm {
    /// A function that is not called often.
    pub(crate) fn function<P, R>(
        &mut self,
        place: Place,
    ) -> wasmtime::Result<wasmtime::component::TypedFunc<P, R>>
    where
        P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
        R: wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
    {
        place.function(self.instance, &mut self.store)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("name", &self.name).field("hash", &self.hash).finish()
    }
}

/// Why an instance could not be made.
pub(crate) fn instance_error(
    store: &Store<Guest>,
    error: wasmtime::Error,
    limit: Duration,
) -> CallError {
    let refused = store.data().meter.refused();
    match error.downcast_ref::<wasmtime::Trap>() {
        None if refused.is_none() => CallError::Instance(Cause::from(error).to_string()),
        _ => call_error(&error, limit, refused),
    }
}

/// Threads are numbered in the order in which they first come here. A thread's own variable is
/// the only place that is reached without any other thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| match number.get() {
        Some(number) => number,
        None => {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(next));
            next
        }
    })
}
