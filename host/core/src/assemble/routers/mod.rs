//! Routers made of rules, middlewares and services.
//!
//! **Invariant:** a router whose middleware or service is missing keeps its place and answers 503:
//! its requests reach neither another router nor an unprotected service.

mod middlewares;
mod places;

use std::sync::Arc;

use hashbrown::HashMap;

use middlewares::{count_once, take_retry};

use super::{
    chain::Chains,
    entrypoint::Entrypoint,
    merge::Object,
    resolve::{Directory, End, INTERNAL, Link, Provider, Sort},
};
use crate::{
    catalog::Source,
    declare::RouterSpec,
    departed::Departed,
    matcher::MatcherSet,
    middleware::Middleware,
    name::ObjectName,
    problem::Problem,
    roll::Roll,
    router::{Observability, Router},
    rule::{Predicate, Rule, Vain},
    service::Service,
    snapshot::{Entries, Entry, MiddlewareEntry, RouterEntry, ServiceEntry, Status},
};

/// Which of two routers without a priority has precedence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RulePriority {
    /// The one with the longer rule (Traefik): a long regular expression comes before the host that
    /// somebody wrote out.
    #[default]
    Length,
    /// The one that demands more: a host before a wildcard before a regular expression before
    /// none, then the longer path. A priority above 0 comes before all that have none, one below 0
    /// after them.
    Specificity,
}

/// What a rule means, or why it means nothing: kept while rule and matchers stay.
type Meaning = Result<(Predicate, Arc<[String]>), (String, Option<String>)>;

/// Compiled rules, by their text, with how many routers have each.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    compiled: HashMap<Arc<str>, (Meaning, usize)>,
}

/// Everything that routers refer to.
pub(super) struct Surroundings<'a> {
    pub(super) entrypoints: &'a [Entrypoint],
    pub(super) providers: &'a [Provider],
    pub(super) sources: &'a [Arc<Source>],
    pub(super) rule_priority: RulePriority,
    pub(super) services: &'a Entries<ServiceEntry>,
    pub(super) middlewares: &'a Entries<MiddlewareEntry>,
    /// Those of them that stand for others.
    pub(super) chains: &'a Chains,
    /// Routers that were here, with their figures.
    pub(super) departed: &'a Departed,
}

/// Everything that references may mean, by name.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    /// Knows which routers refer to them.
    pub(super) services: Directory,
    /// The same.
    pub(super) middlewares: Directory,
    /// Knows which services refer to them.
    pub(super) transports: Directory,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            services: Directory::of(Sort::Services),
            middlewares: Directory::of(Sort::Middlewares),
            transports: Directory::of(Sort::Transports),
        }
    }
}

/// What a router refers to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Links {
    pub(super) service: Vec<Link>,
    pub(super) middlewares: Vec<Link>,
}

/// A router that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) entry: RouterEntry,
    pub(super) links: Links,
    pub(super) problems: Vec<Problem>,
}

impl Rules {
    /// All routers are about to be made anew; what rules mean is kept while the matchers stay.
    pub(super) fn begin_anew(&mut self, same_matchers: bool) {
        if !same_matchers {
            self.compiled.clear();
        }
        self.compiled.values_mut().for_each(|(_, uses)| *uses = 0);
    }

    /// So many routers are made at once.
    pub(super) fn make_room(&mut self, routers: usize) {
        self.compiled.reserve(routers.saturating_sub(self.compiled.len()));
    }

    /// The rules, each once.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.compiled.keys().map(|text| &**text)
    }

    /// All routers were made anew.
    pub(super) fn end_anew(&mut self) {
        self.compiled.retain(|_, (_, uses)| *uses > 0);
    }

    /// What a rule means, for one router more.
    pub(super) fn use_one<'m>(
        &mut self,
        rule: &Arc<str>,
        matchers: impl FnOnce() -> &'m MatcherSet,
    ) -> Meaning {
        if let Some((meaning, uses)) = self.compiled.get_mut(rule) {
            *uses += 1;
            return meaning.clone();
        }
        let meaning = compile(rule, matchers);
        self.compiled.insert(rule.clone(), (meaning.clone(), 1));
        meaning
    }

    /// One router less has this rule.
    pub(super) fn drop_one(&mut self, rule: &Arc<str>) {
        if let Some((_, uses)) = self.compiled.get_mut(rule) {
            *uses -= 1;
            if *uses == 0 {
                self.compiled.remove(rule);
            }
        }
    }
}

/// Makes a router. One that does not work is in the answer all the same. What is the same as it was
/// before keeps its identity.
pub(super) fn make(
    name: &ObjectName,
    object: &Object<&RouterSpec>,
    (rule, meaning): (Arc<str>, Meaning),
    surroundings: &Surroundings<'_>,
    directories: &mut Directories,
    before: Option<&Arc<Router>>,
) -> Made {
    let draft = Draft {
        name,
        object,
        surroundings,
        directories,
        before,
        links: Links::default(),
        problems: Vec::new(),
        errors: object.shown_doubts(),
    };
    draft.router(rule, meaning)
}

fn compile<'m>(rule: &str, matchers: impl FnOnce() -> &'m MatcherSet) -> Meaning {
    if rule.is_empty() {
        return Err(("the router has no rule".to_owned(), None));
    }
    let predicate = Rule::parse(rule).and_then(|parsed| parsed.compile(matchers()));
    match predicate {
        Ok(predicate) => {
            let hosts = predicate.hosts().names();
            Ok((predicate, hosts.into()))
        }
        Err(error) => {
            let meant = error.hint.as_ref().map(|hint| format!("{hint}\n")).unwrap_or_default();
            Err((error.to_string(), Some(format!("{meant}{}", error.caret(rule)))))
        }
    }
}

/// The service that is none.
const NOOP: &str = "noop@internal";

/// A service, or why it does not work.
type Served = Result<Arc<Service>, Arc<str>>;

/// A router in the making.
struct Draft<'a> {
    name: &'a ObjectName,
    object: &'a Object<&'a RouterSpec>,
    surroundings: &'a Surroundings<'a>,
    directories: &'a mut Directories,
    before: Option<&'a Arc<Router>>,
    links: Links,
    problems: Vec<Problem>,
    errors: Vec<String>,
}

impl Draft<'_> {
    fn router(mut self, rule: Arc<str>, meaning: Meaning) -> Made {
        let mut doubtful = !self.errors.is_empty();
        let entrypoints = self.entrypoints();
        let mut broken = entrypoints.is_empty();
        let priority = self.object.spec.priority.unwrap_or(match self.surroundings.rule_priority {
            RulePriority::Length => rule.len() as i64,
            RulePriority::Specificity => 0,
        });
        doubtful |= self.is_shadowed(&entrypoints, priority);
        let (mut names, mut middlewares) = (Vec::new(), Vec::new());
        let mut ahead = self.ahead(&entrypoints, &mut broken);
        let retries = ahead.iter_mut().filter_map(|(name, steps)| {
            let retry = take_retry(steps)?;
            Some((name.clone(), retry))
        });
        let retries: Vec<_> = retries.collect();
        if self.object.spec.is_doubtful {
            let message = "it lets nobody through, since what it says of who may pass \
                cannot be read";
            self.complain("", message.to_owned(), None, true);
            middlewares.push(Arc::new(Middleware::closed_router()));
            broken = true;
        }
        for reference in &self.object.spec.middlewares {
            let (name, steps) = self.middleware(reference);
            broken |= steps.iter().any(|it| it.is_closed());
            middlewares.extend(steps);
            names.push(name.to_string());
        }
        let retry = take_retry(&mut middlewares);
        count_once(&mut middlewares);
        let service = self.service();
        broken |= matches!(service, Some((_, Err(_))));
        let is_noop = self.is_noop();
        if service.is_none() && !is_noop && middlewares.is_empty() && ahead.is_empty() {
            let message = "the router names neither a service nor a middleware, so it answers 503";
            self.complain("service", message.to_owned(), None, true);
            broken = true;
        }
        let (predicate, hosts) = match meaning {
            Ok(meaning) => meaning,
            Err((message, caret)) => {
                self.complain("rule", message, caret, true);
                (Predicate::Never, Arc::default())
            }
        };
        if let Some(why) = predicate.contradiction()
            && !matches!(predicate, Predicate::Never)
        {
            let message = format!("no request can fulfil the rule: {why}");
            self.complain("rule", message, None, false);
            doubtful = true;
        }
        if let Some(Vain { message, hint }) = predicate.vain() {
            self.complain("rule", message, Some(hint), false);
            doubtful = true;
        }
        let works = !matches!(predicate, Predicate::Never) && !entrypoints.is_empty();
        let mut observability = self.object.spec.observability;
        if service.as_ref().is_some_and(|(name, _)| *name.provider == *INTERNAL) {
            // Who looks at us is not looked at, unless somebody wants that (Traefik's `addInternals`).
            observability = observability.or(Observability::NONE);
        }
        let live = works.then(|| Router {
            name: self.name.clone(),
            rule: rule.clone(),
            predicate,
            priority,
            entrypoints: entrypoints.clone(),
            chains: ahead
                .into_iter()
                .map(|(name, mut chain)| {
                    chain.extend(middlewares.iter().cloned());
                    count_once(&mut chain);
                    (name, chain)
                })
                .collect(),
            middlewares,
            retry,
            retries,
            service: service.as_ref().and_then(|(_, service)| service.clone().ok()),
            lack: service.as_ref().and_then(|(_, service)| service.clone().err()),
            is_noop,
            tls: self.object.spec.tls.is_some(),
            tls_options: self
                .object
                .spec
                .tls
                .as_ref()
                .and_then(|it| Some(it.options.as_deref()?.into())),
            timeouts: self.object.spec.timeouts.clone(),
            observability,
            figures: match self.before {
                Some(before) => before.figures.clone(),
                None => self.surroundings.departed.figures(self.name).unwrap_or_default(),
            },
        });
        let live = live.map(|router| match self.before {
            Some(before) if is_same(before, &router) => before.clone(),
            _ => Arc::new(router),
        });
        let status = match (live.is_none() || broken, doubtful) {
            (true, _) => Status::Disabled,
            (false, true) => Status::Warning,
            (false, false) => Status::Enabled,
        };
        let entry = RouterEntry {
            entry: Entry {
                name: self.name.clone(),
                origin: self.object.origin.clone(),
                status,
                errors: self.errors,
                used_by: Roll::default(),
            },
            rule,
            priority,
            entrypoints,
            middlewares: names,
            service: service.map(|(name, _)| name.to_string()),
            reference: self.object.spec.service.as_deref().map(Arc::from),
            tls: self.object.spec.tls.clone().map(Arc::new),
            hosts,
            live,
        };
        Made { entry, links: self.links, problems: self.problems }
    }

    /// Whether each of its entrypoints sends everybody elsewhere before there is a router.
    fn is_shadowed(&mut self, entrypoints: &[Arc<str>], priority: i64) -> bool {
        let all = self.surroundings.entrypoints.iter();
        let mut own = all.filter(|it| entrypoints.contains(&it.name));
        if entrypoints.is_empty() || own.any(|it| !it.redirected.holds_for(priority)) {
            return false;
        }
        let names: Vec<_> = entrypoints.iter().map(|name| format!("`{name}`")).collect();
        let message = match names.as_slice() {
            [only] => format!("no request comes to it: entrypoint {only} redirects all of them"),
            all => {
                format!("no request comes to it: entrypoints {} redirect all", all.join(" and "))
            }
        };
        let hint = "name the entrypoint that they are redirected to, or leave out this router; where it \
            is to answer here (`/ping`), give `redirect` of the entrypoint a `priority` below its own";
        self.complain("entrypoints", message, Some(hint.to_owned()), false);
        true
    }

    /// Whether it says by Traefik's name for no service at all that its middlewares are to answer, or nobody.
    fn is_noop(&self) -> bool {
        self.object.spec.service.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(NOOP))
    }

    /// `None`: it names none. An error: it names one that is not there, or does not work, and why.
    fn service(&mut self) -> Option<(ObjectName, Served)> {
        let reference = self.object.spec.service.as_deref().filter(|_| !self.is_noop())?;
        let Surroundings { providers, services, sources, .. } = *self.surroundings;
        let directory = &mut self.directories.services;
        let link = directory.resolve(reference, self.name, providers);
        self.links.service.push(link.clone());
        match link.end {
            End::There(name) => {
                let found = services.get(&name);
                let service = found.and_then(|found| found.live.clone()).ok_or_else(|| {
                    let why = found.map(|found| found.entry.errors.as_slice()).unwrap_or_default();
                    let why = why.last().map(|why| format!(": {why}")).unwrap_or_default();
                    format!("service `{name}` is not in working order{why}").into()
                });
                self.errors.extend(service.as_ref().err().map(|lack: &Arc<str>| lack.to_string()));
                Some((name, service))
            }
            End::Missing(missing) => {
                let hint = directory.hint(&missing, providers);
                let is_mistake = directory.is_mistake(&missing, self.name, providers, sources);
                let lack = format!("there is no service `{}`", missing.looked);
                let message = format!("{lack}, so it answers 503");
                self.complain("service", message, hint, is_mistake);
                Some((missing.looked, Err(lack.into())))
            }
        }
    }

    /// What is wrong in the router itself is an error. A reference to what is not there is a warning as
    /// long as it may be there soon, with a provider that was not heard yet.
    fn complain(&mut self, key: &str, message: String, hint: Option<String>, error: bool) {
        self.errors.push(message.clone());
        let (source, origin) = (&*self.name.provider, &*self.object.origin);
        let message = format!("router `{}`: {message}", self.name.name);
        let mut problem = match error {
            true => Problem::error(source, origin, message),
            false => Problem::warning(source, origin, message),
        };
        if !self.object.pointer.is_empty() {
            let separator = if key.is_empty() { "" } else { "/" };
            problem = problem.at(format!("{}{separator}{key}", self.object.pointer));
        }
        problem.hint = hint;
        self.problems.push(problem);
    }
}

/// Whether two routers of one name do the same.
fn is_same(one: &Router, other: &Router) -> bool {
    let middlewares = one.middlewares.iter().zip(&other.middlewares);
    let same_service = match (&one.service, &other.service) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    };
    same_service
        && one.lack == other.lack
        && one.is_noop == other.is_noop
        && one.rule == other.rule
        && one.priority == other.priority
        && (one.tls, &one.tls_options) == (other.tls, &other.tls_options)
        && one.timeouts == other.timeouts
        && one.observability == other.observability
        && one.entrypoints == other.entrypoints
        && one.middlewares.len() == other.middlewares.len()
        && middlewares.into_iter().all(|(one, other)| one.is_same(other))
        && one.predicate == other.predicate
        && one.retry.as_ref().map(Arc::as_ptr) == other.retry.as_ref().map(Arc::as_ptr)
        && one.retries.len() == other.retries.len()
        && one
            .retries
            .iter()
            .zip(&other.retries)
            .all(|((one, this), (other, that))| one == other && Arc::ptr_eq(this, that))
        && one.chains.len() == other.chains.len()
        && one.chains.iter().zip(&other.chains).all(|((one, these), (other, those))| {
            one == other
                && these.len() == those.len()
                && these.iter().zip(those).all(|(one, other)| one.is_same(other))
        })
}
