//! Middlewares: bound to their plugins, or drawn where they are chains, and told of where they cannot be.

use super::{
    super::{
        bind,
        chain::{self, Among},
        complaints::Plaintiff,
        merge::Object,
        own,
        unplugged::{self, Lack},
    },
    Board, Different, Turn, each_once, replace,
};
use crate::{declare::MiddlewareSpec, name::ObjectName, snapshot::HasEntry as _};

impl Turn<'_> {
    /// `is_news`: a provider was heard for the first time.
    pub(super) fn make_middlewares(
        &mut self,
        names: Vec<ObjectName>,
        is_news: bool,
        dirty: &mut Vec<ObjectName>,
    ) {
        let mut different = Different::default();
        let mut changes = Vec::new();
        for name in each_once(names) {
            let (bindings, supply) = (&mut *self.bindings, &self.supply);
            bindings.begin_anew(&name);
            let takes = |spec: &MiddlewareSpec| match chain::declared(spec) {
                Some(declared) => declared.is_ok(),
                None => bindings.takes(&name, spec, supply),
            };
            let (object, problems) = self.board.objects.middleware(&name, takes);
            self.board.complaints.set(|| Plaintiff::DeclaredMiddleware(name.clone()), problems);
            self.note_lack(&name, object.as_ref());
            let chain = object.as_ref().and_then(|object| chain::declared(&object.spec));
            let (entry, problems) = match (&object, chain) {
                (Some(object), Some(Ok(declared))) => {
                    let board = &mut *self.board;
                    // It is drawn when the others are there; until then its name is.
                    if board.middlewares.get(&name).is_none() {
                        changes.push((name.clone(), Some(chain::placeholder(&name, object))));
                    }
                    different.names.push(name.clone());
                    self.bindings.forget(&name);
                    board.complaints.set(|| Plaintiff::Middleware(name.clone()), Vec::new());
                    board.chains.insert(name, object.with(declared));
                    continue;
                }
                (Some(object), Some(Err(error))) => bind::refuse(&name, object, &error).into(),
                (Some(object), None) => self.bindings.bind(&name, object, &self.supply).into(),
                (None, _) => None,
            }
            .unzip();
            let Board { chains, complaints, objects, .. } = &mut *self.board;
            if chains.remove(&name) {
                complaints.set(|| Plaintiff::Chain(name.clone()), Vec::new());
                different.names.push(name.clone());
            }
            let problems = problems.unwrap_or_default().into_iter();
            let placed = problems.map(|it| objects.placed(&name, it)).collect();
            complaints.set(|| Plaintiff::Middleware(name.clone()), placed);
            if entry.is_none() {
                self.bindings.forget(&name);
            }
            changes.push((name, entry));
        }
        let board = &mut *self.board;
        let directory = &mut board.directories.middlewares;
        let replaced = replace(&mut board.middlewares, changes, directory, self.providers, dirty);
        different.names.extend(replaced.names);
        different.is_other_set = replaced.is_other_set;
        self.draw_chains(&mut different, is_news, dirty);
    }

    /// Chains that were declared anew, or whose members are different.
    fn draw_chains(
        &mut self,
        different: &mut Different,
        is_news: bool,
        dirty: &mut Vec<ObjectName>,
    ) {
        let Board { chains, middlewares, directories, complaints, objects, .. } = &mut *self.board;
        let directory = &mut directories.middlewares;
        let (providers, sources) = (self.providers, self.inputs.sources.as_slice());
        let mut changes = Vec::new();
        for name in chains.affected(different, is_news) {
            let among = Among { middlewares, directory, providers, sources };
            let Some(mut drawn) = chains.draw(&name, among) else { continue };
            drawn.place(|problem| objects.placed(&name, problem));
            let (entry, is_linked_anew) = chains.note(&name, drawn);
            if is_linked_anew && let Some(known) = middlewares.get(&name) {
                dirty.extend(known.entry().used_by.keys().cloned());
            }
            // Where it lacks something that is told with its users.
            complaints.set(|| Plaintiff::Chain(name.clone()), Vec::new());
            changes.push((name, Some(entry)));
        }
        replace(middlewares, changes, directory, providers, dirty);
    }

    /// A middleware is declared, or not any more: notes whether its plugin is not there.
    fn note_lack(&mut self, name: &ObjectName, object: Option<&Object<MiddlewareSpec>>) {
        let Board { unplugged, objects, .. } = &mut *self.board;
        let plugins = self.supply.plugins;
        let is_lacking = |spec: &MiddlewareSpec| {
            let is_ours = || chain::declared(spec).is_some();
            spec.plugin.is_some() && bind::plugin(spec, plugins).is_none() && !is_ours()
        };
        match object.filter(|object| is_lacking(&object.spec)) {
            Some(object) => {
                let known = plugins.iter().map(|plugin| plugin.name()).chain(own::NAMES);
                let problem = objects.placed(name, unplugged::problem(name, object, known));
                unplugged.insert(name.clone(), Lack { problem, is_mistake: true });
            }
            None => drop(unplugged.remove(name)),
        }
    }

    /// What middlewares lack. They are few, and who uses them may be others now.
    pub(super) fn look_at_lacks(&mut self) {
        let Board { unplugged, chains, middlewares, complaints, .. } = &mut *self.board;
        for (name, lack) in unplugged.iter() {
            let Some(entry) = middlewares.get(name) else { continue };
            let problem = unplugged::used(lack, entry);
            complaints.set(|| Plaintiff::Middleware(name.clone()), vec![problem]);
        }
        for (name, lacks) in chains.lacks() {
            let Some(entry) = middlewares.get(name) else { continue };
            let problems = lacks.iter().map(|lack| unplugged::used(lack, entry)).collect();
            complaints.set(|| Plaintiff::Chain(name.clone()), problems);
        }
    }
}
