//! What is wrong, by who it is wrong with: when one of ten thousand changes, its complaints are
//! taken back and made anew, and nobody else's are looked at.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;

use super::charge::Charge;
use crate::{name::ObjectName, problem::Problem, snapshot::Problems};

/// Who has something to complain of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Plaintiff {
    /// What a provider left out.
    Notices(u16),
    /// A fragment of a provider.
    Fragment(u16, String),
    /// All instances whose tags are wrong in the same way.
    Instances(Arc<Charge>),
    /// The router of this name, in what declares it.
    DeclaredRouter(ObjectName),
    DeclaredService(ObjectName),
    DeclaredMiddleware(ObjectName),
    DeclaredTransport(ObjectName),
    /// A service whose transport, or a part, is not as it should be.
    Service(ObjectName),
    /// The binding of a middleware.
    Middleware(ObjectName),
    /// A chain that is not whole.
    Chain(ObjectName),
    /// The router itself.
    Router(ObjectName),
    /// A router beside another of the same condition.
    Alike(ObjectName),
    /// A router behind another that takes any host.
    Hidden(ObjectName),
    /// What an entrypoint puts before its routers.
    Entrypoint(Arc<str>),
    /// The transport of services that name none.
    DefaultTransport,
    /// The set of matchers.
    Matchers,
    /// The names that DNS answers.
    Zone,
}

/// Everybody's complaints.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaints {
    made: HashMap<Plaintiff, Vec<Problem>>,
    changes: BTreeMap<Problem, isize>,
    all: Problems,
}

impl Complaints {
    /// These are all that somebody has to complain of now.
    pub(super) fn set(&mut self, who: impl FnOnce() -> Plaintiff, problems: Vec<Problem>) {
        if problems.is_empty() && self.made.is_empty() {
            return;
        }
        let who = who();
        let before = match problems.is_empty() {
            true => self.made.remove(&who),
            false => self.made.insert(who, problems.clone()),
        };
        let before = before.unwrap_or_default();
        if before != problems {
            before.into_iter().for_each(|problem| *self.changes.entry(problem).or_default() -= 1);
            problems.into_iter().for_each(|problem| *self.changes.entry(problem).or_default() += 1);
        }
    }

    /// Everything that is wrong now.
    pub(super) fn all(&mut self) -> Problems {
        self.all.update(std::mem::take(&mut self.changes));
        self.all.clone()
    }
}
