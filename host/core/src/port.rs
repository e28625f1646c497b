//! What the host asks of plugins, as traits: this crate and the data plane know plugins only
//! through these.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    exchange::{Exchange, Reply},
    item::Step,
    middleware::Interest,
    rule::Predicate,
};

/// Why a call into a plugin gave nothing. It cost that one call; the next finds a fresh instance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallError {
    /// It ran for longer than it may.
    #[error("ran for longer than {} ms", limit.as_millis())]
    Deadline {
        /// What it may.
        limit: Duration,
    },
    /// It asked for more memory than it may.
    #[error("asked for more than {limit} bytes of memory")]
    Memory {
        /// What it may.
        limit: usize,
    },
    /// It trapped: a panic, an illegal access.
    #[error("trapped: {cause}")]
    Trap {
        /// The trap, and the innermost frames.
        cause: String,
    },
    /// It said itself that it could not do its work.
    #[error("{0}")]
    Said(String),
    /// It answered something that makes no sense.
    #[error("answered nonsense: {0}")]
    Nonsense(String),
    /// It failed so often of late that it is left alone for a while.
    #[error("is left alone after repeated failures")]
    Suspended,
    /// No instance could be had.
    #[error("no instance: {0}")]
    Instance(String),
}

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
}

/// What a request hook decides.
#[derive(Debug)]
pub enum RequestVerdict {
    /// The request goes on inwards.
    Continue {
        /// Handed to the response hook.
        context: u64,
        /// Whether the response hook is to be called.
        response: bool,
    },
    /// The request is answered now.
    Reply(Reply),
}

/// What a response hook decides.
#[derive(Debug)]
pub enum ResponseVerdict {
    /// The response goes on outwards.
    Continue,
    /// This is sent instead.
    Replace(Reply),
}

/// The hooks of one middleware. An exchange is handed over and handed back; after an error it is
/// as it was.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Called on the way in.
    fn on_request(
        &self,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<RequestVerdict, CallError>);

    /// Called on the way back.
    fn on_response(
        &self,
        context: u64,
        exchange: Box<Exchange>,
    ) -> (Box<Exchange>, Result<ResponseVerdict, CallError>);
}

/// A plugin that middlewares can be made of.
pub trait MiddlewarePlugin: Send + Sync + fmt::Debug {
    /// Its name in configurations.
    fn name(&self) -> &str;

    /// Identifies its code: a binding is made anew only when this or the configuration changes.
    fn fingerprint(&self) -> &str;

    /// Binds it to a configuration: keys in any spelling, values perhaps still text.
    /// `label` is the middleware's name, for logs and figures.
    fn bind(&self, label: &str, config: &Value) -> Result<Interest, BindError>;
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
}

/// A loaded plugin's three faces, each if it has it.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// As a source of middlewares.
    pub middleware: Option<Arc<dyn MiddlewarePlugin>>,
    /// As a source of matchers.
    pub matchers: Option<Arc<dyn MatcherPlugin>>,
}
