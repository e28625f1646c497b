//! Plugins that add matchers to the rule language. Asked when the configuration changes, never
//! for a request.

use std::sync::Arc;

use portolan_core::{
    port::{CallError, MatcherError, MatcherPlugin, Signature},
    rule::Predicate,
};

use super::predicate::{Fault, predicate};
use crate::{
    facets::{Compiled, Place},
    runtime::Runtime,
};

/// The matchers of one plugin.
#[derive(Debug)]
pub(crate) struct Matchers {
    runtime: Arc<Runtime>,
    compile: Place,
    signatures: Vec<Signature>,
}

impl Matchers {
    pub(crate) fn new(runtime: Arc<Runtime>, compile: Place, signatures: Vec<Signature>) -> Self {
        Self { runtime, compile, signatures }
    }

    fn ask(&self, name: &str, args: &[String]) -> Result<Predicate, MatcherError> {
        let whole = |message: String| MatcherError { arg: None, message };
        let limit = self.runtime.limits.configure;
        let answer = self.runtime.ask(limit, |warm| {
            let compile = warm.function::<(String, Vec<String>), Compiled>(self.compile)?;
            compile.call(&mut warm.store, (name.to_owned(), args.to_vec()))
        });
        let plugin = &self.runtime.name;
        match answer {
            Err(error) => Err(whole(format!("the plugin `{plugin}` {error}"))),
            Ok((Err(error),)) => Err(MatcherError {
                arg: error.arg.map(|arg| arg as usize).filter(|arg| *arg < args.len()),
                message: error.message,
            }),
            Ok((Ok(arena),)) => predicate(arena).map_err(|fault| {
                // What is wrong is what stands in the rule.
                if let Fault::Regex { value, message } = &fault
                    && let Some(arg) = args.iter().position(|arg| arg == value)
                {
                    return MatcherError { arg: Some(arg), message: message.clone() };
                }
                let error = self.runtime.failed(CallError::Nonsense(fault.into_message()));
                whole(format!("the plugin `{plugin}` {error}"))
            }),
        }
    }
}

impl MatcherPlugin for Matchers {
    fn name(&self) -> &str {
        &self.runtime.name
    }

    fn fingerprint(&self) -> &str {
        &self.runtime.hash
    }

    fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    fn compile(&self, name: &str, args: &[String]) -> Result<Predicate, MatcherError> {
        self.ask(name, args)
    }
}
