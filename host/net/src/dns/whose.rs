//! Whose a name is that a zone of ours and a suffix of upstreams are both about: the longer counts.

use portolan_core::zone::{Answer, Answered, Name, RecordType, Zones, parent};

use super::forward::{Forwarding, UpstreamConfig};

/// Who is asked for a name that a zone of ours does not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    /// Nobody: what the zone says counts.
    Ours,
    /// Upstreams.
    Others,
    /// Nobody: that is how it is configured.
    Nobodys,
}

/// Where what we have to say of a name begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Of its name in wire form.
    length: usize,
    /// Whether it is there only so that nobody else is asked.
    is_built_in: bool,
}

impl Origin {
    /// Where that begins which answers for a name that is not written down: the zone that does not
    /// have it, or the name that a wildcard stands below, since that says nothing of a suffix there
    /// in particular. `None`: the answer is for this name, or we have nothing to say.
    pub(super) fn of(answered: &Answered<'_>) -> Option<Self> {
        if let Some(length) = answered.wildcard {
            return Some(Self { length, is_built_in: false });
        }
        match answered.answer {
            Answer::NoSuchName(authority)
            | Answer::NotSynced(authority)
            | Answer::OnDemand(authority) => {
                let length = authority.origin.map_or(0, <[u8]>::len);
                Some(Self { length, is_built_in: authority.is_built_in })
            }
            _ => None,
        }
    }

    /// Whether those who are asked for a suffix are asked for the name. What is configured counts
    /// before what is built in.
    pub(super) fn gives_way_to(self, suffix: &Name) -> bool {
        let length = suffix.as_bytes().len();
        length > self.length || length == self.length && self.is_built_in
    }
}

impl Forwarding {
    /// The suffix whose upstreams are asked for a name though it lies in a zone of ours; without
    /// upstreams there is no such name.
    pub fn beside_zones(&self, zones: &Zones, name: &Name) -> Option<&(Name, Vec<UpstreamConfig>)> {
        let name = name.to_lower();
        let origin = Origin::of(&zones.answer_from(name.as_bytes(), RecordType::A))?;
        let mut above = std::iter::successors(Some(name.as_bytes()), |name| parent(name));
        let of = |name: &[u8]| {
            self.suffixes.iter().find(|(suffix, _)| suffix.to_lower().as_bytes() == name)
        };
        above.find_map(of).filter(|(suffix, _)| origin.gives_way_to(suffix))
    }
}
