//! Who wants a name to exist.
//!
//! **Invariant:** of those who claim a name, the least by [`Claims::sorted`] are asked first, in
//! the order of `layout`: the hosts of routers, the zones of the catalog in their order, addresses.

use std::{net::IpAddr, sync::Arc};

use super::group::Place;

/// Somebody who wants a name to exist.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Claim {
    /// The hosts of routers, which are reached on this way to the edge.
    Router(u16),
    /// The catalog, in one of its zones.
    Catalog {
        /// Among the zones that have names of the catalog.
        zone: u16,
        subject: Subject,
    },
    /// An address that somebody has.
    Reverse(IpAddr),
}

/// What in the catalog a name is of.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Subject {
    /// A node, in a scope.
    Node(u8, Place),
    /// The service of a label, in a scope; with a tag or without.
    Service(Arc<str>, u8, Option<Arc<str>>),
}

/// Those who want one name to exist. Nearly always it is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Few);

#[derive(Clone, Debug, Default)]
enum Few {
    #[default]
    None,
    One(Claim),
    Many(Vec<Claim>),
}

impl Claims {
    /// In the order in which they are asked.
    pub(super) fn sorted(&self) -> &[Claim] {
        match &self.0 {
            Few::None => &[],
            Few::One(claim) => std::slice::from_ref(claim),
            Few::Many(claims) => claims,
        }
    }

    pub(super) fn insert(&mut self, claim: Claim) {
        if let Few::None = self.0 {
            self.0 = Few::One(claim);
            return;
        }
        let mut claims = self.take();
        if let Err(place) = claims.binary_search(&claim) {
            claims.insert(place, claim);
        }
        self.put(claims);
    }

    pub(super) fn remove(&mut self, claim: &Claim) {
        let mut claims = self.take();
        if let Ok(place) = claims.binary_search(claim) {
            claims.remove(place);
        }
        self.put(claims);
    }

    fn take(&mut self) -> Vec<Claim> {
        match std::mem::take(&mut self.0) {
            Few::None => Vec::new(),
            Few::One(claim) => vec![claim],
            Few::Many(claims) => claims,
        }
    }

    fn put(&mut self, mut claims: Vec<Claim>) {
        self.0 = match claims.pop() {
            None => Few::None,
            Some(claim) if claims.is_empty() => Few::One(claim),
            Some(claim) => {
                claims.push(claim);
                Few::Many(claims)
            }
        };
    }
}

/// How a name stands. One of a static record that nobody else claims, and below which there is none,
/// has none of these.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) claims: Claims,
    /// How many names below it there are in its zone.
    pub(super) below: u32,
    /// Whether it is built in, or comes with a zone.
    pub(super) is_fixed: bool,
}

impl Standing {
    /// Whether it exists by itself.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_fixed || !self.claims.sorted().is_empty()
    }
}
