//! The middlewares that the requests of a router meet.

use std::sync::Arc;

use super::{Draft, End, Entrypoint, Surroundings};
use crate::{middleware::Middleware, name::ObjectName};

/// What stands for a reference: mostly one middleware; of a chain all members. Who is missing is closed.
type Steps = Vec<Arc<Middleware>>;

/// The last that says how requests are tried again. None of those is met by requests.
pub(super) fn take_retry(steps: &mut Steps) -> Option<Arc<Middleware>> {
    let found = steps.iter().rfind(|it| it.interest.retry.is_some()).cloned()?;
    steps.retain(|it| it.interest.retry.is_none());
    Some(found)
}

/// Who counts a request twice on its way would have it use up two shares, or stand in its own way.
pub(super) fn count_once(steps: &mut Steps) {
    let mut seen: Vec<ObjectName> = Vec::new();
    steps.retain(|step| {
        let is_again = step.interest.only_counts() && seen.contains(&step.name);
        if step.interest.only_counts() && !is_again {
            seen.push(step.name.clone());
        }
        !is_again
    });
}

impl Draft<'_> {
    /// What entrypoints put before each of their routers, where they do.
    pub(super) fn ahead(
        &mut self,
        entrypoints: &[Arc<str>],
        broken: &mut bool,
    ) -> Vec<(Arc<str>, Steps)> {
        let all = self.surroundings.entrypoints;
        let own = all.iter().filter(|it| !it.middlewares.is_empty());
        let mut ahead = Vec::new();
        for entrypoint in own.filter(|it| entrypoints.contains(&it.name)) {
            let mut middlewares = Vec::new();
            for reference in &entrypoint.middlewares {
                middlewares.extend(self.middleware_of(entrypoint, reference));
            }
            *broken |= middlewares.iter().any(|it| it.is_closed());
            ahead.push((entrypoint.name.clone(), middlewares));
        }
        ahead
    }

    /// A middleware that an entrypoint puts before its routers.
    fn middleware_of(&mut self, entrypoint: &Entrypoint, reference: &str) -> Steps {
        let providers = self.surroundings.providers;
        let link = entrypoint.resolve(reference, &self.directories.middlewares, providers);
        self.links.middlewares.push(link.clone());
        let (name, steps, lack) = match link.end {
            End::There(name) => {
                let (steps, lack) = self.steps(&name);
                (name, steps, lack)
            }
            // It is the entrypoint's problem, and told once.
            End::Missing(missing) => {
                let closed = vec![Arc::new(Middleware::closed(missing.looked.clone()))];
                (missing.looked, closed, Some(String::new()))
            }
        };
        if let Some(why) = lack {
            let at = &entrypoint.name;
            self.errors.push(format!(
                "middleware `{name}` of entrypoint `{at}` is not in working order{why}"
            ));
        }
        steps
    }

    /// A middleware that the router names.
    pub(super) fn middleware(&mut self, reference: &str) -> (ObjectName, Steps) {
        let Surroundings { providers, sources, .. } = *self.surroundings;
        let directory = &mut self.directories.middlewares;
        let link = directory.resolve(reference, self.name, providers);
        self.links.middlewares.push(link.clone());
        match link.end {
            End::There(name) => {
                let (steps, lack) = self.steps(&name);
                if let Some(why) = lack {
                    self.errors.push(format!("middleware `{name}` is not in working order{why}"));
                }
                (name, steps)
            }
            End::Missing(missing) => {
                let hint = directory.hint(&missing, providers);
                let is_mistake = directory.is_mistake(&missing, self.name, providers, sources);
                let name = missing.looked;
                let message = format!("there is no middleware `{name}`, so it answers 503");
                self.complain("middlewares", message, hint, is_mistake);
                (name.clone(), vec![Arc::new(Middleware::closed(name))])
            }
        }
    }

    /// What stands for a middleware that is there; and if that does not work, why, where it is worth
    /// telling. Who is in a chain is used by the router as well.
    fn steps(&mut self, name: &ObjectName) -> (Steps, Option<String>) {
        let Surroundings { middlewares, chains, .. } = *self.surroundings;
        let Some(entry) = middlewares.get(name) else {
            return (vec![Arc::new(Middleware::closed(name.clone()))], Some(String::new()));
        };
        if let Some(chain) = &entry.chain {
            self.links.middlewares.extend(chains.links(name).iter().cloned());
            let is_closed = chain.iter().any(|it| it.is_closed());
            let why = entry.entry.errors.last().map(|why| format!(": {why}")).unwrap_or_default();
            return (chain.to_vec(), is_closed.then_some(why));
        }
        match &entry.live {
            Some(live) => (vec![live.clone()], None),
            None => (vec![Arc::new(Middleware::closed(name.clone()))], Some(String::new())),
        }
    }
}
