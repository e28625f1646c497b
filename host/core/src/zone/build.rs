//! From configuration and catalog to the table of names.
//!
//! **Who owns a name** that several claim: an explicit static record, then a router host, then the
//! catalog, then what is built in. The owner has the whole name, with all types: half a name from
//! each would be a riddle to whoever debugs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    DnsConfig, Names, StaticRecord, ZoneInputs, Zones,
    catalog::{self, Catalog, CatalogZone},
    draft::Drafts,
    grammar::Grammar,
    lookup::Zone,
    name::Name,
    presentation,
    record::{self, QUESTION_POINTER, RecordType},
    table::Kind,
};
use crate::problem::Problem;

/// How long others may remember that something does not exist, in seconds. Short, because a
/// service that is registered now is asked for now.
const NEGATIVE_TTL: u32 = 5;
/// The life of what never changes, in seconds.
const BUILT_IN_TTL: u32 = 86_400;
/// The life of the answers of router hosts outside every zone, in seconds.
const HOST_TTL: u32 = 10;

/// Names that must never leave this resolver (RFC 6761, 7686, 9462), and the reverse names of
/// private addresses (RFC 6303), which nobody outside can know.
const NEVER_FORWARDED: [&str; 12] = [
    "localhost",
    "invalid",
    "onion",
    "resolver.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "168.192.in-addr.arpa",
    "254.169.in-addr.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
];

/// Everything while it is put together.
#[derive(Default)]
struct Builder {
    zones: Vec<Zone>,
    /// The TTL of each zone.
    ttls: Vec<u32>,
    drafts: Drafts,
    problems: Vec<Problem>,
}

/// See [`Zones::build`].
pub(super) fn build(inputs: &ZoneInputs<'_>) -> (Zones, Vec<Problem>) {
    let catalog = Catalog::new(inputs);
    let mut builder = Builder::default();
    let origins = builder.add_zones(inputs, &catalog);
    let configured = builder.zones.len();
    builder.add_private_zones(inputs.serial);
    for (config, origin) in &origins {
        if let Names::Static(records) = &config.names {
            builder.add_records(records, origin);
        }
    }
    builder.add_router_hosts(inputs);
    let mut primary: Option<CatalogZone> = None;
    for (config, origin) in &origins {
        let is_consul = match config.names {
            Names::Consul => true,
            Names::Services => false,
            Names::Routers | Names::Static(_) => continue,
        };
        let zone = CatalogZone { origin: origin.clone(), is_consul, ttl: config.ttl };
        catalog.draft(&zone, &mut builder.drafts, &mut builder.problems);
        // Reverse names point into Consul's own zone where there is one.
        if primary.as_ref().is_none_or(|primary| zone.is_consul && !primary.is_consul) {
            primary = Some(zone);
        }
    }
    if let Some(zone) = primary {
        catalog.draft_reverse(&zone, &mut builder.drafts);
    }
    builder.add_apexes(inputs.config, configured);
    builder.add_local_names(inputs.serial);
    let has_wildcards = builder.drafts.has_wildcards();
    let lone_soa = lone_soa(inputs.serial);
    let table = builder.drafts.into_table();
    let Builder { zones, problems, .. } = builder;
    let synced = inputs.synced;
    (Zones { table, zones, configured, lone_soa, has_wildcards, synced }, problems)
}

impl Builder {
    fn add_zones<'a>(
        &mut self,
        inputs: &ZoneInputs<'a>,
        catalog: &Catalog<'_>,
    ) -> Vec<(&'a super::ZoneConfig, Name)> {
        let mut origins = Vec::new();
        for config in &inputs.config.zones {
            let origin = match Name::parse(&config.origin) {
                Ok(origin) => origin.to_lower(),
                Err(error) => {
                    let message = format!("`{}` is not a name: {error}", config.origin);
                    self.problems.push(zone_problem(&config.origin, message));
                    continue;
                }
            };
            let grammar = match config.names {
                Names::Consul | Names::Services => Grammar {
                    is_consul: config.names == Names::Consul,
                    spells_addresses: true,
                    datacenters: catalog.datacenters().map(|name| name.as_bytes().into()).collect(),
                },
                Names::Routers | Names::Static(_) => Grammar::default(),
            };
            if self.add_zone(&origin, grammar, config.ttl, inputs.serial) {
                origins.push((config, origin));
            } else {
                let message = format!("the zone `{}` is there twice", config.origin);
                self.problems.push(zone_problem(&config.origin, message));
            }
        }
        origins
    }

    fn add_zone(&mut self, origin: &Name, grammar: Grammar, ttl: u32, serial: u32) -> bool {
        let Ok(place) = u16::try_from(self.zones.len()) else { return false };
        if place == super::table::LONE || !self.drafts.add_zone(origin, place) {
            return false;
        }
        let soa = soa(origin, serial);
        self.zones.push(Zone { origin: origin.as_bytes().into(), soa: soa.into(), ttl, grammar });
        self.ttls.push(ttl);
        true
    }

    /// Zones that exist so that nobody else is asked. One that is configured takes their place.
    fn add_private_zones(&mut self, serial: u32) {
        let sixteen = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
        for text in NEVER_FORWARDED.map(str::to_owned).into_iter().chain(sixteen) {
            let Ok(origin) = Name::parse(&text) else { continue };
            self.add_zone(&origin, Grammar::default(), BUILT_IN_TTL, serial);
            self.drafts.imply(&origin);
        }
    }

    /// A bad record costs itself only.
    fn add_records(&mut self, records: &[StaticRecord], origin: &Name) {
        for (number, record) in records.iter().enumerate() {
            let (owner, rtype, body) = match presentation::parse(record, origin) {
                Ok(parsed) => parsed,
                Err(error) => {
                    let mut problem = record_problem(origin, number, error.to_string());
                    problem.hint = error.hint();
                    self.problems.push(problem);
                    continue;
                }
            };
            let Some(draft) = self.drafts.claim(&owner, Kind::Static) else { continue };
            let is_alias = draft.set(RecordType::CNAME).is_some();
            let clashes = match rtype {
                RecordType::CNAME => is_alias || draft.has_other_than(RecordType::CNAME),
                _ => is_alias,
            };
            if clashes {
                let message = format!("nothing can stand beside the CNAME of `{owner}`");
                self.problems.push(record_problem(origin, number, message));
                continue;
            }
            draft.push(&body);
            if let Some(address) = address_of(rtype, &body)
                && !owner.as_bytes().starts_with(b"\x01*")
            {
                catalog::draft_pointer(address, &owner, record.ttl, &mut self.drafts);
            }
        }
    }

    /// Every host of a live router leads to the edge, whether a zone is configured for it or not.
    fn add_router_hosts(&mut self, inputs: &ZoneInputs<'_>) {
        let edges = &inputs.config.edge_addresses;
        if edges.is_empty() {
            if !inputs.router_hosts.is_empty() {
                let message = "the hosts of routers have no address to resolve to";
                let problem = Problem::warning("dns", "dns", message).at("/dns/edge-addresses");
                self.problems.push(problem.hint("set `dns.edge-addresses`"));
            }
            return;
        }
        for host in inputs.router_hosts {
            // A host that is an address is no name.
            let (Ok(name), Err(_)) = (Name::parse(host), host.parse::<IpAddr>()) else { continue };
            let name = name.to_lower();
            let zone = self.drafts.zone_of(&name);
            let ttl = self.ttls.get(usize::from(zone)).copied().unwrap_or(HOST_TTL);
            if let Some(draft) = self.drafts.claim(&name, Kind::Router) {
                for edge in edges {
                    draft.push(&record::address(*edge, ttl));
                }
            }
        }
    }

    /// SOA and NS where every zone begins, and the address of the name server: ours.
    fn add_apexes(&mut self, config: &DnsConfig, configured: usize) {
        for (place, zone) in self.zones.iter().enumerate() {
            let origin = Name::of_wire(&zone.origin);
            self.drafts.imply(&origin);
            let Ok(server) = Name::below(&origin, [b"ns".as_slice()]) else { continue };
            if let Some(draft) = self.drafts.find_mut(&origin)
                && draft.set(RecordType::CNAME).is_none()
            {
                if draft.about.kind == Kind::Implied {
                    draft.about.kind = Kind::Zone;
                }
                draft.push(&zone.soa);
                if draft.set(RecordType::NS).is_none() {
                    draft.push(&record::pointer(RecordType::NS, &server, zone.ttl));
                }
            }
            if place < configured
                && let Some(draft) = self.drafts.claim(&server, Kind::Zone)
            {
                for edge in &config.edge_addresses {
                    draft.push(&record::address(*edge, zone.ttl));
                }
            }
        }
    }

    /// `localhost` and everything below it is this machine (RFC 6761, 6.3). `local.` gets a SOA
    /// when we have a name in it: that tells nss-mdns that names there are also asked by unicast.
    /// The other names there are not claimed.
    fn add_local_names(&mut self, serial: u32) {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for text in ["localhost", "*.localhost"] {
            let Ok(name) = Name::parse(text) else { continue };
            let draft = match text {
                "localhost" => self.drafts.find_mut(&name),
                _ => self.drafts.claim(&name, Kind::BuiltIn),
            };
            let Some(draft) = draft else { continue };
            if draft.set(RecordType::A).is_none() && draft.set(RecordType::AAAA).is_none() {
                draft.about.kind = Kind::BuiltIn;
                loopback.iter().for_each(|ip| draft.push(&record::address(*ip, BUILT_IN_TTL)));
            }
        }
        if let Ok(local) = Name::parse("local")
            && self.drafts.any_within(&local)
            && let Some(draft) = self.drafts.claim(&local, Kind::BuiltIn)
        {
            draft.push(&soa(&local, serial));
        }
    }
}

fn soa(origin: &Name, serial: u32) -> Vec<u8> {
    let below = |label: &[u8]| Name::below(origin, [label]).unwrap_or_else(|_| origin.clone());
    let (server, person) = (below(b"ns"), below(b"hostmaster"));
    record::soa(server.as_bytes(), person.as_bytes(), serial, NEGATIVE_TTL)
}

/// The SOA of a name that is a zone by itself: its names are pointers to the question.
fn lone_soa(serial: u32) -> Vec<u8> {
    let mut hostmaster = b"\x0ahostmaster".to_vec();
    hostmaster.extend_from_slice(&QUESTION_POINTER);
    record::soa(&QUESTION_POINTER, &hostmaster, serial, NEGATIVE_TTL)
}

fn address_of(rtype: RecordType, body: &[u8]) -> Option<IpAddr> {
    let data = record::body_data(body);
    match rtype {
        RecordType::A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        RecordType::AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn record_problem(origin: &Name, number: usize, message: String) -> Problem {
    let mut problem = zone_problem(&origin.to_string(), message);
    problem.path.push_str(&format!("/records/{number}"));
    problem
}

/// The path is a JSON Pointer: `~` and `/` are escaped (RFC 6901).
fn zone_problem(origin: &str, message: String) -> Problem {
    let escaped = origin.replace('~', "~0").replace('/', "~1");
    Problem::error("dns", format!("dns.zones.{origin}"), message)
        .at(format!("/dns/zones/{escaped}"))
}
