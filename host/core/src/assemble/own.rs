//! Middlewares that are a part of Portolan.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde_json::Value;

use crate::{
    declare::{self, Flaw},
    middleware::Interest,
    name::fold,
    port::{BindError, FieldError, MiddlewarePlugin},
};

/// Their names. They are used whatever plugins there are of these names: what a configuration means by
/// them does not change with a file that is dropped in.
pub(super) const NAMES: [&str; 2] = ["chain", "retry"];

/// Whether a middleware of this name is a part of Portolan, in whatever spelling.
pub fn is_own_middleware(name: &str) -> bool {
    NAMES.contains(&fold(name).as_str())
}

/// The one of this name, folded, that is bound as plugins are. (Chains are not bound at all.)
pub(super) fn plugin(folded: &str) -> Option<&'static Arc<dyn MiddlewarePlugin>> {
    static RETRY: LazyLock<Arc<dyn MiddlewarePlugin>> = LazyLock::new(|| Arc::new(Retrying));
    (folded == "retry").then_some(&*RETRY)
}

/// Traefik's middleware `retry`.
#[derive(Debug)]
struct Retrying;

impl MiddlewarePlugin for Retrying {
    fn name(&self) -> &str {
        "retry"
    }

    fn fingerprint(&self) -> &str {
        "a part of Portolan"
    }

    fn bind(
        &self,
        _label: &str,
        config: &Value,
        _contents: &[Arc<str>],
        _limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        let retries = declare::retry(config).map_err(refused)?;
        Ok(Interest { retry: Some(Arc::new(retries)), ..Interest::default() })
    }

    fn shown(&self, config: &Value) -> Value {
        declare::shown_retry(config)
    }
}

/// What is wrong with options.
pub(super) fn refused(flaws: Vec<Flaw>) -> BindError {
    let complaint = |flaw: Flaw| {
        let Flaw { pointer: path, message, hint, .. } = flaw;
        FieldError { path, message, hint }
    };
    BindError::Config(flaws.into_iter().map(complaint).collect())
}
