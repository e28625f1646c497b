//! Which addresses of the edge are near to whom: a node with several networks answers each with the
//! address that it has there.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::zone::{Record, RecordSet, RecordType, body_data, body_ttl};

/// Which addresses of the edge are near to whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nearby {
    /// An address that questions come to, and the edges within its network.
    near: Vec<(IpAddr, Vec<IpAddr>)>,
    everywhere: Everywhere,
}

/// Whether the edge is reached at every address of this machine, those of each protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Everywhere {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

impl Everywhere {
    /// Whether it is reached at an address to which a question came. Loopback is of no use to
    /// others, and link-local addresses are none without an interface.
    fn has(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.v4 && !ip.is_loopback() && !ip.is_unspecified(),
            IpAddr::V6(ip) => {
                self.v6 && !(ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local())
            }
        }
    }
}

impl Nearby {
    /// Of all edge addresses, those that lie in the network of an interface are for questions that
    /// come to an address of that interface. Where the edge is everywhere, that address is it.
    pub fn new(edges: &[IpAddr], interfaces: &[IpNet], everywhere: Everywhere) -> Self {
        if edges.len() < 2 {
            return Self { near: Vec::new(), everywhere };
        }
        let near = interfaces.iter().filter_map(|interface| {
            let here = edges.iter().copied().filter(|edge| interface.contains(edge));
            let here: Vec<_> = here.collect();
            (!here.is_empty()).then_some((interface.addr(), here))
        });
        let mut near: Vec<_> = near.collect();
        near.sort_unstable();
        near.dedup();
        Self { near, everywhere }
    }

    /// The edges for a question that came to an address, if not all.
    pub(super) fn to(&self, local: IpAddr) -> Option<Near<'_>> {
        if self.near.is_empty() && self.everywhere == Everywhere::default() {
            return None;
        }
        // As a socket on every address of IPv6 has it.
        let local = local.to_canonical();
        let near = self.near.iter().find(|(address, _)| *address == local);
        let near = near.map_or(&[][..], |(_, near)| near);
        let here = Some(local).filter(|local| self.everywhere.has(*local));
        (!near.is_empty() || here.is_some()).then_some(Near { near, here })
    }
}

/// The addresses of the edge for one asker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near<'a> {
    near: &'a [IpAddr],
    /// The address that was asked, when it is the edge's too.
    here: Option<IpAddr>,
}

impl<'a> Near<'a> {
    /// Of the addresses of the edge, those for this asker: other records, or which of these are
    /// kept. All of them, where none of their protocol is near.
    pub(super) fn choose<'r>(self, edges: RecordSet<'r>) -> (RecordSet<'r>, Option<Self>) {
        let Some(first) = edges.in_order().next() else { return (edges, None) };
        let here = self.here.filter(|here| RecordType::of(*here) == first.rtype());
        if let Some(here) = here {
            return (RecordSet::spelled(here, body_ttl(first.body)), None);
        }
        let is_any_near = edges.in_order().any(|record| self.keeps(&record));
        (edges, is_any_near.then_some(self))
    }

    pub(super) fn keeps(self, record: &Record<'_>) -> bool {
        address(record).is_some_and(|address| self.near.contains(&address))
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
        let nearby = Nearby::new(&edges, &interfaces, Everywhere::default());
        for local in ["10.0.0.7", "::ffff:10.0.0.7"] {
            let near = nearby.to(local.parse().unwrap()).unwrap();
            assert_eq!((near.near, near.here), (&edges[..1], None), "{local}");
        }
        assert!(nearby.to("127.0.0.1".parse().unwrap()).is_none());
        let nearby = Nearby::new(&edges[..1], &interfaces, Everywhere::default());
        assert_eq!(nearby, Nearby::default());
    }

    #[test]
    fn where_the_edge_is_everywhere_it_is_where_the_question_came() {
        let nearby = Nearby::new(&[], &[], Everywhere { v4: true, v6: true });
        for (local, is_edge) in [
            ("172.17.0.1", true),
            ("::ffff:172.17.0.1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(nearby.to(local.parse().unwrap()).is_some(), is_edge, "{local}");
        }
        let nearby = Nearby::new(&[], &[], Everywhere { v4: true, v6: false });
        assert!(nearby.to("fd00::1".parse().unwrap()).is_none());
    }
}
