//! Names that a source is asked for when somebody asks us: the results of prepared queries, and
//! what is in datacenters that the catalog does not have (Consul's agent/dns.go).

use std::sync::Arc;

use super::{
    DnsConfig, Names, ZoneConfig, ZoneInputs, Zones,
    grammar::is_marked,
    name::{self, Name},
};
use crate::item::{Found, Wanted};

/// What is to be looked up for a name, and how the name is answered then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Demand {
    /// The zone that the name lies in, without the trailing dot.
    pub origin: String,
    /// What to look up.
    pub wanted: Wanted,
    /// The name that [`Demand::zones`] answers it under.
    pub name: Name,
}

/// What the instances that a query finds are called: names are made of services.
const RESULT: &str = "result";

/// Where the keyword stands that says what a name of Consul's grammar is about: the last one
/// counts.
pub(super) fn keyword(labels: &[&[u8]]) -> Option<usize> {
    labels.iter().rposition(|label| matches!(*label, b"query" | b"service" | b"node"))
}

/// The service and the datacenter of an RFC 2782 name without a keyword.
pub(super) fn pair<'a>(labels: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8])> {
    match labels {
        [service, tag, datacenter] | [service, tag, datacenter, b"dc"]
            if is_marked(service) && is_marked(tag) =>
        {
            Some((service.get(1..)?, *datacenter))
        }
        _ => None,
    }
}

impl Zones {
    /// What is to be looked up for a name, in wire form and lower case, whose answer is
    /// [`super::Answer::OnDemand`].
    pub fn demand(&self, wire: &[u8]) -> Option<Demand> {
        let mut suffixes = std::iter::successors(Some(wire), |suffix| name::parent(suffix));
        let origin =
            suffixes.find_map(|suffix| self.origins().find(|origin| ***origin == *suffix))?;
        let own = wire.get(..wire.len() - origin.len())?;
        let labels: Vec<&[u8]> = name::labels(own).collect();
        let wanted = wanted(&labels)?;
        let name = match &wanted {
            Wanted::Query { .. } => {
                let origin = Name::parse(&name::Text(origin).to_string()).ok()?;
                Name::below(&origin, [RESULT.as_bytes(), b"service"]).ok()?
            }
            Wanted::Service { .. } | Wanted::Node { .. } => {
                Name::parse(&name::Text(wire).to_string()).ok()?
            }
        };
        Some(Demand { origin: name::Text(origin).to_string(), wanted, name })
    }
}

/// What the labels of a name before its zone ask for.
fn wanted(labels: &[&[u8]]) -> Option<Wanted> {
    let text = |labels: &[&[u8]]| {
        let texts = labels.iter().map(|label| String::from_utf8_lossy(label));
        texts.collect::<Vec<_>>().join(".")
    };
    let Some(place) = keyword(labels) else {
        let (service, datacenter) = pair(labels)?;
        return Some(Wanted::Service { name: text(&[service]), datacenter: text(&[datacenter]) });
    };
    let (before, after) = labels.split_at(place);
    let datacenter = after.get(1).map(|label| text(&[label]));
    let (keyword, last) = (*after.first()?, *before.last()?);
    // RFC 2782: `_name._tcp`.
    let marked = match before {
        [service, _tag] if service.starts_with(b"_") => service.get(1..),
        _ => None,
    };
    match (keyword, datacenter) {
        (b"query", datacenter) => Some(Wanted::Query {
            name: marked.map_or_else(|| text(before), |it| text(&[it])),
            datacenter,
        }),
        (b"service", Some(datacenter)) => {
            Some(Wanted::Service { name: text(&[marked.unwrap_or(last)]), datacenter })
        }
        (b"node", Some(datacenter)) => Some(Wanted::Node { name: text(before), datacenter }),
        _ => None,
    }
}

impl Demand {
    /// Whether the order in which things are found says which is the best: a query may sort its
    /// results by how near they are, and shuffles them itself where it does not.
    pub fn is_ranked(&self) -> bool {
        matches!(self.wanted, Wanted::Query { .. })
    }

    /// The names that what was found makes in a zone.
    pub fn zones(&self, zone: &ZoneConfig, found: Option<Found>) -> Zones {
        let Found { nodes, mut instances, ttl } = found.unwrap_or_default();
        // Where a query says nothing of it, its service does.
        let of_service = instances.first().and_then(|it| zone.options.ttl_of(&it.service));
        let ttl = ttl.or_else(|| of_service.filter(|_| self.is_ranked()));
        if matches!(self.wanted, Wanted::Query { .. }) {
            for instance in &mut instances {
                Arc::make_mut(instance).service = RESULT.to_owned();
            }
        }
        let mut zone = ZoneConfig { names: Names::Consul, ..zone.clone() };
        if let Some(ttl) = ttl {
            zone.ttl = ttl;
            zone.options.service_ttl.clear();
        }
        let config = DnsConfig { zones: vec![zone], ..DnsConfig::default() };
        let inputs = ZoneInputs {
            config: &config,
            nodes: &nodes,
            instances: &instances,
            router_hosts: &[],
            synced: true,
            serial: 1,
        };
        Zones::build(&inputs).0
    }
}
