//! Middlewares: bound to their plugins, and told of where they cannot be.

use super::{
    super::{bind, complaints::Plaintiff, unplugged},
    Board, Turn, each_once, replace,
};
use crate::{declare::MiddlewareSpec, name::ObjectName};

impl Turn<'_> {
    pub(super) fn make_middlewares(&mut self, names: Vec<ObjectName>, dirty: &mut Vec<ObjectName>) {
        let board = &mut *self.board;
        let mut changes = Vec::new();
        for name in each_once(names) {
            let (bindings, supply) = (&mut *self.bindings, &self.supply);
            bindings.begin_anew(&name);
            let takes = |it: &MiddlewareSpec| bindings.takes(&name, it, supply);
            let (object, problems) = board.objects.middleware(&name, takes);
            board.complaints.set(|| Plaintiff::DeclaredMiddleware(name.clone()), problems);
            let made = object.as_ref().map(|object| bindings.bind(&name, object, supply));
            let (entry, problems) = made.unzip();
            let problems = problems.unwrap_or_default().into_iter();
            let placed = problems.map(|it| board.objects.placed(&name, it)).collect();
            board.complaints.set(|| Plaintiff::Middleware(name.clone()), placed);
            if entry.is_none() {
                bindings.forget(&name);
            }
            let plugins = supply.plugins;
            let lacking = object.filter(|object| {
                object.spec.plugin.is_some() && bind::plugin(&object.spec, plugins).is_none()
            });
            match lacking {
                Some(object) => {
                    let known = plugins.iter().map(|plugin| plugin.name());
                    let problem = unplugged::problem(&name, &object, known);
                    let problem = board.objects.placed(&name, problem);
                    board.unplugged.insert(name.clone(), problem);
                }
                None => drop(board.unplugged.remove(&name)),
            }
            changes.push((name, entry));
        }
        let directory = &mut board.directories.middlewares;
        replace(&mut board.middlewares, changes, directory, self.providers, dirty);
    }

    /// They are few, and who uses them may be others now.
    pub(super) fn look_at_unplugged(&mut self) {
        let Board { unplugged, middlewares, complaints, .. } = &mut *self.board;
        for (name, problem) in unplugged.iter() {
            let Some(entry) = middlewares.get(name) else { continue };
            let problem = unplugged::used(problem, entry);
            complaints.set(|| Plaintiff::Middleware(name.clone()), vec![problem]);
        }
    }
}
