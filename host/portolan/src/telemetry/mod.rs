//! What the process tells about itself.

pub(crate) mod process;

pub(crate) mod metrics;
