//! Who may ask what, and how much.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use super::{cookie::Baker, message::MAX_UDP, rewrite::Rewrites};

/// How questions are treated, whatever their names. Replaced as a whole while we run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Who may ask for names that are not ours, and is not limited. Others are refused: a resolver
    /// for everybody is a weapon in the hands of whoever forges addresses (RFC 5358).
    pub recursion: Vec<IpNet>,
    /// The largest reply over UDP, in bytes, however much the asker would take: from 512 to
    /// [`Policy::LARGEST_UDP`].
    pub udp_size: u16,
    /// Whether cookies are given and known.
    pub cookies: bool,
    /// How many replies over UDP a network of strangers gets in a second, from each worker; `None`:
    /// as many as it asks for.
    pub limit: Option<RateLimit>,
    /// One in so many questions is logged; 0: none.
    pub log: u32,
    /// Which addresses of the edge are near to whom.
    pub edges: Nearby,
    /// What stands in the place of names that are asked.
    pub rewrites: Arc<Rewrites>,
}

/// The policy that holds now, and the key of cookies, which outlives it. Workers share them.
#[derive(Debug, Default)]
pub struct Policies {
    now: ArcSwap<Policy>,
    pub(super) baker: Baker,
}

impl Policies {
    /// From now on this holds. Answers whether anything changed.
    pub fn set(&self, policy: Policy) -> bool {
        let is_other = **self.now.load() != policy;
        if is_other {
            self.now.store(Arc::new(policy));
        }
        is_other
    }

    /// What stands in the place of names that are asked.
    pub fn rewrites(&self) -> Arc<Rewrites> {
        self.now.load().rewrites.clone()
    }

    pub(super) fn load(&self) -> Guard<Arc<Policy>> {
        self.now.load()
    }
}

/// How many replies strangers get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// In a second, to each network: the 24 first bits of an IPv4 address, 56 of an IPv6 address.
    pub per_second: u32,
    /// One in so many of the replies above is sent, cut short, so that who has not forged its
    /// address can ask again over TCP; 0: none.
    pub slip: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 100, slip: 2 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            recursion: private_networks(),
            udp_size: MAX_UDP as u16,
            cookies: true,
            limit: Some(RateLimit::default()),
            log: 0,
            edges: Nearby::default(),
            rewrites: Arc::default(),
        }
    }
}

impl Policy {
    /// More than any sensible network carries in one piece.
    pub const LARGEST_UDP: u16 = 4096;

    /// Whether an asker may ask for everything.
    pub(super) fn trusts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.recursion.iter().any(|network| network.contains(&client))
    }
}

/// The networks that nobody outside can speak from: loopback, private (RFC 1918, 4193), shared
/// (RFC 6598) and link-local (RFC 3927, 4291).
pub fn private_networks() -> Vec<IpNet> {
    [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ]
    .iter()
    .filter_map(|network| network.parse().ok())
    .collect()
}

/// Whether nobody outside can speak from an address.
pub(super) fn is_inside(address: IpAddr) -> bool {
    static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(private_networks);
    let address = address.to_canonical();
    PRIVATE.iter().any(|network| network.contains(&address))
}

/// Which addresses of the edge are near to whom: a node with several networks answers each with
/// the address that it has there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nearby {
    edges: Vec<IpAddr>,
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
        Self { edges: edges.to_vec(), near }
    }

    /// The edges for a question that came to an address, if not all.
    pub(super) fn to(&self, local: IpAddr) -> Option<Near<'_>> {
        if self.near.is_empty() {
            return None;
        }
        // As a socket on every address of IPv6 has it.
        let local = local.to_canonical();
        let (_, near) = self.near.iter().find(|(address, _)| *address == local)?;
        Some(Near { edges: &self.edges, near })
    }
}

/// The addresses of the edge, and those for one asker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near<'a> {
    edges: &'a [IpAddr],
    near: &'a [IpAddr],
}

impl Near<'_> {
    /// Whether an address is the edge's.
    pub(super) fn is_edge(&self, address: IpAddr) -> bool {
        self.edges.contains(&address)
    }

    /// Whether an address is one for this asker.
    pub(super) fn is_near(&self, address: IpAddr) -> bool {
        self.near.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split(' ').map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn strangers_are_told_from_neighbours() {
        let policy = Policy::default();
        for (client, expected) in [
            ("127.0.0.1", true),
            ("172.17.0.9", true),
            ("172.32.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(policy.trusts(client.parse().unwrap()), expected, "{client}");
        }
    }

    #[test]
    fn a_question_is_answered_with_the_edge_of_its_network() {
        let edges = addresses("10.0.0.5 192.168.1.5 fd00::5");
        let interfaces: Vec<IpNet> =
            ["127.0.0.1/8", "10.0.0.7/24", "192.168.1.5/24"].map(|it| it.parse().unwrap()).into();
        let nearby = Nearby::new(&edges, &interfaces);
        let near = nearby.to("10.0.0.7".parse().unwrap()).unwrap();
        assert!(near.is_near(edges[0]) && !near.is_near(edges[1]) && near.is_edge(edges[2]));
        let near = nearby.to("::ffff:10.0.0.7".parse().unwrap()).unwrap();
        assert!(near.is_near(edges[0]) && !near.is_near(edges[1]));
        assert!(nearby.to("127.0.0.1".parse().unwrap()).is_none());
        assert_eq!(Nearby::new(&edges[..1], &interfaces), Nearby::default());
    }
}
