//! Chains: middlewares that stand for others, in their order (Traefik's `chain`).
//!
//! **Invariant:** what a chain comes to follows from what is declared, whichever chain is looked at
//! first. A member that is missing or does not work is closed in its place, and in a circle the place
//! where it closes: whoever uses such a chain lets nobody past it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use hashbrown::HashMap;
use serde_json::json;

use super::{
    bind,
    merge::Object,
    own,
    parts::{Compounds, Different, Whole},
    resolve::{Directory, End, Link, Missing, Provider},
    unplugged::Lack,
};
use crate::{
    catalog::Source,
    declare::{self, ChainSpec, MiddlewareSpec},
    middleware::Middleware,
    name::{ObjectName, fold},
    port::BindError,
    problem::Problem,
    roll::Roll,
    snapshot::{Entries, Entry, MiddlewareEntry, Status},
};

/// Nobody means more middlewares than these for one request, chains counted as well: two chains of which
/// each names the other kind twice would come to any number.
const MOST: usize = 256;

/// A chain as declared, with the place of its options.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    spec: ChainSpec,
    /// The word for it, as written.
    word: Arc<str>,
    /// JSON Pointer to its options.
    options: String,
}

/// All chains.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    declared: Compounds<Declared>,
    /// What each comes to refer to, through the chains within it.
    links: HashMap<ObjectName, Arc<[Link]>>,
    /// What is wrong with those that are not whole.
    lacks: BTreeMap<ObjectName, Vec<Lack>>,
}

/// Where the members of chains are looked for.
#[derive(Clone, Copy)]
pub(super) struct Among<'a> {
    pub(super) middlewares: &'a Entries<MiddlewareEntry>,
    pub(super) directory: &'a Directory,
    pub(super) providers: &'a [Provider],
    pub(super) sources: &'a [Arc<Source>],
}

/// What a chain comes to.
pub(super) struct Drawn {
    pub(super) entry: MiddlewareEntry,
    links: Arc<[Link]>,
    lacks: Vec<Lack>,
    is_lacking: bool,
}

impl Whole for Declared {
    fn parts(&self) -> Vec<&str> {
        self.spec.members.iter().map(String::as_str).collect()
    }
}

impl Drawn {
    /// Says where its problems are.
    pub(super) fn place(&mut self, placed: impl Fn(Problem) -> Problem) {
        for lack in &mut self.lacks {
            lack.problem = placed(lack.problem.clone());
        }
    }
}

/// What is told of a chain before it is drawn.
pub(super) fn placeholder(name: &ObjectName, object: &Object<MiddlewareSpec>) -> MiddlewareEntry {
    let mut entry = bind::entry(name, object, object.spec.config.clone(), None, &[]);
    entry.chain = Some(Arc::new([]));
    entry
}

/// The chain that a middleware is, if it is one.
pub(super) fn declared(spec: &MiddlewareSpec) -> Option<Result<Declared, BindError>> {
    let word = spec.plugin.as_deref().filter(|word| fold(word) == "chain")?;
    let declared =
        |chain| Declared { spec: chain, word: word.into(), options: spec.pointer.clone() };
    Some(declare::chain(&spec.config).map(declared).map_err(own::refused))
}

impl Chains {
    /// What a chain refers to, itself and through others; of what is none, nothing.
    pub(super) fn links(&self, name: &ObjectName) -> Arc<[Link]> {
        static NONE: LazyLock<Arc<[Link]>> = LazyLock::new(|| Arc::new([]));
        self.links.get(name).unwrap_or(&NONE).clone()
    }

    pub(super) fn insert(&mut self, name: ObjectName, object: Object<Declared>) {
        self.declared.insert(name, object);
    }

    /// Answers whether it was one.
    pub(super) fn remove(&mut self, name: &ObjectName) -> bool {
        self.links.remove(name);
        self.lacks.remove(name);
        self.declared.remove(name)
    }

    /// Those that may come to something else. `is_news`: a provider was heard for the first time, so
    /// what is not there may be a mistake now.
    pub(super) fn affected(
        &self,
        different: &mut Different,
        is_news: bool,
    ) -> BTreeSet<ObjectName> {
        if is_news {
            different.names.extend(self.declared.lacking().cloned());
        }
        self.declared.affected(different)
    }

    /// What those are that are not whole, and why.
    pub(super) fn lacks(&self) -> impl Iterator<Item = (&ObjectName, &[Lack])> {
        self.lacks.iter().map(|(name, lacks)| (name, lacks.as_slice()))
    }

    /// What a chain comes to.
    pub(super) fn draw(&self, name: &ObjectName, among: Among<'_>) -> Option<Drawn> {
        let object = self.declared.get(name)?;
        let mut draft = Draft {
            chains: self,
            among,
            steps: Vec::new(),
            links: Vec::new(),
            errors: object.shown_doubts(),
            lacks: Vec::new(),
            fault: None,
            is_lacking: false,
            left: MOST,
        };
        draft.add(object, &mut vec![name.clone()]);
        Some(draft.drawn(name, object))
    }

    /// Takes over what a chain comes to. Answers its entry, and whether it refers to others than before.
    pub(super) fn note(&mut self, name: &ObjectName, drawn: Drawn) -> (MiddlewareEntry, bool) {
        let Drawn { entry, links, lacks, is_lacking } = drawn;
        self.declared.note(name, None, is_lacking);
        match lacks.is_empty() {
            true => drop(self.lacks.remove(name)),
            false => drop(self.lacks.insert(name.clone(), lacks)),
        }
        let before = self.links.insert(name.clone(), links.clone());
        (entry, before.is_none_or(|before| before != links))
    }
}

/// A chain that is drawn.
struct Draft<'a> {
    chains: &'a Chains,
    among: Among<'a>,
    steps: Vec<Arc<Middleware>>,
    links: Vec<Link>,
    errors: Vec<String>,
    lacks: Vec<Lack>,
    /// What is wrong with the chain itself.
    fault: Option<String>,
    is_lacking: bool,
    /// How many more there may be.
    left: usize,
}

impl Draft<'_> {
    /// Adds the members of the chain at the end of the path, which leads there through those that hold it.
    fn add(&mut self, object: &Object<Declared>, path: &mut Vec<ObjectName>) {
        let Some(whole) = path.last().cloned() else { return };
        for (place, reference) in object.spec.spec.members.iter().enumerate() {
            let Some(left) = self.left.checked_sub(1) else {
                self.close(&whole);
                return self.fault(path, format!("comes to more than {MOST} middlewares"));
            };
            self.left = left;
            let Among { middlewares, directory, providers, .. } = self.among;
            let link = directory.resolve(reference, &whole, providers);
            match &link.end {
                End::There(found) => match self.chains.declared.get(found) {
                    Some(inner) if !path.contains(found) => {
                        path.push(found.clone());
                        self.add(inner, path);
                        path.pop();
                    }
                    Some(_) => self.close_circle(found, path),
                    None => self.add_plain(found, middlewares.get(found), path),
                },
                End::Missing(missing) => {
                    let lack = || lack(self.among, missing, &whole, object, place);
                    self.lacks.extend((path.len() == 1).then(lack));
                    self.is_lacking = true;
                    let looked = &missing.looked;
                    self.complain(format!("there is no middleware `{looked}`"), path);
                    self.close(looked);
                }
            }
            self.links.push(link);
        }
    }

    fn add_plain(
        &mut self,
        found: &ObjectName,
        entry: Option<&MiddlewareEntry>,
        path: &[ObjectName],
    ) {
        match entry.and_then(|entry| entry.live.clone()) {
            Some(live) => self.steps.push(live),
            None => {
                self.complain(format!("middleware `{found}` is not in working order"), path);
                self.close(found);
            }
        }
    }

    /// A chain on the path is met again.
    fn close_circle(&mut self, found: &ObjectName, path: &[ObjectName]) {
        self.close(found);
        if path.first() != Some(found) {
            return self.complain(format!("the chain `{found}` contains itself"), &[]);
        }
        let names: Vec<_> =
            path.iter().chain([found]).map(|name| format!("`{}`", name.name)).collect();
        self.fault(path, format!("contains itself: {}", names.join(" → ")));
    }

    /// Nobody comes past this place.
    fn close(&mut self, name: &ObjectName) {
        self.steps.push(Arc::new(Middleware::closed(name.clone())));
    }

    /// Something is wrong with a member of the chain at the end of the path.
    fn complain(&mut self, message: String, path: &[ObjectName]) {
        let error = match path {
            [_, .., within] => format!("{message}, which is in the chain `{within}`"),
            _ => message,
        };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Something is wrong with the chain itself, which is the first of the path. Of several such things one
    /// is told.
    fn fault(&mut self, path: &[ObjectName], what: String) {
        let (Some(name), None) = (path.first(), &self.fault) else { return };
        self.errors.push(format!("it {what}"));
        self.fault = Some(format!("chain `{}` {what}", name.name));
    }

    fn drawn(mut self, name: &ObjectName, object: &Object<Declared>) -> Drawn {
        let Declared { spec, word, .. } = &object.spec;
        if let Some(message) = self.fault.take() {
            let problem = Problem::error(&*name.provider, &*object.origin, message);
            self.lacks.push(Lack { problem: problem.at(place(object, None)), is_mistake: true });
        }
        let Among { directory, providers, .. } = self.among;
        let members = spec.members.iter().map(|reference| {
            match directory.resolve(reference, name, providers).end {
                End::There(found) => found.to_string(),
                End::Missing(missing) => missing.looked.to_string(),
            }
        });
        let config = json!({ "middlewares": members.collect::<Vec<_>>() });
        let status = match (self.steps.iter().any(|it| it.is_closed()), self.errors.is_empty()) {
            (true, _) => Status::Disabled,
            (false, false) => Status::Warning,
            (false, true) => Status::Enabled,
        };
        let entry = Entry {
            name: name.clone(),
            origin: object.origin.clone(),
            status,
            errors: self.errors,
            used_by: Roll::default(),
        };
        let chain = Some(self.steps.into());
        let config = Arc::new(config);
        let entry = MiddlewareEntry { entry, plugin: word.clone(), config, live: None, chain };
        let (links, lacks) = (self.links.into(), self.lacks);
        Drawn { entry, links, lacks, is_lacking: self.is_lacking }
    }
}

/// A member of a chain is not there.
fn lack(
    among: Among<'_>,
    missing: &Missing,
    whole: &ObjectName,
    object: &Object<Declared>,
    number: usize,
) -> Lack {
    let Among { directory, providers, sources, .. } = among;
    let (looked, within) = (&missing.looked, &whole.name);
    let message = format!("there is no middleware `{looked}`, which is in the chain `{within}`");
    let problem = Problem::warning(&*whole.provider, &*object.origin, message);
    let mut problem = problem.at(place(object, Some(number)));
    problem.hint = directory.work_out(missing, providers);
    Lack { problem, is_mistake: directory.is_mistake(missing, whole, providers, sources) }
}

/// JSON Pointer to the list of members, or to one of them.
fn place(object: &Object<Declared>, number: Option<usize>) -> String {
    let Declared { spec, options, .. } = &object.spec;
    let number = number.map(|number| format!("/{number}")).unwrap_or_default();
    format!("{options}{}{number}", spec.pointer)
}
