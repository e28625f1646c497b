//! Predicates over a request, written as a tree and handed to the host as an arena.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Invalid, bindings::imports::predicate as wire};

pub use wire::{Field, Op};

/// A condition on a request, which the host runs natively.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// True.
    Always,
    /// False.
    Never,
    /// All of them; of none: true.
    All(Vec<Self>),
    /// Any of them; of none: false.
    Any(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// True if any value of the field compares well with any of the values.
    Test(Field, Op, Vec<String>),
}

impl Predicate {
    /// A comparison: `Predicate::test(Field::Method, Op::Equals, ["GET", "HEAD"])`.
    pub fn test<S: Into<String>>(
        field: Field,
        op: Op,
        values: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::Test(field, op, values.into_iter().map(Into::into).collect())
    }

    /// Whether the request has this header at all.
    pub fn has_header(name: impl Into<String>) -> Self {
        Self::Test(Field::Header(name.into()), Op::Exists, Vec::new())
    }

    /// Whether the client is in one of these networks, however it is found.
    pub fn client_in<S: Into<String>>(
        strategy: &ClientStrategy,
        networks: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::test(strategy.field(), Op::Cidr, networks)
    }

    /// This and the other.
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other])
    }

    /// The opposite.
    #[expect(clippy::should_implement_trait, reason = "reads in a chain, and needs no import")]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// The arena that the contract asks for: children stand before their parents.
    pub(crate) fn into_wire(self) -> wire::Predicate {
        let mut nodes = Vec::new();
        let root = push(self, &mut nodes);
        wire::Predicate { nodes, root }
    }
}

/// How the client of a request is found (Traefik's `ipStrategy`); by default it is the peer. Flatten
/// it into a configuration, or give it a key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientStrategy {
    /// The client is so many from the end of `X-Forwarded-For`, as it came; 0: the peer.
    pub depth: u32,
    /// The client is the last in `X-Forwarded-For` that is none of these. `depth` comes first.
    #[serde(rename = "excluded-ips")]
    pub excluded_ips: Vec<String>,
    /// Addresses of IPv6 stand for their network of this many bits.
    #[serde(rename = "ipv6-subnet")]
    #[schemars(range(max = 128))]
    pub ipv6_subnet: Option<u8>,
}

impl ClientStrategy {
    /// Adds what is wrong to `invalid`; `path` is where the configuration has it.
    pub fn check(&self, path: &str, invalid: &mut Invalid) {
        for (place, range) in self.excluded_ips.iter().enumerate() {
            if !is_ip_range(range.trim()) {
                let message = format!("`{range}` is neither an IP address nor a network");
                invalid.add(format!("{path}/excluded-ips/{place}"), message);
            }
        }
        if self.ipv6_subnet.is_some_and(|length| length > 128) {
            invalid.add(format!("{path}/ipv6-subnet"), "an address has 128 bits");
        }
    }

    pub(crate) fn field(&self) -> Field {
        let excluded: Vec<&str> = self.excluded_ips.iter().map(|range| range.trim()).collect();
        let proxies = match (self.depth, excluded.as_slice()) {
            (0, []) => None,
            (0, excluded) => Some(format!("except={}", excluded.join(","))),
            (depth, _) => Some(format!("depth={depth}")),
        };
        let subnet = self.ipv6_subnet.map(|length| format!("ipv6-subnet={length}"));
        let how: Vec<String> = proxies.into_iter().chain(subnet).collect();
        if how.is_empty() {
            return Field::ClientIp;
        }
        Field::Other(format!("client-ip;{}", how.join(";")))
    }
}

/// Whether [`Op::Cidr`] takes this: an IP address, or one with the length of a prefix (RFC 4632).
pub fn is_ip_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn push(predicate: Predicate, nodes: &mut Vec<wire::Node>) -> u32 {
    let node = match predicate {
        Predicate::Always => wire::Node::Always,
        Predicate::Never => wire::Node::Never,
        Predicate::All(parts) => wire::Node::All(push_all(parts, nodes)),
        Predicate::Any(parts) => wire::Node::Any(push_all(parts, nodes)),
        Predicate::Not(part) => wire::Node::Not(push(*part, nodes)),
        Predicate::Test(field, op, values) => wire::Node::Test(wire::Test { field, op, values }),
    };
    nodes.push(node);
    // More than 4,096 nodes are refused by the host; four billion do not fit in a guest.
    u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX)
}

fn push_all(parts: Vec<Predicate>, nodes: &mut Vec<wire::Node>) -> Vec<u32> {
    parts.into_iter().map(|part| push(part, nodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_stand_before_their_parents() {
        let get = Predicate::test(Field::Method, Op::Equals, ["GET"]);
        let arena = get.not().and(Predicate::has_header("origin")).into_wire();
        assert_eq!(arena.root, 3);
        assert_eq!(arena.nodes[1], wire::Node::Not(0));
        assert_eq!(arena.nodes[3], wire::Node::All(vec![1, 2]));
    }

    #[test]
    fn a_client_is_found_as_the_contract_writes_it() {
        let field = |depth, excluded: &[&str], ipv6_subnet| {
            let excluded_ips = excluded.iter().map(|&range| range.to_owned()).collect();
            match (ClientStrategy { depth, excluded_ips, ipv6_subnet }).field() {
                Field::Other(name) => name,
                field => format!("{field:?}"),
            }
        };
        assert_eq!(field(0, &[], None), "Field::ClientIp");
        assert_eq!(field(0, &[], Some(64)), "client-ip;ipv6-subnet=64");
        assert_eq!(field(2, &["10.0.0.1"], None), "client-ip;depth=2");
        assert_eq!(
            field(0, &["10.0.0.0/8", " ::1"], Some(56)),
            "client-ip;except=10.0.0.0/8,::1;ipv6-subnet=56"
        );
    }

    #[test]
    fn ranges_are_addresses_and_networks() {
        for good in ["10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "2001:db8::/32"] {
            assert!(is_ip_range(good), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "::/129", "localhost", "1/8"] {
            assert!(!is_ip_range(bad), "{bad}");
        }
    }
}
