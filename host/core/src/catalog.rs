//! The catalog: the facts and declarations of every provider, as they stand now.
//!
//! **Invariant:** a source changes only by [`Source::apply`], which checks an update before it
//! touches anything: a delta that does not fit leaves the source as it was.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    declare::{Canary, Declared, Flaw, canary, read, tree},
    item::{Change, Fragment, Instance, Item, Key, Node, Notice, Update},
    problem::{Problem, Severity},
};

/// The most items that one provider may report: a bound on what a broken guest can cost.
pub const MAX_ITEMS: usize = 200_000;

/// An instance and what it declares, read once when it came.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The facts.
    pub instance: Arc<Instance>,
    /// What its tags declare.
    pub declared: Arc<Declared>,
    /// Whether it is to be tried before it is trusted.
    pub canary: Option<Canary>,
    /// What was wrong with its tags.
    pub problems: Arc<[Problem]>,
}

/// A fragment and what it declares, read once when it came.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// As it came.
    pub fragment: Arc<Fragment>,
    /// What it declares.
    pub declared: Arc<Declared>,
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

/// What one provider has reported.
#[derive(Clone, Debug)]
pub struct Source {
    /// The provider.
    pub provider: Arc<str>,
    /// The plugin that the provider is a use of.
    pub plugin: Arc<str>,
    /// Nodes by `datacenter/name`.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// Instances by id.
    pub instances: BTreeMap<String, Registered>,
    /// Fragments by origin.
    pub fragments: BTreeMap<String, Parsed>,
    /// What the provider left out.
    pub notices: Vec<Notice>,
    /// Whether this is a full state: reported, or kept on disk.
    pub synced: bool,
}

impl Source {
    /// A provider that has not reported anything.
    pub fn new(provider: impl Into<Arc<str>>, plugin: impl Into<Arc<str>>) -> Self {
        Self {
            provider: provider.into(),
            plugin: plugin.into(),
            nodes: BTreeMap::new(),
            instances: BTreeMap::new(),
            fragments: BTreeMap::new(),
            notices: Vec::new(),
            synced: false,
        }
    }

    /// Takes over what a step found. Answers whether anything is different now.
    pub fn apply(&mut self, update: Update, notices: Vec<Notice>) -> Result<bool, UpdateError> {
        let changed = match update {
            Update::Unchanged => return Ok(false),
            Update::Snapshot(items) => self.replace(items)?,
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

    fn replace(&mut self, items: Vec<Item>) -> Result<bool, UpdateError> {
        check_size(items.len())?;
        let first = !self.synced;
        let mut fresh = Self::new(self.provider.clone(), self.plugin.clone());
        let mut changed = items.len() != self.len();
        for item in items {
            let key = item.key();
            // What is the same is carried over: it is read once and keeps its identity.
            let same = self.same(&item);
            changed |= !same;
            let put = if same { fresh.carry(self, &key) } else { fresh.put(item) };
            if put {
                return Err(UpdateError::Twice(key));
            }
        }
        fresh.synced = true;
        *self = Self { notices: std::mem::take(&mut self.notices), ..fresh };
        Ok(changed || first)
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

    /// Takes an item over from another state of this source. Answers whether it stood there.
    fn carry(&mut self, from: &Self, key: &Key) -> bool {
        match key {
            Key::Node(key) => copy(&from.nodes, &mut self.nodes, key),
            Key::Instance(key) => copy(&from.instances, &mut self.instances, key),
            Key::Fragment(key) => copy(&from.fragments, &mut self.fragments, key),
        }
    }

    /// Puts an item in. Answers whether one of that name stood there.
    fn put(&mut self, item: Item) -> bool {
        match (item.key(), item) {
            (Key::Node(key), Item::Node(node)) => self.nodes.insert(key, node).is_some(),
            (Key::Instance(key), Item::Instance(instance)) => {
                let registered = register(&self.provider, instance);
                self.instances.insert(key, registered).is_some()
            }
            (Key::Fragment(key), Item::Fragment(fragment)) => {
                self.fragments.insert(key, parse(fragment)).is_some()
            }
            _ => false,
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        match key {
            Key::Node(key) => self.nodes.remove(key).is_some(),
            Key::Instance(key) => self.instances.remove(key).is_some(),
            Key::Fragment(key) => self.fragments.remove(key).is_some(),
        }
    }
}

fn check_size(items: usize) -> Result<(), UpdateError> {
    if items > MAX_ITEMS { Err(UpdateError::TooMany(items)) } else { Ok(()) }
}

fn copy<T: Clone>(from: &BTreeMap<String, T>, to: &mut BTreeMap<String, T>, key: &str) -> bool {
    match from.get(key) {
        Some(item) => to.insert(key.to_owned(), item.clone()).is_some(),
        None => false,
    }
}

/// Reads the tags of an instance; each problem is placed at the tag that it comes from.
fn register(provider: &str, instance: Arc<Instance>) -> Registered {
    let tree = tree(&instance.declares);
    let declared = read(&tree.http, "");
    let (canary, misread) = canary(&instance.tags);
    let place = |tag: Option<&str>| match tag {
        Some(tag) => format!("{} tag {tag}", instance.id),
        None => instance.id.clone(),
    };
    let loose = tree.flaws.iter().chain(&misread).map(|(tag, flaw)| (Some(tag.as_str()), flaw));
    let placed = declared.flaws.iter().map(|flaw| (tree.origin(&flaw.pointer), flaw));
    let problems =
        loose.chain(placed).map(|(tag, flaw)| problem(provider, place(tag), flaw, "")).collect();
    Registered { instance, declared: Arc::new(declared), canary, problems }
}

fn parse(fragment: Arc<Fragment>) -> Parsed {
    const EXPECTED: &str = "a file of dynamic configuration holds `http`";
    let mut declared = match fragment.config.get("http") {
        Some(http) => read(http, "/http"),
        None => Declared::default(),
    };
    for key in fragment.config.as_object().into_iter().flat_map(|map| map.keys()) {
        if key != "http" {
            declared.flaws.push(Flaw {
                severity: Severity::Warning,
                pointer: format!("/{key}"),
                message: format!("`{key}` is not supported and has no effect"),
                hint: Some(EXPECTED.to_owned()),
            });
        }
    }
    Parsed { fragment, declared: Arc::new(declared) }
}

/// A flaw as a problem of a provider.
pub fn problem(provider: &str, origin: String, flaw: &Flaw, path: &str) -> Problem {
    Problem {
        severity: flaw.severity,
        source: provider.to_owned(),
        origin,
        path: path.to_owned(),
        message: flaw.message.clone(),
        hint: flaw.hint.clone(),
    }
}
