//! What upstreams are not asked, and what they are not believed.

mod block;

use std::sync::Arc;

use portolan_core::zone::{Name, RecordType, labels, parent};

use super::forward::Place;

pub use self::block::{BlockList, Listed};

/// What upstreams are not asked, and what they are not believed. Names of ours never come here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// From whose answers about names outside addresses of our own networks are taken out.
    pub rebind: Rebind,
    /// Whether loopback addresses may stand in such answers: some block lists of mail say so.
    pub rebind_localhost: bool,
    /// Names that may lead inside, and all below them.
    pub rebind_exempt: Vec<Name>,
    /// Whether addresses of names of one label are asked of nobody.
    pub domain_needed: bool,
    /// Names that are asked of nobody.
    pub blocked: Arc<BlockList>,
    /// How these are answered.
    pub block_answer: BlockAnswer,
}

/// How names on a block list are answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BlockAnswer {
    /// There is no such name.
    #[default]
    NoSuchName,
    /// There is, but it has nothing of the kind.
    NoData,
    /// Its address is `0.0.0.0` or `::`, where nobody listens.
    Zero,
    /// The question is refused.
    Refused,
}

/// Whose answers may not lead into our own networks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rebind {
    /// Anybody's may.
    #[default]
    Off,
    /// Those of upstreams outside. A resolver in our own networks knows what is in them.
    Outside,
    /// Nobody's may.
    All,
}

impl Rebind {
    fn doubts(self, upstream: &Place) -> bool {
        match self {
            Self::Off => false,
            Self::Outside => match upstream {
                Place::At(address) => !super::policy::is_inside(address.ip()),
                // Nobody at home is found by asking outside.
                Place::Named { .. } => true,
            },
            Self::All => true,
        }
    }
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

    /// Whether an upstream's answer about a name in lower case may not lead inside.
    pub(super) fn doubts(&self, name: &[u8], upstream: &Place) -> bool {
        let mut suffixes = std::iter::successors(Some(name), |name| parent(name));
        self.rebind.doubts(upstream)
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
        let filter = Filter { rebind: Rebind::Outside, rebind_exempt, ..Filter::default() };
        let doubts = |filter: &Filter, text: &str, upstream: &str| {
            let address = std::net::SocketAddr::new(upstream.parse().unwrap(), 53);
            filter.doubts(name(text).as_bytes(), &Place::At(address))
        };
        assert!(doubts(&filter, "example.com", "9.9.9.9"));
        assert!(doubts(&filter, "notplex.direct", "2620:fe::9"));
        assert!(!doubts(&filter, "a.b.plex.direct", "9.9.9.9"));
        // The router at home knows what is at home.
        assert!(!doubts(&filter, "example.com", "192.168.1.1"));
        let all = Filter { rebind: Rebind::All, ..Filter::default() };
        assert!(doubts(&all, "example.com", "192.168.1.1"));
        assert!(!doubts(&Filter::default(), "example.com", "9.9.9.9"));
    }
}
