//! `log`: lines under the plugin's name.

use std::fmt;

use tracing::Level;
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings::{interface, log as wit, types::Pair},
    guest::Guest,
    speech::Admitted,
};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut log = linker.instance(&interface("log"))?;
    log.func_wrap("enabled", |_: StoreContextMut<'_, Guest>, (level,): (wit::Level,)| {
        Ok((enabled(level),))
    })?;
    log.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, line: (wit::Level, String, Vec<Pair>)| {
            let (level, message, fields) = line;
            if !enabled(level) {
                return Ok(());
            }
            let guest = store.data_mut();
            match guest.said.admit(message.len().min(MAX_TEXT) + length(&fields)) {
                Admitted::Yes => write(&guest.name, level, &message, &Fields(&fields)),
                Admitted::Last => {
                    let more = "it says more in one call than is written; the rest is left out";
                    write(&guest.name, wit::Level::Warn, more, &Fields(&[]));
                }
                Admitted::No => (),
            }
            Ok(())
        },
    )
}

fn enabled(level: wit::Level) -> bool {
    match level {
        wit::Level::Trace => tracing::enabled!(Level::TRACE),
        wit::Level::Debug => tracing::enabled!(Level::DEBUG),
        wit::Level::Info => tracing::enabled!(Level::INFO),
        wit::Level::Warn => tracing::enabled!(Level::WARN),
        wit::Level::Error => tracing::enabled!(Level::ERROR),
    }
}

/// The level of a line is part of its static description, hence one macro for each.
fn write(plugin: &str, level: wit::Level, message: &str, fields: &Fields<'_>) {
    let message = cut(message);
    match level {
        wit::Level::Trace => tracing::trace!(plugin.name = plugin, %fields, "{message}"),
        wit::Level::Debug => tracing::debug!(plugin.name = plugin, %fields, "{message}"),
        wit::Level::Info => tracing::info!(plugin.name = plugin, %fields, "{message}"),
        wit::Level::Warn => tracing::warn!(plugin.name = plugin, %fields, "{message}"),
        wit::Level::Error => tracing::error!(plugin.name = plugin, %fields, "{message}"),
    }
}

fn length(fields: &[Pair]) -> usize {
    let cut = |text: &String| text.len().min(MAX_TEXT);
    fields.iter().take(MAX_FIELDS).map(|pair| cut(&pair.key) + cut(&pair.value)).sum()
}

/// What a guest says beyond this is not read by anybody.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_TEXT);
    text.get(..end).unwrap_or(text)
}

/// The facts of a line, as `key=value`.
struct Fields<'a>(&'a [Pair]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pair) in self.0.iter().take(MAX_FIELDS).enumerate() {
            let joint = if place == 0 { "" } else { " " };
            write!(f, "{joint}{}={:?}", cut(&pair.key), cut(&pair.value))?;
        }
        Ok(())
    }
}

const MAX_TEXT: usize = 4096;

const MAX_FIELDS: usize = 32;
