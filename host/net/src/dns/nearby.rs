//! Which addresses of the edge are near to whom: a node with several networks answers each with the
//! address that it has there.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::zone::{Everywhere, Record, RecordSet, RecordType, body_data, body_ttl};

/// Which addresses of the edge are near to whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nearby {
    /// An address that questions come to, and the edges within its network.
    near: Vec<(IpAddr, Vec<IpAddr>)>,
}

impl Nearby {
    /// Of all edge addresses, those that lie in the network of an interface are for questions that
    /// come to an address of that interface.
    pub fn new(edges: &[IpAddr], interfaces: &[IpNet]) -> Self {
        if edges.len() < 2 {
            return Self::default();
        }
        let near = interfaces.iter().filter_map(|interface| {
            let here = edges.iter().copied().filter(|edge| interface.contains(edge));
            let here: Vec<_> = here.collect();
            (!here.is_empty()).then_some((interface.addr(), here))
        });
        let mut near: Vec<_> = near.collect();
        near.sort_unstable();
        near.dedup();
        Self { near }
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
pub(super) struct Kept<'a>(&'a [IpAddr]);

impl<'a> Near<'a> {
    /// Of the addresses that a host leads to, those for this asker: other records, or which of these are
    /// kept. The one that was asked, where the edge is everywhere; all of them, where none of their
    /// protocol is near.
    pub(super) fn choose<'r>(
        self,
        edges: RecordSet<'r>,
        everywhere: Everywhere,
    ) -> (RecordSet<'r>, Option<Kept<'a>>) {
        let Some(first) = edges.in_order().next() else { return (edges, None) };
        if everywhere.has(self.local) && RecordType::of(self.local) == first.rtype() {
            return (RecordSet::spelled(self.local, body_ttl(first.body)), None);
        }
        let near = self.nearby.near.iter().find(|(address, _)| *address == self.local);
        let kept = near.map(|(_, near)| Kept(near));
        let kept = kept.filter(|kept| edges.in_order().any(|record| kept.keeps(&record)));
        (edges, kept)
    }
}

impl Kept<'_> {
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

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split(' ').map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_question_is_answered_with_the_edge_of_its_network() {
        let edges = addresses("10.0.0.5 192.168.1.5 fd00::5");
        let interfaces: Vec<IpNet> =
            ["127.0.0.1/8", "10.0.0.7/24", "192.168.1.5/24"].map(|it| it.parse().unwrap()).into();
        let nearby = Nearby::new(&edges, &interfaces);
        let at = |address: &str| address.parse().unwrap();
        let near =
            [(at("10.0.0.7"), vec![at("10.0.0.5")]), (at("192.168.1.5"), vec![at("192.168.1.5")])];
        assert_eq!(nearby.near, near);
        assert_eq!(nearby.to(at("::ffff:10.0.0.7")).local, at("10.0.0.7"));
        assert_eq!(Nearby::new(&edges[..1], &interfaces), Nearby::default());
    }
}
