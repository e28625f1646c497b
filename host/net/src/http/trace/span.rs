//! What is handed over to an exporter: spans as OpenTelemetry has them.
//!
//! **Invariant:** nothing here refers to the request any more.

use std::borrow::Cow;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSpan {
    /// The trace that it belongs to.
    pub trace: u128,
    /// Its id.
    pub id: u64,
    /// The span that it is a part of; `None`: it is the first of its trace.
    pub parent: Option<u64>,
    /// The flags of the trace (W3C Trace Context).
    pub flags: u8,
    /// What other tracing systems said (`tracestate`).
    pub state: String,
    /// What it is called.
    pub name: String,
    /// Whose part it is.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// What is known of it, by the names of OpenTelemetry's conventions.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Whose part of a trace a span is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpanKind {
    /// Within Portolan.
    Internal,
    /// Portolan as the one who is asked.
    Server,
    /// Portolan as the one who asks.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Texts, such as the lines of a header.
    Texts(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
