//! Promises of the data plane, on real sockets.

mod support;
mod raw;
mod compress;
mod drain;
mod early;
mod hygiene;
mod http2;
mod frames;
mod limits;
mod forward_auth;
mod forwarding;
mod grpc;
mod goodbye;
mod malformed;
mod middlewares;
mod resets;
mod services;
mod streaming;
mod seeing;
mod spans;
mod throttle;
mod tls;
mod upload;
mod upstream;
