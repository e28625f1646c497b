//! What is doubtful in middlewares that work: files and plugins that were good before, where what was
//! good goes on, and what is perhaps not meant as it is written.

use super::merge::Object;
use crate::{
    declare::MiddlewareSpec,
    middleware::Interest,
    name::ObjectName,
    pattern::Remark,
    port::{BindError, FieldError},
    problem::Problem,
};

/// What is wrong with something whose predecessor goes on.
pub(super) struct Doubt {
    error: FieldError,
    /// What goes on.
    instead: &'static str,
}

impl Doubt {
    /// Of what a file holds.
    pub(super) fn of_file(error: FieldError) -> Self {
        Self { error, instead: "what it held before goes on" }
    }

    /// Of what a plugin says.
    pub(super) fn of_plugin(error: FieldError) -> Self {
        Self { error, instead: "the version of the plugin that took it goes on" }
    }
}

/// What is wrong with files or a plugin that were good before, which goes on.
pub(super) fn doubtful(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    doubts: Vec<Doubt>,
) -> Vec<Problem> {
    let problem = |Doubt { error: FieldError { path, message, .. }, instead }: Doubt| {
        let message = format!("middleware `{}`: {message}", name.name);
        Problem::warning(&*name.provider, &*object.origin, message)
            .at(format!("{}{path}", object.spec.pointer))
            .hint(instead)
    };
    doubts.into_iter().map(problem).collect()
}

/// What works as it is configured, but is perhaps not what was meant.
pub(super) fn remarks(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    interest: &Interest,
) -> Vec<Problem> {
    let problem = |Remark { option, message, hint }: Remark| {
        let message = format!("middleware `{}`: {message}", name.name);
        let problem = Problem::warning(&*name.provider, &*object.origin, message);
        Problem { hint, ..problem.at(format!("{}{option}", object.spec.pointer)) }
    };
    interest.remarks().into_iter().map(problem).collect()
}

/// What an error complains of, with the places.
pub(super) fn complaints(error: &BindError) -> impl Iterator<Item = FieldError> {
    let errors = match error {
        BindError::Config(errors) => errors.clone(),
        error => vec![FieldError { path: String::new(), message: error.to_string(), hint: None }],
    };
    errors.into_iter()
}
