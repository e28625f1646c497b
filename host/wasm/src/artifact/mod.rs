//! The bytes of a file → a component that may be compiled, and what it imports and exports.
//!
//! **Invariant:** nothing is compiled that was not validated, and whatever the bytes are, the
//! answer is a component or a sentence.

mod cache;
mod surface;

use std::{borrow::Cow, panic::AssertUnwindSafe};

use wasmparser::{Parser, Payload, Validator};

pub(crate) use self::{
    cache::{Cache, Said, SignatureCard, WantCard},
    surface::Surface,
};
use crate::error::{Cause, LoadError};

/// A valid component, made from a module where the file is one that says how.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(LoadError::Precompiled);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    guarded(|| validate(bytes)).map_err(LoadError::Invalid)?;
    if Parser::is_component(bytes) {
        return Ok(bytes.into());
    }
    if !has_component_type(bytes) {
        return Err(LoadError::PlainModule);
    }
    let component = guarded(|| encode(bytes)).map_err(LoadError::Encode)?;
    Ok(component.into())
}

/// Runs a tool on foreign bytes. The tools are written for bytes of good will: a panic in one of
/// them is the fault of the bytes, and must not be more than that.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, Cause> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Cause),
        Err(_) => Err(Cause("it breaks the tools that read it".to_owned())),
    }
}

fn validate(bytes: &[u8]) -> Result<(), String> {
    Validator::new().validate_all(bytes).map(drop).map_err(|error| error.to_string())
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Whether a module carries what wit-bindgen leaves behind: the description of its interfaces.
fn has_component_type(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).flatten().any(|payload| {
        matches!(payload, Payload::CustomSection(section)
            if section.name().starts_with("component-type"))
    })
}

#[cfg(test)]
mod tests;
