//! What a guest may ask of us, one file for each interface.
//!
//! **Invariant:** what is always there cannot wait; what can wait is linked for a provider only,
//! and only if it was granted.

mod clock;
mod entropy;
mod files;
mod http;
mod http_client;
mod log;
mod timer;

use wasmtime::{
    Engine,
    component::{HasSelf, Linker, ResourceType},
};

use crate::{
    bindings::{self, interface},
    guest::Guest,
    outbound::{Pending, Waits},
};

/// The interfaces that every plugin may import.
pub(crate) const QUICK: [&str; 7] =
    ["types", "catalog", "predicate", "log", "clock", "entropy", "http"];

/// The interfaces that can wait.
pub(crate) const WAITING: [&str; 3] = ["timer", "http-client", "files"];

/// A linker with everything that is always there.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    // Interfaces of types only still have to be there.
    linker.instance(&interface("types"))?;
    linker.instance(&interface("catalog"))?;
    linker.instance(&interface("predicate"))?;
    log::link(&mut linker)?;
    clock::link(&mut linker)?;
    entropy::link(&mut linker)?;
    http::link(&mut linker)?;
    Ok(linker)
}

/// The same, with everything that can wait in a form that does not: it traps. For instances that
/// describe a plugin and judge configurations.
pub(crate) fn closed(linker: &Linker<Guest>) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = linker.clone();
    for (name, functions) in CLOSED {
        let mut instance = linker.instance(&interface(name))?;
        if name == "http-client" {
            instance.resource("pending", ResourceType::host::<Pending>(), |_, _| Ok(()))?;
        }
        for function in functions {
            instance.func_new(function, move |_, _, _, _| {
                Err(wasmtime::Error::msg(format!("`{name}.{function}` is for `poll` only")))
            })?;
        }
    }
    Ok(linker)
}

/// What the interfaces that can wait consist of.
const CLOSED: [(&str, &[&str]); 3] = [
    ("timer", &["sleep"]),
    ("http-client", &["send", "start", "wait-any", "[method]pending.take"]),
    ("files", &["list", "read", "wait"]),
];

/// Adds one of the interfaces that can wait.
pub(crate) fn link_waiting(linker: &mut Linker<Guest>, interface: &str) -> wasmtime::Result<()> {
    type Own = HasSelf<Waits>;
    match interface {
        "http-client" => {
            bindings::http_client::add_to_linker::<_, Own>(linker, |guest| &mut guest.waits)
        }
        "files" => bindings::files::add_to_linker::<_, Own>(linker, |guest| &mut guest.waits),
        _ => bindings::timer::add_to_linker::<_, Own>(linker, |guest| &mut guest.waits),
    }
}
