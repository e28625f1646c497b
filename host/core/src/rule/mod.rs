//! The rule language: text to expression to predicate to an answer.

pub mod predicate;

pub use predicate::{Field, Op, Predicate, Test};
