//! A file's bytes → a plugin: read, checked, compiled or found in the cache, described.
//!
//! **Invariant:** a plugin is made whole or not at all; until it is, nothing of it is in use.

use std::{sync::mpsc, time::Duration};

use portolan_core::{name::fold, port::Signature};
use wasmtime::{Engine, component::Component};

use crate::{
    artifact::{self, Cache, Said, SignatureCard, Surface, WantCard},
    bindings::{lifecycle::Descriptor, matcher_compiler as matcher, types::Pair},
    compile::{Compiler, MachineCode},
    error::LoadError,
    facets::{self, Place},
    runtime::{Lane, Runtime},
    schema::Schema,
};

/// Code that runs in our engine, and what is known of it.
pub(crate) struct Code {
    pub(crate) component: Component,
    pub(crate) surface: Surface,
    /// Known from the cache; else it is still to be asked.
    pub(crate) said: Option<Said>,
}

/// Finds the code of a file in the cache.
pub(crate) fn cached(cache: &Cache, engine: &Engine, hash: &str) -> Option<Code> {
    let entry = cache.find(hash)?;
    match map(engine, &entry.code) {
        Ok(component) => {
            Some(Code { component, surface: entry.card.surface, said: Some(entry.card.said) })
        }
        Err(error) => {
            tracing::debug!(error = %format_args!("{error:#}"), "compiled code not used");
            None
        }
    }
}

/// Makes code of a file, and keeps it in the cache if there is one.
pub(crate) fn compiled(
    cache: Option<&Cache>,
    engine: &Engine,
    compiler: &dyn Compiler,
    (file, hash): (&str, &str),
    bytes: &[u8],
) -> Result<Code, LoadError> {
    let component = artifact::component(bytes)?;
    let surface = artifact::guarded(|| Surface::read(&component)).map_err(LoadError::Invalid)?;
    surface.check()?;
    let code = told(file, || compiler.compile(&component)).map_err(LoadError::Compile)?;
    let kept = cache.and_then(|cache| match cache.keep_code(hash, code.as_bytes()) {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::warn!(%error, "compiled code not kept");
            None
        }
    });
    let component = match kept {
        Some(path) => map(engine, &path),
        None => unmapped(engine, &code),
    };
    let component = component.map_err(|error| LoadError::Compile(error.into()))?;
    Ok(Code { component, surface, said: None })
}

/// Asks a plugin what it is, in an instance that can reach nothing.
pub(crate) fn ask(runtime: &Runtime) -> Result<Said, LoadError> {
    let mut warm = runtime.take(Lane::Serving).map_err(failed("instantiation"))?;
    facets::check_seldom(&runtime.places, warm.instance, &mut warm.store)
        .map_err(|error| LoadError::Link(error.into()))?;
    let describe = runtime.places.describe;
    let (descriptor,) = runtime
        .run(&mut warm, DESCRIBE, |warm| {
            let describe = warm.function::<(), (Descriptor,)>(describe)?;
            describe.call(&mut warm.store, ())
        })
        .map_err(failed("describe"))?;
    let matchers = match runtime.places.matchers {
        None => Vec::new(),
        Some((place, _)) => signatures(runtime, place)?,
    };
    let want = |want: crate::bindings::lifecycle::Want| WantCard {
        capability: want.capability,
        scope: want.scope,
        reason: want.reason,
    };
    Ok(Said {
        name: descriptor.name,
        version: descriptor.version,
        summary: descriptor.summary,
        schema: descriptor.config_schema,
        wants: descriptor.wants.into_iter().map(want).collect(),
        matchers,
        hook_limit: hook_limit(&descriptor.extra)?,
    })
}

/// Judges what a plugin says about itself. Its schema comes out read.
pub(crate) fn judge(said: &Said) -> Result<Option<Schema>, LoadError> {
    let bad = |text: String| Err(LoadError::Descriptor(text));
    let is_word = |text: &str| {
        !text.is_empty()
            && text.len() <= MAX_NAME
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !is_word(&said.name) || fold(&said.name).is_empty() {
        return bad(format!(
            "its name is `{}`, but may have letters, digits and hyphens only",
            said.name.escape_debug()
        ));
    }
    let mut names: Vec<String> = Vec::new();
    for matcher in &said.matchers {
        let starts_well = matcher.name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !is_word(&matcher.name) || !starts_well || matcher.name.contains('-') {
            return bad(format!("`{}` is not the name of a matcher", matcher.name.escape_debug()));
        }
        let name = matcher.name.to_ascii_lowercase();
        if names.contains(&name) {
            return bad(format!("it has two matchers `{}`", matcher.name));
        }
        if matcher.min_args > matcher.max_args {
            return bad(format!("the matcher `{}` takes no number of arguments", matcher.name));
        }
        names.push(name);
    }
    match said.schema.as_deref().map(Schema::parse).transpose() {
        Ok(schema) => Ok(schema),
        Err(error) => bad(format!("its `config-schema`: {error}")),
    }
}

/// Its matchers, as core knows them.
pub(crate) fn signatures_of(said: &Said) -> Vec<Signature> {
    let signature = |card: &SignatureCard| Signature {
        name: card.name.clone(),
        min_args: card.min_args as usize,
        max_args: card.max_args as usize,
        doc: card.doc.clone(),
    };
    said.matchers.iter().map(signature).collect()
}

/// How long its hooks may take, in milliseconds, if it says so.
fn hook_limit(extra: &[Pair]) -> Result<Option<u64>, LoadError> {
    let Some(pair) = extra.iter().find(|pair| pair.key == HOOK_LIMIT) else { return Ok(None) };
    match pair.value.parse() {
        Ok(millis @ 1..=MAX_HOOK_LIMIT) => Ok(Some(millis)),
        _ => Err(LoadError::Descriptor(format!(
            "its `{HOOK_LIMIT}` is `{}`, but may be 1 to {MAX_HOOK_LIMIT} milliseconds",
            pair.value.escape_debug()
        ))),
    }
}

fn signatures(runtime: &Runtime, place: Place) -> Result<Vec<SignatureCard>, LoadError> {
    let (signatures,) = runtime
        .ask(DESCRIBE, |warm| {
            let matchers = warm.function::<(), (Vec<matcher::Signature>,)>(place)?;
            matchers.call(&mut warm.store, ())
        })
        .map_err(failed("matchers"))?;
    let card = |it: matcher::Signature| SignatureCard {
        name: it.name,
        min_args: it.min_args,
        max_args: it.max_args,
        doc: it.doc,
    };
    Ok(signatures.into_iter().map(card).collect())
}

fn failed(function: &'static str) -> impl Fn(portolan_core::port::CallError) -> LoadError {
    move |source| LoadError::Call { function, source }
}

/// Does what may take long, and says so if it does.
fn told<T>(file: &str, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || {
            if waiting.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::info!(plugin.file = file, "compiling");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Maps compiled code from a file of our cache.
#[expect(unsafe_code, reason = "loading machine code is what a cache of it is for")]
fn map(engine: &Engine, path: &std::path::Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this program for this engine: either just now, or it bears
    // a keyed hash that only this user can make (`artifact::Cache`). It is in a directory that
    // only this user can enter, and files in it are replaced, never written again.
    unsafe { Component::deserialize_file(engine, path) }
}

/// Loads code that was compiled just now.
#[expect(unsafe_code, reason = "loading machine code is what compiling is for")]
fn unmapped(engine: &Engine, code: &MachineCode) -> wasmtime::Result<Component> {
    // SAFETY: these bytes come from our own compiler, or somebody vouches for that.
    unsafe { Component::deserialize(engine, code.as_bytes()) }
}

/// What `describe` may take. It is pure, and says what is written in the file.
const DESCRIBE: Duration = Duration::from_millis(100);

/// Compiling takes about a second per megabyte; who waits longer wants to know why.
const LONG: Duration = Duration::from_secs(1);

/// As `types.wit` says.
const HOOK_LIMIT: &str = "hook-time-limit-ms";
const MAX_HOOK_LIMIT: u64 = 60_000;

const MAX_NAME: usize = 64;
