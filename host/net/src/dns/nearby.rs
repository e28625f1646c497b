//! Which addresses of the edge are near to whom: a node with several networks answers each with the
//! address that it has there.
//!
//! **Invariant:** nothing here knows what the edge is. A snapshot says that, and may be another one by now.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::zone::{Everywhere, Record, RecordSet, RecordType, body_data, body_ttl};

/// What is near to whom: whatever lies in the network of the interface that was asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nearby {
    /// The addresses of this machine, with their networks.
    interfaces: Vec<IpNet>,
}

impl Nearby {
    /// By the interfaces of this machine.
    pub fn new(interfaces: &[IpNet]) -> Self {
        let mut interfaces = interfaces.to_vec();
        interfaces.sort_unstable();
        interfaces.dedup();
        Self { interfaces }
    }

    /// The edges for a question that came to an address.
    pub(super) fn to(&self, local: IpAddr) -> Near<'_> {
        // As a socket on every address of IPv6 has it.
        Near { nearby: self, local: local.to_canonical() }
    }
}

/// The addresses of the edge for one asker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near<'a> {
    nearby: &'a Nearby,
    /// The address that was asked.
    local: IpAddr,
}

/// Those that lie in the network of the one that was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept(IpNet);

impl Near<'_> {
    /// Of the addresses that a host leads to, those for this asker: other records, or which of these are
    /// kept. The one that was asked, where the edge is everywhere; all of them, where none of their
    /// protocol is near.
    pub(super) fn choose<'r>(
        self,
        edges: RecordSet<'r>,
        everywhere: Everywhere,
    ) -> (RecordSet<'r>, Option<Kept>) {
        let Some(first) = edges.in_order().next() else { return (edges, None) };
        if everywhere.has(self.local) && RecordType::of(self.local) == first.rtype() {
            return (RecordSet::spelled(self.local, body_ttl(first.body)), None);
        }
        if edges.in_order().nth(1).is_none() {
            return (edges, None);
        }
        let asked = self.nearby.interfaces.iter().find(|it| it.addr() == self.local);
        let kept = asked.map(|network| Kept(*network));
        let kept = kept.filter(|kept| edges.in_order().any(|record| kept.keeps(&record)));
        (edges, kept)
    }
}

impl Kept {
    pub(super) fn keeps(self, record: &Record<'_>) -> bool {
        address(record).is_some_and(|address| self.0.contains(&address))
    }
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    let data = body_data(record.body);
    match data.len() {
        4 => data.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => data.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_one_interface_however_it_is_spelled() {
        let of = |text: &str| text.parse::<IpNet>().unwrap();
        let nearby = Nearby::new(&[of("192.168.1.5/24"), of("10.0.0.7/24"), of("10.0.0.7/24")]);
        assert_eq!(nearby, Nearby::new(&[of("10.0.0.7/24"), of("192.168.1.5/24")]));
        let local = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(nearby.to(local).local, of("10.0.0.7/24").addr());
    }
}
