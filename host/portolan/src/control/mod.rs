//! The control plane: one loop that changes what is served.

pub(crate) mod board;
