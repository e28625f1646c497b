//! Routers made of rules, middlewares and services.
//!
//! **Invariant:** a router whose middleware or service is missing keeps its place and answers 503:
//! its requests reach neither another router nor an unprotected service.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    bind::closed,
    merge::{Object, Objects},
    resolve::{Catalogued, resolve},
};
use crate::{
    declare::RouterSpec,
    figure::TrafficFigures,
    matcher::MatcherSet,
    middleware::Middleware,
    name::{ObjectName, nearest},
    problem::Problem,
    router::Router,
    rule::{Predicate, Rule},
    service::Service,
    snapshot::{Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot, Status},
};

/// An entrypoint, as far as routers are concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entrypoint {
    /// `web`, `websecure`.
    pub name: Arc<str>,
    /// Whether its connections are encrypted.
    pub tls: bool,
}

/// What a rule means, or why it means nothing: kept while rule and matchers stay.
type Meaning = Result<(Predicate, Vec<String>), (String, Option<String>)>;

/// Compiled rules, by their text.
#[derive(Debug, Default)]
pub(super) struct Rules {
    compiled: HashMap<Arc<str>, Meaning>,
}

/// Everything that routers refer to.
pub(super) struct Surroundings<'a> {
    pub(super) entrypoints: &'a [Entrypoint],
    pub(super) catalogued: &'a Catalogued<'a>,
    pub(super) services: &'a [ServiceEntry],
    pub(super) middlewares: &'a [MiddlewareEntry],
    pub(super) previous: &'a Snapshot,
}

impl Rules {
    /// Forgets everything: the matchers changed.
    pub(super) fn clear(&mut self) {
        self.compiled.clear();
    }

    /// Makes every router. One that does not work is in the answer all the same.
    pub(super) fn routers(
        &mut self,
        objects: &Objects,
        matchers: &MatcherSet,
        surroundings: &Surroundings<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<RouterEntry> {
        let mut kept = HashMap::new();
        let figures: BTreeMap<_, _> = surroundings
            .previous
            .routers
            .iter()
            .filter_map(|entry| Some((&entry.entry.name, &entry.live.as_ref()?.figures)))
            .collect();
        let entries =
            objects.routers.iter().map(|(name, object)| {
                let rule: Arc<str> = object.spec.rule.as_deref().unwrap_or_default().into();
                let known = self.compiled.remove(&rule).or_else(|| kept.get(&rule).cloned());
                let meaning = known.unwrap_or_else(|| compile(&rule, matchers));
                kept.insert(rule.clone(), meaning.clone());
                let figures = figures.get(name).map(|figures| (*figures).clone());
                Draft { name, object, surroundings, problems, errors: object.warnings.clone() }
                    .router(rule, meaning, figures.unwrap_or_default())
            });
        let entries = entries.collect();
        self.compiled = kept;
        entries
    }
}

fn compile(rule: &str, matchers: &MatcherSet) -> Meaning {
    if rule.is_empty() {
        return Err(("the router has no rule".to_owned(), None));
    }
    let predicate = Rule::parse(rule).and_then(|parsed| parsed.compile(matchers));
    match predicate {
        Ok(predicate) => {
            let hosts = predicate.hosts().names();
            Ok((predicate, hosts))
        }
        Err(error) => {
            let meant = error.hint.as_ref().map(|hint| format!("{hint}\n")).unwrap_or_default();
            Err((error.to_string(), Some(format!("{meant}{}", error.caret(rule)))))
        }
    }
}

/// A router in the making.
struct Draft<'a, 'p> {
    name: &'a ObjectName,
    object: &'a Object<RouterSpec>,
    surroundings: &'a Surroundings<'a>,
    problems: &'p mut Vec<Problem>,
    errors: Vec<String>,
}

impl Draft<'_, '_> {
    fn router(
        mut self,
        rule: Arc<str>,
        meaning: Meaning,
        figures: Arc<TrafficFigures>,
    ) -> RouterEntry {
        let doubtful = !self.errors.is_empty();
        let entrypoints = self.entrypoints();
        let mut broken = entrypoints.is_empty();
        let (mut names, mut middlewares) = (Vec::new(), Vec::new());
        for reference in &self.object.spec.middlewares {
            let (name, middleware) = self.middleware(reference);
            broken |= middleware.is_none();
            let middleware = middleware.unwrap_or_else(|| closed(&name));
            middlewares.push(middleware);
            names.push(name.to_string());
        }
        let service = self.service();
        if let Some((name, None)) = &service {
            middlewares.push(closed(name));
            broken = true;
        }
        if service.is_none() && middlewares.is_empty() {
            let message = "the router names neither a service nor a middleware".to_owned();
            self.complain("service", message, None, true);
            broken = true;
        }
        let priority = self.object.spec.priority.unwrap_or(rule.len() as i64);
        let (predicate, hosts) = match meaning {
            Ok(meaning) => meaning,
            Err((message, caret)) => {
                self.complain("rule", message, caret, true);
                (Predicate::Never, Vec::new())
            }
        };
        let works = !matches!(predicate, Predicate::Never) && !entrypoints.is_empty();
        let live = works.then(|| {
            Arc::new(Router {
                name: self.name.clone(),
                rule: rule.clone(),
                predicate,
                priority,
                entrypoints: entrypoints.clone(),
                middlewares,
                service: service.as_ref().and_then(|(_, service)| service.clone()),
                tls: self.object.spec.tls.is_some(),
                figures,
            })
        });
        let status = match (live.is_none() || broken, doubtful) {
            (true, _) => Status::Disabled,
            (false, true) => Status::Warning,
            (false, false) => Status::Enabled,
        };
        RouterEntry {
            entry: Entry {
                name: self.name.clone(),
                origin: self.object.origin.clone(),
                status,
                errors: self.errors,
                used_by: Vec::new(),
            },
            rule,
            priority,
            entrypoints,
            middlewares: names,
            service: service.map(|(name, _)| name.to_string()),
            tls: self.object.spec.tls.clone().map(Arc::new),
            hosts,
            live,
        }
    }

    /// Those it names, else all; one with `tls` only those that are encrypted.
    fn entrypoints(&mut self) -> Vec<Arc<str>> {
        let (spec, all) = (&self.object.spec, self.surroundings.entrypoints);
        let fits = |entrypoint: &&Entrypoint| entrypoint.tls || spec.tls.is_none();
        if spec.entrypoints.is_empty() {
            let entrypoints = all.iter().filter(fits).map(|e| e.name.clone()).collect::<Vec<_>>();
            if entrypoints.is_empty() && spec.tls.is_some() {
                let message = "the router wants TLS, but no entrypoint has it".to_owned();
                self.complain("tls", message, None, false);
            }
            return entrypoints;
        }
        let mut entrypoints = Vec::new();
        for wanted in &spec.entrypoints {
            match all.iter().find(|entrypoint| *entrypoint.name == **wanted) {
                Some(entrypoint) if fits(&entrypoint) => entrypoints.push(entrypoint.name.clone()),
                Some(_) => {
                    let message =
                        format!("the router wants TLS, which entrypoint `{wanted}` does not have");
                    self.complain("entrypoints", message, None, false);
                }
                None => {
                    let known = all.iter().map(|entrypoint| &*entrypoint.name);
                    let hint = nearest(wanted, known).map(|n| format!("did you mean `{n}`?"));
                    let message = format!("there is no entrypoint `{wanted}`");
                    self.complain("entrypoints", message, hint, false);
                }
            }
        }
        entrypoints
    }

    fn middleware(&mut self, reference: &str) -> (ObjectName, Option<Arc<Middleware>>) {
        let surroundings = self.surroundings;
        match resolve(
            reference,
            self.name,
            surroundings.catalogued,
            &surroundings.catalogued.middlewares,
        ) {
            Ok(place) => {
                let found = surroundings.middlewares.get(place);
                let middleware = found.and_then(|found| found.live.clone());
                let name =
                    found.map_or_else(|| self.name.clone(), |found| found.entry.name.clone());
                if middleware.is_none() {
                    self.errors.push(format!("middleware `{name}` is not in working order"));
                }
                (name, middleware)
            }
            Err((name, hint)) => {
                let message = format!("there is no middleware `{name}`");
                self.complain("middlewares", message, hint, false);
                (name, None)
            }
        }
    }

    /// `None`: it names none. `Some((name, None))`: it names one that is not there.
    fn service(&mut self) -> Option<(ObjectName, Option<Arc<Service>>)> {
        let reference = self.object.spec.service.as_deref()?;
        let surroundings = self.surroundings;
        match resolve(
            reference,
            self.name,
            surroundings.catalogued,
            &surroundings.catalogued.services,
        ) {
            Ok(place) => {
                let found = surroundings.services.get(place)?;
                Some((found.entry.name.clone(), found.live.clone()))
            }
            Err((name, hint)) => {
                let message = format!("there is no service `{name}`");
                self.complain("service", message, hint, false);
                Some((name, None))
            }
        }
    }

    /// What is wrong in the router itself is an error. A reference to what is not there is a
    /// warning: it may be there soon (an instance that starts, a file that is dropped in).
    fn complain(&mut self, key: &str, message: String, hint: Option<String>, error: bool) {
        self.errors.push(message.clone());
        let (source, origin) = (&*self.name.provider, &*self.object.origin);
        let message = format!("router `{}`: {message}", self.name.name);
        let mut problem = match error {
            true => Problem::error(source, origin, message),
            false => Problem::warning(source, origin, message),
        };
        if !self.object.pointer.is_empty() {
            problem = problem.at(format!("{}/{key}", self.object.pointer));
        }
        problem.hint = hint;
        self.problems.push(problem);
    }
}
