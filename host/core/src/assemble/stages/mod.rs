//! The stages of one turn: from what is different in the sources to the next snapshot.

mod departed;
mod middlewares;
mod names;
mod routers;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    Inputs,
    bind::Bindings,
    chain::Chains,
    complaints::{Complaints, Plaintiff},
    compound::{Draft, Parts, compose},
    contents::Supply,
    likeness::Likeness,
    merge::{Object, Objects, ServiceObject, Touched},
    overlap::Overlaps,
    parts::{Compounds, Different},
    resolve::{CONFIG, Directory, End, Link, Provider},
    routers::{Directories, Links, Rules},
    services::{self, NoWay, Way, Why},
    unplugged::Lack,
};
use crate::{
    catalog::Source,
    declare::KindSpec,
    matcher::MatcherSet,
    name::ObjectName,
    policy::Transport,
    problem::Problem,
    route::RouteTable,
    snapshot::{Entries, MiddlewareEntry, RouterEntry, ServiceEntry, Snapshot},
    zone::{DnsConfig, Registry},
};

/// Everything as it stands, stage by stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    sources: Vec<Arc<Source>>,
    objects: Objects,
    directories: Directories,
    /// Those that cannot be used with the reason.
    transports: HashMap<ObjectName, Result<Way, Arc<str>>>,
    /// The transports that services name.
    ways: HashMap<ObjectName, Link>,
    compounds: Compounds<ServiceObject>,
    middlewares: Entries<MiddlewareEntry>,
    /// What is wrong with those whose plugin is not there.
    unplugged: BTreeMap<ObjectName, Lack>,
    chains: Chains,
    services: Entries<ServiceEntry>,
    routers: Entries<RouterEntry>,
    links: HashMap<ObjectName, Links>,
    tables: Vec<(Arc<str>, RouteTable)>,
    /// What names were made for.
    dns: Option<DnsConfig>,
    registry: Registry,
    overlaps: Overlaps,
    complaints: Complaints,
}

impl Board {
    /// The services that are looked for at a provider in vain, by routers that name it.
    pub(super) fn missing_services(&self, provider: &str) -> impl Iterator<Item = &str> {
        self.directories.services.missing_at(provider)
    }

    /// The same for middlewares.
    pub(super) fn missing_middlewares(&self, provider: &str) -> impl Iterator<Item = &str> {
        self.directories.middlewares.missing_at(provider)
    }

    /// Nothing but a frame.
    pub(super) fn new(inputs: &Inputs) -> Self {
        let sources = inputs.sources.iter();
        let empty = |source: &Arc<Source>| {
            Arc::new(Source::new(source.provider.clone(), source.plugin.clone()))
        };
        let tables = inputs.entrypoints.iter();
        Self {
            sources: sources.map(empty).collect(),
            tables: tables.map(|it| (it.name.clone(), RouteTable::default())).collect(),
            ..Self::default()
        }
    }

    /// The first routers are many.
    fn make_room(&mut self, routers: usize) {
        self.links.reserve(routers);
        self.overlaps.make_room(routers);
    }

    /// A router refers to these now.
    fn relink(&mut self, name: &ObjectName, after: Links) {
        let nothing = Links::default();
        let before = self.links.get(name).unwrap_or(&nothing);
        if *before == after {
            return;
        }
        let Directories { services, middlewares, .. } = &mut self.directories;
        services.relink(name, &before.service, &after.service);
        middlewares.relink(name, &before.middlewares, &after.middlewares);
        note_uses(&mut self.services, name, &before.service, &after.service);
        note_uses(&mut self.middlewares, name, &before.middlewares, &after.middlewares);
        match after == nothing {
            true => drop(self.links.remove(name)),
            false => drop(self.links.insert(name.clone(), after)),
        }
    }
}

/// One turn.
pub(super) struct Turn<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) providers: &'a [Provider],
    /// Has what is to keep its identity.
    pub(super) previous: &'a Snapshot,
    pub(super) board: &'a mut Board,
    pub(super) bindings: &'a mut Bindings,
    pub(super) supply: Supply<'a>,
    /// Middlewares whose files are not as they were.
    pub(super) stale: Vec<ObjectName>,
    pub(super) rules: &'a mut Rules,
    /// Gathers the matchers of all plugins, if a rule is to be compiled.
    pub(super) matchers: &'a mut dyn FnMut() -> (MatcherSet, Vec<Problem>),
    pub(super) set: Option<MatcherSet>,
}

impl Turn<'_> {
    /// Two plugins may have matchers of one name.
    pub(super) fn complain_of_matchers(&mut self) {
        let (set, duplicates) = (self.matchers)();
        self.set = Some(set);
        self.board.complaints.set(|| Plaintiff::Matchers, duplicates);
    }

    /// Takes in the inputs, and makes the next snapshot.
    pub(super) fn take(mut self, generation: u64) -> Snapshot {
        let before = self.board.sources.clone();
        let mut touched = self.take_sources();
        touched.middlewares.append(&mut self.stale);
        let mut dirty = mem::take(&mut touched.routers);
        let news = self.news(&before);
        dirty.extend(self.surprised(&news));
        self.make_middlewares(touched.middlewares, !news.is_empty(), &mut dirty);
        self.make_transports(touched.transports, &mut touched.services);
        self.make_services(touched.services, &mut dirty);
        self.look_at_entrypoints();
        self.look_at_default_transport();
        let moved = self.make_routers(dirty);
        self.look_at_lacks();
        self.move_in_tables(&moved);
        self.compare(&moved);
        let zones = self.name_all(&before, &moved, generation);
        let board = self.board;
        let mut snapshot = Snapshot {
            generation,
            tables: board.tables.clone(),
            zones,
            routers: board.routers.clone(),
            services: board.services.clone(),
            middlewares: board.middlewares.clone(),
            sources: board.sources.clone(),
            problems: board.complaints.all(),
            ..Snapshot::default()
        };
        [snapshot.departed_routers, snapshot.departed_services] =
            departed::departed(self.previous, &snapshot);
        snapshot
    }

    /// The providers that are heard for the first time.
    fn news(&self, before: &[Arc<Source>]) -> Vec<Arc<str>> {
        let sources = before.iter().zip(&self.board.sources);
        let news = sources.filter(|(before, after)| after.synced && !before.synced);
        news.map(|(_, source)| source.provider.clone()).collect()
    }

    /// Routers that refer to what these providers do not have, of which nobody knew before they were heard.
    fn surprised(&self, news: &[Arc<str>]) -> Vec<ObjectName> {
        let Directories { services, middlewares, .. } = &self.board.directories;
        news.iter()
            .flat_map(|provider| {
                let mut waiting = services.waiting_for(provider, self.providers);
                waiting.extend(middlewares.waiting_for(provider, self.providers));
                waiting
            })
            .collect()
    }

    /// They are few, and what they refer to may have come or gone.
    fn look_at_entrypoints(&mut self) {
        let Board { directories, complaints, .. } = &mut *self.board;
        for entrypoint in self.inputs.entrypoints.iter().filter(|it| !it.middlewares.is_empty()) {
            let problems = entrypoint.problems(&directories.middlewares, self.providers);
            complaints.set(|| Plaintiff::Entrypoint(entrypoint.name.clone()), problems);
        }
    }

    /// The transport of services that name none is told once, not for each of them.
    fn look_at_default_transport(&mut self) {
        let Some(reference) = &self.inputs.default_transport else { return };
        let Board { directories, complaints, .. } = &mut *self.board;
        let directory = &directories.transports;
        let link = resolve_default(reference, directory, self.providers);
        let problems = match link.end {
            End::There(_) => Vec::new(),
            End::Missing(missing) => {
                let message = format!(
                    "there is no servers-transport `{}`, so services that name none answer 503",
                    missing.looked
                );
                let origin = "default-servers-transport";
                // What another provider may have later is a warning.
                let problem = match *missing.looked.provider == *CONFIG {
                    true => Problem::error(CONFIG, origin, message),
                    false => Problem::warning(CONFIG, origin, message),
                };
                let mut problem = problem.at("/http/default-servers-transport");
                problem.hint = directory.work_out(&missing, self.providers);
                vec![problem]
            }
        };
        complaints.set(|| Plaintiff::DefaultTransport, problems);
    }

    fn take_sources(&mut self) -> Touched {
        let Board { sources, objects, complaints, .. } = &mut *self.board;
        let mut touched = Touched::default();
        for (place, (before, after)) in (0..).zip(sources.iter_mut().zip(&self.inputs.sources)) {
            if !Arc::ptr_eq(before, after) {
                objects.take(place, before, after, &mut touched, complaints);
                *before = after.clone();
            }
        }
        touched
    }

    /// Services that name one that is different now are to be made anew.
    fn make_transports(&mut self, names: Vec<ObjectName>, dirty: &mut Vec<ObjectName>) {
        let board = &mut *self.board;
        let directory = &mut board.directories.transports;
        for name in each_once(names) {
            let (object, problems) = board.objects.transport(&name);
            board.complaints.set(|| Plaintiff::DeclaredTransport(name.clone()), problems);
            let way = object.map(|object| object.spec.map(Transport::numbered));
            dirty.extend(match (board.transports.get(&name), &way) {
                (before, after) if before == after.as_ref() => Vec::new(),
                (None, _) => directory.add(&name, self.providers),
                (Some(_), None) => directory.remove(&name, self.providers),
                (Some(_), Some(_)) => directory.users(&name),
            });
            match way {
                Some(way) => drop(board.transports.insert(name, way)),
                None => drop(board.transports.remove(&name)),
            }
        }
    }

    fn make_services(&mut self, names: Vec<ObjectName>, dirty: &mut Vec<ObjectName>) {
        let names = each_once(names);
        let mut changes = Vec::with_capacity(names.len());
        if self.board.services.is_empty() {
            self.board.directories.services.make_room(names.len());
        }
        let mut different = Different::default();
        for name in names {
            let board = &mut *self.board;
            let (object, problems) = board.objects.service(&name, &board.sources);
            board.complaints.set(|| Plaintiff::DeclaredService(name.clone()), problems);
            let way = self.way(&name, object.as_ref());
            let board = &mut *self.board;
            if let Some(object) = &object
                && object.spec.kind != KindSpec::Backends
            {
                // It is made of the others when those are made; until then its name is there.
                if board.services.get(&name).is_none() {
                    changes.push((name.clone(), Some(services::entry(&name, object))));
                }
                different.names.push(name.clone());
                board.compounds.insert(name, object.clone());
                continue;
            }
            if board.compounds.remove(&name) {
                different.names.push(name.clone());
            }
            let before = self.previous.services.get(&name).and_then(|entry| entry.live.as_ref());
            let departed = &self.previous.departed_services;
            let made = object.map(|object| services::make(&name, &object, way, before, departed));
            let (entry, problems) = made.unzip();
            let problems = problems.unwrap_or_default();
            board.complaints.set(|| Plaintiff::Service(name.clone()), problems);
            changes.push((name, entry));
        }
        let board = &mut *self.board;
        let directory = &mut board.directories.services;
        let replaced = replace(&mut board.services, changes, directory, self.providers, dirty);
        different.names.extend(replaced.names);
        different.is_other_set = replaced.is_other_set;
        let affected = board.compounds.affected(&different);
        if !affected.is_empty() {
            self.compose(&affected, dirty);
        }
    }

    /// The transport that a service names.
    fn way(
        &mut self,
        name: &ObjectName,
        object: Option<&Object<ServiceObject>>,
    ) -> Result<Option<Way>, NoWay> {
        let Board { directories, transports, ways, .. } = &mut *self.board;
        let directory = &mut directories.transports;
        let has_backends = |it: &&Object<ServiceObject>| it.spec.kind == KindSpec::Backends;
        let default = self.inputs.default_transport.as_deref();
        let mut is_default = false;
        let reference = object.filter(has_backends).and_then(|object| {
            let own = object.spec.load_balancer.transport.as_deref();
            let reference;
            (reference, is_default) = services::transport_of(name, own, default)?;
            Some(match is_default {
                true => resolve_default(reference, directory, self.providers),
                false => directory.resolve(reference, name, self.providers),
            })
        });
        let before = match &reference {
            Some(link) => ways.insert(name.clone(), link.clone()),
            None => ways.remove(name),
        };
        if before != reference {
            directory.relink(name, before.as_slice(), reference.as_slice());
        }
        match reference.map(|link| link.end) {
            None => Ok(None),
            Some(End::There(found)) => match transports.get(&found).cloned().transpose() {
                Ok(way) => Ok(way),
                Err(why) => Err(NoWay { why: Why::Unusable(found, why), is_default }),
            },
            Some(End::Missing(missing)) => {
                let hint = directory.hint(&missing, self.providers);
                Err(NoWay { why: Why::Missing(missing.looked, hint), is_default })
            }
        }
    }

    /// Makes services that are made of others.
    fn compose(&mut self, affected: &BTreeSet<ObjectName>, dirty: &mut Vec<ObjectName>) {
        let board = &mut *self.board;
        let made = compose(&Parts {
            compounds: &board.compounds,
            affected,
            services: &board.services,
            directory: &board.directories.services,
            providers: self.providers,
            previous: self.previous,
        });
        let mut changes = Vec::with_capacity(made.len());
        for (name, Draft { entry, problems, height, is_lacking }) in made {
            board.compounds.note(&name, entry.live.as_ref().map(|_| height), is_lacking);
            board.complaints.set(|| Plaintiff::Service(name.clone()), problems);
            changes.push((name, Some(entry)));
        }
        let directory = &mut board.directories.services;
        replace(&mut board.services, changes, directory, self.providers, dirty);
    }
}

/// Where the reference of the configuration leads to the transport of services that name none.
fn resolve_default(reference: &str, transports: &Directory, providers: &[Provider]) -> Link {
    transports.resolve(reference, &ObjectName::new("", CONFIG), providers)
}

/// Puts in what was made anew. Routers that have to do with what is now different are dirty.
/// Answers what is different.
fn replace<T: Likeness>(
    entries: &mut Entries<T>,
    made: Vec<(ObjectName, Option<T>)>,
    directory: &mut Directory,
    providers: &[Provider],
    dirty: &mut Vec<ObjectName>,
) -> Different {
    let mut changes = Vec::with_capacity(made.len());
    let mut different = Different::default();
    for (name, entry) in made {
        let known = entries.get(&name);
        match (known, &entry) {
            (None, None) => continue,
            (None, Some(_)) => dirty.extend(directory.add(&name, providers)),
            (Some(_), None) => dirty.extend(directory.remove(&name, providers)),
            (Some(one), Some(two)) if one.is_like(two) => continue,
            (Some(one), Some(two)) => {
                // Who uses what does not work tells why.
                let is_other_lack =
                    two.live().is_none() && one.entry().errors != two.entry().errors;
                if !one.does_the_same(two) || is_other_lack {
                    dirty.extend(one.entry().used_by.keys().cloned());
                }
            }
        }
        different.is_other_set |= known.is_some() != entry.is_some();
        different.names.push(name.clone());
        let used_by = known.map(|known| known.entry().used_by.clone());
        let entry = entry.map(|mut entry| {
            entry.entry_mut().used_by = used_by.unwrap_or_default();
            entry
        });
        changes.push((name, entry));
    }
    entries.update(changes);
    different
}

/// Notes on services or middlewares that a router uses these instead of those.
fn note_uses<T: Likeness>(
    entries: &mut Entries<T>,
    user: &ObjectName,
    before: &[Link],
    after: &[Link],
) {
    for (links, is_used) in [(before, false), (after, true)] {
        for link in links {
            let End::There(name) = &link.end else { continue };
            entries.change(name, |entry| {
                let used_by = &mut entry.entry_mut().used_by;
                match is_used {
                    true => used_by.insert(user.clone(), ()),
                    false => used_by.remove(user),
                };
            });
        }
    }
}

/// The names in their order, in which everything is kept.
fn each_once(mut names: Vec<ObjectName>) -> Vec<ObjectName> {
    names.sort();
    names.dedup();
    names
}
