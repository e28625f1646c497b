//! The rule language: text to expression to predicate to an answer.
//!
//! [`Rule::parse`] reads the text; `matcher` asks plugins what its calls mean; what comes out is a
//! [`Predicate`], which is evaluated natively and indexed by [`Hosts`] and [`Paths`].

mod error;
mod expression;
mod lex;
mod go;
mod template;
mod parse;
mod address;
mod client;
mod field;
mod check;
mod predicate;
mod evaluate;
mod index;
mod words;
mod vain;

pub use address::{forwarded_address, network};
pub(crate) use check::regex;
pub use client::ClientStrategy;
pub use error::{RuleError, RuleFault, Span};
pub(crate) use evaluate::Facts;
pub use expression::{Argument, Call, Expression, Rule};
pub use field::{Field, Op};
pub(crate) use go::GoRegex;
pub(crate) use index::Methods;
pub use index::{Demand, HostPattern, Hosts, PathPattern, Paths};
pub use predicate::{Predicate, Test};
pub(crate) use template::Whole;
pub(crate) use vain::Vain;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod predicate_tests;
