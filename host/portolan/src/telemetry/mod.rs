//! What the process says: log lines on stderr, the greeting, and figures for Prometheus.
//!
//! **Invariant:** stdout is never written here; it belongs to the answer of a command, or to the access
//! log.

mod greeting;
mod lines;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod process;
mod subscriber;

pub(crate) use greeting::{Bound, Protocol, greeting, listening};
pub(crate) use lines::Lines;
pub(crate) use subscriber::{Format, Log, Telemetry, check_filter};
