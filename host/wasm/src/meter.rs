//! How much memory an instance and its plugin may have, and how much they have.
//!
//! **Invariant:** what a meter added to the plugin's figures it takes away again when it is
//! dropped, so the figures are those of the instances that live.

use std::sync::Arc;

use portolan_core::plugin::PluginFigures;
use wasmtime::ResourceLimiter;

use crate::engine::MAX_TABLE_ELEMENTS;

/// Measures one instance. Wasmtime's own limits are per memory, not per plugin.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    plugin_limit: u64,
    held: usize,
    /// The growth that was allowed last, in case it then fails.
    pending: usize,
    refused: bool,
    figures: Arc<PluginFigures>,
}

impl Meter {
    /// A meter for a new instance: it may hold `limit` bytes, and all of its plugin together
    /// `plugin_limit`.
    pub(crate) fn new(limit: usize, plugin_limit: usize, figures: Arc<PluginFigures>) -> Self {
        figures.instantiations.increment();
        figures.instances.increment();
        let plugin_limit = plugin_limit as u64;
        Self { limit, plugin_limit, held: 0, pending: 0, refused: false, figures }
    }

    /// How many bytes of linear memory the instance has.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Forgets that memory was refused: a new call begins.
    pub(crate) fn begin(&mut self) {
        self.refused = false;
    }

    /// The limit, if memory was refused since the call began.
    pub(crate) fn refused(&self) -> Option<usize> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.figures.memory.value().saturating_add(growth as u64);
        if self.held.saturating_add(growth) > self.limit || total > self.plugin_limit {
            self.refused = true;
            self.pending = 0;
            return Ok(false);
        }
        self.held += growth;
        self.pending = growth;
        self.figures.memory.add(growth as u64);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.pending);
        self.held -= growth;
        self.figures.memory.subtract(growth as u64);
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.figures.memory.subtract(self.held as u64);
        self.figures.instances.decrement();
    }
}
