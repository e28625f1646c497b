//! Who says what of each object.
//!
//! Names that instances give are compared without case, as Traefik matches tags, and keep the
//! spelling of the first instance that has one: they stand in labels of metrics, and sticky cookies
//! are named after them.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{catalog::Registered, declare::Declared, name::ObjectName, roll::Shared};

/// What is said of each object of one kind, sorted by who says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    said: HashMap<ObjectName, Vec<Statement>>,
    /// The spelling of what instances name, by the name in lower case, where it is another.
    spelt: HashMap<ObjectName, ObjectName>,
}

/// What somebody says of an object: the place in a list of what is declared.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) source: u16,
    at: u32,
    pub(super) by: By,
}

#[derive(Clone, Debug)]
pub(super) enum By {
    Fragment(Arc<str>, Arc<Declared>),
    Instance(Shared<String, Registered>),
}

impl By {
    fn declared(&self) -> &Declared {
        match self {
            Self::Fragment(_, declared) => declared,
            Self::Instance(registered) => &registered.1.declared,
        }
    }

    fn is_instance(&self) -> bool {
        matches!(self, Self::Instance(_))
    }
}

impl Statement {
    /// Providers in their order; of one, fragments first (Traefik's order of files).
    fn rank(&self) -> (u16, bool, &str, u32) {
        let (is_instance, id) = match &self.by {
            By::Fragment(origin, _) => (false, &**origin),
            By::Instance(registered) => (true, &*registered.0),
        };
        (self.source, is_instance, id, self.at)
    }

    pub(super) fn find<'a, T>(
        &'a self,
        list: impl Fn(&'a Declared) -> &'a [(Arc<str>, T)],
    ) -> Option<&'a T> {
        list(self.by.declared()).get(self.at as usize).map(|(_, spec)| spec)
    }
}

/// The statements of one speaker: a fragment has one, all instances of a provider speak together.
pub(super) fn speakers(statements: &[Statement]) -> impl Iterator<Item = &[Statement]> {
    statements.chunk_by(|one, other| {
        one.source == other.source && one.by.is_instance() && other.by.is_instance()
    })
}

/// Whose word it is, and what it was and is.
pub(super) type Context<'a> = (u16, &'a Arc<str>, Option<&'a By>, Option<&'a By>);

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    pub(super) fn reserve(&mut self, objects: usize) {
        self.said.reserve(objects);
    }

    pub(super) fn get(&self, name: &ObjectName) -> &[Statement] {
        self.said.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The object that an instance means by a name.
    pub(super) fn meant(&self, written: &Arc<str>, provider: &Arc<str>) -> ObjectName {
        self.spelling(lower(written, provider))
    }

    fn spelling(&self, key: ObjectName) -> ObjectName {
        self.spelt.get(&key).cloned().unwrap_or(key)
    }

    /// Takes back what somebody said, and notes what they say now.
    pub(super) fn restate<T: PartialEq>(
        &mut self,
        (source, provider, was, is): Context<'_>,
        list: impl Fn(&Declared) -> &[(Arc<str>, T)],
        touched: &mut Vec<ObjectName>,
    ) {
        let said = |by: &By| {
            let named = |(at, (name, _)): (u32, &(Arc<str>, T))| {
                let key = match by.is_instance() {
                    true => lower(name, provider),
                    false => ObjectName { name: name.clone(), provider: provider.clone() },
                };
                let is_spelt = by.is_instance() && key.name != *name;
                (key, is_spelt, Statement { source, at, by: by.clone() })
            };
            (0..).zip(list(by.declared())).map(named).collect::<Vec<_>>()
        };
        let mut respelt = Vec::new();
        let mut before: HashMap<ObjectName, Statement> = HashMap::new();
        for (key, _, statement) in was.map(said).unwrap_or_default() {
            let name = self.place(&key, &statement);
            // It may have been the first of those who are left.
            if self.remove(&name, &statement) || name != key {
                respelt.push(key);
            }
            before.insert(name, statement);
        }
        for (key, is_spelt, statement) in is.map(said).unwrap_or_default() {
            let name = self.place(&key, &statement);
            let is_same = match (before.remove(&name), &statement.by) {
                // Of a file with a thousand routers, mostly one is edited.
                (Some(before), By::Fragment(..)) => before.find(&list) == statement.find(&list),
                _ => false,
            };
            if !is_same {
                touched.push(name.clone());
            }
            if is_spelt || name != key {
                respelt.push(key);
            }
            self.add(name, statement);
        }
        touched.extend(before.into_keys());
        for key in respelt {
            self.spell(key, &list, touched);
        }
    }

    /// Where a statement is kept.
    fn place(&self, key: &ObjectName, statement: &Statement) -> ObjectName {
        match statement.by {
            By::Instance(_) => self.spelling(key.clone()),
            By::Fragment(..) => key.clone(),
        }
    }

    fn add(&mut self, name: ObjectName, statement: Statement) {
        // Mostly there is one.
        let group = self.said.entry(name).or_insert_with(|| Vec::with_capacity(1));
        let place = group.binary_search_by(|it| it.rank().cmp(&statement.rank()));
        group.insert(place.unwrap_or_else(|place| place), statement);
    }

    /// Answers whether others are left.
    fn remove(&mut self, name: &ObjectName, statement: &Statement) -> bool {
        let Some(group) = self.said.get_mut(name) else { return false };
        if let Ok(place) = group.binary_search_by(|it| it.rank().cmp(&statement.rank())) {
            group.remove(place);
        }
        let are_left = !group.is_empty();
        if !are_left {
            self.said.remove(name);
        }
        are_left
    }

    /// Gives an object the spelling that the first instance has for it, whoever came first.
    fn spell<T>(
        &mut self,
        key: ObjectName,
        list: impl Fn(&Declared) -> &[(Arc<str>, T)],
        touched: &mut Vec<ObjectName>,
    ) {
        let before = self.spelling(key.clone());
        let first = self.get(&before).iter().find(|it| it.by.is_instance());
        let written = first.and_then(|first| {
            list(first.by.declared()).get(first.at as usize).map(|(name, _)| name.clone())
        });
        let Some(written) = written else { return drop(self.spelt.remove(&key)) };
        let name = ObjectName { name: written, provider: key.provider.clone() };
        if name == before {
            return;
        }
        let mut moved = self.said.remove(&before).unwrap_or_default();
        let of_fragments: Vec<_> = moved.extract_if(.., |it| !it.by.is_instance()).collect();
        if !of_fragments.is_empty() {
            self.said.insert(before.clone(), of_fragments);
        }
        for statement in moved {
            self.add(name.clone(), statement);
        }
        match name == key {
            true => drop(self.spelt.remove(&key)),
            false => drop(self.spelt.insert(key, name.clone())),
        }
        touched.extend([before, name]);
    }
}

fn lower(name: &Arc<str>, provider: &Arc<str>) -> ObjectName {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => ObjectName::new(name.to_ascii_lowercase(), provider.clone()),
        false => ObjectName { name: name.clone(), provider: provider.clone() },
    }
}
