//! Names and their answers.
//!
//! **Invariant:** a name that exists has an answer for every type, and every answer that says no
//! comes with the SOA that lets others remember it (RFC 2308).
//!
//! Read `name`, `record` and `answer` for the vocabulary, `registry` for how names come to be, and
//! `lookup` for how they are found.

mod answer;
mod catalog;
mod claim;
mod demand;
mod draft;
mod edge;
mod explain;
mod grammar;
mod group;
mod label;
mod layout;
mod lookup;
mod name;
mod options;
mod presentation;
mod record;
mod registry;
mod table;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

pub use self::{
    answer::{Answer, Authority, InOrder, Record, RecordSet},
    demand::Demand,
    edge::{Edges, Everywhere, Reach},
    explain::NameView,
    lookup::Answered,
    name::{Labels, MAX_NAME, Name, NameError, Text, labels, parent},
    options::ZoneOptions,
    record::{BODY_HEAD, QUESTION_POINTER, RecordType, body_data, body_text, body_ttl, body_type},
    registry::Registry,
    table::Kind,
};
use self::{
    lookup::{Soa, Zone},
    table::Table,
};
use crate::{
    item::{Instance, Node},
    problem::Problem,
};

/// What names a zone has.
#[derive(Clone, Debug, PartialEq)]
pub enum Names {
    /// Consul's grammar: `<service>.service.<zone>`, `<node>.node.<zone>`, ...
    Consul,
    /// `<service>.<zone>`, `<tag>.<service>.<zone>`.
    Services,
    /// The hosts of live routers that lie in the zone; other names in it do not exist.
    Routers,
    /// The records given. There may be a hundred thousand: a copy shares them.
    Static(Arc<[StaticRecord]>),
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
    /// How it answers beside that.
    pub options: ZoneOptions,
}

/// What DNS answers from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DnsConfig {
    /// What the `Host()` of a router resolves to.
    pub edges: Edges,
    /// Where DNS is answered: the addresses of the name server of each zone.
    pub server_addresses: Vec<IpAddr>,
    /// The zones.
    pub zones: Vec<ZoneConfig>,
    /// Records that belong to no zone of the configuration: they have whole names.
    pub records: Arc<[LooseRecord]>,
    /// What hosts files say. A name that has static records keeps those alone.
    pub hosts: Arc<[HostEntry]>,
    /// Of answers from hosts files, in seconds.
    pub hosts_ttl: u32,
    /// Of the hosts of routers outside every zone, in seconds.
    pub router_ttl: u32,
    /// Datacenters, in lower case, that there are whatever the catalog has of them: what is in them
    /// is looked up when it is asked for.
    pub datacenters: Arc<[String]>,
    /// Suffixes of names outside every zone that are looked up in a way of their own: whether anybody is
    /// asked for these. Of several the longest counts.
    pub suffixes: Arc<[(Name, bool)]>,
    /// Whether upstreams are asked for the names of private addresses. Nobody outside can know
    /// them (RFC 6303), but a router nearby may.
    pub forwards_private: bool,
}

/// A record with a whole name, and where it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LooseRecord {
    /// The record.
    pub record: StaticRecord,
    /// The provider that has it.
    pub provider: String,
    /// The file.
    pub origin: String,
    /// JSON Pointer to it there.
    pub path: String,
}

/// One name of a line of a hosts file (hosts(5)).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostEntry {
    /// In lower case.
    pub name: Name,
    /// Its address.
    pub address: IpAddr,
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
    /// The exact and wildcard (`*.example.com`) hosts of live routers that are on every entrypoint,
    /// lower case.
    pub router_hosts: &'a [String],
    /// False until each provider has given its first full state, or had one on disk: names that
    /// would not exist are answered with SERVFAIL until then.
    pub synced: bool,
    /// Of the SOA records: grows with every change.
    pub serial: u32,
}

/// All zones, ready to answer.
///
/// Names live in one table, whatever zone they are in. Values are record bodies as they go over
/// the wire, so that an answer is a copy.
#[derive(Debug, Default)]
pub struct Zones {
    table: Table,
    /// Those of the configuration first, then those that are never forwarded.
    zones: Vec<Zone>,
    /// How many zones are of the configuration.
    configured: usize,
    /// For names outside every zone.
    lone_soa: Soa,
    /// Of `local`, unless that is a zone.
    local_soa: Soa,
    synced: bool,
    /// Whether the hosts of routers lead to what is written, instead of to their entrypoints.
    are_edges_written: bool,
}

impl Zones {
    /// Builds every name and its answers, and what was wrong with the inputs.
    pub fn build(inputs: &ZoneInputs<'_>) -> (Self, Vec<Problem>) {
        registry::build(inputs)
    }

    /// Whether every provider has told what it knows: only then a name that is not there does not
    /// exist.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory the names take.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }
}
