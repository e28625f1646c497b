//! Promises of the data plane, on real sockets.

mod support;
mod drain;
mod forwarding;
mod grpc;
mod malformed;
mod middlewares;
mod services;
mod streaming;
mod tls;
