//! What must hold for any packet of a client, and for any answer of an upstream.

mod answers;
mod questions;
mod world;

pub use self::{answers::upstream_answer, questions::Questions};
