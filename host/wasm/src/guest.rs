//! What the host keeps for one instance, and the one place where a store is made.
//!
//! **Invariant:** every store has a memory limit and a bound on what one call may hand over; its
//! clock stands at zero until a call sets it, so nothing runs without a time limit.

use std::sync::{Arc, Weak};

use http::HeaderName;
use portolan_core::{
    edit::{self, EditError},
    exchange::Exchange,
    plugin::PluginFigures,
};
use wasmtime::{Engine, Store};

use crate::{entropy::Entropy, meter::Meter, outbound::Waits, speech::Said, staging::Staged};

/// One configured use of a plugin, as all its instances know it.
#[derive(Debug)]
pub(crate) struct Binding {
    /// The number by which the guest knows it. Never used twice by one loaded plugin.
    pub(crate) id: u32,
    /// Its name, for logs.
    pub(crate) label: String,
    /// JSON that has passed the plugin's schema.
    pub(crate) config: String,
    /// The headers that the guest numbers.
    pub(crate) slots: Slots,
}

/// The headers that a guest numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(crate) request: Vec<Slot>,
    pub(crate) response: Vec<Slot>,
}

impl Slots {
    /// A copy that shares nothing: names are counted references, and threads that count the same
    /// reference wait for each other.
    pub(crate) fn copied(&self) -> Self {
        let copy = |slots: &[Slot]| slots.iter().filter_map(Slot::copied).collect();
        Self { request: copy(&self.request), response: copy(&self.response) }
    }
}

/// A header that a guest numbers.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: HeaderName,
    /// Some may be read, but not changed.
    pub(crate) is_changeable: bool,
}

impl Slot {
    /// The header of that name.
    pub(crate) fn new(name: HeaderName) -> Self {
        let is_changeable = edit::header_name(name.as_str().as_bytes()).is_ok();
        Self { name, is_changeable }
    }

    /// `None` never: what was a name once is one again.
    fn copied(&self) -> Option<Self> {
        let name = HeaderName::from_bytes(self.name.as_str().as_bytes()).ok()?;
        Some(Self { name, is_changeable: self.is_changeable })
    }

    /// Its name, for a change of it.
    pub(crate) fn changed(&self) -> Result<HeaderName, EditError> {
        if self.is_changeable { Ok(self.name.clone()) } else { Err(EditError::Forbidden) }
    }
}

/// A binding that an instance has been configured for.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) id: u32,
    pub(crate) binding: Weak<Binding>,
    /// The instance's own copy, so that threads do not share reference counts.
    pub(crate) slots: Slots,
}

/// What the host keeps for one instance.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The plugin's name.
    pub(crate) name: Arc<str>,
    pub(crate) meter: Meter,
    /// What the running call has written to the log.
    pub(crate) said: Said,
    pub(crate) entropy: Entropy,
    /// The bindings it is configured for, in order of their numbers.
    pub(crate) configured: Vec<Configured>,
    /// What the running call may wait for; a provider's only.
    pub(crate) waits: Waits,
    hook: Option<Hook>,
    pub(crate) staged: Staged,
}

/// The hook that is running.
#[derive(Debug)]
struct Hook {
    exchange: Box<Exchange>,
    /// The place of its binding in `configured`.
    binding: usize,
}

/// What a function of `http` sees while a hook runs.
pub(crate) struct View<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) staged: &'a mut Staged,
    pub(crate) slots: &'a Slots,
}

/// A function of `http` was called while no hook was running.
#[derive(Debug, thiserror::Error)]
#[error("there is no request outside of a hook")]
pub(crate) struct NoHook;

impl Guest {
    /// The data of a new instance.
    pub(crate) fn new(name: Arc<str>, meter: Meter, waits: Waits) -> Self {
        Self {
            name,
            meter,
            said: Said::default(),
            entropy: Entropy::new(),
            configured: Vec::new(),
            waits,
            hook: None,
            staged: Staged::default(),
        }
    }

    /// Forgets what the call before has been refused and has said: a new one begins.
    pub(crate) fn begin_call(&mut self) {
        self.meter.begin();
        self.said.begin();
    }

    /// Hands an exchange over for the time of a hook. `binding` is a place in `configured`.
    pub(crate) fn enter(&mut self, exchange: Box<Exchange>, binding: usize) {
        self.hook = Some(Hook { exchange, binding });
    }

    /// Takes the exchange back, with the staged changes or without them.
    pub(crate) fn leave(&mut self, commit: bool) -> Option<Box<Exchange>> {
        let mut exchange = self.hook.take()?.exchange;
        match commit {
            true => self.staged.commit(&mut exchange),
            false => self.staged.discard(),
        }
        Some(exchange)
    }

    /// The exchange and what has been done to it so far.
    pub(crate) fn view(&mut self) -> Result<View<'_>, NoHook> {
        let hook = self.hook.as_ref().ok_or(NoHook)?;
        let slots = self.configured.get(hook.binding).map(|binding| &binding.slots);
        Ok(View { exchange: &hook.exchange, staged: &mut self.staged, slots: slots.ok_or(NoHook)? })
    }
}

/// Makes meters for the instances of one plugin.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Bytes of linear memory of one instance.
    pub(crate) instance: usize,
    /// The same for all instances of the plugin.
    pub(crate) plugin: usize,
    /// Bytes that one call may hand over to the host.
    pub(crate) hostcall: usize,
    pub(crate) figures: Arc<PluginFigures>,
}

/// A store for a new instance: the only one that is made.
#[expect(clippy::disallowed_methods, reason = "this is the function to call instead")]
pub(crate) fn store(
    engine: &Engine,
    name: Arc<str>,
    budget: &Budget,
    waits: Waits,
) -> Store<Guest> {
    let meter = Meter::new(budget.instance, budget.plugin, budget.figures.clone());
    let mut store = Store::new(engine, Guest::new(name, meter, waits));
    store.limiter(|guest| &mut guest.meter);
    store.set_hostcall_fuel(budget.hostcall);
    store.set_max_component_handles(1024);
    store
}
