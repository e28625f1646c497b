//! How much memory an instance and its plugin may have, and how much they have.
//!
//! **Invariant:** what a meter added to the plugin's figures it takes away again when it is
//! dropped, so the figures are those of the instances that live.

use std::sync::Arc;

use portolan_core::{plugin::PluginFigures, port::CallError};
use wasmtime::ResourceLimiter;

use crate::engine::MAX_TABLE_ELEMENTS;

/// Measures one instance. Wasmtime's own limits are per memory, not per plugin.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    plugin_limit: usize,
    held: usize,
    /// The growth that was allowed last, in case it then fails.
    pending: usize,
    refused: Option<CallError>,
    figures: Arc<PluginFigures>,
}

impl Meter {
    /// A meter for a new instance: it may hold `limit` bytes, and all of its plugin together
    /// `plugin_limit`.
    pub(crate) fn new(limit: usize, plugin_limit: usize, figures: Arc<PluginFigures>) -> Self {
        figures.instantiations.increment();
        figures.instances.increment();
        Self { limit, plugin_limit, held: 0, pending: 0, refused: None, figures }
    }

    /// How many bytes of linear memory the instance has.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Forgets that memory was refused: a new call begins.
    pub(crate) fn begin(&mut self) {
        self.refused = None;
    }

    /// What the instance asked for in vain, if memory was refused since the call began.
    pub(crate) fn refused(&self) -> Option<CallError> {
        self.refused.clone()
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
        let (limit, plugin_limit) = (self.limit, self.plugin_limit);
        let refused = match self.held.saturating_add(growth) > limit {
            true => Some(CallError::Memory { limit }),
            false if total > plugin_limit as u64 => {
                Some(CallError::PluginMemory { limit: plugin_limit })
            }
            false => None,
        };
        if refused.is_some() {
            (self.refused, self.pending) = (refused, 0);
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
        self.refused = Some(CallError::Memory { limit: self.limit });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_was_reached_is_told() {
        let figures = Arc::<PluginFigures>::default();
        let mut meters = [0; 3].map(|_| Meter::new(100, 250, figures.clone()));
        let mut grow = |meter: usize, by: usize| {
            let meter: &mut Meter = &mut meters[meter];
            let allowed = meter.memory_growing(meter.held, meter.held + by, None);
            (allowed.expect("an answer"), meter.refused())
        };
        assert_eq!(grow(0, 100), (true, None));
        assert_eq!(grow(1, 101), (false, Some(CallError::Memory { limit: 100 })));
        assert!(grow(1, 100).0);
        assert_eq!(grow(2, 51), (false, Some(CallError::PluginMemory { limit: 250 })));
        assert_eq!(figures.memory.value(), 200);
    }
}
