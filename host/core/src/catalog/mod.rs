//! The catalog: the facts and declarations of every provider, as they stand now.
//!
//! **Invariant:** a source changes only by [`Source::apply`], which checks an update before it
//! touches anything: a delta that does not fit leaves the source as it was.

mod records;
mod register;
mod reasons;

use std::{collections::HashSet, sync::Arc};

use crate::{
    declare::{Declared, Flaw},
    item::{Change, Fragment, Instance, Item, Key, Node, Notice, Update},
    roll::Roll,
};

use reasons::Reasons;
pub use records::Recorded;
use register::{parse, register};
pub use register::{problem, service_name};

/// The most items that one provider may report: a bound on what a broken guest can cost.
pub const MAX_ITEMS: usize = 200_000;

/// An instance and what it declares, read once when it came.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The facts.
    pub instance: Arc<Instance>,
    /// Its id, for all that is made of it.
    pub id: Arc<str>,
    /// What its tags declare; when they declare no service that it is a backend of, also those
    /// that are named after it.
    pub declared: Arc<Declared>,
    /// What was wrong with its tags.
    pub slips: Arc<[Slip]>,
}

/// Something wrong with the tags of an instance, as it may be with those of others too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Slip {
    /// The tag, or what several have in common; `None`: all of them together.
    pub tag: Option<String>,
    /// What is wrong.
    pub flaw: Flaw,
}

/// A fragment and what it declares, read once when it came.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// As it came.
    pub fragment: Arc<Fragment>,
    /// What it declares.
    pub declared: Arc<Declared>,
    /// DNS records in it.
    pub records: Arc<[Recorded]>,
    /// Datacenters that the source knows of, in lower case.
    pub datacenters: Arc<[String]>,
}

/// Why an update was refused. The source is as it was; ask the provider for a snapshot.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// It removes something that is not there.
    #[error("the update removes {0:?}, which is not there")]
    NotThere(Key),
    /// It holds two items of one name.
    #[error("the update holds {0:?} twice")]
    Twice(Key),
    /// It is too large.
    #[error("the update makes {0} items, more than {MAX_ITEMS}")]
    TooMany(usize),
}

/// What one provider has reported. A copy shares all that is the same.
#[derive(Clone, Debug)]
pub struct Source {
    /// The provider.
    pub provider: Arc<str>,
    /// The plugin that the provider is a use of.
    pub plugin: Arc<str>,
    /// Nodes by `datacenter/name`.
    pub nodes: Roll<String, Arc<Node>>,
    /// Instances by id.
    pub instances: Roll<String, Registered>,
    /// Fragments by origin.
    pub fragments: Roll<String, Parsed>,
    /// What the provider left out.
    pub notices: Vec<Notice>,
    /// Whether this is a full state: reported, or kept on disk.
    pub synced: bool,
    reasons: Reasons,
}

impl Source {
    /// A provider that has not reported anything.
    pub fn new(provider: impl Into<Arc<str>>, plugin: impl Into<Arc<str>>) -> Self {
        Self {
            provider: provider.into(),
            plugin: plugin.into(),
            nodes: Roll::default(),
            instances: Roll::default(),
            fragments: Roll::default(),
            notices: Vec::new(),
            synced: false,
            reasons: Reasons::default(),
        }
    }

    /// Takes over what a step found. Answers whether anything is different now.
    pub fn apply(&mut self, update: Update, notices: Vec<Notice>) -> Result<bool, UpdateError> {
        let update = self.reasons.shared(update);
        let changed = match update {
            Update::Unchanged => return Ok(false),
            Update::Snapshot(items) => self.replace(items, &[])?,
            Update::Excerpt { items, unread } => self.replace(items, &unread)?,
            Update::Delta(changes) => self.change(changes)?,
        };
        let told = self.notices != notices;
        self.notices = notices;
        Ok(changed || told)
    }

    /// Everything, for keeping on disk.
    pub fn items(&self) -> Vec<Item> {
        let nodes = self.nodes.values().cloned().map(Item::Node);
        let instances = self.instances.values().map(|r| Item::Instance(r.instance.clone()));
        let fragments = self.fragments.values().map(|p| Item::Fragment(p.fragment.clone()));
        nodes.chain(instances).chain(fragments).collect()
    }

    /// What is the same stays: it is read once and keeps its identity. So do instances of services
    /// that are `unread`.
    fn replace(&mut self, items: Vec<Item>, unread: &[String]) -> Result<bool, UpdateError> {
        check_size(items.len())?;
        let keys: Vec<_> = items.iter().map(Item::key).collect();
        let mut named = HashSet::with_capacity(keys.len());
        if let Some(twice) = keys.iter().find(|key| !named.insert(*key)) {
            return Err(UpdateError::Twice(twice.clone()));
        }
        let mut fresh = Fresh::default();
        let gone = |key: Key| (!named.contains(&key)).then_some(key);
        let unread: HashSet<_> = unread.iter().collect();
        let is_read = |known: &Registered| !unread.contains(&known.instance.service);
        let nodes = self.nodes.keys().cloned().map(Key::Node).filter_map(gone);
        let instances = self.instances.iter().filter(|(_, known)| is_read(known));
        let instances = instances.map(|(id, _)| Key::Instance(id.clone())).filter_map(gone);
        let fragments = self.fragments.keys().cloned().map(Key::Fragment).filter_map(gone);
        nodes.chain(instances).chain(fragments).for_each(|key| fresh.remove(key));
        let is_kept = |(id, known): &(&String, &Registered)| {
            !is_read(known) && !named.contains(&Key::Instance((*id).clone()))
        };
        check_size(items.len() + self.instances.iter().filter(is_kept).count())?;
        for item in items {
            if !self.same(&item) {
                fresh.put(item);
            }
        }
        let first = !std::mem::replace(&mut self.synced, true);
        let changed = first || !fresh.is_empty();
        self.nodes.update(fresh.nodes);
        self.instances.update(fresh.instances);
        self.fragments.update(fresh.fragments);
        Ok(changed)
    }

    fn change(&mut self, changes: Vec<Change>) -> Result<bool, UpdateError> {
        check_size(self.len() + changes.len())?;
        let missing = changes.iter().find_map(|change| match change {
            Change::Remove(key) if !self.has(key) => Some(key.clone()),
            Change::Remove(_) | Change::Put(_) => None,
        });
        if let Some(key) = missing {
            return Err(UpdateError::NotThere(key));
        }
        let mut changed = false;
        for change in changes {
            match change {
                Change::Put(item) if self.same(&item) => (),
                Change::Put(item) => {
                    self.put(item);
                    changed = true;
                }
                Change::Remove(key) => changed |= self.remove(&key),
            }
        }
        Ok(changed)
    }

    fn len(&self) -> usize {
        self.nodes.len() + self.instances.len() + self.fragments.len()
    }

    fn has(&self, key: &Key) -> bool {
        match key {
            Key::Node(key) => self.nodes.contains_key(key),
            Key::Instance(key) => self.instances.contains_key(key),
            Key::Fragment(key) => self.fragments.contains_key(key),
        }
    }

    fn same(&self, item: &Item) -> bool {
        match (item, item.key()) {
            (Item::Node(node), Key::Node(key)) => self.nodes.get(&key) == Some(node),
            (Item::Instance(instance), Key::Instance(key)) => {
                self.instances.get(&key).is_some_and(|known| known.instance == *instance)
            }
            (Item::Fragment(fragment), Key::Fragment(key)) => {
                self.fragments.get(&key).is_some_and(|known| known.fragment == *fragment)
            }
            _ => false,
        }
    }

    fn put(&mut self, item: Item) {
        match (item.key(), item) {
            (Key::Node(key), Item::Node(node)) => drop(self.nodes.insert(key, node)),
            (Key::Instance(key), Item::Instance(instance)) => {
                self.instances.insert(key, register(instance));
            }
            (Key::Fragment(key), Item::Fragment(fragment)) => {
                self.fragments.insert(key, parse(fragment));
            }
            _ => (),
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        match key {
            Key::Node(key) => self.nodes.remove(key),
            Key::Instance(key) => self.instances.remove(key),
            Key::Fragment(key) => self.fragments.remove(key),
        }
    }
}

/// What a full state changes.
#[derive(Default)]
struct Fresh {
    nodes: Vec<(String, Option<Arc<Node>>)>,
    instances: Vec<(String, Option<Registered>)>,
    fragments: Vec<(String, Option<Parsed>)>,
}

impl Fresh {
    fn put(&mut self, item: Item) {
        match (item.key(), item) {
            (Key::Node(key), Item::Node(node)) => self.nodes.push((key, Some(node))),
            (Key::Instance(key), Item::Instance(instance)) => {
                self.instances.push((key, Some(register(instance))));
            }
            (Key::Fragment(key), Item::Fragment(fragment)) => {
                self.fragments.push((key, Some(parse(fragment))));
            }
            _ => (),
        }
    }

    fn remove(&mut self, key: Key) {
        match key {
            Key::Node(key) => self.nodes.push((key, None)),
            Key::Instance(key) => self.instances.push((key, None)),
            Key::Fragment(key) => self.fragments.push((key, None)),
        }
    }

    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.instances.is_empty() && self.fragments.is_empty()
    }
}

fn check_size(items: usize) -> Result<(), UpdateError> {
    if items > MAX_ITEMS { Err(UpdateError::TooMany(items)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
