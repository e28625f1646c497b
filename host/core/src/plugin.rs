//! What is known of a loaded plugin: what it is, what it was given, and what it has done.

use std::sync::Arc;

use crate::figure::{Counter, Gauge, Histogram};

/// What a plugin has done. Kept over reloads of its file.
#[derive(Debug)]
pub struct PluginFigures {
    /// Calls into it.
    pub calls: Counter,
    /// How long they took.
    pub duration: Histogram,
    /// Calls that ran too long.
    pub deadlines: Counter,
    /// Calls that asked for too much memory.
    pub out_of_memory: Counter,
    /// Calls that trapped for another reason.
    pub traps: Counter,
    /// Calls that it failed itself, and answers that made no sense.
    pub failures: Counter,
    /// Calls that were not made because it failed too often of late.
    pub suspended: Counter,
    /// Instances made.
    pub instantiations: Counter,
    /// Instances alive.
    pub instances: Gauge,
    /// Bytes of linear memory of all instances alive.
    pub memory: Gauge,
}

impl Default for PluginFigures {
    fn default() -> Self {
        Self {
            calls: Counter::default(),
            duration: Histogram::starting_at(250),
            deadlines: Counter::default(),
            out_of_memory: Counter::default(),
            traps: Counter::default(),
            failures: Counter::default(),
            suspended: Counter::default(),
            instantiations: Counter::default(),
            instances: Gauge::default(),
            memory: Gauge::default(),
        }
    }
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Want {
    /// `http-client` or `files`.
    pub capability: String,
    /// Origins or folders.
    pub scope: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
}

/// What a plugin is.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    /// Its name in configurations.
    pub name: Arc<str>,
    /// The file it was read from; `embedded whoami.wasm` for those in the binary.
    pub file: String,
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// `provider`, `matcher`, `middleware`: what it exports.
    pub kinds: Vec<&'static str>,
    /// BLAKE3 of the file, in hex.
    pub hash: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// The interfaces that it imports, without package and version: `log`, `http-client`.
    pub imports: Vec<String>,
    /// The capabilities it asks for.
    pub wants: Vec<Want>,
    /// The matchers it adds.
    pub matchers: Vec<String>,
    /// JSON Schema of its configuration.
    pub schema: Option<serde_json::Value>,
}
