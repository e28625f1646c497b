//! Promises of the data plane, on real sockets.

mod support;
mod drain;
mod hygiene;
mod forwarding;
mod malformed;
mod middlewares;
mod streaming;
mod seeing;
mod tls;
