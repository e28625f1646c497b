//! `entropy`: random bytes fit for keys.

use wasmtime::{StoreContextMut, component::Linker};

use crate::{bindings::interface, guest::Guest};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut entropy = linker.instance(&interface("entropy"))?;
    entropy.func_wrap("next-u64", |mut store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((store.data_mut().entropy.next()?,))
    })?;
    entropy.func_wrap("fill", |store: StoreContextMut<'_, Guest>, (len,): (u32,)| {
        if len > MAX_FILL {
            return Err(wasmtime::Error::msg(format!("asked for {len} random bytes at once")));
        }
        let mut bytes = vec![0; len as usize];
        store.data().entropy.fill(&mut bytes)?;
        Ok((bytes,))
    })
}

/// As `imports.wit` says.
const MAX_FILL: u32 = 4096;
