//! What is wrong with a rule, and where.

use std::ops::Range;

/// A part of the text of a rule, in bytes.
pub type Span = Range<usize>;

/// Why a rule is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleFault {
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// A string that is not ended, or has an escape that is none.
    #[error("{0}")]
    BadString(&'static str),
    /// Parentheses within parentheses within ...
    #[error("more than {limit} levels of parentheses")]
    TooDeep {
        /// How many there may be.
        limit: usize,
    },
    /// The text is too long.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// No plugin has this matcher.
    #[error("unknown matcher `{0}`")]
    UnknownMatcher(String),
    /// Too few or too many arguments.
    #[error("`{matcher}` takes {}, found {found}", arguments(*.min, *.max))]
    Arity {
        /// The matcher, as its plugin writes it.
        matcher: String,
        /// The least number of arguments.
        min: usize,
        /// The greatest number of arguments.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// An argument without text, which no matcher takes.
    #[error("the argument is empty")]
    EmptyArgument,
    /// What the matcher itself said.
    #[error("`{matcher}`: {message}")]
    Matcher {
        /// The matcher, as its plugin writes it.
        matcher: String,
        /// One sentence in lower case, without a full stop.
        message: String,
    },
}

/// Why a rule is refused, where, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct RuleError {
    /// The place, in bytes of the rule's text.
    pub span: Span,
    /// What is wrong there.
    pub fault: RuleFault,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl RuleError {
    pub(crate) fn new(span: Span, fault: RuleFault) -> Self {
        Self { span, fault, hint: None }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Two lines: the line of the rule that holds the place, and carets under the place.
    pub fn caret(&self, rule: &str) -> String {
        let start = rule.floor_char_boundary(self.span.start.min(rule.len()));
        let (before, after) = rule.split_at_checked(start).unwrap_or((rule, ""));
        let line_before = before.rsplit('\n').next().unwrap_or_default();
        let line_after = after.split('\n').next().unwrap_or_default();
        let end = rule.ceil_char_boundary(self.span.end.min(rule.len()));
        let marked = after.get(..end.saturating_sub(start)).unwrap_or(line_after);
        let marked = marked.split('\n').next().unwrap_or_default();
        // A tab stays a tab, so that the carets stand where they should however wide it is.
        let indent: String =
            line_before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(marked.chars().count().max(1));
        format!("{line_before}{line_after}\n{indent}{carets}")
    }
}

fn arguments(min: usize, max: usize) -> String {
    let plural = |count| if count == 1 { "argument" } else { "arguments" };
    match (min, max) {
        (min, max) if min == max => format!("{min} {}", plural(min)),
        (min, usize::MAX) => format!("{min} or more arguments"),
        (min, max) if max == min + 1 => format!("{min} or {max} arguments"),
        (min, max) => format!("{min} to {max} arguments"),
    }
}
