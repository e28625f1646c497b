//! HTTP: from a client's connection to a backend's and back.
//!
//! Reading order: `server` holds the entrypoints, `entrypoint` accepts, `connection` speaks the
//! protocol, `service` sees one request through, `pipeline` runs its middlewares, `forward` takes
//! it to a backend over a connection of `pool`, `rescue` turns every error into a response.
//!
//! **Invariant:** everything but `server` lives on one worker and is never shared.

mod body;
mod config;
mod connection;
mod dial;
mod edge;
mod entrypoint;
mod forward;
mod headers;
mod origin;
mod pipeline;
mod pool;
mod rescue;
mod roster;
mod server;
mod service;
mod tunnel;
mod wire;

#[cfg(test)]
mod tests;

pub use self::{
    config::{EntrypointConfig, HttpConfig},
    server::{BindError, Bound, EntrypointFigures, Server},
};
