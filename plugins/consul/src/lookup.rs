//! What is looked up when somebody asks: prepared queries, and what is in other datacenters.

use portolan_plugin::{Failure, Found, KeptQuery, Lookup, Place, Wanted};

use crate::{
    Consul,
    address::Vantage,
    api::{Entry, Executed, NodeServices, home},
    catalog::{Answer, Subject, parse, percent_encoded},
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
    /// The agent's own, once that was of importance; empty: it may not be known.
    own: Option<String>,
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
        let Some(answer) = self.agent.look_up(&path, datacenter)? else { return Ok(None) };
        let executed: Executed = parse(&answer)?;
        // Nobody asked for a TTL of a fraction of a second.
        let ttl = seconds(&executed.dns.ttl).and_then(|ttl| u32::try_from(ttl).ok());
        let vantage = self.vantage(&answer)?;
        Ok(Some(Found { ttl, ..found(executed.nodes, &executed.datacenter, vantage) }))
    }

    fn service(&mut self, Place { name, datacenter }: &Place) -> Result<Option<Found>, String> {
        if !self.is_there(datacenter)? {
            return Ok(None);
        }
        let path = format!("/v1/health/service/{}", percent_encoded(name));
        let Some(answer) = self.agent.look_up(&path, Some(datacenter))? else { return Ok(None) };
        let entries: Vec<Entry> = parse(&answer)?;
        Ok(Some(found(entries, datacenter, self.vantage(&answer)?)))
    }

    fn node(&mut self, Place { name, datacenter }: &Place) -> Result<Option<Found>, String> {
        if !self.is_there(datacenter)? {
            return Ok(None);
        }
        let path = format!("/v1/catalog/node/{}", percent_encoded(name));
        let Some(answer) = self.agent.look_up(&path, Some(datacenter))? else { return Ok(None) };
        // Of a node that there is not, Consul says `null`.
        let node: Option<NodeServices> = parse(&answer)?;
        let vantage = self.vantage(&answer)?;
        Ok(node.map(|it| Found {
            nodes: vec![it.node.into_node(datacenter, vantage)],
            instances: Vec::new(),
            ttl: None,
        }))
    }

    /// Whether there is such a datacenter: whoever asks for names at random should not have every
    /// one of them passed on.
    fn is_there(&mut self, datacenter: &str) -> Result<bool, String> {
        let is_old = |asked| now().saturating_sub(asked) > KEPT_MS;
        if self.datacenters.asked.is_none_or(is_old) {
            let answer = self.agent.look_up("/v1/catalog/datacenters", None)?.unwrap_or_default();
            self.datacenters.names = parse(&answer)?;
            self.datacenters.asked = Some(now());
        }
        Ok(self.datacenters.names.iter().any(|name| name.eq_ignore_ascii_case(datacenter)))
    }

    /// From where an answer looks at addresses. Only what an agent says that translates them needs its
    /// datacenter to be known.
    fn vantage(&mut self, answer: &Answer) -> Result<Vantage<'_>, String> {
        if !answer.translates {
            return Ok(Vantage::default());
        }
        if self.datacenters.own.is_none() {
            let answer = self.agent.look_up(&Subject::Home.path(), None)?.unwrap_or_default();
            // Nothing: the token may not see it, yet.
            self.datacenters.own = Some(home(parse(&answer)?)).filter(|own| !own.is_empty());
        }
        Ok(Vantage { translates_from: self.datacenters.own.as_deref() })
    }
}

fn found(entries: Vec<Entry>, datacenter: &str, vantage: Vantage<'_>) -> Found {
    let nodes = entries.iter().map(|entry| entry.node(datacenter, vantage)).collect();
    let instances = entries.into_iter().map(|entry| entry.into_instance(datacenter, vantage));
    Found { nodes, instances: instances.collect(), ttl: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
        parse(&Answer { body: body.to_vec(), ..Answer::default() })
    }

    // As Consul 1.8.7 writes it, less the fields that are not read.
    #[test]
    fn what_a_query_finds_is_read() {
        let body = br#"{ "Service": "db", "Datacenter": "dc2", "Failovers": 1,
            "DNS": { "TTL": "10s" },
            "Nodes": [{ "Node": { "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc2" },
                        "Service": { "ID": "db-1", "Service": "db", "Port": 5432 },
                        "Checks": [] }] }"#;
        let executed: Executed = read(body).unwrap();
        assert_eq!(seconds(&executed.dns.ttl), Some(10));
        let found = found(executed.nodes, &executed.datacenter, Vantage::default());
        assert_eq!(found.instances[0].id, "dc2/n1/db-1");
        assert_eq!(found.nodes[0].address, "10.0.0.1");
        let empty: Executed = read(br#"{ "Nodes": null, "DNS": { "TTL": "" } }"#).unwrap();
        assert!(empty.nodes.is_empty() && seconds(&empty.dns.ttl).is_none());
    }

    #[test]
    fn a_node_that_there_is_not_is_null() {
        assert!(read::<Option<NodeServices>>(b"null").unwrap().is_none());
    }
}
