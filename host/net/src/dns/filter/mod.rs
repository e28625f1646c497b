//! What upstreams are not asked, and what they are not believed.

mod block;

use std::sync::Arc;

use portolan_core::zone::{Name, RecordType, labels, parent};

pub use self::block::{BlockList, Listed};

/// What upstreams are not asked, and what they are not believed. Names of ours never come here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Whether addresses of our own networks are taken out of answers about names outside.
    pub rebind: bool,
    /// Whether loopback addresses may stand in such answers: some block lists of mail say so.
    pub rebind_localhost: bool,
    /// Names that may lead inside, and all below them.
    pub rebind_exempt: Vec<Name>,
    /// Whether addresses of names of one label are asked of nobody.
    pub domain_needed: bool,
    /// Names that are asked of nobody.
    pub blocked: Arc<BlockList>,
}

impl Filter {
    /// Whether nobody is asked for a name in lower case.
    pub(super) fn refuses(&self, name: &[u8], rtype: RecordType) -> bool {
        self.domain_needed && is_plain(name, rtype)
    }

    /// Whether a name in lower case is on a list.
    pub(super) fn blocks(&self, name: &[u8]) -> bool {
        self.blocked.holds(name)
    }

    /// Whether an answer about a name in lower case may not lead inside.
    pub(super) fn doubts(&self, name: &[u8]) -> bool {
        let mut suffixes = std::iter::successors(Some(name), |name| parent(name));
        self.rebind
            && !suffixes
                .any(|suffix| self.rebind_exempt.iter().any(|exempt| exempt.as_bytes() == suffix))
    }
}

/// A name of one label is that of a machine nearby that does not exist. The top level itself has
/// other records, and is asked for those.
fn is_plain(name: &[u8], rtype: RecordType) -> bool {
    matches!(rtype, RecordType::A | RecordType::AAAA) && labels(name).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn plain_names_are_asked_of_nobody() {
        let filter = Filter { domain_needed: true, ..Filter::default() };
        for (text, rtype, expected) in [
            ("nas", RecordType::A, true),
            ("nas", RecordType::AAAA, true),
            ("com", RecordType::NS, false),
            ("nas.example", RecordType::A, false),
            (".", RecordType::A, false),
        ] {
            assert_eq!(filter.refuses(name(text).as_bytes(), rtype), expected, "{text}");
        }
    }

    #[test]
    fn names_may_be_exempt_from_doubt() {
        let rebind_exempt = vec![name("plex.direct")];
        let filter = Filter { rebind: true, rebind_exempt, ..Filter::default() };
        assert!(filter.doubts(name("example.com").as_bytes()));
        assert!(filter.doubts(name("notplex.direct").as_bytes()));
        assert!(!filter.doubts(name("a.b.plex.direct").as_bytes()));
        assert!(!Filter::default().doubts(name("example.com").as_bytes()));
    }
}
