//! Log lines, under the plugin's name. The message is a fixed phrase; what varies are the fields.
//!
//! ```
//! use portolan_plugin::log;
//! log::info("account locked", &[("user", &"ada"), ("attempts", &3)]);
//! ```

use std::fmt::Display;

use crate::{Pair, bindings::imports::log};

pub use crate::bindings::imports::log::Level;

/// Every byte.
pub fn trace(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Trace, message, fields);
}

/// One request explained. Anything that is written for every request is at most this.
pub fn debug(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Debug, message, fields);
}

/// What an operator asked for has happened.
pub fn info(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Info, message, fields);
}

/// Coped with, but a person may want to know.
pub fn warn(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Warn, message, fields);
}

/// A person must act.
pub fn error(message: &str, fields: &[(&str, &dyn Display)]) {
    write(Level::Error, message, fields);
}

/// Writes a line if lines of its level are kept. Outside the host, in a test, nothing is written.
pub fn write(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    if cfg!(not(target_arch = "wasm32")) || !log::enabled(level) {
        return;
    }
    let fields: Vec<Pair> =
        fields.iter().map(|(key, value)| Pair::new(*key, value.to_string())).collect();
    log::write(level, message, &fields);
}
