//! Whether an object that was made anew is as it was before.

use std::sync::Arc;

use crate::{
    middleware::Middleware,
    router::Router,
    service::Service,
    snapshot::{Entry, HasEntry, MiddlewareEntry, RouterEntry, ServiceEntry},
};

/// Whether what was made anew is as it was.
pub(super) trait Likeness: HasEntry + Clone {
    /// What works of it.
    type Live;
    /// What works, unless it is disabled.
    fn live(&self) -> Option<&Arc<Self::Live>>;
    /// Whether the two say the same in what others of their kind do not have.
    fn says_alike(&self, other: &Self) -> bool;
    /// What every declared object has, to be changed.
    fn entry_mut(&mut self) -> &mut Entry;

    /// Whether it makes no difference to a router which of the two it uses.
    fn does_the_same(&self, other: &Self) -> bool {
        self.live().map(Arc::as_ptr) == other.live().map(Arc::as_ptr)
    }

    /// Whether the two say and do the same, whoever uses them.
    fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (self.entry(), other.entry());
        self.does_the_same(other)
            && one.origin == two.origin
            && one.status == two.status
            && one.errors == two.errors
            && self.says_alike(other)
    }
}

impl Likeness for ServiceEntry {
    type Live = Service;

    fn live(&self) -> Option<&Arc<Self::Live>> {
        self.live.as_ref()
    }

    fn says_alike(&self, _: &Self) -> bool {
        true
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Likeness for MiddlewareEntry {
    type Live = Middleware;

    fn live(&self) -> Option<&Arc<Self::Live>> {
        self.live.as_ref()
    }

    fn says_alike(&self, other: &Self) -> bool {
        self.plugin == other.plugin && self.config == other.config
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }

    fn does_the_same(&self, other: &Self) -> bool {
        self.live.as_ref().map(Arc::as_ptr) == other.live.as_ref().map(Arc::as_ptr)
            && match (&self.chain, &other.chain) {
                (Some(one), Some(two)) => {
                    one.len() == two.len()
                        && one.iter().zip(&**two).all(|(one, two)| one.is_same(two))
                }
                (None, None) => true,
                _ => false,
            }
    }
}

impl Likeness for RouterEntry {
    type Live = Router;

    fn live(&self) -> Option<&Arc<Self::Live>> {
        self.live.as_ref()
    }

    fn says_alike(&self, other: &Self) -> bool {
        self.rule == other.rule
            && self.priority == other.priority
            && self.entrypoints == other.entrypoints
            && self.middlewares == other.middlewares
            && self.service == other.service
            && self.tls == other.tls
            && self.hosts == other.hosts
    }

    fn entry_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}
