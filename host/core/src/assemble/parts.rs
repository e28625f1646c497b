//! Which services are made of which, and which chains of which middlewares.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::merge::{Object, ServiceObject};
use crate::{declare::KindSpec, name::ObjectName};

/// Something that is made of others.
pub(super) trait Whole {
    /// The names of its parts, as they are written.
    fn parts(&self) -> Vec<&str>;
}

/// What is made of others of its kind, as declared.
#[derive(Clone, Debug)]
pub(super) struct Compounds<T> {
    objects: BTreeMap<ObjectName, Object<T>>,
    /// Who refers to a name, in lower case, of whatever provider.
    users: HashMap<Box<str>, BTreeSet<ObjectName>>,
    /// Those with a part that is not there, and what was meant by it is told.
    lacking: BTreeSet<ObjectName>,
    /// How many services stand above each other in one that could be made.
    heights: HashMap<ObjectName, usize>,
}

impl<T> Default for Compounds<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            users: HashMap::new(),
            lacking: BTreeSet::new(),
            heights: HashMap::new(),
        }
    }
}

/// What is different among all objects of a kind.
#[derive(Debug, Default)]
pub(super) struct Different {
    pub(super) names: Vec<ObjectName>,
    /// Whether one came, or is gone.
    pub(super) is_other_set: bool,
}

impl<T: Whole> Compounds<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Object<T>> {
        self.objects.get(name)
    }

    pub(super) fn insert(&mut self, name: ObjectName, object: Object<T>) {
        self.remove(&name);
        for reference in object.spec.parts() {
            self.users.entry(key(reference)).or_default().insert(name.clone());
        }
        self.objects.insert(name, object);
    }

    /// Answers whether it was one.
    pub(super) fn remove(&mut self, name: &ObjectName) -> bool {
        let Some(object) = self.objects.remove(name) else { return false };
        self.lacking.remove(name);
        self.heights.remove(name);
        for reference in object.spec.parts() {
            let key = key(reference);
            if let Some(users) = self.users.get_mut(&key) {
                users.remove(name);
                if users.is_empty() {
                    self.users.remove(&key);
                }
            }
        }
        true
    }

    /// Those with a part that is not there.
    pub(super) fn lacking(&self) -> impl Iterator<Item = &ObjectName> {
        self.lacking.iter()
    }

    /// Those that are made of what is different, by however many others.
    pub(super) fn affected(&self, different: &Different) -> BTreeSet<ObjectName> {
        let mut found = BTreeSet::new();
        if self.is_empty() {
            return found;
        }
        let mut next: Vec<&ObjectName> = different.names.iter().collect();
        if different.is_other_set {
            next.extend(&self.lacking);
        }
        while let Some(name) = next.pop() {
            if self.objects.contains_key(name) && !found.insert(name.clone()) {
                continue;
            }
            let users = self.users.get(&key(&name.name)).into_iter().flatten();
            next.extend(users.filter(|user| !found.contains(*user)));
        }
        found
    }

    /// Notes how one was made: how high it is, if it could be, and whether it lacks a part.
    pub(super) fn note(&mut self, name: &ObjectName, height: Option<usize>, is_lacking: bool) {
        match height {
            Some(height) => drop(self.heights.insert(name.clone(), height)),
            None => drop(self.heights.remove(name)),
        }
        match is_lacking {
            true => self.lacking.insert(name.clone()),
            false => self.lacking.remove(name),
        };
    }

    /// How high one is; what has backends is not.
    pub(super) fn height(&self, name: &ObjectName) -> usize {
        self.heights.get(name).copied().unwrap_or_default()
    }
}

impl Whole for ServiceObject {
    fn parts(&self) -> Vec<&str> {
        match &self.kind {
            KindSpec::Backends => Vec::new(),
            KindSpec::Weighted { members, .. } => members.iter().map(|it| &*it.name).collect(),
            KindSpec::Mirroring { service, mirrors, .. } => {
                std::iter::once(&**service).chain(mirrors.iter().map(|it| &*it.name)).collect()
            }
            KindSpec::Failover { service, fallback, .. } => vec![service, fallback],
        }
    }
}

/// A name without its provider, as it is compared.
fn key(reference: &str) -> Box<str> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    name.to_ascii_lowercase().into()
}
