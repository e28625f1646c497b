//! Names that are understood when they are asked, instead of being written down: names with the
//! only datacenter there is, RFC 2782 names, and names that spell an address.
//!
//! They would multiply the table by six, and a question for one costs a second lookup only.

use std::{net::IpAddr, sync::Arc};

use super::{
    demand,
    name::{self, MAX_NAME},
};

/// What a zone understands besides the names in the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Grammar {
    /// Consul's: datacenters and RFC 2782.
    pub(super) is_consul: bool,
    /// `<hex>.addr`.
    pub(super) spells_addresses: bool,
    /// In lower case.
    pub(super) datacenters: Vec<Box<[u8]>>,
    /// Others that there are, in lower case; what is in them is not in the table.
    pub(super) elsewhere: Arc<[String]>,
}

/// What a name that is not in the table means.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one lookup; a box is slower")]
pub(super) enum Meaning {
    /// The same as this name, which may be in the table.
    Same(Short),
    /// An address.
    Address(IpAddr),
    /// It exists, without records.
    Nothing,
    /// Something that a source may know: see [`super::demand`].
    OnDemand,
    /// Nothing that the grammar knows.
    Unknown,
}

/// A name that was put together for one lookup, on the stack.
#[derive(Debug)]
pub(super) struct Short {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Short {
    pub(super) fn new() -> Self {
        Self { bytes: [0; MAX_NAME], length: 0 }
    }

    /// Appends bytes of a name. False: it is too long.
    pub(super) fn push(&mut self, part: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(self.length..self.length + part.len()) else {
            return false;
        };
        room.copy_from_slice(part);
        self.length += part.len();
        true
    }

    fn push_label(&mut self, label: &[u8]) -> bool {
        self.push(&[label.len() as u8]) && self.push(label)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The most labels that can make sense before the origin of a zone.
const MOST: usize = 32;

impl Grammar {
    /// What a name in lower case means that lies below `origin`.
    pub(super) fn read(&self, wire: &[u8], origin: &[u8]) -> Meaning {
        let before = wire.len().saturating_sub(origin.len());
        let own = wire.get(..before).unwrap_or_default();
        let mut labels: [&[u8]; MOST] = [&[]; MOST];
        let mut count = 0;
        for label in name::labels(own) {
            let Some(place) = labels.get_mut(count) else { return Meaning::Unknown };
            *place = label;
            count += 1;
        }
        let all = labels.get(..count).unwrap_or_default();
        let (labels, datacenter) = self.without_datacenter(all);
        match labels {
            [spelled, b"addr"] if self.spells_addresses => {
                address(spelled).map_or(Meaning::Unknown, Meaning::Address)
            }
            // A literal means the same everywhere, so Consul does not look at the datacenter.
            [spelled, b"addr", _datacenter] if self.spells_addresses && self.is_consul => {
                address(spelled).map_or(Meaning::Unknown, Meaning::Address)
            }
            // Consul reads the short form for SRV only. A name that has SRV records is there for
            // other types too (RFC 8020): one that asks for both must not be told that it is not.
            [service, tag] | [service, tag, b"service"]
                if self.is_consul && is_marked(service) && is_marked(tag) =>
            {
                self.rfc2782(service, tag, datacenter, origin)
            }
            [marked] | [marked, b"service"] if self.is_consul && is_marked(marked) => {
                Meaning::Nothing
            }
            [] if datacenter.is_some() => Meaning::Nothing,
            _ if self.is_consul && self.is_above(all) => Meaning::Nothing,
            labels if datacenter.is_some() && self.datacenters.len() == 1 => {
                same(labels, None, origin)
            }
            _ if self.is_consul && self.is_elsewhere(all) => Meaning::OnDemand,
            _ => Meaning::Unknown,
        }
    }

    /// Whether there may be names below it that a source knows, so that it exists though nothing is
    /// there (RFC 8020).
    fn is_above(&self, labels: &[&[u8]]) -> bool {
        let named = labels.strip_suffix(&[b"dc".as_slice()]);
        [Some(labels), named].into_iter().flatten().any(|labels| {
            // What stands behind every datacenter.
            let Some((datacenter, before)) = labels.split_last() else { return true };
            let is_there = self.is_known(datacenter) || self.is_named(datacenter);
            match before {
                [] => is_there,
                // Whether there is such a datacenter or not.
                [b"service" | b"node" | b"addr" | b"query"] => true,
                [marked] | [marked, b"service"] => is_there && is_marked(marked),
                _ => false,
            }
        })
    }

    /// Whether it is an RFC 2782 name that only its datacenter stands behind, one that the catalog does
    /// not have.
    fn is_pair_elsewhere(&self, labels: &[&[u8]]) -> bool {
        demand::pair(labels).is_some_and(|(_, datacenter)| self.is_named(datacenter))
    }

    /// Whether the catalog has a datacenter.
    fn is_known(&self, name: &[u8]) -> bool {
        self.datacenters.iter().any(|known| **known == *name)
    }

    /// Whether it has not, and there is one all the same.
    fn is_named(&self, name: &[u8]) -> bool {
        !self.is_known(name) && self.elsewhere.iter().any(|known| known.as_bytes() == name)
    }

    /// Whether a source may know it: the result of a query, or something in a datacenter that is
    /// not in the catalog.
    fn is_elsewhere(&self, labels: &[&[u8]]) -> bool {
        let Some(place) = demand::keyword(labels) else {
            return self.is_pair_elsewhere(labels);
        };
        let (before, after) = labels.split_at(place);
        let datacenter = match after {
            [_keyword] => None,
            [_keyword, datacenter] | [_keyword, datacenter, b"dc"] => Some(*datacenter),
            _ => return false,
        };
        match after {
            _ if before.is_empty() => false,
            [b"query", ..] => true,
            _ => datacenter.is_some_and(|datacenter| !self.is_known(datacenter)),
        }
    }

    /// Cuts off a datacenter. One that stands right after a keyword, or after an RFC 2782 pair, is
    /// meant as such; so is one that stands alone.
    fn without_datacenter<'a>(&self, labels: &'a [&'a [u8]]) -> (&'a [&'a [u8]], Option<&'a [u8]>) {
        // Later versions of Consul say `web.service.dc1.dc` too.
        let pair = labels.strip_suffix(&[b"dc".as_slice()]).filter(|_| self.is_consul);
        if let Some(named) = pair
            && let (rest, Some(datacenter)) = self.without_datacenter(named)
            && !rest.is_empty()
        {
            return (rest, Some(datacenter));
        }
        let Some((last, rest)) = labels.split_last() else { return (labels, None) };
        if !self.is_known(last) {
            return (labels, None);
        }
        let is_meant = match rest {
            [] => true,
            [.., keyword] => {
                matches!(*keyword, b"service" | b"node" | b"addr") || is_marked(keyword)
            }
        };
        if is_meant { (rest, Some(last)) } else { (labels, None) }
    }

    /// `_service._tag`: a tag of `tcp` means any.
    fn rfc2782(
        &self,
        service: &[u8],
        tag: &[u8],
        datacenter: Option<&[u8]>,
        origin: &[u8],
    ) -> Meaning {
        let service = service.get(1..).unwrap_or_default();
        let datacenter = datacenter.filter(|_| self.datacenters.len() > 1);
        match tag.get(1..).unwrap_or_default() {
            b"tcp" => same(&[service, b"service"], datacenter, origin),
            tag => same(&[tag, service, b"service"], datacenter, origin),
        }
    }
}

fn same(labels: &[&[u8]], datacenter: Option<&[u8]>, origin: &[u8]) -> Meaning {
    let mut short = Short::new();
    let fits = labels.iter().copied().chain(datacenter).all(|label| short.push_label(label));
    if fits && short.push(origin) { Meaning::Same(short) } else { Meaning::Unknown }
}

/// Whether a label is `_something` (RFC 2782).
pub(super) fn is_marked(label: &[u8]) -> bool {
    label.len() > 1 && label.starts_with(b"_")
}

/// The address that 8 or 32 hexadecimal digits spell.
fn address(label: &[u8]) -> Option<IpAddr> {
    if !label.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = std::str::from_utf8(label).ok()?;
    match label.len() {
        8 => u32::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V4(bits.into())),
        32 => u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V6(bits.into())),
        _ => None,
    }
}
