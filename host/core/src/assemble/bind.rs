//! Middlewares bound to their plugins. A binding is made anew only when the plugin's code, the
//! configuration or a file that it names changes, so warm guests and what they remember stay.

use std::{fmt, sync::Arc, time::Duration};

use hashbrown::HashMap;
use serde_json::Value;

use super::{
    contents::{Answer, Asked, Content, Supply},
    doubts::{Doubt, complaints, doubtful, remarks},
    merge::Object,
    own, unplugged,
};
use crate::{
    declare::MiddlewareSpec,
    middleware::{Middleware, OnFailure},
    name::{ObjectName, camel, fold},
    port::{BindError, CallError, FileAsk, MiddlewarePlugin},
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
    contents: Vec<Content>,
}

impl Key {
    /// Whether nothing but the plugin's code and the content of files is different.
    fn is_configured_like(&self, other: &Self) -> bool {
        let about = |it: &Self| (it.open, it.time_limit);
        about(self) == about(other) && self.config == other.config
    }
}

type Bound = Result<Arc<Middleware>, BindError>;

/// A binding that was found or made, and why it is not what its files or its plugin are now.
type Found = (Key, Bound, Vec<Doubt>);

/// Bindings, kept from one snapshot to the next while they are used.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    made: HashMap<ObjectName, (Key, Bound)>,
    /// What was refused last while something else goes on: a plugin is asked once.
    refused: HashMap<ObjectName, (Key, BindError)>,
    /// The code that ran into its time limit in this turn, and for which middleware. It is not asked
    /// for others in the same turn: everything else waits for it.
    slow: HashMap<String, ObjectName>,
    /// The middlewares whose plugins failed, which says nothing of their configurations.
    unsettled: HashMap<ObjectName, Unsettled>,
    /// What files a middleware asked for, whoever declares it, and what was answered.
    asked: HashMap<ObjectName, Vec<(FileAsk, Answer)>>,
}

impl Bindings {
    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.slow.clear();
    }

    /// Forgets that plugins failed. Answers whose middlewares are to be bound again: those first for
    /// which a plugin was not even asked.
    pub(super) fn ask_again(&mut self) -> Vec<ObjectName> {
        let worst = self.unsettled();
        let names = self.unsettled.iter().filter(|(_, it)| **it == worst);
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.refused.remove(name);
            if self.made.get(name).is_some_and(|(_, bound)| bound.is_err()) {
                self.made.remove(name);
            }
        }
        names
    }

    /// Whether plugins failed.
    pub(super) fn unsettled(&self) -> Unsettled {
        self.unsettled.values().copied().max().unwrap_or_default()
    }

    /// Notes whether a plugin failed for a middleware that is now bound, or not.
    fn note(&mut self, name: &ObjectName, bound: &Bound) {
        let error = bound.as_ref().err();
        let unsettled = match error.or_else(|| self.refused.get(name).map(|(_, error)| error)) {
            Some(BindError::NotAsked(_)) => Unsettled::NotAsked,
            Some(BindError::Call(_)) => Unsettled::Failed,
            Some(BindError::Config(_) | BindError::Refused(_)) | None => Unsettled::Nothing,
        };
        match unsettled {
            Unsettled::Nothing => drop(self.unsettled.remove(name)),
            other => drop(self.unsettled.insert(name.clone(), other)),
        }
    }

    /// A middleware is about to be bound anew.
    pub(super) fn begin_anew(&mut self, name: &ObjectName) {
        self.asked.remove(name);
    }

    /// Binds a middleware. One that cannot be bound is in the answer all the same, disabled.
    pub(super) fn bind(
        &mut self,
        name: &ObjectName,
        object: &Object<MiddlewareSpec>,
        supply: &Supply<'_>,
    ) -> (MiddlewareEntry, Vec<Problem>) {
        let Some(plugin) = plugin(&object.spec, supply.plugins) else {
            self.let_go(name);
            let mut entry = entry(name, object, object.spec.config.clone(), None, &[]);
            entry.entry.errors.push(match &object.spec.plugin {
                Some(plugin) => unplugged::message(plugin),
                None => "it is not one plugin: see its declaration".to_owned(),
            });
            return (entry, Vec::new());
        };
        let written = &object.spec.config;
        let (key, bound, doubts) = self.find(name, &object.spec, plugin, supply);
        if doubts.is_empty() {
            self.refused.remove(name);
        }
        self.note(name, &bound);
        self.made.insert(name.clone(), (key, bound.clone()));
        let (config, live, mut problems) = match bound {
            Ok(live) => {
                let mut problems = remarks(name, object, &live.interest);
                problems.extend(doubtful(name, object, doubts));
                (plugin.shown(written).into(), Some(live), problems)
            }
            // What is wrong with it is seen best as it was written.
            Err(error) => (written.clone(), None, refused(name, object, &error)),
        };
        if let Some(written) = object.spec.plugin.as_deref()
            && fold(written) != fold(plugin.name())
        {
            let now = camel(plugin.name());
            let message =
                format!("middleware `{}`: `{written}` is the old name of `{now}`", name.name);
            let problem = Problem::warning(&*name.provider, &*object.origin, message);
            let problem = problem.at(object.spec.pointer.clone());
            problems.insert(0, problem.hint(format!("write `{now}`, it has the same options")));
        }
        (entry(name, object, config, live, &problems), problems)
    }

    /// Whether a middleware works as somebody declares it.
    pub(super) fn takes(
        &mut self,
        name: &ObjectName,
        spec: &MiddlewareSpec,
        supply: &Supply<'_>,
    ) -> bool {
        plugin(spec, supply.plugins)
            .is_some_and(|plugin| self.find(name, spec, plugin, supply).1.is_ok())
    }

    /// Lets go of the binding of a middleware that is gone.
    pub(super) fn forget(&mut self, name: &ObjectName) {
        self.let_go(name);
        self.asked.remove(name);
    }

    fn let_go(&mut self, name: &ObjectName) {
        self.made.remove(name);
        self.refused.remove(name);
        self.unsettled.remove(name);
    }

    /// Lets go of all but those of these middlewares.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ObjectName) -> bool) {
        self.made.retain(|name, _| is_there(name));
        self.refused.retain(|name, _| is_there(name));
        self.unsettled.retain(|name, _| is_there(name));
        self.asked.retain(|name, _| is_there(name));
    }

    /// The middlewares that asked for files which are not as they were.
    pub(super) fn stale(&self, supply: &Supply<'_>) -> Vec<ObjectName> {
        let is_other = |(ask, answer): &(FileAsk, Answer)| supply.content(ask) != *answer;
        let stale = self.asked.iter().filter(|(_, asked)| asked.iter().any(is_other));
        stale.map(|(name, _)| name.clone()).collect()
    }

    /// The files that are asked for.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileAsk> {
        self.asked.values().flatten().map(|(ask, _)| ask)
    }

    /// The binding that is there already, or a new one. Where files are not what can be used now, it
    /// is that of their content before; where the plugin refuses what it took in another version,
    /// that one's.
    fn find(
        &mut self,
        name: &ObjectName,
        spec: &MiddlewareSpec,
        plugin: &Arc<dyn MiddlewarePlugin>,
        supply: &Supply<'_>,
    ) -> Found {
        let asked = supply.ask(name, plugin.name(), plugin.files(&spec.config));
        if !asked.answers.is_empty() {
            let noted = self.asked.entry(name.clone()).or_default();
            noted.extend(asked.answers.iter().cloned());
        }
        let key = |contents: Vec<Content>| Key {
            fingerprint: plugin.fingerprint().to_owned(),
            config: spec.config.to_string(),
            open: spec.on_failure == OnFailure::Open,
            time_limit: spec.time_limit,
            contents,
        };
        let known = self.made.get(name).filter(|(_, bound)| bound.is_ok()).cloned();
        let before = known.as_ref().map(|(known, _)| known.contents.clone()).unwrap_or_default();
        let (contents, kept) = match asked.contents(&before) {
            Ok(found) => found,
            Err(error) => return (key(Vec::new()), Err(error), Vec::new()),
        };
        let mut doubts: Vec<_> = kept.into_iter().map(Doubt::of_file).collect();
        let former = asked.former(&before).filter(|former| *former != contents);
        let key_now = key(contents);
        let bound = self.found_or_made(name, spec, plugin, &asked, &key_now);
        let Err(error) = &bound else { return (key_now, bound, doubts) };
        let refused = (key_now.clone(), error.clone());
        if let Some(former) = former.map(key)
            && let Ok(live) = self.found_or_made(name, spec, plugin, &asked, &former)
        {
            doubts.extend(complaints(error).map(Doubt::of_file));
            self.refused.insert(name.clone(), refused);
            return (former, Ok(live), doubts);
        }
        if let Some((former, live)) = known
            && former.is_configured_like(&key_now)
        {
            doubts.extend(complaints(error).map(Doubt::of_plugin));
            self.refused.insert(name.clone(), refused);
            return (former, live, doubts);
        }
        (key_now, bound, doubts)
    }

    fn found_or_made(
        &mut self,
        name: &ObjectName,
        spec: &MiddlewareSpec,
        plugin: &Arc<dyn MiddlewarePlugin>,
        asked: &Asked,
        key: &Key,
    ) -> Bound {
        if let Some((_, bound)) = self.made.get(name).filter(|(known, _)| known == key) {
            return bound.clone();
        }
        if let Some((_, error)) = self.refused.get(name).filter(|(known, _)| known == key) {
            return Err(error.clone());
        }
        if let Some(other) = self.slow.get(&key.fingerprint) {
            return Err(BindError::NotAsked(other.to_string()));
        }
        let before = self.made.get(name).and_then(|(_, bound)| bound.as_ref().ok());
        let bound = make(name, spec, plugin, &key.contents, before).map_err(|it| asked.placed(it));
        if let Err(BindError::Call(CallError::Deadline { .. })) = bound {
            self.slow.insert(key.fingerprint.clone(), name.clone());
        }
        bound
    }
}

/// Whether all plugins said yes or no, from good to bad.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unsettled {
    /// All did.
    #[default]
    Nothing,
    /// One failed, as it may not the next time.
    Failed,
    /// One was not asked, since it had kept everything waiting for another middleware.
    NotAsked,
}

fn make(
    name: &ObjectName,
    spec: &MiddlewareSpec,
    plugin: &Arc<dyn MiddlewarePlugin>,
    contents: &[Content],
    before: Option<&Arc<Middleware>>,
) -> Result<Arc<Middleware>, BindError> {
    let contents: Vec<_> = contents.iter().map(|(_, content)| content.clone()).collect();
    let mut interest = plugin.bind(&name.to_string(), &spec.config, &contents, spec.time_limit)?;
    if let Some(before) = before {
        interest.go_on(&before.interest);
    }
    Ok(Arc::new(Middleware {
        name: name.clone(),
        plugin: plugin.name().into(),
        interest,
        on_failure: spec.on_failure,
    }))
}

/// The plugin that a middleware is a use of.
pub(super) fn plugin<'a>(
    spec: &MiddlewareSpec,
    plugins: &'a [Arc<dyn MiddlewarePlugin>],
) -> Option<&'a Arc<dyn MiddlewarePlugin>> {
    let find = |wanted: &str| plugins.iter().find(|plugin| fold(plugin.name()) == wanted);
    let wanted = fold(spec.plugin.as_deref()?);
    if let Some(own) = own::plugin(&wanted) {
        return Some(own);
    }
    // Traefik 3 still knows it by both names.
    find(&wanted).or_else(|| find("ipallowlist").filter(|_| wanted == "ipwhitelist"))
}

/// One whose options were refused, disabled.
pub(super) fn refuse(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    error: &BindError,
) -> (MiddlewareEntry, Vec<Problem>) {
    let problems = refused(name, object, error);
    (entry(name, object, object.spec.config.clone(), None, &problems), problems)
}

fn refused(name: &ObjectName, object: &Object<MiddlewareSpec>, error: &BindError) -> Vec<Problem> {
    let problem = |message: String| {
        Problem::error(&*name.provider, &*object.origin, message).at(object.spec.pointer.clone())
    };
    let about_plugin = |what: &dyn fmt::Display| {
        let plugin = object.spec.plugin.as_deref().unwrap_or_default();
        vec![problem(format!("plugin `{plugin}` {what}"))]
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
        BindError::Call(failure) => about_plugin(failure),
        BindError::NotAsked(_) => about_plugin(error),
        BindError::Refused(reason) => vec![problem(reason.clone())],
    }
}

pub(super) fn entry(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    config: Arc<Value>,
    live: Option<Arc<Middleware>>,
    problems: &[Problem],
) -> MiddlewareEntry {
    let mut errors = object.shown_doubts();
    if live.is_some() {
        errors.extend(problems.iter().map(|problem| problem.message.clone()));
    }
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
        plugin: object.spec.plugin.as_deref().unwrap_or_default().into(),
        config,
        live,
        chain: None,
    }
}
