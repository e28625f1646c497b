//! Middlewares bound to their plugins. A binding is made anew only when the plugin's code or the
//! configuration changes, so warm guests and what they remember stay.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;
use serde_json::Value;

use super::merge::Object;
use crate::{
    declare::MiddlewareSpec,
    middleware::{Middleware, OnFailure},
    name::{ObjectName, fold, nearest},
    port::{BindError, MiddlewarePlugin},
    problem::Problem,
    roll::Roll,
    snapshot::{Entry, MiddlewareEntry, Status},
};

/// What a binding is made of, besides its name.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Key {
    fingerprint: String,
    config: String,
    open: bool,
    time_limit: Option<Duration>,
}

type Bound = Result<Arc<Middleware>, BindError>;

/// Bindings, kept from one snapshot to the next while they are used.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    made: HashMap<ObjectName, (Key, Bound)>,
}

impl Bindings {
    /// Binds a middleware. One that cannot be bound is in the answer all the same, disabled.
    pub(super) fn bind(
        &mut self,
        name: &ObjectName,
        object: &Object<MiddlewareSpec>,
        plugins: &[Arc<dyn MiddlewarePlugin>],
    ) -> (MiddlewareEntry, Vec<Problem>) {
        match plugin(&object.spec, plugins) {
            Ok(plugin) => {
                let written = &object.spec.config;
                let (config, live, problems) = match self.bound(name, object, plugin) {
                    Ok(live) => (plugin.shown(written).into(), Some(live), Vec::new()),
                    // What is wrong with it is seen best as it was written.
                    Err(error) => (written.clone(), None, refused(name, object, &error)),
                };
                (entry(name, object, config, live, &problems), problems)
            }
            Err(missing) => {
                self.made.remove(name);
                let problems = vec![missing(name, object)];
                let config = object.spec.config.clone();
                (entry(name, object, config, None, &problems), problems)
            }
        }
    }

    /// Lets go of the binding of a middleware that is gone.
    pub(super) fn forget(&mut self, name: &ObjectName) {
        self.made.remove(name);
    }

    /// Lets go of all but those of these middlewares.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ObjectName) -> bool) {
        self.made.retain(|name, _| is_there(name));
    }

    fn bound(
        &mut self,
        name: &ObjectName,
        object: &Object<MiddlewareSpec>,
        plugin: &Arc<dyn MiddlewarePlugin>,
    ) -> Bound {
        let key = Key {
            fingerprint: plugin.fingerprint().to_owned(),
            config: object.spec.config.to_string(),
            open: object.spec.on_failure == OnFailure::Open,
            time_limit: object.spec.time_limit,
        };
        if let Some((known, made)) = self.made.get(name)
            && *known == key
        {
            return made.clone();
        }
        let made = make(name, &object.spec, plugin);
        self.made.insert(name.clone(), (key, made.clone()));
        made
    }
}

/// Whether a middleware works as it is declared.
pub(super) fn takes(spec: &MiddlewareSpec, plugins: &[Arc<dyn MiddlewarePlugin>]) -> bool {
    let bound = |it: &Arc<dyn MiddlewarePlugin>| it.bind("", &spec.config, spec.time_limit);
    plugin(spec, plugins).is_ok_and(|plugin| bound(plugin).is_ok())
}

fn make(
    name: &ObjectName,
    spec: &MiddlewareSpec,
    plugin: &Arc<dyn MiddlewarePlugin>,
) -> Result<Arc<Middleware>, BindError> {
    let interest = plugin.bind(&name.to_string(), &spec.config, spec.time_limit)?;
    Ok(Arc::new(Middleware {
        name: name.clone(),
        plugin: plugin.name().into(),
        interest,
        on_failure: spec.on_failure,
    }))
}

type Missing<'a> = Box<dyn FnOnce(&ObjectName, &Object<MiddlewareSpec>) -> Problem + 'a>;

fn plugin<'a>(
    spec: &'a MiddlewareSpec,
    plugins: &'a [Arc<dyn MiddlewarePlugin>],
) -> Result<&'a Arc<dyn MiddlewarePlugin>, Missing<'a>> {
    let wanted = fold(&spec.plugin);
    let found = plugins.iter().find(|plugin| fold(plugin.name()) == wanted);
    found.ok_or_else(|| -> Missing<'a> {
        Box::new(move |name, object| {
            let message = format!("there is no middleware plugin `{}`", spec.plugin);
            let known = plugins.iter().map(|plugin| plugin.name());
            // A warning: the file may yet be dropped into the plugins folder.
            Problem::warning(&*name.provider, &*object.origin, message)
                .at(spec.pointer.clone())
                .did_you_mean(nearest(&spec.plugin, known))
        })
    })
}

fn refused(name: &ObjectName, object: &Object<MiddlewareSpec>, error: &BindError) -> Vec<Problem> {
    let problem = |message: String| {
        Problem::error(&*name.provider, &*object.origin, message).at(object.spec.pointer.clone())
    };
    match error {
        BindError::Config(fields) => fields
            .iter()
            .map(|field| {
                let problem = problem(format!("middleware `{}`: {}", name.name, field.message));
                let pointer = format!("{}{}", object.spec.pointer, field.path);
                Problem { hint: field.hint.clone(), ..problem.at(pointer) }
            })
            .collect(),
        BindError::Call(error) => {
            vec![problem(format!("plugin `{}` {error}", object.spec.plugin))]
        }
        BindError::Refused(reason) => vec![problem(reason.clone())],
    }
}

fn entry(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    config: Arc<Value>,
    live: Option<Arc<Middleware>>,
    problems: &[Problem],
) -> MiddlewareEntry {
    let mut errors = object.warnings.clone();
    let status = match (&live, errors.is_empty()) {
        (None, _) => Status::Disabled,
        (Some(_), true) => Status::Enabled,
        (Some(_), false) => Status::Warning,
    };
    if live.is_none() {
        errors.extend(problems.last().map(|problem| problem.message.clone()));
    }
    MiddlewareEntry {
        entry: Entry {
            name: name.clone(),
            origin: object.origin.clone(),
            status,
            errors,
            used_by: Roll::default(),
        },
        plugin: object.spec.plugin.as_str().into(),
        config,
        live,
    }
}
