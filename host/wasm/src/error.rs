//! What can go wrong with the host and with the loading of a plugin, and how a failed call is told.

use std::{error::Error, fmt::Write as _, io, time::Duration};

use portolan_core::port::CallError;
use wasmtime::{Trap, WasmBacktrace};

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine does not run on this machine.
    #[error("start the WebAssembly engine")]
    Engine(#[source] Cause),
    /// The clock has no thread.
    #[error("start the thread that measures time for plugins")]
    Clock(#[source] io::Error),
}

/// Why a file is not used as a plugin. The one that was running keeps running.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is larger than any plugin.
    #[error("is {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most that is read.
        limit: usize,
    },
    /// It is no WebAssembly.
    #[error("is not WebAssembly: it does not start with the bytes `\\0asm`")]
    NotWasm,
    /// It is machine code, which is only ever loaded from our own cache.
    #[error("is precompiled machine code; give the `.wasm` it was made from")]
    Precompiled,
    /// It is a module that says nothing of its interfaces.
    #[error(
        "is a core module without a `component-type` section; build it with wit-bindgen, or turn \
         it into a component"
    )]
    PlainModule,
    /// It is not valid.
    #[error("is not valid WebAssembly")]
    Invalid(#[source] Cause),
    /// The module could not be made a component.
    #[error("cannot be made a component")]
    Encode(#[source] Cause),
    /// It speaks another version of our interfaces.
    #[error("speaks portolan:plugin@{found}, this host {}", crate::bindings::VERSION)]
    Version {
        /// The version it speaks.
        found: String,
    },
    /// It wants something that no host has.
    #[error("imports `{import}`, which this host does not offer{advice}")]
    UnknownImport {
        /// What it wants.
        import: String,
        /// What to do, starting with a semicolon; or nothing.
        advice: &'static str,
    },
    /// It exports nothing that we know.
    #[error("exports no `portolan:plugin/lifecycle`, so it is not a plugin")]
    NotAPlugin,
    /// It is a plugin, but of no kind.
    #[error("exports none of `provider`, `matcher-compiler`, `middleware-interest`")]
    NoKind,
    /// It exports a hook, but does not say when to call it.
    #[error("exports `{hook}` but no `middleware-interest`")]
    HookWithoutInterest {
        /// The hook.
        hook: &'static str,
    },
    /// It could keep a request waiting.
    #[error(
        "exports `{export}` and imports `{import}`, which can wait; only providers may, so make \
         it two plugins"
    )]
    MayWait {
        /// What it is called for.
        export: &'static str,
        /// What it wants.
        import: String,
    },
    /// The compiler refused it.
    #[error("cannot be compiled")]
    Compile(#[source] Cause),
    /// What it imports or exports has another shape than ours.
    #[error("does not fit the interfaces of portolan:plugin@{}", crate::bindings::VERSION)]
    Link(#[source] Cause),
    /// It failed while it described itself.
    #[error("fails in `{function}`")]
    Call {
        /// What was called.
        function: &'static str,
        /// How it failed.
        source: CallError,
    },
    /// What it says about itself makes no sense.
    #[error("describes itself badly: {0}")]
    Descriptor(String),
}

/// The text of an error that is not an [`std::error::Error`] itself, with its causes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub(crate) String);

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<wasmtime::Error> for Cause {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// How a call into a guest failed. `refused` tells that its memory was at a limit.
pub(crate) fn call_error(
    error: &wasmtime::Error,
    limit: Duration,
    refused: Option<CallError>,
) -> CallError {
    let trap = error.downcast_ref::<Trap>();
    match (refused, trap) {
        (Some(refused), _) => refused,
        (None, Some(Trap::Interrupt)) => CallError::Deadline { limit },
        (None, trap) => CallError::Trap { cause: cause(error, trap) },
    }
}

/// What happened, then the innermost functions where it did.
fn cause(error: &wasmtime::Error, trap: Option<&Trap>) -> String {
    let mut text = match trap {
        Some(Trap::UnreachableCodeReached) => "panicked, or reached `unreachable`".to_owned(),
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => root(error.root_cause()),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    for (place, frame) in frames.iter().take(MAX_FRAMES).enumerate() {
        let joint = if place == 0 { " in" } else { " <" };
        // Writing to a string cannot fail.
        _ = match frame.func_name() {
            Some(name) => write!(text, "{joint} {name}"),
            None => write!(text, "{joint} function {}", frame.func_index()),
        };
    }
    text
}

/// Wasmtime speaks of fuel where a call handed over too much, and has no type for that.
fn root(cause: &(dyn Error + 'static)) -> String {
    let text = cause.to_string();
    match text.contains("fuel allocated for hostcalls") {
        true => format!(
            "it handed over more than fits into one call ({} MiB, {} MiB for providers)",
            HOSTCALL >> 20,
            PROVIDER_HOSTCALL >> 20,
        ),
        false => text,
    }
}

/// How many bytes one call may hand over to the host.
pub(crate) const HOSTCALL: usize = 4 << 20;
/// The same of a provider, which hands over a whole catalog.
pub(crate) const PROVIDER_HOSTCALL: usize = 128 << 20;

/// More frames make a message longer, not clearer.
const MAX_FRAMES: usize = 6;
