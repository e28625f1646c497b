//! Names and their answers.

use std::{net::IpAddr, sync::Arc};

use crate::item::{Instance, Node};

/// What names a zone has.
#[derive(Clone, Debug, PartialEq)]
pub enum Names {
    /// Consul's grammar: `<service>.service.<zone>`, `<node>.node.<zone>`, ...
    Consul,
    /// `<service>.<zone>`, `<tag>.<service>.<zone>`.
    Services,
    /// The hosts of live routers that lie in the zone; other names in it do not exist.
    Routers,
    /// The records given.
    Static(Vec<StaticRecord>),
}

/// A record as it stands in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticRecord {
    /// Relative to the zone; `@` is the zone itself, `*` a wildcard.
    pub name: String,
    /// `A`, `AAAA`, `CNAME`, `TXT`, `SRV`, `MX`, ...
    pub rtype: String,
    /// The data in presentation form (RFC 1035, 5.1).
    pub data: String,
    /// Seconds.
    pub ttl: u32,
}

/// A zone as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneConfig {
    /// `consul`, `infra.local`: without a trailing dot, lower case.
    pub origin: String,
    /// What names it has.
    pub names: Names,
    /// Of answers from the catalog, in seconds.
    pub ttl: u32,
}

/// What DNS answers from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DnsConfig {
    /// What the `Host()` of a router resolves to.
    pub edge_addresses: Vec<IpAddr>,
    /// The zones.
    pub zones: Vec<ZoneConfig>,
}

/// Everything that names are made of.
#[derive(Debug)]
pub struct ZoneInputs<'a> {
    /// Zones and edge addresses.
    pub config: &'a DnsConfig,
    /// Every node of every provider.
    pub nodes: &'a [Arc<Node>],
    /// Every instance of every provider, whatever its health.
    pub instances: &'a [Arc<Instance>],
    /// The exact and wildcard (`*.example.com`) hosts of all live routers, lower case.
    pub router_hosts: &'a [String],
    /// False until each provider has given its first full state, or had one on disk: names that
    /// would not exist are answered with SERVFAIL until then.
    pub synced: bool,
    /// Of the SOA records: grows with every change.
    pub serial: u32,
}

/// All zones, ready to answer.
#[derive(Debug, Default)]
pub struct Zones {}

impl Zones {
    /// Builds every name and its answers, and what was wrong with the inputs.
    pub fn build(_inputs: &ZoneInputs<'_>) -> (Self, Vec<crate::problem::Problem>) {
        (Self::default(), Vec::new())
    }
}
