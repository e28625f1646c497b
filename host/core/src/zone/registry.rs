//! Every name and who wants it to exist, kept from one snapshot to the next: when a node, an
//! instance or a router changes, the names that it claims, or claimed, are made anew.
//!
//! **Invariant:** the table holds what the claims add up to, whatever the order in which they came.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::Arc,
};

use hashbrown::{HashMap, HashSet, hash_map::Entry};

use super::{
    DnsConfig, ZoneInputs, Zones,
    catalog::{CatalogZone, fill, fill_node, is_in, node_labels, node_name, unreachable},
    claim::{Claim, Standing, Subject},
    grammar::Grammar,
    group::{Groups, Place, Site, Spot, key},
    label::is_host_like,
    layout::{Layout, local_soa, lone_soa},
    lookup::Zone,
    name::Name,
    record::{self, RecordType},
    table::{Kind, Table},
};
use crate::{
    item::{Instance, Node},
    problem::Problem,
};

/// Every name and who wants it to exist.
#[derive(Debug)]
pub struct Registry {
    layout: Layout,
    groups: Groups,
    /// What of a name stands for a datacenter, in lower case: those that names were made with.
    scopes: Vec<Arc<str>>,
    /// For each zone of the catalog in our grammar: the services of each label.
    labels: Vec<HashMap<String, Vec<Arc<str>>>>,
    holders: HashMap<IpAddr, Holders>,
    /// How many routers have each host.
    hosts: HashMap<Name, usize>,
    host_count: usize,
    standing: HashMap<Name, Standing>,
    /// How many of the names lie in `local`.
    local_count: usize,
    /// Names to be made anew.
    dirty: HashSet<Name>,
    /// Labels of services that may have other names now, with the names that they had.
    pending: BTreeMap<(u16, String), Vec<(Name, Claim)>>,
    /// Everything is to be made anew.
    is_stale: bool,
    unreachable: BTreeMap<(u16, String), Problem>,
    table: Table,
}

/// Who has an address: nodes, and how many instances of each service.
#[derive(Debug, Default)]
struct Holders {
    nodes: Vec<Place>,
    services: Vec<(Arc<str>, usize)>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(&DnsConfig::default())
    }
}

/// See [`Zones::build`].
pub(super) fn build(inputs: &ZoneInputs<'_>) -> (Zones, Vec<Problem>) {
    let mut registry = Registry::new(inputs.config);
    for (place, node) in (0..).zip(inputs.nodes) {
        registry.node(place, "", None, Some(node));
    }
    for (place, instance) in (0..).zip(inputs.instances) {
        registry.instance(place, "", None, Some(instance));
    }
    inputs.router_hosts.iter().for_each(|host| registry.host(host, true));
    (registry.zones(inputs.synced, inputs.serial), registry.problems())
}

impl Registry {
    /// The names that a configuration makes without a catalog.
    pub fn new(config: &DnsConfig) -> Self {
        let layout = Layout::new(config);
        Self {
            labels: layout.catalog.iter().map(|_| HashMap::new()).collect(),
            layout,
            groups: Groups::default(),
            scopes: Vec::new(),
            holders: HashMap::new(),
            hosts: HashMap::new(),
            host_count: 0,
            standing: HashMap::new(),
            local_count: 0,
            dirty: HashSet::new(),
            pending: BTreeMap::new(),
            is_stale: true,
            unreachable: BTreeMap::new(),
            table: Table::default(),
        }
    }

    /// A node is thus now. `order` is the place of its provider, `id` its own there.
    pub fn node(
        &mut self,
        order: u32,
        id: &str,
        before: Option<&Arc<Node>>,
        after: Option<&Arc<Node>>,
    ) {
        let place = (order, Arc::<str>::from(id));
        let mut there: Vec<Spot> = Vec::new();
        for node in before.into_iter().chain(after) {
            there.extend(self.groups.on_node(node));
        }
        there.iter().for_each(|(service, _)| self.touch(service));
        if let Some(node) = before {
            for (name, claim) in self.names_of_node(node, &place) {
                self.unclaim(&name, &claim);
            }
            if let Ok(ip) = node.address.parse() {
                self.hold(ip, |it| it.nodes.retain(|known| *known != place));
            }
        }
        self.groups.set_node(&place, before, after);
        there.iter().for_each(|(service, place)| self.groups.refresh(service, place));
        if let Some(node) = after {
            for (name, claim) in self.names_of_node(node, &place) {
                self.claim(name, claim);
            }
            if let Ok(ip) = node.address.parse() {
                self.hold(ip, |it| {
                    let at = it.nodes.partition_point(|known| *known < place);
                    it.nodes.insert(at, place);
                });
            }
        }
    }

    /// An instance is thus now. `order` is the place of its provider, `id` its own there.
    pub fn instance(
        &mut self,
        order: u32,
        id: &str,
        before: Option<&Arc<Instance>>,
        after: Option<&Arc<Instance>>,
    ) {
        let place = (order, Arc::<str>::from(id));
        for instance in before.into_iter().chain(after) {
            self.touch(&key(instance));
        }
        if let Some(instance) = before {
            let service = key(instance);
            let site = self.groups.remove(&place, instance);
            if let Some(ip) = site.and_then(|site| site.own_ip()) {
                self.hold(ip, |it| it.count(&service.as_str().into(), -1));
            }
            self.relabel(&service);
        }
        if let Some(instance) = after {
            let (service, ip) = self.groups.insert(&place, instance);
            if let Some(ip) = ip {
                self.hold(ip, |it| it.count(&service, 1));
            }
            self.relabel(&service);
        }
    }

    /// A live router has this host now, or one that had it is gone.
    pub fn host(&mut self, host: &str, is_there: bool) {
        self.host_count = self.host_count.saturating_add_signed(if is_there { 1 } else { -1 });
        // A host that is an address is no name.
        let (Ok(name), Err(_)) = (Name::parse(host), host.parse::<IpAddr>()) else { return };
        let name = name.to_lower();
        let count = self.hosts.entry(name.clone()).or_default();
        *count = count.saturating_add_signed(if is_there { 1 } else { -1 });
        match (is_there, *count) {
            (false, 0) => {
                self.hosts.remove(&name);
                self.unclaim(&name, &Claim::Router);
            }
            (true, 1) if !self.layout.edges.is_empty() => self.claim(name, Claim::Router),
            _ => (),
        }
    }

    /// What is wrong with the configuration, and with names of the catalog.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.layout.problems.clone();
        if self.host_count > 0 && self.layout.edges.is_empty() {
            let message = "the hosts of routers have no address to resolve to";
            let problem = Problem::warning("dns", "dns", message).at("/dns/edge-addresses");
            problems.push(problem.hint("set `dns.edge-addresses`"));
        }
        problems.extend(self.unreachable.values().cloned());
        problems
    }

    /// All names as they are now. `serial` grows with every change.
    pub fn zones(&mut self, synced: bool, serial: u32) -> Zones {
        let datacenters = self.groups.datacenters.keys();
        if self.is_stale || !datacenters.eq(self.scopes.iter().map(|scope| &**scope)) {
            self.claim_all();
        }
        for ((zone, label), before) in mem::take(&mut self.pending) {
            self.reclaim(zone, label, before);
        }
        let dirty = mem::take(&mut self.dirty);
        let made = dirty.into_iter().map(|name| {
            let entry = self.make(&name);
            (name, entry)
        });
        let is_different = |(name, entry): &(Name, Option<Box<[u8]>>)| {
            self.table.encoded(name.as_bytes()) != entry.as_deref()
        };
        let changes = made.filter(is_different).collect();
        self.table.update(changes);
        let grammar = |is_consul: Option<bool>| {
            Arc::new(match is_consul {
                Some(is_consul) => Grammar {
                    is_consul,
                    spells_addresses: true,
                    datacenters: self.scopes.iter().map(|name| name.as_bytes().into()).collect(),
                },
                None => Grammar::default(),
            })
        };
        let grammars = [None, Some(false), Some(true)].map(|kind| (kind, grammar(kind)));
        let zones = self.layout.zones.iter().map(|plot| Zone {
            origin: plot.origin.as_bytes().into(),
            soa: plot.soa.with_serial(serial),
            ttl: plot.ttl,
            grammar: grammars
                .iter()
                .find(|(kind, _)| *kind == plot.is_consul)
                .map(|(_, grammar)| grammar.clone())
                .unwrap_or_default(),
        });
        Zones {
            table: self.table.clone(),
            zones: zones.collect(),
            configured: self.layout.configured,
            lone_soa: lone_soa().with_serial(serial),
            local_soa: local_soa(self.layout.local.as_ref()).with_serial(serial),
            synced,
        }
    }

    /// Everybody claims their names anew: at first, and when there is another datacenter.
    fn claim_all(&mut self) {
        self.is_stale = false;
        self.scopes = self.groups.datacenters.keys().map(|name| name.as_str().into()).collect();
        (self.table, self.standing, self.local_count) = Default::default();
        (self.dirty, self.pending, self.unreachable) = Default::default();
        let fixed: Vec<_> = self.layout.fixed().cloned().chain(self.keywords()).collect();
        fixed.into_iter().for_each(|name| self.stand(name, |standing| standing.is_fixed = true));
        let nodes: Vec<_> = self.groups.nodes.clone().into_iter().collect();
        for (place, node) in &nodes {
            for (name, claim) in self.names_of_node(node, place) {
                self.claim(name, claim);
            }
        }
        if !self.layout.edges.is_empty() {
            let hosts: Vec<_> = self.hosts.keys().cloned().collect();
            hosts.into_iter().for_each(|host| self.claim(host, Claim::Router));
        }
        let addresses: Vec<_> = self.holders.keys().copied().collect();
        addresses.into_iter().for_each(|ip| self.claim_reverse(ip));
        for zone in 0..self.layout.catalog.len() {
            let labels: Vec<String> = match self.layout.catalog.get(zone) {
                Some(it) if it.is_consul => {
                    self.groups.services.keys().map(|name| (**name).to_owned()).collect()
                }
                _ => self.labels.get(zone).into_iter().flat_map(|it| it.keys().cloned()).collect(),
            };
            labels.into_iter().for_each(|label| self.reclaim(zone as u16, label, Vec::new()));
        }
    }

    /// Names that exist in Consul's grammar though nothing is there.
    fn keywords(&self) -> Vec<Name> {
        let mut names = Vec::new();
        for zone in self.layout.catalog.iter().filter(|zone| zone.is_consul) {
            for (_, scope) in self.all_scopes() {
                let keywords = ["service", "node", "addr"];
                names.extend(keywords.iter().filter_map(|keyword| zone.name(&[keyword], scope)));
            }
        }
        names
    }

    /// What of a name stands for a datacenter: nothing (all of them), and each one by itself when
    /// there are several. A name with the only datacenter there is, is understood when asked.
    fn all_scopes(&self) -> impl Iterator<Item = (u8, Option<&str>)> {
        let several = self.scopes.len() > 1;
        let named = self.scopes.iter().filter(move |_| several).map(|scope| Some(&**scope));
        (0..u8::MAX).zip(std::iter::once(None).chain(named))
    }

    fn scope(&self, place: u8) -> Option<&str> {
        usize::from(place).checked_sub(1).and_then(|at| self.scopes.get(at)).map(|name| &**name)
    }

    fn names_of_node(&self, node: &Node, place: &Place) -> Vec<(Name, Claim)> {
        let mut names = Vec::new();
        if self.is_stale {
            return names;
        }
        for (zone, at) in self.layout.catalog.iter().zip(0..) {
            for (number, scope) in self.all_scopes() {
                if is_in(scope, &node.datacenter)
                    && let Some(name) = zone.name(&node_labels(node), scope)
                {
                    let subject = Subject::Node(number, place.clone());
                    names.push((name, Claim::Catalog { zone: at, subject }));
                }
            }
        }
        names
    }

    /// The instances of a label, in the order of the catalog.
    fn sites<'a>(&'a self, zone: u16, label: &'a str) -> impl Iterator<Item = &'a Site> {
        let place = usize::from(zone);
        let is_consul = self.layout.catalog.get(place).is_some_and(|zone| zone.is_consul);
        let alone = is_consul.then_some(label);
        let services = self.labels.get(place).filter(|_| !is_consul).and_then(|it| it.get(label));
        let services = services.into_iter().flatten().map(|name| &**name).chain(alone);
        services.filter_map(|name| self.groups.services.get(name)).flat_map(|it| it.values())
    }

    /// The names of a service, with those of its tags.
    fn names_of_label(&self, at: u16, label: &str) -> Vec<(Name, Claim)> {
        let mut names = Vec::new();
        let Some(zone) = self.layout.catalog.get(usize::from(at)) else { return names };
        let sites: Vec<_> = self.sites(at, label).collect();
        if sites.is_empty() || unreachable(label, &sites, zone).is_some() {
            return names;
        }
        let shared: Arc<str> = label.into();
        for (number, scope) in self.all_scopes() {
            let mut is_there = false;
            let mut tags = BTreeSet::new();
            for site in sites.iter().filter(|site| is_in(scope, &site.instance.datacenter)) {
                is_there = true;
                // The name of a tag that nobody can use would make that of its service exist.
                if site.instance.health.is_usable() {
                    let named = site.instance.tags.iter().filter(|tag| is_host_like(tag));
                    tags.extend(named.map(|tag| tag.to_ascii_lowercase()));
                }
            }
            let mut add = |before: &[&str], tag: Option<&str>| {
                let labels = [before, &[label], zone.keyword()].concat();
                if let Some(name) = zone.name(&labels, scope) {
                    let subject = Subject::Service(shared.clone(), number, tag.map(Arc::from));
                    names.push((name, Claim::Catalog { zone: at, subject }));
                }
            };
            if is_there {
                add(&[], None);
            }
            for tag in &tags {
                add(&tag.split('.').collect::<Vec<_>>(), Some(tag));
            }
        }
        names
    }

    /// The names of a service are about to change.
    fn touch(&mut self, service: &str) {
        if self.is_stale {
            return;
        }
        for place in 0..self.layout.catalog.len() {
            let Some(zone) = self.layout.catalog.get(place) else { continue };
            let at = (place as u16, zone.label(service));
            if !self.pending.contains_key(&at) {
                let names = self.names_of_label(at.0, &at.1);
                self.pending.insert(at, names);
            }
        }
    }

    /// A service changed: it claims its names, and lets go of those that it has no more.
    fn reclaim(&mut self, zone: u16, label: String, before: Vec<(Name, Claim)>) {
        let after = self.names_of_label(zone, &label);
        for (name, claim) in &before {
            self.dirty.insert(name.clone());
            if !after.iter().any(|(_, it)| it == claim) {
                self.unclaim(name, claim);
            }
        }
        for (name, claim) in after {
            match before.iter().any(|(_, it)| *it == claim) {
                true => drop(self.dirty.insert(name)),
                false => self.claim(name, claim),
            }
        }
        let sites: Vec<_> = self.sites(zone, &label).collect();
        let origin = self.layout.catalog.get(usize::from(zone));
        match origin.and_then(|origin| unreachable(&label, &sites, origin)) {
            Some(problem) => drop(self.unreachable.insert((zone, label), problem)),
            None => drop(self.unreachable.remove(&(zone, label))),
        }
    }

    /// A service came or is gone: the labels in our grammar know it, or forget it.
    fn relabel(&mut self, service: &str) {
        let known = self.groups.services.get_key_value(service).map(|(name, _)| name.clone());
        for (zone, labels) in self.layout.catalog.iter().zip(&mut self.labels) {
            if zone.is_consul {
                continue;
            }
            let label = zone.label(service);
            match &known {
                Some(name) => {
                    let services = labels.entry(label).or_default();
                    if let Err(place) = services.binary_search(name) {
                        services.insert(place, name.clone());
                    }
                }
                None => {
                    if let Some(services) = labels.get_mut(&label) {
                        services.retain(|name| **name != *service);
                        if services.is_empty() {
                            labels.remove(&label);
                        }
                    }
                }
            }
        }
    }

    /// Changes who has an address.
    fn hold(&mut self, ip: IpAddr, change: impl FnOnce(&mut Holders)) {
        if self.layout.primary.is_none() {
            return;
        }
        let holders = self.holders.entry(ip).or_default();
        change(holders);
        if holders.nodes.is_empty() && holders.services.is_empty() {
            self.holders.remove(&ip);
        }
        self.claim_reverse(ip);
    }

    /// The name of an address is claimed while somebody has it.
    fn claim_reverse(&mut self, ip: IpAddr) {
        if self.is_stale {
            return;
        }
        let (name, claim) = (Name::reverse(ip), Claim::Reverse(ip));
        match self.reverse_target(ip) {
            Some(_) if !ip.is_unspecified() => self.claim(name, claim),
            _ => self.unclaim(&name, &claim),
        }
    }

    /// What an address leads to: a node, else a service there.
    fn reverse_target(&self, ip: IpAddr) -> Option<Name> {
        let zone = self.layout.catalog.get(self.layout.primary?)?;
        let holders = self.holders.get(&ip)?;
        let nodes = holders.nodes.iter().filter_map(|place| self.groups.nodes.get(place));
        let mut targets = nodes.filter_map(|node| node_name(&node.name, &node.datacenter, zone));
        targets.next().or_else(|| {
            holders.services.iter().find_map(|(service, _)| {
                let sites = self.groups.services.get(service)?.values();
                let mut here = sites.filter(|site| site.own_ip() == Some(ip));
                here.find_map(|site| zone.reverse_target(service, &site.instance.datacenter))
            })
        })
    }

    fn claim(&mut self, name: Name, claim: Claim) {
        if !self.is_stale {
            self.stand(name, |standing| standing.claims.insert(claim));
        }
    }

    fn unclaim(&mut self, name: &Name, claim: &Claim) {
        if self.standing.contains_key(name) {
            self.stand(name.clone(), |standing| standing.claims.remove(claim));
        }
    }

    /// Changes how a name stands, and with it those between it and the origin of its zone.
    fn stand(&mut self, name: Name, change: impl FnOnce(&mut Standing)) {
        let local = self.layout.local.as_ref();
        let (standing, is_new) = match self.standing.entry(name.clone()) {
            Entry::Occupied(there) => (there.into_mut(), false),
            Entry::Vacant(free) => (free.insert(Standing::default()), true),
        };
        let was_wanted = standing.is_wanted();
        change(standing);
        let is_wanted = standing.is_wanted();
        let is_gone = !is_wanted && standing.below == 0;
        if is_new != is_gone && local.is_some_and(|local| name.is_within(local)) {
            self.count_local(is_new);
        }
        if is_gone {
            self.standing.remove(&name);
        }
        if was_wanted != is_wanted {
            self.stand_above(&name, is_wanted);
        }
        self.dirty.insert(name);
    }

    fn stand_above(&mut self, name: &Name, is_wanted: bool) {
        let zone = self.layout.zone_of(name);
        if zone == super::table::LONE || self.layout.is_origin(name.as_bytes()) {
            return;
        }
        for above in name.ancestors() {
            if self.layout.is_origin(above) {
                return;
            }
            let is_new = !self.standing.contains_key(above);
            if is_new {
                self.standing.insert(Name::of_wire(above), Standing::default());
            }
            let Some(standing) = self.standing.get_mut(above) else { return };
            let before = standing.below;
            standing.below = before.saturating_add_signed(if is_wanted { 1 } else { -1 });
            let is_different = (before == 0) != (standing.below == 0);
            let is_gone = standing.below == 0 && !standing.is_wanted();
            if is_gone {
                self.standing.remove(above);
            }
            if is_new != is_gone
                && self.layout.local.as_ref().is_some_and(|it| Name::of_wire(above).is_within(it))
            {
                self.count_local(is_new);
            }
            if is_different {
                self.dirty.insert(Name::of_wire(above));
            }
        }
    }

    /// `local` has an answer while there is any name in it.
    fn count_local(&mut self, is_more: bool) {
        let before = self.local_count;
        self.local_count = before.saturating_add_signed(if is_more { 1 } else { -1 });
        if (before == 0) != (self.local_count == 0) {
            self.dirty.extend(self.layout.local.clone());
        }
    }

    /// A name as the claims add up, encoded.
    fn make(&self, name: &Name) -> Option<Box<[u8]>> {
        let mut maker = self.layout.begin(name);
        let standing = self.standing.get(name);
        for claim in standing.map(|standing| standing.claims.sorted()).unwrap_or_default() {
            match claim {
                Claim::Router => maker.add_router(),
                Claim::Catalog { zone: at, subject } => {
                    let Some(zone) = self.layout.catalog.get(usize::from(*at)) else { continue };
                    let kind = match subject {
                        Subject::Node(..) => Kind::Node,
                        Subject::Service(_, _, None) => Kind::Service,
                        Subject::Service(_, _, Some(_)) => Kind::Tag,
                    };
                    if let Some(draft) = maker.claim(kind) {
                        self.fill(draft, *at, zone, subject);
                    }
                }
                Claim::Reverse(ip) => {
                    if !maker.has_records()
                        && let Some(target) = self.reverse_target(*ip)
                        && let Some(draft) = maker.claim(Kind::Reverse)
                    {
                        let ttl = self.layout.catalog.get(self.layout.primary?)?.ttl;
                        draft.push(&record::pointer(RecordType::PTR, &target, ttl));
                    }
                }
            }
        }
        let has_below = standing.is_some_and(|standing| standing.below > 0);
        let is_implied = has_below || standing.is_some_and(|standing| standing.is_fixed);
        maker.finish(is_implied, has_below, self.local_count > 0)?.encode()
    }

    fn fill(&self, draft: &mut super::draft::Draft, at: u16, zone: &CatalogZone, of: &Subject) {
        match of {
            Subject::Node(_, place) => {
                if let Some(node) = self.groups.nodes.get(place) {
                    fill_node(draft, node, zone);
                }
            }
            Subject::Service(label, scope, tag) => {
                let scope = self.scope(*scope);
                let has_tag = |site: &&Site| {
                    tag.as_ref().is_none_or(|tag| {
                        site.instance.tags.iter().any(|it| it.eq_ignore_ascii_case(tag))
                    })
                };
                let sites = self.sites(at, label).filter(has_tag);
                let here = sites.filter(|site| is_in(scope, &site.instance.datacenter));
                let subject = tag.as_ref().map_or(0, |tag| tag.len() + 1);
                fill(draft, &here.collect::<Vec<_>>(), subject, zone);
            }
        }
    }
}

impl Holders {
    fn count(&mut self, service: &Arc<str>, change: isize) {
        match self.services.binary_search_by(|(name, _)| name.cmp(service)) {
            Ok(place) => {
                let Some((_, count)) = self.services.get_mut(place) else { return };
                *count = count.saturating_add_signed(change);
                if *count == 0 {
                    self.services.remove(place);
                }
            }
            Err(place) if change > 0 => self.services.insert(place, (service.clone(), 1)),
            Err(_) => (),
        }
    }
}
