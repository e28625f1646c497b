//! Matchers of the rule language.

use crate::{MatcherError, Plugin, Predicate, Signature};

/// Adds functions to the rule language. They are called when the configuration changes, never for
/// a request: what they answer is run natively.
pub trait Matchers: Plugin {
    /// The functions that are added.
    fn matchers() -> Vec<Signature>;

    /// What a call such as ``Host(`grafana.local`)`` means. Pure. `name` is one of
    /// [`matchers`](Self::matchers), `args` are as many as its signature allows.
    ///
    /// # Errors
    ///
    /// Which argument is wrong, and why.
    fn compile(name: &str, args: &[String]) -> Result<Predicate, MatcherError>;
}

impl Signature {
    /// A matcher, how many arguments it takes, and one sentence for the person who writes a rule.
    pub fn new(name: &str, args: std::ops::RangeInclusive<u32>, doc: &str) -> Self {
        Self { name: name.into(), min_args: *args.start(), max_args: *args.end(), doc: doc.into() }
    }
}

impl MatcherError {
    /// The argument at this place, from 0, is wrong.
    pub fn arg(place: u32, message: impl Into<String>) -> Self {
        Self { arg: Some(place), message: message.into() }
    }

    /// The call as a whole is wrong.
    pub fn call(message: impl Into<String>) -> Self {
        Self { arg: None, message: message.into() }
    }
}
