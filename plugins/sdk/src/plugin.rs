//! What every plugin has: a name, a configuration, and a way to be made from it.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{FieldError, Pair, Want};

/// What every plugin has. A value of the type is one *binding*: one configured use of it.
///
/// The host makes as many values from one configuration as it has threads, and drops them when it
/// likes. State that must outlive a call travels with the request ([`Proceed::context`],
/// [`Request::set_attribute`]) or is a cache that may be lost.
///
/// [`Proceed::context`]: crate::Proceed::context
/// [`Request::set_attribute`]: crate::Request::set_attribute
pub trait Plugin: Sized + 'static {
    /// Its configuration. The doc comments of the fields are what the dashboard shows. With
    /// `#[serde(deny_unknown_fields, rename_all = "kebab-case")]` a misspelt key is refused with
    /// a proposal before the plugin sees it. [`NoConfig`] for a plugin that takes none.
    ///
    /// A field of a middleware with `#[schemars(extend("x-content-of" = "file"))]` is the path of a
    /// file to whoever writes the configuration, and the text that the file holds (UTF-8, up to 1
    /// MiB) to the plugin: the host reads it, if that is granted, and makes the binding anew when it
    /// changes. What is wrong with the text is a problem at the field's place (`line 3: …`); the
    /// host puts the path before it. Until it is mended, the content from before goes on. With
    /// `"file-or-pem"` a text that is PEM already is given as it is.
    type Config: DeserializeOwned + JsonSchema;

    /// Its name in configurations: `strip-prefix`. Compared without case and hyphens.
    const NAME: &'static str;

    /// One sentence for the dashboard.
    const SUMMARY: &'static str;

    /// How long its hooks may take, for a middleware whose work is long by nature, such as to check
    /// the hash of a password. They are then called on a thread that does not serve, and share
    /// instances more than others. `None`, the usual: as long as the operator lets any hook take
    /// (100 ms).
    const HOOK_TIME_LIMIT: Option<Duration> = None;

    /// The capabilities it would like: only `http-client` and `files` need to be granted.
    fn wants() -> Vec<Want> {
        Vec::new()
    }

    /// Makes a binding from its configuration, which has the right shape already.
    ///
    /// # Errors
    ///
    /// What only the plugin can know to be wrong: an address range that is none, two options that
    /// exclude each other.
    fn new(config: Self::Config) -> Result<Self, Invalid>;
}

/// The configuration of a plugin that takes none.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// What is wrong in a configuration: every problem, not the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invalid(Vec<FieldError>);

impl Invalid {
    /// One problem at a place. `path` is a JSON Pointer (RFC 6901) into the configuration
    /// (`/source-range/2`; empty for the whole), `message` one sentence in lower case without a
    /// full stop.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![FieldError { path: path.into(), message: message.into() }])
    }

    /// No problem yet: [`add`](Self::add) them, and end with [`or`](Self::or).
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds what a check of one place found, if it found something.
    pub fn check(&mut self, path: impl FnOnce() -> String, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.add(path(), message);
        }
    }

    /// Adds a problem.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { path: path.into(), message: message.into() });
    }

    /// The value if nothing was wrong.
    ///
    /// # Errors
    ///
    /// The problems, if there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// A key as a segment of a JSON Pointer.
    pub fn segment(key: &str) -> String {
        key.replace('~', "~0").replace('/', "~1")
    }

    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.0
    }
}

/// For tests: the problems as lines of `path: message`.
impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            let line_break = if place == 0 { "" } else { "\n" };
            write!(formatter, "{line_break}{}: {}", error.path, error.message)?;
        }
        Ok(())
    }
}

impl Pair {
    /// A name and a text.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl Want {
    /// A capability (`http-client` or `files`), what for (origins or folders), and why, in one
    /// sentence for the operator.
    pub fn new<S: Into<String>>(
        capability: &str,
        scope: impl IntoIterator<Item = S>,
        reason: &str,
    ) -> Self {
        let scope = scope.into_iter().map(Into::into).collect();
        Self { capability: capability.into(), scope, reason: reason.into() }
    }

    /// A capability that only some configurations need: where it was not granted, the plugin
    /// runs all the same, and what asks for it is denied.
    pub fn optional(capability: &str, reason: &str) -> Self {
        Self::new(capability, [] as [&str; 0], reason)
    }
}

/// A value as JSON text: what a plugin that answers in JSON needs, from the library that it has
/// on board anyway.
pub fn to_json(value: &impl serde::Serialize) -> String {
    // Fails for maps with keys that are no strings, and for types that refuse: not for plain data.
    serde_json::to_string(value).unwrap_or_default()
}
