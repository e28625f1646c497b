//! The answers of Consul's HTTP API, as far as they are used, and what they mean in the contract.
//!
//! **Invariant:** what is not in these types cannot cause news: the output of a check does not.

use std::{borrow::Cow, collections::BTreeMap};

use portolan_plugin::{Health, Instance, Node, Pair};
use serde::{Deserialize, Deserializer};

use crate::address::{Vantage, addresses};

/// `/v1/catalog/services`: names with the union of their tags.
pub(crate) type Services = BTreeMap<String, Option<Vec<String>>>;

/// `/v1/catalog/nodes`, and the node of an entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeAnswer {
    node: String,
    #[serde(default, deserialize_with = "or_null")]
    address: String,
    #[serde(default, deserialize_with = "or_null")]
    datacenter: String,
    #[serde(default, deserialize_with = "or_null")]
    tagged_addresses: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_null")]
    meta: BTreeMap<String, String>,
}

/// `/v1/query/<name>/execute`: what a prepared query finds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Executed {
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) nodes: Vec<Entry>,
    #[serde(default, deserialize_with = "or_null", rename = "DNS")]
    pub(crate) dns: QueryDns,
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) datacenter: String,
}

/// How names of a query are answered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueryDns {
    /// `10s`; empty: as other names.
    #[serde(rename = "TTL")]
    pub(crate) ttl: serde_json::Value,
}

/// `/v1/catalog/node/<name>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeServices {
    pub(crate) node: NodeAnswer,
}

/// An element of `/v1/health/service/<name>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    node: NodeAnswer,
    service: Service,
    #[serde(default, deserialize_with = "or_null")]
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    #[serde(default, deserialize_with = "or_null")]
    kind: String,
    #[serde(default, deserialize_with = "or_null")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    address: String,
    #[serde(default, deserialize_with = "or_null")]
    port: i64,
    #[serde(default, deserialize_with = "or_null")]
    tagged_addresses: BTreeMap<String, Place>,
    #[serde(default, deserialize_with = "or_null")]
    meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_null")]
    weights: Weights,
    #[serde(default, deserialize_with = "or_null")]
    modify_index: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    #[serde(default, deserialize_with = "or_null")]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Weights {
    passing: i64,
    warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// An element of `/v1/health/state/any`, and a check of an entry.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Check {
    /// Where it runs.
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) node: String,
    /// What it checks; empty for the node as a whole.
    #[serde(default, deserialize_with = "or_null")]
    pub(crate) service_name: String,
    #[serde(default, deserialize_with = "or_null", rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    #[serde(default, deserialize_with = "or_null")]
    status: String,
}

impl NodeAnswer {
    /// The node. `datacenter` stands in where the answer has none.
    pub(crate) fn into_node(self, datacenter: &str, vantage: Vantage<'_>) -> Node {
        let datacenter = or(self.datacenter, datacenter);
        let tagged = |key: &str| self.tagged_addresses.get(key).cloned();
        let (address, also) = addresses(self.address, vantage.is_outside(&datacenter), tagged);
        Node { extra: also_at(also), name: self.node, address, datacenter, meta: pairs(self.meta) }
    }
}

impl Entry {
    /// Whether it is a proxy or a gateway of Consul's mesh: a fact, but nothing to route to.
    pub(crate) fn is_mesh(&self) -> bool {
        !self.service.kind.is_empty()
    }

    /// The node that it runs on.
    pub(crate) fn node(&self, datacenter: &str, vantage: Vantage<'_>) -> Node {
        self.node.clone().into_node(datacenter, vantage)
    }

    /// The instance, without what its tags declare.
    pub(crate) fn into_instance(self, datacenter: &str, vantage: Vantage<'_>) -> Instance {
        let datacenter = or(self.node.datacenter, datacenter);
        let service = self.service;
        let places = service.tagged_addresses;
        let tagged = |key: &str| places.get(key).map(|place| place.address.clone());
        // Left empty where it is, as Consul does: the node's is meant, and DNS names the node.
        let (address, also) = addresses(service.address, vantage.is_outside(&datacenter), tagged);
        Instance {
            id: format!("{datacenter}/{}/{}", segment(&self.node.node), service.id),
            service: service.service,
            node: self.node.node,
            datacenter,
            address,
            port: u16::try_from(service.port).unwrap_or_default(),
            weight_passing: weight(service.weights.passing),
            weight_warning: weight(service.weights.warning),
            health: health(&self.checks),
            tags: service.tags,
            meta: pairs(service.meta),
            version: service.modify_index,
            declares: Vec::new(),
            extra: also_at(also),
        }
    }
}

/// Where the agent is: where the servers are that it names when nobody says where. Empty: the token may
/// not see them.
pub(crate) fn home(servers: Vec<Entry>) -> String {
    servers.into_iter().next().map(|server| server.node.datacenter).unwrap_or_default()
}

/// The name of a node as a part of an instance's id, in which a slash would begin the next one.
pub(crate) fn segment(node: &str) -> Cow<'_, str> {
    match node.contains(['/', '%']) {
        true => node.replace('%', "%25").replace('/', "%2F").into(),
        false => node.into(),
    }
}

fn also_at(also: Option<String>) -> Vec<Pair> {
    also.into_iter().map(|value| Pair { key: "also-at".to_owned(), value }).collect()
}

/// Consul's `AggregatedStatus`: the worst check counts, those of the node among them.
fn health(checks: &[Check]) -> Health {
    let worst = checks.iter().map(|check| match check.status.as_str() {
        _ if check.check_id == "_node_maintenance" => 3,
        _ if check.check_id.starts_with("_service_maintenance:") => 3,
        "passing" => 0,
        "warning" => 1,
        _ => 2,
    });
    match worst.max() {
        Some(3) => Health::Maintenance,
        Some(2) => Health::Critical,
        Some(1) => Health::Warning,
        _ => Health::Passing,
    }
}

fn weight(weight: i64) -> u32 {
    u32::try_from(weight.max(0)).unwrap_or(u32::MAX)
}

fn or(text: String, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text }
}

fn pairs(map: BTreeMap<String, String>) -> Vec<Pair> {
    map.into_iter().map(|(key, value)| Pair { key, value }).collect()
}

/// Go writes an empty list or map as `null` as often as not.
fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(entry: &str) -> Instance {
        serde_json::from_str::<Entry>(entry).unwrap().into_instance("fallback", Vantage::default())
    }

    // As Consul 1.8.7 writes it, less the fields that are not read.
    #[test]
    fn an_entry_is_an_instance() {
        let entry = r#"{
            "Node": { "ID": "x", "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1",
                      "TaggedAddresses": { "lan": "10.0.0.1" }, "Meta": null },
            "Service": { "ID": "web-1", "Service": "web", "Tags": ["a", "b=c"], "Address": "",
                         "TaggedAddresses": {}, "Meta": { "k": "v" }, "Port": 8080,
                         "Weights": { "Passing": 10, "Warning": 0 }, "EnableTagOverride": false,
                         "Proxy": {}, "Connect": {}, "CreateIndex": 11, "ModifyIndex": 12 },
            "Checks": [{ "Node": "n1", "CheckID": "serfHealth", "Status": "passing", "Output": "x" }]
        }"#;
        let instance = instance(entry);
        assert_eq!(instance.id, "dc1/n1/web-1");
        assert_eq!((instance.address.as_str(), instance.port), ("", 8080));
        assert_eq!((instance.weight_passing, instance.weight_warning), (10, 0));
        assert_eq!(instance.tags, ["a", "b=c"]);
        assert_eq!(instance.meta, [Pair::new("k", "v")]);
        assert_eq!(instance.version, 12);
        assert_eq!(instance.health, Health::Passing);
    }

    #[test]
    fn nulls_and_absent_fields_are_nothing() {
        let entry = r#"{ "Node": { "Node": "n1" }, "Checks": null,
            "Service": { "ID": "w", "Service": "web", "Tags": null, "Meta": null, "Port": -1,
                         "Weights": null } }"#;
        let instance = instance(entry);
        assert_eq!(instance.id, "fallback/n1/w");
        assert_eq!((instance.port, instance.weight_passing), (0, 1));
        assert!(instance.tags.is_empty() && instance.meta.is_empty());
    }

    #[test]
    fn no_two_instances_have_the_same_id() {
        let id = |node: &str, id: &str| {
            let text = format!(
                r#"{{ "Node": {{ "Node": "{node}" }}, "Service": {{ "ID": "{id}", "Service": "s" }} }}"#
            );
            instance(&text).id
        };
        assert_eq!(id("rack/a", "web"), "fallback/rack%2Fa/web");
        assert_eq!(id("rack", "a/web"), "fallback/rack/a/web");
        assert_eq!(id("rack%2Fa", "web"), "fallback/rack%252Fa/web");
    }

    #[test]
    fn an_address_of_the_other_protocol_is_another_address() {
        let entry = r#"{ "Node": { "Node": "n1", "Address": "10.0.0.1" },
            "Service": { "ID": "w", "Service": "web", "Address": "198.51.100.1", "Port": 81,
                "TaggedAddresses": { "lan_ipv4": { "Address": "10.0.0.7", "Port": 80 },
                                     "lan_ipv6": { "Address": "fd00::7", "Port": 80 } } } }"#;
        let instance = instance(entry);
        assert_eq!((instance.address.as_str(), instance.port), ("10.0.0.7", 81));
        assert_eq!(instance.extra, [Pair::new("also-at", "fd00::7")]);
    }

    #[test]
    fn a_node_has_addresses_of_both_protocols() {
        let node: NodeAnswer = serde_json::from_str(
            r#"{ "Node": "n1", "Address": "10.0.0.1", "TaggedAddresses": { "lan": "10.0.0.1",
                "lan_ipv4": "10.0.0.1", "lan_ipv6": "fd00::1", "wan_ipv6": "2001:db8::1" } }"#,
        )
        .unwrap();
        let outside = Vantage { translates_from: Some("dc2") };
        let seen_there = node.clone().into_node("dc1", outside);
        assert_eq!(seen_there.extra, [Pair::new("also-at", "2001:db8::1")]);
        let node = node.into_node("dc1", Vantage::default());
        assert_eq!(node.address, "10.0.0.1");
        assert_eq!(node.extra, [Pair::new("also-at", "fd00::1")]);
    }

    #[test]
    fn the_worst_check_counts() {
        let check = |checks: &[(&str, &str)], expected| {
            let check = |&(check_id, status): &(&str, &str)| Check {
                node: String::new(),
                service_name: String::new(),
                service_id: String::new(),
                check_id: check_id.to_owned(),
                status: status.to_owned(),
            };
            let checks: Vec<_> = checks.iter().map(check).collect();
            assert_eq!(health(&checks), expected);
        };
        check(&[], Health::Passing);
        check(&[("a", "passing"), ("b", "warning")], Health::Warning);
        check(&[("a", "critical"), ("b", "warning")], Health::Critical);
        check(&[("a", "what?")], Health::Critical);
        check(&[("_node_maintenance", "critical")], Health::Maintenance);
        check(&[("_service_maintenance:w", "critical"), ("a", "critical")], Health::Maintenance);
    }
}
