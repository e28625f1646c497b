//! One service of a catalog.

use std::collections::{BTreeMap, BTreeSet};

use portolan_plugin::Notice;

use crate::watch::Watch;

/// One service.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub(super) watch: Watch,
    /// The union of its tags, as the list of services has it.
    pub(super) tags: Option<Vec<String>>,
    /// The ids of its instances.
    pub(super) instances: BTreeSet<String>,
    pub(super) notices: Vec<Notice>,
    /// Not in the list of services any more, or said to have no instances: it goes when a question
    /// that does not block says so as well.
    pub(super) is_doubtful: bool,
    pub(super) age: Age,
}

/// Whether a service that is not watched is to be read again.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Age {
    #[default]
    Fresh,
    /// Something changed, and nobody says where.
    Doubted,
    /// This service changed.
    Stale,
}

/// A service that Consul fails to answer for so often in a row is gone on without.
const MOST_FAILURES: u32 = 2;

impl Tracked {
    /// Whether it is to be read, where it is not watched.
    pub(super) fn is_wanted(&self) -> bool {
        self.age > Age::Fresh || !self.watch.is_ready
    }

    /// Whether it goes before others that are to be read: it is known to have changed.
    pub(super) fn is_urgent(&self) -> bool {
        self.age == Age::Stale || !self.watch.is_ready
    }

    /// Whether it is of no use to wait for it: it was read, or Consul does not answer for it.
    pub(super) fn is_settled(&self) -> bool {
        self.watch.is_ready || self.watch.failures() >= MOST_FAILURES
    }

    /// It may have changed.
    pub(super) fn doubt(&mut self) {
        self.age = self.age.max(Age::Doubted);
    }
}

/// What was left out of the instances of a service: they are mostly registered alike, so the same
/// is told once for all of them, at the first by id.
#[derive(Debug, Default)]
pub(super) struct Noticed(BTreeMap<(String, String), BTreeSet<String>>);

impl Noticed {
    pub(super) fn add(&mut self, id: &str, notices: Vec<Notice>) {
        for Notice { origin, message } in notices {
            let within = origin.strip_prefix(id).unwrap_or_default().to_owned();
            self.0.entry((within, message)).or_default().insert(id.to_owned());
        }
    }

    pub(super) fn told(self) -> Vec<Notice> {
        let told = |((within, message), ids): ((String, String), BTreeSet<String>)| {
            let others = match ids.len() - 1 {
                0 => String::new(),
                1 => ", and on one other instance".to_owned(),
                others => format!(", and on {others} other instances"),
            };
            let first = ids.into_iter().next()?;
            Some(Notice::new(format!("{first}{within}{others}"), message))
        };
        self.0.into_iter().filter_map(told).collect()
    }
}
