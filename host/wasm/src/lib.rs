//! How guests run: the plugin host. The only crate that knows wasmtime or a WIT type.
//!
//! [`Host::load`] makes a [`Plugin`] of a file's bytes; what it can do is reached through the ports
//! of `portolan-core`. [`PluginWatch`] tells which files change. Nothing here starts a task or
//! decides when to load: the control plane does.
//!
//! **Invariant:** a guest can cost its own call, and nothing else: it has a time limit, a memory
//! limit, only what was granted, and an instance that is thrown away when it fails.
//!
//! Reading order: a file names only files that stand above it.

mod outbound;
mod bindings;
mod error;
mod clock;
mod engine;
mod meter;
mod speech;
mod entropy;
mod staging;
mod guest;
mod packed;
mod imports;
mod artifact;
mod compile;
mod schema;
mod facets;
mod shelf;
mod runtime;
mod breaker;
mod kind;
mod plugin;
mod load;
mod host;
mod watch;

pub use compile::{Compiler, InProcess, MachineCode, compile};
pub use error::{Cause, HostError, LoadError};
pub use host::{Host, HostConfig};
pub use outbound::Credentials;
pub use plugin::{Grants, Loading, Plugin};
pub use watch::{Content, PluginFile, PluginWatch};
