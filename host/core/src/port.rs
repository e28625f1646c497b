//! What the host asks of plugins, as traits: this crate and the data plane know plugins only
//! through these.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde_json::Value;

pub use crate::hook::{CallError, Hooks, RequestVerdict, ResponseVerdict};
use crate::{
    item::{Found, Step, Wanted},
    middleware::Interest,
    rule::Predicate,
};

/// Something wrong in the configuration of a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// JSON Pointer into the configuration.
    pub path: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// Why a plugin cannot be used with a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BindError {
    /// The configuration is wrong, at these places.
    Config(Vec<FieldError>),
    /// The plugin failed while it read the configuration.
    Call(CallError),
    /// The plugin asks for something that was not granted, or is not that kind of plugin.
    Refused(String),
    /// It was not asked, since it had just run into its time limit for this other middleware.
    NotAsked(String),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(fields) => {
                for (place, field) in fields.iter().enumerate() {
                    let comma = if place > 0 { "; " } else { "" };
                    write!(f, "{comma}{}: {}", field.path, field.message)?;
                    if let Some(hint) = &field.hint {
                        write!(f, " ({hint})")?;
                    }
                }
                Ok(())
            }
            Self::Call(error) => write!(f, "the plugin {error}"),
            Self::Refused(reason) => f.write_str(reason),
            Self::NotAsked(other) => {
                write!(f, "took too long for `{other}`, so it was not asked for this one yet")
            }
        }
    }
}

/// A place in a configuration where a plugin is given the content of a file instead of its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileField {
    /// JSON Pointer into the configuration.
    pub path: String,
    /// The path of the file, as it was written.
    pub file: String,
}

/// Which file is asked for, and for whom.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FileAsk {
    /// Who declares the middleware.
    pub provider: Arc<str>,
    /// The plugin that is given the content.
    pub plugin: Arc<str>,
    /// The path of the file, as it was written.
    pub file: String,
}

/// Why the content of a file is not to be had: the end of a sentence that begins with its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileFault {
    /// It was not granted; what it held before is not used either.
    Denied {
        /// `is not granted to …`
        message: String,
        /// What to write so that it is.
        hint: String,
    },
    /// It is not there, or is not what can be used.
    Unreadable(String),
}

/// Files whose content goes into configurations of middlewares.
pub trait Files: Send + Sync + fmt::Debug {
    /// What a file holds. What was asked for once is answered the same again: where a file is
    /// different now, or what is granted, others take the place of these.
    fn content(&self, ask: &FileAsk) -> Result<Arc<str>, FileFault>;
}

/// A plugin that middlewares can be made of.
pub trait MiddlewarePlugin: Send + Sync + fmt::Debug {
    /// Its name in configurations.
    fn name(&self) -> &str;

    /// Identifies its code: a binding is made anew only when this or the configuration changes.
    fn fingerprint(&self) -> &str;

    /// The files that a configuration names and whose content the plugin wants.
    fn files(&self, config: &Value) -> Vec<FileField> {
        let _ = config;
        Vec::new()
    }

    /// Binds it to a configuration: keys in any spelling, values perhaps still text.
    /// `label` is the middleware's name, for logs and figures; `contents` are those of
    /// [`files`](Self::files), in the same order; `limit` is how long one hook may
    /// take, if not as long as those of this plugin usually may.
    fn bind(
        &self,
        label: &str,
        config: &Value,
        contents: &[Arc<str>],
        limit: Option<Duration>,
    ) -> Result<Interest, BindError>;

    /// A configuration as Traefik's API would write it: options in camel case, values with their
    /// types. What is not known of is as it was written.
    fn shown(&self, config: &Value) -> Value {
        config.clone()
    }
}

/// One matcher that a plugin adds to the rule language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    /// `Host`, `PathPrefix`, ...
    pub name: String,
    /// The least number of arguments.
    pub min_args: usize,
    /// The greatest number of arguments.
    pub max_args: usize,
    /// One sentence for the person who writes a rule.
    pub doc: String,
}

/// Why a matcher refuses its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatcherError {
    /// Which argument, from 0; `None`: the call as a whole.
    pub arg: Option<usize>,
    /// One sentence in lower case, without a full stop.
    pub message: String,
}

/// A plugin that adds matchers to the rule language.
pub trait MatcherPlugin: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> &str;

    /// Identifies its code: what it compiled stays good until this changes.
    fn fingerprint(&self) -> &str;

    /// The matchers that it adds.
    fn signatures(&self) -> &[Signature];

    /// What a call means. The answer has been checked: values compile, sizes are in bounds.
    fn compile(&self, name: &str, args: &[String]) -> Result<Predicate, MatcherError>;
}

/// Why a provider has no step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PollError {
    /// The source does not answer: back off and call again.
    Temporary(String),
    /// No use in calling again before the configuration changes.
    Permanent(String),
    /// The cursor is no longer good: call again without one.
    Resync(String),
    /// The call failed: back off and call again.
    Call(CallError),
}

/// A future that a port answers with.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A catalog provider, bound to its configuration and grants.
pub trait Provider: Send + Sync + fmt::Debug {
    /// One step: may wait up to `wait` for news. Dropping the future ends the call.
    fn poll<'a>(
        &'a self,
        cursor: Option<&'a [u8]>,
        wait: Duration,
    ) -> PortFuture<'a, Result<Step, PollError>>;

    /// Whether it looks up what it does not report.
    fn looks_up(&self) -> bool {
        false
    }

    /// Looks up what somebody asks for; `None`: there is no such thing. Dropping the future ends
    /// the call.
    fn find<'a>(&'a self, wanted: &'a Wanted) -> PortFuture<'a, Result<Option<Found>, PollError>> {
        let _ = wanted;
        Box::pin(async { Ok(None) })
    }
}

/// A loaded plugin's three faces, each if it has it.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// As a source of middlewares.
    pub middleware: Option<Arc<dyn MiddlewarePlugin>>,
    /// As a source of matchers.
    pub matchers: Option<Arc<dyn MatcherPlugin>>,
}
