//! A predicate and a request: true or false.
//!
//! **Invariant:** evaluation does not allocate, except to decode an encoded query.

use crate::exchange::Exchange;

use super::{
    field::Field,
    index::Methods,
    predicate::{Predicate, Test},
};

/// A request, with what is dear to find out found out once.
pub(crate) struct Facts<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) methods: Methods,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(exchange: &'a Exchange) -> Self {
        let request = &exchange.request;
        let methods = Methods::of(request.method.as_str());
        Self { exchange, host: request.host(), path: request.path(), methods }
    }
}

impl Predicate {
    /// Whether it is true for a request.
    pub fn matches(&self, exchange: &Exchange) -> bool {
        self.holds(&Facts::of(exchange))
    }

    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::All(parts) => parts.iter().all(|part| part.holds(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(facts)),
            Self::Not(inner) => !inner.holds(facts),
            Self::Test(test) => test.holds(facts),
        }
    }
}

impl Test {
    /// What is known when the host is: the answer, if it is the host that is looked at.
    pub(crate) fn decide_host(&self, host: &str) -> Option<bool> {
        let is_host = *self.field() == Field::Host;
        is_host.then(|| self.check().accepts_host(host))
    }

    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        let check = self.check();
        let exchange = facts.exchange;
        let request = &exchange.request;
        check.is_always()
            || match self.field() {
                Field::Method => check.accepts(request.method.as_str().as_bytes()),
                Field::Scheme => check.accepts(exchange.scheme().as_bytes()),
                Field::Host => check.accepts_host(facts.host),
                Field::Path => check.accepts(facts.path.as_bytes()),
                Field::Query(name) => {
                    request.query_values(name).any(|value| check.accepts(value.as_bytes()))
                }
                Field::Header(name) => {
                    request.header_values(name).any(|value| check.accepts(value))
                }
                Field::Cookie(name) => {
                    request.cookie_values(name).any(|value| check.accepts(value.as_bytes()))
                }
                Field::ClientIp => check.accepts_address(exchange.peer.address.ip()),
                Field::Client(strategy) => {
                    let address = strategy.address(exchange);
                    address.is_some_and(|address| check.accepts_address(address))
                }
                Field::Sni => {
                    exchange.peer.sni.as_deref().is_some_and(|sni| check.accepts(sni.as_bytes()))
                }
                Field::Entrypoint => check.accepts(exchange.entrypoint.as_bytes()),
            }
    }
}
