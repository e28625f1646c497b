//! Who may ask what, and how much.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use super::{cookie::Baker, message::MAX_UDP, nearby::Nearby, rewrite::Rewrites};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
