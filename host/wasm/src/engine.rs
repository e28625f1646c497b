//! The engine that all plugins run in.
//!
//! **Invariant:** code is compiled in an engine of its own, which is dropped afterwards: one that
//! compiles keeps the compiler's memory for ever (wasmtime #14314).

use std::{num::NonZeroUsize, sync::Arc};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::{clock::Clock, error::HostError};

/// The engine, and the clock that stops those of its guests that run too long.
#[derive(Debug)]
pub(crate) struct Running {
    engine: Engine,
    clock: Arc<Clock>,
}

impl Running {
    /// Starts an engine whose instances may have up to `max_memory` bytes each.
    ///
    /// The pooling allocator reserves much address space. Where that cannot be had (a small
    /// `ulimit -v`), instances are allocated one by one: slower to make, otherwise the same.
    pub(crate) fn start(max_memory: usize) -> Result<Self, HostError> {
        let mut pooled = config();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(max_memory)));
        let engine = match Engine::new(&pooled) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::debug!(error = %format_args!("{error:#}"), "no room to pool instances");
                Engine::new(&config()).map_err(|error| HostError::Engine(error.into()))?
            }
        };
        let clock = Clock::start(&engine)?;
        Ok(Self { engine, clock })
    }

    /// The clock that guests run by.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.clock.clone()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Compiles a component for [`Running::engine`], in an engine that is then dropped.
pub(crate) fn compile(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Engine::new(&config())?.precompile_component(component)
}

/// The settings that decide what compiled code looks like: the same for compiling and running.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Without this every call makes a task: 0.8 instead of 0.3 µs (wasmtime #12836).
        .concurrency_support(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(16))
        .memory_init_cow(true);
    config
}

/// Slots cost address space, not memory; what a dropped instance leaves in its slot is bounded.
fn pooling(max_memory: usize) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(SLOTS)
        .total_core_instances(4 * SLOTS)
        .total_memories(SLOTS)
        .total_tables(2 * SLOTS)
        .total_stacks(128)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .max_core_instances_per_component(32)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_memory_size(max_memory)
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(16)
        .pagemap_scan(Enabled::Auto);
    pooling
}

/// How many instances there may be at once, of all plugins.
const SLOTS: u32 = 1000;

/// How many functions a guest may refer to indirectly.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;
