//! What the configuration says of names, while it is read: zones, records, lines of hosts files.
//!
//! **Invariant:** what is wrong costs itself and is told; the rest goes on.

use std::net::IpAddr;

use super::{
    super::{
        DnsConfig, HostEntry, LooseRecord, Names, StaticRecord, ZoneConfig, catalog,
        draft::{Draft, Drafts},
        lookup::Soa,
        name::Name,
        presentation,
        record::{self, RecordType},
        table::{Kind, LONE},
    },
    BUILT_IN_TTL, NEGATIVE_TTL, Plot,
};
use crate::{pointer::child, problem::Problem};

/// Names that must never leave this resolver (RFC 6761, 7686, 9462), and the reverse names of
/// loopback (RFC 6303).
const NEVER_FORWARDED: [&str; 6] = [
    "localhost",
    "invalid",
    "onion",
    "resolver.arpa",
    "127.in-addr.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
];
/// The reverse names of private addresses (RFC 6303), beside those of 172.16.0.0/12 and of
/// 100.64.0.0/10 (RFC 7793).
const PRIVATE: [&str; 9] = [
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "254.169.in-addr.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
];

/// Those of them in which nobody has a name.
const CLOSED: [&str; 3] = ["invalid", "onion", "resolver.arpa"];

/// How far aliases are followed when they are looked at for circles.
const MOST_ALIASES: usize = 16;

/// The layout while it is read.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) zones: Vec<Plot>,
    pub(super) drafts: Drafts,
    pub(super) problems: Vec<Problem>,
}

impl Builder {
    pub(super) fn add_zones<'a>(&mut self, config: &'a DnsConfig) -> Vec<(&'a ZoneConfig, Name)> {
        let mut origins = Vec::new();
        for config in &config.zones {
            let origin = match Name::parse(&config.origin) {
                Ok(origin) => origin.to_lower(),
                Err(error) => {
                    let message = format!("`{}` is not a name: {error}", config.origin);
                    self.problems.push(zone_problem(&config.origin, message));
                    continue;
                }
            };
            let is_consul = match config.names {
                Names::Consul => Some(true),
                Names::Services => Some(false),
                Names::Routers | Names::Static(_) => None,
            };
            if self.add_zone(&origin, is_consul, config.ttl, config.options.negative_ttl) {
                if let Some(zone) = self.zones.last_mut() {
                    zone.node_ttl = config.options.node_ttl.unwrap_or(config.ttl);
                }
                origins.push((config, origin));
            } else {
                let message = format!("the zone `{}` is there twice", config.origin);
                self.problems.push(zone_problem(&config.origin, message));
            }
        }
        origins
    }

    fn add_zone(
        &mut self,
        origin: &Name,
        is_consul: Option<bool>,
        ttl: u32,
        negative_ttl: u32,
    ) -> bool {
        let Ok(place) = u16::try_from(self.zones.len()) else { return false };
        if place == LONE || !self.drafts.add_zone(origin, place) {
            return false;
        }
        self.zones.push(Plot {
            origin: origin.clone(),
            ttl,
            node_ttl: ttl,
            soa: soa(origin, negative_ttl),
            is_consul,
            is_closed: false,
        });
        true
    }

    /// Zones that exist so that nobody else is asked. One that is configured takes their place.
    pub(super) fn add_private_zones(&mut self, forwards_private: bool) {
        let sixteen = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
        let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa"));
        let private = PRIVATE.map(str::to_owned).into_iter().chain(sixteen).chain(shared);
        let private = private.filter(|_| !forwards_private);
        for text in NEVER_FORWARDED.map(str::to_owned).into_iter().chain(private) {
            let Ok(origin) = Name::parse(&text) else { continue };
            let is_new = self.add_zone(&origin, None, BUILT_IN_TTL, NEGATIVE_TTL);
            if let Some(zone) = self.zones.last_mut().filter(|_| is_new) {
                zone.is_closed = CLOSED.contains(&&*text);
            }
            self.drafts.imply(&origin);
        }
    }

    /// The records of a zone.
    pub(super) fn add_records(&mut self, records: &[StaticRecord], origin: &Name) {
        for (number, record) in records.iter().enumerate() {
            if let Err((message, hint)) = self.add_record(record, origin) {
                let mut problem = zone_problem(&origin.to_string(), message);
                problem.path.push_str(&format!("/records/{number}"));
                self.problems.push(Problem { hint, ..problem });
            }
        }
    }

    /// Records with whole names, in zones and outside.
    pub(super) fn add_loose(&mut self, records: &[LooseRecord]) {
        let Ok(root) = Name::parse(".") else { return };
        for LooseRecord { record, provider, origin, path } in records {
            if let Err((message, hint)) = self.add_record(record, &root) {
                let problem = Problem::error(provider.clone(), origin.clone(), message);
                self.problems.push(Problem { hint, ..problem.at(path.clone()) });
            }
        }
    }

    /// A bad record costs itself only. An error is what is wrong, and what was probably meant.
    fn add_record(
        &mut self,
        record: &StaticRecord,
        origin: &Name,
    ) -> Result<(), (String, Option<String>)> {
        let (owner, rtype, body) = presentation::parse(record, origin)
            .map_err(|error| (error.to_string(), error.hint()))?;
        if rtype == RecordType::CNAME && self.zones.iter().any(|zone| zone.origin == owner) {
            let message = format!("`{owner}` is a zone: beside its SOA there can be no CNAME");
            let hint = "give its addresses, as A and AAAA records";
            return Err((message, Some(hint.to_owned())));
        }
        if rtype == RecordType::CNAME
            && let Some(circle) = self.circle(&owner, record::body_data(&body))
        {
            return Err((format!("this alias leads back to itself: {circle}"), None));
        }
        let Some(draft) = self.drafts.claim(&owner, Kind::Static) else { return Ok(()) };
        let is_alias = draft.set(RecordType::CNAME).is_some();
        let clashes = match rtype {
            RecordType::CNAME => is_alias || draft.has_other_than(RecordType::CNAME),
            _ => is_alias,
        };
        if clashes {
            return Err((format!("nothing can stand beside the CNAME of `{owner}`"), None));
        }
        draft.push(&body);
        if let Some(address) = address_of(rtype, &body)
            && !owner.as_bytes().starts_with(b"\x01*")
        {
            catalog::draft_pointer(address, &owner, record.ttl, &mut self.drafts);
        }
        Ok(())
    }

    /// The way from a name through its aliases back to it, if that is where they lead.
    fn circle(&self, owner: &Name, target: &[u8]) -> Option<String> {
        let mut names = vec![owner.clone()];
        let mut next = Name::of_wire(target).to_lower();
        while next != *owner {
            // Longer than anybody follows them.
            if names.len() > MOST_ALIASES {
                return None;
            }
            let aliases = self.drafts.find(&next)?.set(RecordType::CNAME)?;
            let records = aliases.records();
            let target = record::body_data(records.in_order().next()?.body);
            let target = Name::of_wire(target).to_lower();
            names.push(std::mem::replace(&mut next, target));
        }
        names.push(owner.clone());
        Some(names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → "))
    }

    /// Names of hosts files, in zones and outside, and the names of their addresses.
    pub(super) fn add_hosts(&mut self, hosts: &[HostEntry], ttl: u32) {
        let written = |host: &&HostEntry| self.drafts.find(&host.name).is_none_or(Draft::is_empty);
        let fresh: Vec<_> = hosts.iter().filter(written).collect();
        for HostEntry { name, address } in fresh {
            let Some(draft) = self.drafts.claim(name, Kind::Static) else { continue };
            draft.push(&record::address(*address, ttl));
            catalog::draft_pointer(*address, name, ttl, &mut self.drafts);
        }
    }
}

/// The SOA of a zone, of no serial yet.
pub(super) fn soa(origin: &Name, negative_ttl: u32) -> Soa {
    let below = |label: &[u8]| Name::below(origin, [label]).unwrap_or_else(|_| origin.clone());
    let (server, person) = (below(b"ns"), below(b"hostmaster"));
    Soa::new(&record::soa(server.as_bytes(), person.as_bytes(), 0, negative_ttl))
}

fn address_of(rtype: RecordType, body: &[u8]) -> Option<IpAddr> {
    let data = record::body_data(body);
    match rtype {
        RecordType::A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        RecordType::AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn zone_problem(origin: &str, message: String) -> Problem {
    Problem::error("dns", format!("dns.zones.{origin}"), message).at(child("/dns/zones", origin))
}
