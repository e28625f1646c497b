//! What listens, as the control loop sees it.
//!
//! **Invariant:** an address that somebody else holds is tried again until it is ours or is not wanted
//! any more; nobody has to ask for it.

use std::{future::Future, pin::Pin, time::Duration};

use portolan_core::problem::{Problem, Severity};
use tokio::time::{Instant, sleep_until};

use super::board::EntrypointReport;
use crate::config::Config;

/// How long until an address that could not be bound is tried again: a program that ends lets go of
/// it without a word.
const PAUSE: Duration = Duration::from_secs(2);

/// What listens, as the control loop sees it: told what is wanted, it answers what is bound.
pub(crate) trait Listeners: Send {
    /// Binds what is new, lets go of what is gone, keeps the rest. What cannot be bound is a
    /// problem and costs itself.
    fn apply<'a>(&'a mut self, config: &'a Config) -> Applied<'a>;

    /// A new snapshot is served.
    fn published(&self);

    /// Something listens that did not before.
    fn say(&self, report: &EntrypointReport);

    /// What failed is tried again now: somebody asks for it.
    fn retry(&self);
}

/// What is bound, and what is wrong.
pub(crate) type Applied<'a> =
    Pin<Box<dyn Future<Output = (Vec<EntrypointReport>, Vec<Problem>)> + Send + 'a>>;

/// Whether a problem is that something does not listen where it should.
pub(crate) fn is_unbound(problem: &Problem) -> bool {
    let of_dns = ["dns.address", "dns.tls-address", "dns.https-address"];
    matches!(&*problem.source, "http" | "admin") || of_dns.contains(&&*problem.origin)
}

/// What listens, and what is wrong with it.
pub(super) struct Bindings {
    listeners: Box<dyn Listeners>,
    /// Whether what the start wanted was bound.
    is_up: bool,
    bound: Vec<EntrypointReport>,
    problems: Vec<Problem>,
    /// When what could not be bound is tried again.
    again: Option<Instant>,
}

impl Bindings {
    /// Nothing listens yet.
    pub(super) fn new(listeners: Box<dyn Listeners>) -> Self {
        Self { listeners, is_up: false, bound: Vec::new(), problems: Vec::new(), again: None }
    }

    /// Binds what the configuration wants, and says what is new of that and of what is wrong.
    pub(super) async fn apply(&mut self, config: &Config) {
        let (bound, problems) = self.listeners.apply(config).await;
        let before = std::mem::replace(&mut self.bound, bound);
        let known = std::mem::replace(&mut self.problems, problems);
        // At the start the greeting says it.
        let is_new = |report: &&EntrypointReport| !before.iter().any(|it| it.listens_as(report));
        for report in self.bound.iter().filter(|report| self.is_up && is_new(report)) {
            self.listeners.say(report);
        }
        self.is_up = true;
        // Who is in the way, which the hint tells, may be another one each time.
        let is_same = |one: &Problem, other: &Problem| {
            (&one.origin, &one.message) == (&other.origin, &other.message)
        };
        let is_new = |problem: &&Problem| !known.iter().any(|other| is_same(problem, other));
        for problem in self.problems.iter().filter(is_new) {
            match problem.severity {
                Severity::Error => tracing::error!(origin = %problem.origin, "{}", problem.message),
                _ => tracing::warn!(origin = %problem.origin, "{}", problem.message),
            }
        }
        self.again = self.problems.iter().any(is_unbound).then(|| Instant::now() + PAUSE);
    }

    /// Returns when something that could not be bound is to be tried again.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        let again = self.again;
        async move {
            match again {
                Some(again) => sleep_until(again).await,
                None => std::future::pending().await,
            }
        }
    }

    /// What listens.
    pub(super) fn bound(&self) -> &[EntrypointReport] {
        &self.bound
    }

    /// What is wrong.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Those who listen.
    pub(super) fn listeners(&self) -> &dyn Listeners {
        &*self.listeners
    }

    /// Hands them back.
    pub(super) fn end(self) -> Box<dyn Listeners> {
        self.listeners
    }
}
