//! Plugins that middlewares are made of.
//!
//! **Invariant:** a configuration that is bound has passed the plugin's schema and the plugin.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_core::{
    middleware::Interest,
    pattern::BadOption,
    port::{BindError, CallError, FieldError, FileField, MiddlewarePlugin},
};
use serde_json::Value;

use super::{
    field_errors,
    hook::Bound,
    interest::{Refusal, interest},
};
use crate::{
    bindings::middleware_interest as wit,
    facets::Place,
    guest::Binding,
    runtime::{Lane, Runtime, Warm},
    schema::Schema,
};

/// A plugin that middlewares can be made of.
#[derive(Debug)]
pub(crate) struct Middlewares {
    runtime: Arc<Runtime>,
    declare: Place,
    schema: Option<Arc<Schema>>,
}

impl Middlewares {
    pub(crate) fn new(runtime: Arc<Runtime>, declare: Place, schema: Option<Arc<Schema>>) -> Self {
        Self { runtime, declare, schema }
    }

    /// Configures an instance for a new binding and asks what it wants.
    fn declare(&self, warm: &mut Warm, id: u32, config: &str) -> Result<wit::Interest, BindError> {
        let (runtime, limit) = (&self.runtime, self.runtime.limits.configure);
        let config = config.to_owned();
        let (answer,) = runtime
            .run(warm, limit, |warm| warm.functions.configure.call(&mut warm.store, (id, config)))
            .map_err(BindError::Call)?;
        answer.map_err(|errors| BindError::Config(field_errors(errors)))?;
        let declared = runtime.run(warm, limit, |warm| {
            let declare = warm.function::<(u32,), (wit::Interest,)>(self.declare)?;
            declare.call(&mut warm.store, (id,))
        });
        declared.map(|(interest,)| interest).map_err(BindError::Call)
    }

    /// How long it takes to read a configuration which is too long for a thread that serves: every
    /// instance has to, and one that failed is replaced while a request waits. Zero: it is quick.
    fn reading(
        &self,
        took: Duration,
        binding: &Arc<Binding>,
        lane: Lane,
    ) -> Result<Duration, CallError> {
        let (runtime, quick) = (&self.runtime, self.runtime.limits.call);
        if took <= quick {
            return Ok(Duration::ZERO);
        }
        // Once more, in another instance: the machine may have been busy with something else.
        let mut warm = runtime.take(lane)?;
        let begun = Instant::now();
        runtime.place(&mut warm, binding)?;
        let took = begun.elapsed();
        runtime.give_back(if took > quick { Lane::Aside } else { lane }, warm);
        Ok(if took > quick { took } else { Duration::ZERO })
    }
}

impl MiddlewarePlugin for Middlewares {
    fn name(&self) -> &str {
        &self.runtime.name
    }

    fn fingerprint(&self) -> &str {
        &self.runtime.hash
    }

    fn files(&self, config: &Value) -> Vec<FileField> {
        let schema = self.schema.as_deref();
        // One that is wrong is refused before its files count.
        let files = |schema: &Schema| Some(schema.files(&schema.canonical(config).ok()?));
        schema.and_then(files).unwrap_or_default()
    }

    fn bind(
        &self,
        label: &str,
        config: &Value,
        contents: &[Arc<str>],
        limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        let runtime = &self.runtime;
        let limit = limit.unwrap_or(runtime.limits.hook);
        let mut lane = if limit > runtime.limits.call { Lane::Aside } else { Lane::Serving };
        let config = canonical(self.schema.as_deref(), config, contents)?;
        let id = runtime.next_binding();
        let mut warm = runtime.take(lane).map_err(BindError::Call)?;
        let begun = Instant::now();
        let declared = self.declare(&mut warm, id, &config)?;
        let took = begun.elapsed();
        let (mut found, slots) = interest(declared, &runtime.places).map_err(|it| match it {
            Refusal::Nonsense(error) => BindError::Call(runtime.failed(CallError::Nonsense(error))),
            Refusal::Option(BadOption { option, message }) => {
                BindError::Config(vec![FieldError { path: option, message, hint: None }])
            }
        })?;
        let binding = Arc::new(Binding { id, label: label.to_owned(), config, slots });
        Runtime::note(&mut warm, &binding);
        let reading = self.reading(took, &binding, lane).map_err(BindError::Call)?;
        if reading > Duration::ZERO {
            lane = Lane::Aside;
        }
        let bound = Bound::new(binding, limit, lane, runtime.clone());
        if found.on_request || found.on_response {
            found.hooks = Some(Arc::new(bound));
            found.aside = (lane == Lane::Aside).then_some(limit + reading);
        }
        runtime.give_back(lane, warm);
        Ok(found)
    }

    fn shown(&self, config: &Value) -> Value {
        let schema = self.schema.as_deref();
        schema.map_or_else(|| config.clone(), |schema| schema.shown(config))
    }
}

/// The configuration as the plugin expects it, as JSON, with the contents of its files.
pub(super) fn canonical(
    schema: Option<&Schema>,
    config: &Value,
    contents: &[Arc<str>],
) -> Result<String, BindError> {
    let Some(schema) = schema else { return Ok(config.to_string()) };
    let config = schema.canonical(config).map_err(BindError::Config)?;
    Ok(schema.filled(config, contents).to_string())
}
