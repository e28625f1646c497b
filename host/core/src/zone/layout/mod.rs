//! What names are made of: what the configuration alone makes of them, and how those who claim a
//! name are asked.
//!
//! **Who owns a name** that several claim: an explicit static record, then a router host, then the
//! catalog, then what is built in. The owner has the whole name, with all types: half a name from
//! each would be a riddle to whoever debugs it.

mod builder;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use hashbrown::HashMap;

use self::builder::{Builder, soa};
use super::{
    DnsConfig, Names,
    catalog::CatalogZone,
    draft::Draft,
    edge::Ways,
    lookup::Soa,
    name::{MAX_NAME, Name},
    record::{self, QUESTION_POINTER, RecordType},
    table::{Kind, LONE, Table},
};
use crate::problem::Problem;

/// How long others may remember that something does not exist, in seconds. Short, because a
/// service that is registered now is asked for now.
const NEGATIVE_TTL: u32 = 5;
/// The life of what never changes, in seconds.
const BUILT_IN_TTL: u32 = 86_400;

/// What the configuration makes of names.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Those of the configuration first, then those that are never forwarded.
    pub(super) zones: Vec<Plot>,
    /// How many zones are of the configuration.
    pub(super) configured: usize,
    origins: Known<u16>,
    /// Suffixes outside of them, and whether anybody is asked for names that end so.
    suffixes: Known<bool>,
    /// The names of our name server, and the zones that it is the server of.
    servers: Known<Vec<u16>>,
    /// The zones that have names of the catalog.
    pub(super) catalog: Vec<CatalogZone>,
    /// Datacenters that there are beside those of the catalog.
    pub(super) elsewhere: Arc<[String]>,
    /// The one that reverse names point into: Consul's own where there is one.
    pub(super) primary: Option<usize>,
    /// Names as static records and hosts files make them, encoded: there may be many, and each is
    /// looked at again only when somebody else claims it.
    statics: Table,
    static_lengths: Lengths,
    /// How the edge is reached.
    pub(super) ways: Ways,
    /// Of router hosts outside every zone.
    router_ttl: u32,
    /// Where our name server is.
    server_addresses: Vec<IpAddr>,
    pub(super) problems: Vec<Problem>,
    pub(super) local: Option<Name>,
    localhost: Vec<Name>,
}

/// The few names that the configuration knows. Every name of the catalog is looked for among them,
/// and nearly all are told from them by their length.
#[derive(Clone, Debug)]
struct Known<V> {
    names: HashMap<Name, V>,
    lengths: Lengths,
}

/// The lengths that names have.
#[derive(Clone, Debug)]
struct Lengths([bool; MAX_NAME + 1]);

/// A zone, as far as it does not change.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) origin: Name,
    pub(super) ttl: u32,
    /// Of nodes, and of names that spell addresses.
    pub(super) node_ttl: u32,
    pub(super) soa: Soa,
    /// Whether its names are of the catalog, in Consul's grammar or in ours.
    pub(super) is_consul: Option<bool>,
    /// Whether nobody can have a name in it.
    pub(super) is_closed: bool,
}

impl Layout {
    pub(super) fn new(config: &DnsConfig) -> Self {
        let mut builder = Builder::default();
        let origins = builder.add_zones(config);
        let configured = builder.zones.len();
        builder.add_private_zones(config.forwards_private);
        let mut catalog: Vec<CatalogZone> = Vec::new();
        let mut primary = None;
        for (config, origin) in &origins {
            let is_consul = match &config.names {
                Names::Consul => true,
                Names::Services => false,
                Names::Static(records) => {
                    builder.add_records(records, origin);
                    continue;
                }
                Names::Routers => continue,
            };
            let is_first_consul = |place: usize| !catalog.get(place).is_some_and(|it| it.is_consul);
            if primary.is_none_or(|place| is_consul && is_first_consul(place)) {
                primary = Some(catalog.len());
            }
            catalog.push(CatalogZone {
                origin: origin.clone(),
                is_consul,
                ttl: config.ttl,
                options: config.options.clone(),
            });
        }
        builder.add_loose(&config.records);
        builder.add_hosts(&config.hosts, config.hosts_ttl);
        let Builder { zones, drafts, problems } = builder;
        let numbered = || (0..).zip(&zones);
        let mut servers: HashMap<Name, Vec<u16>> = HashMap::new();
        for (place, zone) in numbered().take(configured) {
            if let Ok(server) = Name::below(&zone.origin, [b"ns".as_slice()]) {
                servers.entry(server).or_default().push(place);
            }
        }
        let parsed = |text| Name::parse(text).ok();
        Self {
            suffixes: config.suffixes.iter().map(|(name, is)| (name.to_lower(), *is)).collect(),
            origins: numbered().map(|(place, zone)| (zone.origin.clone(), place)).collect(),
            servers: servers.into_iter().collect(),
            catalog,
            elsewhere: config.datacenters.clone(),
            primary,
            static_lengths: Lengths::of(drafts.names().map(Name::as_bytes)),
            statics: drafts.into_table(),
            ways: Ways::new(&config.edges),
            router_ttl: config.router_ttl,
            server_addresses: config.server_addresses.clone(),
            local: parsed("local"),
            localhost: ["localhost", "*.localhost"].into_iter().filter_map(parsed).collect(),
            zones,
            configured,
            problems,
        }
    }

    /// The few names that are built in, or come with a zone: they exist whatever the catalog says.
    pub(super) fn fixed(&self) -> impl Iterator<Item = &Name> {
        let Self { origins, servers, .. } = self;
        origins.names.keys().chain(servers.names.keys()).chain(&self.localhost)
    }

    /// The names of static records and hosts files, and those between them and their zones. They
    /// exist too, and there may be so many that nothing else is kept of each.
    pub(super) fn statics(&self) -> impl Iterator<Item = Name> {
        self.statics.entries().map(|entry| Name::of_wire(entry.name))
    }

    /// Whether a name is one of those.
    pub(super) fn is_static(&self, name: &Name) -> bool {
        let wire = name.as_bytes();
        self.static_lengths.have(wire) && self.statics.find(wire).is_some()
    }

    /// Whether a zone begins here.
    pub(super) fn is_origin(&self, name: &[u8]) -> bool {
        self.origins.get(name).is_some()
    }

    /// The names between a name and the origin of its zone, the nearest first; outside every zone
    /// those that nobody else is asked for.
    pub(super) fn between<'a>(&self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let zone = self.zones.get(usize::from(self.zone_of(name)));
        let end = zone.map_or_else(|| self.nowhere(name), |zone| zone.origin.as_bytes().len());
        name.ancestors().take_while(move |above| above.len() > end)
    }

    /// The length of the suffix that a name outside every zone ends with, if nobody is asked for names
    /// that do.
    fn nowhere(&self, name: &Name) -> usize {
        let mut suffixes = std::iter::once(name.as_bytes()).chain(name.ancestors());
        let suffix = suffixes.find_map(|it| self.suffixes.get(it).map(|is| (it.len(), *is)));
        suffix.filter(|(_, is_asked)| !is_asked).map_or(usize::MAX, |(length, _)| length)
    }

    /// The zone with the longest origin that a name lies in, or [`LONE`].
    pub(super) fn zone_of(&self, name: &Name) -> u16 {
        let mut suffixes = std::iter::once(name.as_bytes()).chain(name.ancestors());
        suffixes.find_map(|suffix| self.origins.get(suffix).copied()).unwrap_or(LONE)
    }

    fn as_static(&self, name: &Name) -> Option<Draft> {
        let wire = name.as_bytes();
        let entry = self.static_lengths.have(wire).then(|| self.statics.find(wire))??;
        Some(Draft::decode(name.clone(), &entry))
    }

    /// The addresses of our name server, as they stand beside its name: those that a zone has written
    /// down for it, else ours.
    fn glue(&self, server: &Name, ttl: u32) -> Vec<u8> {
        if let Some(written) = self.as_static(server).filter(|draft| !draft.is_empty()) {
            let sets = [RecordType::A, RecordType::AAAA].map(|rtype| written.set(rtype));
            let sets: Vec<_> = sets.iter().flatten().map(|set| set.records()).collect();
            return sets
                .iter()
                .flat_map(|set| set.in_order())
                .flat_map(|it| it.body.to_vec())
                .collect();
        }
        self.server_addresses.iter().flat_map(|it| record::address(*it, ttl)).collect()
    }

    /// A name as the static records make it.
    pub(super) fn begin(&self, name: &Name) -> Maker<'_> {
        Maker {
            layout: self,
            zone: self.zone_of(name),
            name: name.clone(),
            draft: self.as_static(name),
        }
    }
}

impl<V> Known<V> {
    fn get(&self, name: &[u8]) -> Option<&V> {
        if self.lengths.have(name) { self.names.get(name) } else { None }
    }
}

impl Lengths {
    fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut lengths = [false; MAX_NAME + 1];
        for name in names {
            if let Some(is_known) = lengths.get_mut(name.len()) {
                *is_known = true;
            }
        }
        Self(lengths)
    }

    fn have(&self, name: &[u8]) -> bool {
        self.0.get(name.len()) == Some(&true)
    }
}

impl<V> FromIterator<(Name, V)> for Known<V> {
    fn from_iter<I: IntoIterator<Item = (Name, V)>>(names: I) -> Self {
        let names: HashMap<Name, V> = names.into_iter().collect();
        Self { lengths: Lengths::of(names.keys().map(Name::as_bytes)), names }
    }
}

/// A name that is being made: those who claim it are asked one after the other.
pub(super) struct Maker<'a> {
    layout: &'a Layout,
    name: Name,
    zone: u16,
    draft: Option<Draft>,
}

impl Maker<'_> {
    /// Claims the name: to go on with it when its owner is of the same kind, else only when nobody
    /// owns it.
    pub(super) fn claim(&mut self, kind: Kind) -> Option<&mut Draft> {
        let fresh = || Draft::new(self.name.clone(), self.zone, kind);
        self.draft.get_or_insert_with(fresh).claim(kind)
    }

    /// Whether it has a record.
    pub(super) fn has_records(&self) -> bool {
        self.draft.as_ref().is_some_and(|draft| !draft.is_empty())
    }

    /// Every host of a live router leads to the edge, whether a zone is configured for it or not: to
    /// where its entrypoints are reached.
    pub(super) fn add_router(&mut self, ways: &[u16]) {
        let (layout, zone) = (self.layout, usize::from(self.zone));
        let ttl = layout.zones.get(zone).map_or(layout.router_ttl, |zone| zone.ttl);
        if let Some(draft) = self.claim(Kind::Router) {
            let reach = layout.ways.reach(ways);
            draft.about.everywhere = reach.everywhere;
            reach.addresses.iter().for_each(|it| draft.push(&record::address(*it, ttl)));
        }
    }

    /// Adds what is built in, and makes sure that a name exists below which there are names
    /// (RFC 8020). `None`: there is no such name.
    pub(super) fn finish(
        mut self,
        is_implied: bool,
        has_below: bool,
        is_local_used: bool,
    ) -> Option<Draft> {
        let layout = self.layout;
        let zone = layout.origins.get(self.name.as_bytes()).copied();
        let servers =
            layout.servers.get(self.name.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        let (before, after) = servers.split_at(servers.partition_point(|it| Some(*it) < zone));
        before.iter().for_each(|of| self.add_server(*of));
        if let Some(zone) = zone.and_then(|place| layout.zones.get(usize::from(place))) {
            self.add_apex(zone);
        }
        after.iter().for_each(|of| self.add_server(*of));
        self.add_local_names(is_local_used);
        if is_implied {
            let (name, zone) = (&self.name, self.zone);
            self.draft.get_or_insert_with(|| Draft::new(name.clone(), zone, Kind::Implied));
        }
        if let Some(draft) = &mut self.draft
            && has_below
            && draft.about.is_absent()
        {
            draft.about.kind = Kind::Implied;
        }
        self.draft
    }

    /// SOA and NS where a zone begins.
    fn add_apex(&mut self, zone: &Plot) {
        let (name, place) = (&self.name, self.zone);
        let implied = || Draft::new(name.clone(), place, Kind::Implied);
        let draft = self.draft.get_or_insert_with(implied);
        if draft.about.is_absent() {
            draft.about.kind = Kind::Implied;
        }
        let Ok(server) = Name::below(&zone.origin, [b"ns".as_slice()]) else { return };
        if draft.set(RecordType::CNAME).is_some() {
            return;
        }
        if draft.about.kind == Kind::Implied {
            draft.about.kind = Kind::Zone;
        }
        draft.push_soa();
        if draft.set(RecordType::NS).is_none() {
            let body = record::pointer(RecordType::NS, &server, zone.ttl);
            draft.push_with_glue(&body, &self.layout.glue(&server, zone.ttl));
        }
    }

    /// The address of the name server of a zone: ours.
    fn add_server(&mut self, zone: u16) {
        let layout = self.layout;
        let Some(zone) = layout.zones.get(usize::from(zone)) else { return };
        if let Some(draft) = self.claim(Kind::Zone) {
            let addresses = layout.server_addresses.iter();
            addresses.for_each(|address| draft.push(&record::address(*address, zone.ttl)));
        }
    }

    /// `localhost` and everything below it is this machine (RFC 6761, 6.3). `local.` gets a SOA
    /// when we have a name in it: that tells nss-mdns that names there are also asked by unicast.
    /// The other names there are not claimed.
    fn add_local_names(&mut self, is_local_used: bool) {
        if self.layout.localhost.contains(&self.name) {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            // The zone itself is there already.
            let is_zone = self.layout.is_origin(self.name.as_bytes());
            let draft = if is_zone { self.draft.as_mut() } else { self.claim(Kind::BuiltIn) };
            if let Some(draft) = draft
                && draft.set(RecordType::A).is_none()
                && draft.set(RecordType::AAAA).is_none()
            {
                draft.about.kind = Kind::BuiltIn;
                loopback.iter().for_each(|ip| draft.push(&record::address(*ip, BUILT_IN_TTL)));
            }
        }
        if is_local_used
            && self.layout.local.as_ref() == Some(&self.name)
            && let Some(draft) = self.claim(Kind::BuiltIn)
        {
            draft.push_soa();
        }
    }
}

/// The SOA of `local`.
pub(super) fn local_soa(local: Option<&Name>) -> Soa {
    local.map(|local| soa(local, NEGATIVE_TTL)).unwrap_or_default()
}

/// The SOA of a name that is a zone by itself: its server is a pointer to the question. Nobody is
/// named to write to: with a label before it, the name of a question may be too long.
pub(super) fn lone_soa() -> Soa {
    Soa::new(&record::soa(&QUESTION_POINTER, &[0], 0, NEGATIVE_TTL))
}
