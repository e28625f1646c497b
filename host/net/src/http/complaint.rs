//! What the log is told of requests that fail, without a line for each.
//!
//! **Invariant:** whatever clients do, a worker writes no more than some lines a second above debug.

use std::{
    cell::{Cell, RefCell},
    hash::{BuildHasher as _, Hash},
    io,
    net::SocketAddr,
};

use hashbrown::DefaultHashBuilder;
use portolan_core::{exchange::RequestHead, problem::Chain, router::Router};
use tracing::field::display;

use super::{
    rescue::{Concern, HttpError},
    roster::Tick,
};

/// For how many seconds a failure is not told again, and a refusal.
const FAILURE: Tick = 1;
const REFUSAL: Tick = 60;
/// How many different ones are told in that time.
const MOST: usize = 16;

/// The request that a complaint is about, as far as it could be read and went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) request: Option<&'a RequestHead>,
    pub(crate) router: Option<&'a Router>,
}

/// What a worker complains of.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    hasher: DefaultHashBuilder,
    failures: Told,
    refusals: Told,
}

/// What was told lately.
#[derive(Debug, Default)]
struct Told {
    since: Cell<Option<Tick>>,
    /// By hash.
    what: RefCell<Vec<u64>>,
    /// What was not told.
    more: Cell<u32>,
}

impl Complaints {
    /// Notes an error: where a person may want to know, once for each reason and router in a while,
    /// else for those who debug.
    pub(crate) fn note(&self, error: &HttpError, about: About<'_>, now: Tick) {
        let reason = error.reason().as_str();
        // Without the query, in which there may be secrets.
        let method = about.request.map(|it| it.method.as_str());
        let (host, path) = about.request.map(|it| (it.host(), it.uri().path())).unzip();
        let router = about.router.map(|it| display(&it.name));
        let error_text = display(Chain(error));
        macro_rules! tell {
            ($level:ident, $more:expr, $message:literal) => {
                tracing::$level!(
                    reason,
                    error = error_text,
                    method,
                    host,
                    path,
                    router,
                    more = $more,
                    $message
                )
            };
        }
        let name = about.router.map(|it| &it.name);
        let more = match error.concern() {
            Concern::Failure => self.failures.turn(now, FAILURE, self.hash((reason, name))),
            Concern::Refusal => self.refusals.turn(now, REFUSAL, self.hash((reason, host))),
            Concern::None => None,
        };
        match (more, error.concern()) {
            (Some(more), Concern::Failure) => tell!(warn, more, "request failed"),
            (Some(more), _) => tell!(info, more, "request refused"),
            (None, _) => tell!(debug, None::<u32>, "request refused"),
        }
    }

    /// Notes that a connection is closed because the proxy that made it did not say who its client is. That a
    /// proxy makes one and goes again, to see whether somebody is there, is nobody's mistake.
    pub(crate) fn note_proxy(
        &self,
        entrypoint: &str,
        peer: SocketAddr,
        error: &io::Error,
        now: Tick,
    ) {
        let more = match error.kind() {
            io::ErrorKind::InvalidData => {
                self.refusals.turn(now, REFUSAL, self.hash(("proxy", entrypoint, peer.ip())))
            }
            _ => None,
        };
        match more {
            Some(more) => {
                tracing::warn!(entrypoint, client.address = %peer, %error, more, "PROXY protocol failed");
            }
            None => {
                tracing::debug!(entrypoint, client.address = %peer, %error, "PROXY protocol failed")
            }
        }
    }

    fn hash(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}

impl Told {
    /// Whether this is to be told, and if so how much was not since something was.
    fn turn(&self, now: Tick, pause: Tick, what: u64) -> Option<u32> {
        let mut told = self.what.borrow_mut();
        if self.since.get().is_none_or(|since| now.wrapping_sub(since) >= pause) {
            self.since.set(Some(now));
            told.clear();
        }
        if told.len() >= MOST || told.contains(&what) {
            self.more.set(self.more.get().saturating_add(1));
            return None;
        }
        told.push(what);
        Some(self.more.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_in_a_while_and_not_too_many() {
        let told = Told::default();
        assert_eq!([1, 1, 2, 1].map(|what| told.turn(7, 1, what)), [Some(0), None, Some(1), None]);
        assert_eq!(told.turn(8, 1, 1), Some(1));
        let many = (10..100).filter(|what| told.turn(8, 1, *what).is_some()).count();
        assert_eq!(many, MOST - 1);
        assert_eq!(told.turn(8, 2, 10), None, "the pause is not over");
        assert_eq!(told.turn(10, 2, 10), Some(91 - MOST as u32 + 1));
    }
}
