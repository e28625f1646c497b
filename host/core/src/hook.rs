//! What a middleware is called for at run time: its hooks, what they decide, and why a call fails.
//!
//! **Invariant:** an exchange that is handed over is always handed back.

use std::{fmt, time::Duration};

use crate::{
    edit::Edit,
    exchange::{Exchange, Reply},
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
    /// All instances of the plugin together asked for more memory than they may.
    #[error("asked for more than the {limit} bytes of memory that all its instances may have")]
    PluginMemory {
        /// What they may.
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

/// What a request hook decides.
#[derive(Debug)]
pub enum RequestVerdict {
    /// The request goes on inwards.
    Continue {
        /// Handed to the response hook.
        context: u64,
        /// Whether the response hook is to be called.
        response: bool,
        /// What is to be changed of the response when it comes, before that.
        later: Vec<Edit>,
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
