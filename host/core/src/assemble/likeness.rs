//! Whether an object that was made anew is as it was before.

use std::sync::Arc;

use crate::snapshot::{Entry, MiddlewareEntry, RouterEntry, ServiceEntry};

/// Whether what was made anew is as it was.
pub(super) trait Likeness {
    /// Whether the two say and do the same, whoever uses them.
    fn is_like(&self, other: &Self) -> bool;
    /// Whether it makes no difference to a router which of the two it uses.
    fn does_the_same(&self, other: &Self) -> bool;
    /// The same, to be changed.
    fn copy(&self) -> Self;
    /// What every declared object has, to be changed.
    fn entry_mut(&mut self) -> &mut Entry;
}

fn is_same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn says_the_same(one: &Entry, other: &Entry) -> bool {
    one.origin == other.origin && one.status == other.status && one.errors == other.errors
}

impl Likeness for ServiceEntry {
    fn is_like(&self, other: &Self) -> bool {
        self.does_the_same(other) && says_the_same(&self.entry, &other.entry)
    }

    fn does_the_same(&self, other: &Self) -> bool {
        is_same(&self.live, &other.live)
    }

    fn copy(&self) -> Self {
        self.clone()
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Likeness for MiddlewareEntry {
    fn is_like(&self, other: &Self) -> bool {
        self.does_the_same(other)
            && says_the_same(&self.entry, &other.entry)
            && self.plugin == other.plugin
            && self.config == other.config
    }

    fn does_the_same(&self, other: &Self) -> bool {
        is_same(&self.live, &other.live)
    }

    fn copy(&self) -> Self {
        self.clone()
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Likeness for RouterEntry {
    fn is_like(&self, other: &Self) -> bool {
        self.does_the_same(other)
            && says_the_same(&self.entry, &other.entry)
            && self.rule == other.rule
            && self.priority == other.priority
            && self.entrypoints == other.entrypoints
            && self.middlewares == other.middlewares
            && self.service == other.service
            && self.tls == other.tls
            && self.hosts == other.hosts
    }

    fn does_the_same(&self, other: &Self) -> bool {
        is_same(&self.live, &other.live)
    }

    fn copy(&self) -> Self {
        self.clone()
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}
