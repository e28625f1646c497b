//! What is looked up when somebody asks: prepared queries, and what is in other datacenters.

use portolan_plugin::{Failure, Found, KeptQuery, Lookup, Place, Wanted};
use serde::de::DeserializeOwned;

use crate::{
    Consul,
    api::{Entry, Executed, NodeServices},
    catalog::percent_encoded,
    config::seconds,
    now,
};

/// Which datacenters there are is asked again after so many milliseconds.
const KEPT_MS: u64 = 30_000;

/// The datacenters, and when they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Datacenters {
    names: Vec<String>,
    asked: Option<u64>,
}

impl Lookup for Consul {
    fn find(&mut self, wanted: Wanted) -> Result<Option<Found>, Failure> {
        self.look_up(wanted).map_err(|matter| Failure::Temporary(self.agent.describe(&matter)))
    }
}

impl Consul {
    fn look_up(&mut self, wanted: Wanted) -> Result<Option<Found>, String> {
        match wanted {
            Wanted::Query(KeptQuery { name, datacenter }) => {
                self.query(&name, datacenter.as_deref())
            }
            Wanted::Service(place) => self.service(&place),
            Wanted::Node(place) => self.node(&place),
        }
    }

    fn query(&mut self, name: &str, datacenter: Option<&str>) -> Result<Option<Found>, String> {
        if let Some(datacenter) = datacenter
            && !self.is_there(datacenter)?
        {
            return Ok(None);
        }
        let path = format!("/v1/query/{}/execute", percent_encoded(name));
        let Some(body) = self.agent.look_up(&path, datacenter)? else { return Ok(None) };
        let executed: Executed = parse(&body)?;
        // Nobody asked for a TTL of a fraction of a second.
        let ttl = seconds(&executed.dns.ttl).and_then(|ttl| u32::try_from(ttl).ok());
        Ok(Some(Found { ttl, ..found(executed.nodes, &executed.datacenter) }))
    }

    fn service(&mut self, Place { name, datacenter }: &Place) -> Result<Option<Found>, String> {
        if !self.is_there(datacenter)? {
            return Ok(None);
        }
        let path = format!("/v1/health/service/{}", percent_encoded(name));
        let Some(body) = self.agent.look_up(&path, Some(datacenter))? else { return Ok(None) };
        let entries: Vec<Entry> = parse(&body)?;
        Ok(Some(found(entries, datacenter)))
    }

    fn node(&mut self, Place { name, datacenter }: &Place) -> Result<Option<Found>, String> {
        if !self.is_there(datacenter)? {
            return Ok(None);
        }
        let path = format!("/v1/catalog/node/{}", percent_encoded(name));
        let Some(body) = self.agent.look_up(&path, Some(datacenter))? else { return Ok(None) };
        // Of a node that there is not, Consul says `null`.
        let node: Option<NodeServices> = parse(&body)?;
        Ok(node.map(|it| Found {
            nodes: vec![it.node.into_node(datacenter)],
            instances: Vec::new(),
            ttl: None,
        }))
    }

    /// Whether there is such a datacenter: whoever asks for names at random should not have every
    /// one of them passed on.
    fn is_there(&mut self, datacenter: &str) -> Result<bool, String> {
        let is_old = |asked| now().saturating_sub(asked) > KEPT_MS;
        if self.datacenters.asked.is_none_or(is_old) {
            let body = self.agent.look_up("/v1/catalog/datacenters", None)?.unwrap_or_default();
            self.datacenters = Datacenters { names: parse(&body)?, asked: Some(now()) };
        }
        Ok(self.datacenters.names.iter().any(|name| name.eq_ignore_ascii_case(datacenter)))
    }
}

fn found(entries: Vec<Entry>, datacenter: &str) -> Found {
    let nodes = entries.iter().map(|entry| entry.node(datacenter)).collect();
    let instances = entries.into_iter().map(|entry| entry.into_instance(datacenter)).collect();
    Found { nodes, instances, ttl: None }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("answers nonsense: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // As Consul 1.8.7 writes it, less the fields that are not read.
    #[test]
    fn what_a_query_finds_is_read() {
        let body = br#"{ "Service": "db", "Datacenter": "dc2", "Failovers": 1,
            "DNS": { "TTL": "10s" },
            "Nodes": [{ "Node": { "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc2" },
                        "Service": { "ID": "db-1", "Service": "db", "Port": 5432 },
                        "Checks": [] }] }"#;
        let executed: Executed = parse(body).unwrap();
        assert_eq!(seconds(&executed.dns.ttl), Some(10));
        let found = found(executed.nodes, &executed.datacenter);
        assert_eq!(found.instances[0].id, "dc2/n1/db-1");
        assert_eq!(found.nodes[0].address, "10.0.0.1");
        let empty: Executed = parse(br#"{ "Nodes": null, "DNS": { "TTL": "" } }"#).unwrap();
        assert!(empty.nodes.is_empty() && seconds(&empty.dns.ttl).is_none());
    }

    #[test]
    fn a_node_that_there_is_not_is_null() {
        assert!(parse::<Option<NodeServices>>(b"null").unwrap().is_none());
    }
}
