//! Routers: made anew, put into the tables of their entrypoints, and compared with each other.

use std::sync::Arc;

use super::{
    super::{
        complaints::Plaintiff,
        likeness::Likeness,
        overlap::{Grievance, Grievances, Standing},
        routers::{self, Links, RulePriority, Rules, Surroundings},
    },
    Board, Turn, each_once,
};
use crate::{
    declare::RouterSpec,
    matcher::MatcherSet,
    name::ObjectName,
    problem::Problem,
    route::{Precedence, Ranking},
    snapshot::RouterEntry,
};

/// A router that is different now.
pub(super) struct Moved {
    /// The hosts that lead to it, before and after.
    hosts: [Arc<[String]>; 2],
    before: Option<Standing>,
    after: Option<Standing>,
}

impl Moved {
    /// The hosts that lead to it, and the entrypoints that it is on, before and after.
    pub(super) fn hosts(&self) -> [(&[String], &[Arc<str>]); 2] {
        let [before, after] = &self.hosts;
        [(before, &self.before), (after, &self.after)].map(|(hosts, standing)| {
            (&**hosts, standing.as_ref().map_or(&[][..], |it| &it.router.entrypoints))
        })
    }
}

impl Turn<'_> {
    pub(super) fn make_routers(&mut self, names: Vec<ObjectName>) -> Vec<Moved> {
        let names = each_once(names);
        let mut changes = Vec::with_capacity(names.len());
        let mut moved = Vec::with_capacity(names.len());
        if self.board.routers.is_empty() {
            self.board.make_room(names.len());
            self.rules.make_room(names.len());
        }
        let providers: Vec<_> = self.providers.iter().map(|(name, _)| name.clone()).collect();
        let by_specificity = self.inputs.rule_priority == RulePriority::Specificity;
        let ranking = Ranking { providers: &providers, by_specificity };
        let placed = |entry: &RouterEntry| {
            let router = entry.live.clone()?;
            let place = Arc::new(Precedence::of(&router, ranking));
            Some(Standing { place, router, origin: entry.entry.origin.clone() })
        };
        for name in names {
            let (entry, links) = self.make_router(&name).unzip();
            let board = &mut *self.board;
            board.relink(&name, links.unwrap_or_default());
            let known = board.routers.get(&name);
            if known.is_none() && entry.is_none()
                || known.zip(entry.as_ref()).is_some_and(|(one, two)| one.is_like(two))
            {
                continue;
            }
            let hosts = |entry: Option<&RouterEntry>| {
                let live = entry.filter(|entry| entry.live.is_some());
                live.map(|entry| entry.hosts.clone()).unwrap_or_default()
            };
            moved.push(Moved {
                hosts: [hosts(known), hosts(entry.as_ref())],
                before: known.and_then(&placed),
                after: entry.as_ref().and_then(&placed),
            });
            changes.push((name, entry));
        }
        self.board.routers.update(changes);
        moved
    }

    /// The router of this name, if there is one.
    fn make_router(&mut self, name: &ObjectName) -> Option<(RouterEntry, Links)> {
        let Board {
            objects, directories, middlewares, chains, services, routers, complaints, ..
        } = &mut *self.board;
        let is_sound = sound(self.rules, &mut self.set, self.matchers);
        let (object, problems) = objects.router(name, is_sound);
        complaints.set(|| Plaintiff::DeclaredRouter(name.clone()), problems);
        let known = routers.get(name).map(|entry| entry.rule.clone());
        let made = object.map(|object| {
            let text = object.spec.rule.as_deref().unwrap_or_default();
            let rule = known.clone().filter(|known| **known == *text);
            let rule = rule.unwrap_or_else(|| text.into());
            let (set, matchers) = (&mut self.set, &mut self.matchers);
            let meaning = self.rules.use_one(&rule, || set.get_or_insert_with(|| (matchers)().0));
            let surroundings = Surroundings {
                entrypoints: &self.inputs.entrypoints,
                providers: self.providers,
                sources: &self.inputs.sources,
                rule_priority: self.inputs.rule_priority,
                services,
                middlewares,
                chains,
                departed: &self.previous.departed_routers,
            };
            let before = self.previous.routers.get(name).and_then(|entry| entry.live.as_ref());
            routers::make(name, &object, (rule, meaning), &surroundings, directories, before)
        });
        if let Some(rule) = known {
            self.rules.drop_one(&rule);
        }
        let (entry, problems) = match made {
            Some(made) => (Some((made.entry, made.links)), made.problems),
            None => (None, Vec::new()),
        };
        complaints.set(|| Plaintiff::Router(name.clone()), problems);
        entry
    }

    pub(super) fn move_in_tables(&mut self, moved: &[Moved]) {
        let mut changes = vec![Vec::new(); self.board.tables.len()];
        for Moved { before, after, .. } in moved {
            for ((entrypoint, _), changes) in self.board.tables.iter().zip(&mut changes) {
                let is_here = |it: &&Standing| it.router.entrypoints.contains(entrypoint);
                let before = before.as_ref().filter(is_here);
                let after = after.as_ref().filter(is_here);
                if let Some(Standing { place, .. }) = before
                    && after.is_none_or(|after| after.place != *place)
                {
                    changes.push((place.clone(), None));
                }
                if let Some(Standing { place, router, .. }) = after {
                    changes.push((place.clone(), Some(router.clone())));
                }
            }
        }
        for ((_, table), changes) in self.board.tables.iter_mut().zip(changes) {
            table.update(changes);
        }
    }

    /// Notes routers that stand in each other's way.
    pub(super) fn compare(&mut self, moved: &[Moved]) {
        let mut grievances = Grievances::default();
        let overlaps = &mut self.board.overlaps;
        for Moved { before, after, .. } in moved {
            let (before, after) = (before.as_ref(), after.as_ref());
            overlaps.replace(self.inputs.rule_priority, before, after, &mut grievances);
        }
        overlaps.check(self.inputs.rule_priority, &mut grievances);
        for (name, grievance) in grievances.alike {
            let problems = self.grieve(&name, grievance);
            self.board.complaints.set(|| Plaintiff::Alike(name), problems);
        }
        for (name, grievance) in grievances.hidden {
            let problems = self.grieve(&name, grievance);
            self.board.complaints.set(|| Plaintiff::Hidden(name), problems);
        }
    }

    fn grieve(&mut self, name: &ObjectName, grievance: Grievance) -> Vec<Problem> {
        let Some((message, hint)) = grievance else { return Vec::new() };
        let is_sound = sound(self.rules, &mut self.set, self.matchers);
        let (Some(object), _) = self.board.objects.router(name, is_sound) else {
            return Vec::new();
        };
        let message = format!("router `{}`: {message}", name.name);
        let problem = Problem::warning(&*name.provider, &*object.origin, message).hint(hint);
        vec![match object.pointer.as_str() {
            "" => problem,
            pointer => problem.at(format!("{pointer}/rule")),
        }]
    }
}

/// Whether a router works as it is declared.
fn sound<'a>(
    rules: &'a mut Rules,
    set: &'a mut Option<MatcherSet>,
    matchers: &'a mut dyn FnMut() -> (MatcherSet, Vec<Problem>),
) -> impl FnMut(&RouterSpec) -> bool + 'a {
    |spec| {
        let rule: Arc<str> = spec.rule.as_deref().unwrap_or_default().into();
        let meaning = rules.use_one(&rule, || set.get_or_insert_with(|| matchers().0));
        rules.drop_one(&rule);
        !spec.is_doubtful && meaning.is_ok()
    }
}
