//! Something wrong that did not stop us.

use std::{error::Error, fmt};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Something that was asked for is not there.
    Error,
    /// Everything asked for is there, but perhaps not as it was meant.
    Warning,
}

/// Something wrong that did not stop us: a bad tag, a rule that does not parse, a plugin that
/// does not load. It is shown on the dashboard until its cause is gone.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it comes from: a provider, a plugin, `config`, `dns`.
    pub source: String,
    /// The place within the source: a file, an instance with its tag, a table.
    pub origin: String,
    /// JSON Pointer into the origin's configuration, where that is more exact; else empty.
    pub path: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
    /// What to do about it, or what was probably meant.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem because of which something that was asked for is not there.
    pub fn error(
        source: impl Into<String>,
        origin: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            source: source.into(),
            origin: origin.into(),
            path: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// A problem in spite of which everything that was asked for is there.
    pub fn warning(
        source: impl Into<String>,
        origin: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(source, origin, message) }
    }

    /// The same, at a JSON Pointer within its origin.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with "did you mean …" if there is a candidate.
    #[must_use]
    pub fn did_you_mean(mut self, candidate: Option<&str>) -> Self {
        self.hint = candidate.map(|candidate| format!("did you mean `{candidate}`?"));
        self
    }
}

/// Prints an error with its causes, joined by `: `. The one place where a chain becomes text.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
