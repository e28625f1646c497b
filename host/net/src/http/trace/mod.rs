//! Traces: what a request went through, span by span, for a collector of OpenTelemetry.
//!
//! The context of a trace comes in with the request and goes on to the backend (W3C Trace Context).
//! Spans are made when the request has ended, and handed over; whoever exports them sits elsewhere.
//!
//! **Invariant:** no request waits for an exporter; what it cannot take is dropped and counted. A
//! request that is not sampled has a context and nothing else.
//!
//! Reading order: `config`, `context` (the header), `span` (what is handed over), `recording` (one
//! sampled request), `finish` (its spans).

mod config;
mod context;
mod span;
mod recording;
mod finish;

#[cfg(test)]
mod tests;

pub use self::{
    config::{TraceConfig, Tracing},
    span::{FinishedSpan, SpanKind, Value},
};
pub(crate) use self::{
    context::TraceContext,
    finish::Outcome,
    recording::{Recording, Step},
};
