//! `clock`: the time of day, and a time that never goes back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{StoreContextMut, component::Linker};

use crate::{bindings::interface, guest::Guest};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut clock = linker.instance(&interface("clock"))?;
    clock.func_wrap("unix-millis", |_: StoreContextMut<'_, Guest>, (): ()| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((u64::try_from(since.as_millis()).unwrap_or(u64::MAX),))
    })?;
    let start = Instant::now();
    clock.func_wrap("monotonic-nanos", move |_: StoreContextMut<'_, Guest>, (): ()| {
        Ok((u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })
}
