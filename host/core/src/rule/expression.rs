//! A rule as it was read: matchers, joined by operators, each with its place in the text.

use std::{fmt, sync::Arc};

use super::error::Span;

/// A rule that was read. Two rules are equal when their texts are.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) text: Arc<str>,
    pub(super) expression: Expression,
}

/// Matchers, joined by operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expression {
    /// `a && b && c`: two or more.
    All(Vec<Self>),
    /// `a || b || c`: two or more.
    Any(Vec<Self>),
    /// `!a`
    Not(Box<Self>),
    /// ``Host(`a.local`)``
    Call(Call),
}

/// A matcher and its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The matcher, as written.
    pub name: String,
    /// The place of the name.
    pub name_span: Span,
    /// The arguments, in order.
    pub args: Vec<Argument>,
    /// The place of the whole, from the name to the closing parenthesis.
    pub span: Span,
}

/// An argument of a matcher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Argument {
    /// What it says, without quotes and escapes.
    pub value: String,
    /// The place, with quotes.
    pub span: Span,
}

impl Rule {
    /// The rule as it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What it says.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Whether it calls a matcher, in any spelling.
    pub fn calls(&self, matcher: &str) -> bool {
        self.expression.calls(matcher)
    }

    /// The priority of a router that does not give one: the length of the text in bytes, as in
    /// Traefik.
    pub fn default_priority(&self) -> i64 {
        i64::try_from(self.text.len()).unwrap_or(i64::MAX)
    }
}

impl Expression {
    fn calls(&self, matcher: &str) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.calls(matcher)),
            Self::Not(inner) => inner.calls(matcher),
            Self::Call(call) => call.name.eq_ignore_ascii_case(matcher),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rule {}
