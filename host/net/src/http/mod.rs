//! HTTP: from a client's connection to a backend's and back.
//!
//! Reading order: `server` holds the entrypoints, `entrypoint` accepts, `connection` speaks the
//! protocol, `service` sees one request through, `pipeline` runs its middlewares (`throttle` counts,
//! `forward_auth` asks others, `recode` compresses), `choice` finds a backend, `send` says what when
//! that fails and `forward` takes the request there over a connection of `pool`, `rescue` turns every
//! error into a response; `account` notes what became of it, in figures, `access` (the access log) and
//! `trace`. How far clients may go is in `limits`; `crowd`, `roster` and `frames` see to it.
//!
//! **Invariant:** everything but `server` lives on one worker and is never shared.

mod arrived;
mod access;
mod trace;
mod limits;
mod config;
mod crowd;
mod roster;
mod frames;
mod wire;
mod pool;
mod origin;
mod dial;
mod stall;
mod claim;
mod replay;
mod encoder;
mod body;
mod headers;
mod interim;
mod forwarded;
mod page;
mod rescue;
mod complaint;
mod redirect;
mod aside;
mod edge;
mod preview;
mod account;
mod throttle;
mod recode;
mod tunnel;
mod errand;
mod outcome;
mod forward;
mod choice;
mod mirror;
mod send;
mod forward_auth;
mod pipeline;
mod service;
mod shared;
mod http1;
mod http2;
mod proxy_protocol;
mod connection;
mod spare;
mod entrypoint;
mod worker;
mod server;

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use self::headers::{Hop, clean_request, clean_response};
pub use self::{
    access::{
        AccessConfig, AccessFilters, AccessFormat, AccessLog, Capture, Field, Fields, HeaderFields,
    },
    config::{EntrypointConfig, HttpConfig, Ledger, RedirectConfig, RedirectTarget, Trust},
    limits::{ClientTimeouts, EncodedCharacter, EncodedCharacters, Http2Limits, Limits},
    preview::Preview,
    server::{BindError, Bound, EntrypointFigures, Obeyed, Server},
    trace::{FinishedSpan, SpanKind, TraceConfig, Tracing, Value},
};
