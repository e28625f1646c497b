//! What the process says: log lines on stderr, and the greeting.
//!
//! **Invariant:** stdout is never written here; it belongs to the answer of a command.

mod greeting;
mod subscriber;

pub(crate) use greeting::{Bound, Protocol, greeting, listening};
pub(crate) use subscriber::{Format, Log, Telemetry, check_filter};

//! What the process tells about itself.
pub(crate) mod process;
pub(crate) mod metrics;
