//! Whose share a request takes from: Traefik's `sourceCriterion`.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use http::HeaderName;

use crate::{exchange::Exchange, name::ObjectName, rule::ClientStrategy};

/// What one source is told from another by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum By {
    /// The address of the client, found so. Those without one are one source, as in Traefik.
    Client(ClientStrategy),
    /// The first value of a header. Those without it are one source, as in Traefik.
    Header(HeaderName),
    /// The host, as rules see it: without the port, and in one spelling. (In Traefik who writes it
    /// otherwise is another source.)
    Host,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sources {
    /// What one source is told from another by.
    pub by: By,
    /// Whether a source has one share for all routers that use the middleware. Otherwise, and in
    /// Traefik, it has one for each.
    pub together: bool,
}

/// What stands for a source: it is different in each process, so that nobody can choose one that is
/// that of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key(pub(super) u64);

impl Sources {
    /// The source of a request to a router, or rather what stands for it.
    pub fn key(&self, router: &ObjectName, exchange: &Exchange) -> Key {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let router = (!self.together).then_some(router);
        Key(match &self.by {
            By::Client(strategy) => SECRET.hash_one((router, strategy.address(exchange))),
            By::Header(name) => {
                let value = exchange.request.header_values(name).next();
                SECRET.hash_one((router, value.unwrap_or_default()))
            }
            By::Host => SECRET.hash_one((router, exchange.request.host())),
        })
    }
}
