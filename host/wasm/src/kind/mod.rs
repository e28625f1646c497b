//! What we ask of a guest, one file for each kind; each fulfils a port of core.
//!
//! **Invariant:** a guest's answer is checked where it is turned into core's types, so what leaves
//! here is sound whatever the guest said.

mod answer;
mod authority;
mod hook;
mod interest;
mod matcher;
mod middleware;
mod predicate;
mod provider;
mod seek;
mod step;
mod throttle;

pub(crate) use self::{
    matcher::Matchers,
    middleware::Middlewares,
    provider::{BoundProvider, Grant},
};

use portolan_core::port::FieldError;

use crate::bindings::types;

/// What a guest says is wrong with a configuration.
fn field_errors(errors: Vec<types::FieldError>) -> Vec<FieldError> {
    let error =
        |it: types::FieldError| FieldError { path: it.path, message: it.message, hint: None };
    errors.into_iter().map(error).collect()
}
