//! Entrypoints as routers see them: which of them are there, and what goes before them.

use std::sync::Arc;

use super::resolve::{CONFIG, Directory, End, Link, Provider};
use crate::{name::ObjectName, pointer::child, problem::Problem};

/// An entrypoint, as far as routers are concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entrypoint {
    /// `web`, `websecure`.
    pub name: Arc<str>,
    /// Whether its connections are encrypted.
    pub tls: bool,
    /// Whether routers without `tls` are there too, where it is encrypted.
    pub takes_plain: bool,
    /// Whether routers that name no entrypoint are there. If none is such, all are.
    pub is_default: bool,
    /// Which requests it sends elsewhere, so that its routers do not get them.
    pub redirected: Redirected,
    /// References to middlewares that go before those of each router.
    pub middlewares: Vec<String>,
}

/// Which requests an entrypoint sends elsewhere.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Redirected {
    /// None, or not all.
    #[default]
    Nobody,
    /// Those whose router has no higher priority.
    UpTo(i64),
    /// All of them.
    Everybody,
}

impl Redirected {
    /// Whether no request comes to a router of this priority.
    pub(super) fn holds_for(self, priority: i64) -> bool {
        match self {
            Self::Nobody => false,
            Self::UpTo(least) => priority <= least,
            Self::Everybody => true,
        }
    }
}

impl Entrypoint {
    /// One that takes whatever there is.
    pub fn new(name: &str, tls: bool) -> Self {
        Self {
            name: name.into(),
            tls,
            takes_plain: true,
            is_default: false,
            redirected: Redirected::Nobody,
            middlewares: Vec::new(),
        }
    }

    /// Where a reference of its own leads.
    pub(super) fn resolve(
        &self,
        reference: &str,
        middlewares: &Directory,
        providers: &[Provider],
    ) -> Link {
        middlewares.resolve(reference, &ObjectName::new(&*self.name, CONFIG), providers)
    }

    /// What is missing of the middlewares that it puts before its routers, whether there are any
    /// routers or not. What another provider may have later is a warning.
    pub(super) fn problems(&self, middlewares: &Directory, providers: &[Provider]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (place, reference) in self.middlewares.iter().enumerate() {
            let End::Missing(missing) = self.resolve(reference, middlewares, providers).end else {
                continue;
            };
            let (name, at) = (&missing.looked, &self.name);
            let message = format!(
                "entrypoint `{at}`: there is no middleware `{name}`, so its routers let nobody through"
            );
            let origin = format!("entrypoint `{at}`");
            let problem = match *name.provider == *CONFIG {
                true => Problem::error(CONFIG, &origin, message),
                false => Problem::warning(CONFIG, &origin, message),
            };
            let pointer = child("/entrypoints", at);
            let mut problem = problem.at(format!("{pointer}/middlewares/{place}"));
            problem.hint = middlewares.work_out(&missing, providers);
            problems.push(problem);
        }
        problems
    }
}
