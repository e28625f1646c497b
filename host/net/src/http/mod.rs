//! HTTP: from a client's connection to a backend's and back.
//!
//! Reading order: `server` holds the entrypoints, `entrypoint` accepts, `connection` speaks the
//! protocol, `service` sees one request through, `pipeline` runs its middlewares, `send` chooses a
//! backend and `forward` takes the request there over a connection of `pool`, `rescue` turns every
//! error into a response.
//!
//! **Invariant:** everything but `server` lives on one worker and is never shared.

mod config;
mod roster;
mod wire;
mod pool;
mod origin;
mod dial;
mod stall;
mod claim;
mod replay;
mod body;
mod headers;
mod rescue;
mod edge;
mod pipeline;
mod tunnel;
mod forward;
mod outcome;
mod mirror;
mod send;
mod service;
mod connection;
mod entrypoint;
mod worker;
mod server;

#[cfg(test)]
mod tests;

pub use self::{
    config::{EntrypointConfig, HttpConfig},
    server::{BindError, Bound, EntrypointFigures, Server},
};
