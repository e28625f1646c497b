//! Every name and who wants it to exist, kept from one snapshot to the next: when a node, an
//! instance or a router changes, the names that it claims, or claimed, are made anew.
//!
//! **Invariant:** the table holds what the claims add up to, whatever the order in which they came.

mod names;
mod standing;

use std::{collections::BTreeMap, mem, net::IpAddr, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{
    DnsConfig, ZoneInputs, Zones,
    catalog::node_name,
    claim::{Claim, Standing},
    grammar::Grammar,
    group::{Groups, Place, Spot, key},
    layout::{Layout, local_soa, lone_soa},
    lookup::Zone,
    name::Name,
    table::{Encoded, Table},
};
use crate::{
    item::{Instance, Node},
    problem::Problem,
};

/// Every name and who wants it to exist.
#[derive(Clone, Debug)]
pub struct Registry {
    layout: Layout,
    groups: Groups,
    /// What of a name stands for a datacenter, in lower case: those that names were made with.
    scopes: Vec<Arc<str>>,
    /// For each zone of the catalog in our grammar: the services of each label.
    labels: Vec<HashMap<Arc<str>, Vec<Arc<str>>>>,
    holders: HashMap<IpAddr, Holders>,
    /// For each way to the edge: how many routers that are reached on it have each host.
    hosts: Vec<HashMap<Name, usize>>,
    host_count: usize,
    standing: HashMap<Name, Standing>,
    /// How many of the names lie in `local`.
    local_count: usize,
    /// Names to be made anew.
    dirty: HashSet<Name>,
    /// All names are to be made anew, and none has to be noted.
    is_anew: bool,
    /// Labels of services that may have other names now, with the names that they had.
    pending: BTreeMap<(u16, String), Vec<(Name, Claim)>>,
    /// Everything is to be made anew.
    is_stale: bool,
    unreachable: BTreeMap<(u16, Arc<str>), Problem>,
    table: Table,
}

/// Who has an address: nodes, and how many instances of each service.
#[derive(Clone, Debug, Default)]
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
    let no_id = Arc::from("");
    for (place, node) in (0..).zip(inputs.nodes) {
        registry.node(place, "", None, Some(node));
    }
    for (place, instance) in (0..).zip(inputs.instances) {
        registry.instance(place, &no_id, None, Some(instance));
    }
    let entrypoints = inputs.config.edges.entrypoints();
    inputs.router_hosts.iter().for_each(|host| registry.host(host, &entrypoints, true));
    (registry.zones(inputs.synced, inputs.serial), registry.problems())
}

impl Registry {
    /// The names that a configuration makes without a catalog.
    pub fn new(config: &DnsConfig) -> Self {
        let layout = Layout::new(config);
        Self {
            labels: layout.catalog.iter().map(|_| HashMap::new()).collect(),
            hosts: layout.ways.numbers().map(|_| HashMap::new()).collect(),
            layout,
            groups: Groups::default(),
            scopes: Vec::new(),
            holders: HashMap::new(),
            host_count: 0,
            standing: HashMap::new(),
            local_count: 0,
            dirty: HashSet::new(),
            is_anew: false,
            pending: BTreeMap::new(),
            is_stale: true,
            unreachable: BTreeMap::new(),
            table: Table::default(),
        }
    }

    /// There will be so many services and hosts at once, about.
    pub fn make_room(&mut self, services: usize, hosts: usize) {
        self.groups.services.reserve(services);
        self.labels.iter_mut().for_each(|labels| labels.reserve(services));
        self.holders.reserve(services);
        // Where there are several ways, nobody knows which of them hosts will be on.
        if let [only] = &mut *self.hosts {
            only.reserve(hosts);
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
            for ip in node.addresses() {
                self.hold(ip, |it| it.nodes.retain(|known| *known != place));
            }
        }
        self.groups.set_node(&place, before, after);
        there.iter().for_each(|(service, place)| self.groups.refresh(service, place));
        if let Some(node) = after {
            for (name, claim) in self.names_of_node(node, &place) {
                self.claim(name, claim);
            }
            for ip in node.addresses() {
                self.hold(ip, |it| {
                    if let Err(at) = it.nodes.binary_search(&place) {
                        it.nodes.insert(at, place.clone());
                    }
                });
            }
        }
    }

    /// An instance is thus now. `order` is the place of its provider, `id` its own there.
    pub fn instance(
        &mut self,
        order: u32,
        id: &Arc<str>,
        before: Option<&Arc<Instance>>,
        after: Option<&Arc<Instance>>,
    ) {
        let place = (order, id.clone());
        for instance in before.into_iter().chain(after) {
            self.touch(&key(instance));
        }
        if let Some(instance) = before {
            let service = key(instance);
            let site = self.groups.remove(&place, instance);
            if let Some(ip) = site.and_then(|site| site.own_ip()) {
                self.hold(ip, |it| it.count(&service.as_ref().into(), -1));
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

    /// A live router on these entrypoints has this host now, or one that had it is gone.
    pub fn host(&mut self, host: &str, entrypoints: &[Arc<str>], is_there: bool) {
        let change = if is_there { 1 } else { -1 };
        self.host_count = self.host_count.saturating_add_signed(change);
        // A host that is an address is no name.
        let (Ok(name), Err(_)) = (Name::parse(host), host.parse::<IpAddr>()) else { return };
        let name = name.to_lower();
        for way in self.layout.ways.numbers() {
            if !self.layout.ways.leads_to(way, entrypoints) {
                continue;
            }
            let Some(hosts) = self.hosts.get_mut(usize::from(way)) else { continue };
            let count = hosts.entry(name.clone()).or_default();
            *count = count.saturating_add_signed(change);
            match (is_there, *count) {
                (false, 0) => {
                    hosts.remove(&name);
                    self.unclaim(&name, &Claim::Router(way));
                }
                (true, 1) => self.claim(name.clone(), Claim::Router(way)),
                _ => (),
            }
        }
    }

    /// What is wrong with the configuration, and with names of the catalog.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.layout.problems.clone();
        if self.host_count > 0 && self.layout.ways.is_empty() {
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
            self.reclaim(zone, &label.into(), &before);
        }
        let changes = match mem::take(&mut self.is_anew) {
            true => self.make_all(),
            false => self.make_dirty(),
        };
        self.table.update(&changes);
        let grammar = |is_consul: Option<bool>| {
            Arc::new(match is_consul {
                Some(is_consul) => Grammar {
                    is_consul,
                    spells_addresses: true,
                    datacenters: self.scopes.iter().map(|name| name.as_bytes().into()).collect(),
                    elsewhere: self.layout.elsewhere.clone(),
                },
                None => Grammar::default(),
            })
        };
        let grammars = [None, Some(false), Some(true)].map(|kind| (kind, grammar(kind)));
        let zones = self.layout.zones.iter().map(|plot| Zone {
            origin: plot.origin.as_bytes().into(),
            soa: plot.soa.with_serial(serial),
            node_ttl: plot.node_ttl,
            grammar: grammars
                .iter()
                .find(|(kind, _)| *kind == plot.is_consul)
                .map(|(_, grammar)| grammar.clone())
                .unwrap_or_default(),
            is_closed: plot.is_closed,
        });
        Zones {
            table: self.table.clone(),
            zones: zones.collect(),
            configured: self.layout.configured,
            lone_soa: lone_soa().with_serial(serial),
            local_soa: local_soa(self.layout.local.as_ref()).with_serial(serial),
            synced,
            are_edges_written: self.layout.ways.are_written(),
        }
    }

    /// Every name that exists.
    fn make_all(&self) -> Vec<(Name, Option<Encoded>)> {
        let made = |(name, standing): (&Name, &Standing)| {
            Some((name.clone(), Some(self.make(name, Some(standing))?)))
        };
        let mut all = Vec::with_capacity(self.standing.len() + 1);
        let statics = self.layout.statics().filter(|name| !self.standing.contains_key(name));
        all.extend(statics.filter_map(|name| {
            let made = self.make(&name, None)?;
            Some((name, Some(made)))
        }));
        // In the order in which they were claimed, more or less: what they are made of lies together.
        let mut standing: Vec<_> = self.standing.iter().collect();
        standing.sort_unstable_by_key(|(name, _)| name.as_bytes().as_ptr());
        all.extend(standing.into_iter().filter_map(made));
        // It may exist though nobody claims it.
        let local = self.layout.local.iter().filter(|name| !self.standing.contains_key(*name));
        all.extend(local.map(|name| (name.clone(), self.make(name, None))));
        all
    }

    /// The names that were noted and are different now.
    fn make_dirty(&mut self) -> Vec<(Name, Option<Encoded>)> {
        let dirty = mem::take(&mut self.dirty);
        let made = dirty.into_iter().map(|name| {
            let entry = self.make(&name, self.standing.get(&name));
            (name, entry)
        });
        let is_different = |(name, entry): &(Name, Option<Encoded>)| {
            self.table.encoded(name.as_bytes()) != entry.as_deref()
        };
        made.filter(is_different).collect()
    }

    /// Everybody claims their names anew: at first, and when there is another datacenter.
    fn claim_all(&mut self) {
        (self.is_stale, self.is_anew) = (false, true);
        self.scopes = self.groups.datacenters.keys().map(|name| name.as_str().into()).collect();
        (self.table, self.standing, self.local_count) = Default::default();
        (self.dirty, self.pending, self.unreachable) = Default::default();
        let services = self.groups.services.len() * self.layout.catalog.len();
        let hosts: usize = self.hosts.iter().map(HashMap::len).sum();
        self.standing.reserve(services + hosts + self.holders.len());
        let fixed: Vec<_> = self.layout.fixed().cloned().chain(self.keywords()).collect();
        fixed.into_iter().for_each(|name| self.stand(name, |standing| standing.is_fixed = true));
        let statics: Vec<_> = self.layout.statics().collect();
        for name in &statics {
            self.stand_above(name, true);
            if self.layout.local.as_ref().is_some_and(|local| name.is_within(local)) {
                self.count_local(true);
            }
        }
        let nodes: Vec<_> = self.groups.nodes.clone().into_iter().collect();
        for (place, node) in &nodes {
            for (name, claim) in self.names_of_node(node, place) {
                self.claim(name, claim);
            }
        }
        for way in self.layout.ways.numbers() {
            let hosts = self.hosts.get(usize::from(way)).into_iter().flat_map(HashMap::keys);
            let mut hosts: Vec<_> = hosts.cloned().collect();
            hosts.sort_unstable_by_key(|name| name.as_bytes().as_ptr());
            hosts.into_iter().for_each(|host| self.claim(host, Claim::Router(way)));
        }
        let mut addresses: Vec<_> = self.holders.keys().copied().collect();
        addresses.sort_unstable();
        addresses.into_iter().for_each(|ip| self.claim_reverse(ip));
        for zone in 0..self.layout.catalog.len() {
            let mut labels: Vec<Arc<str>> = match self.layout.catalog.get(zone) {
                Some(it) if it.is_consul => self.groups.services.keys().cloned().collect(),
                _ => self.labels.get(zone).into_iter().flat_map(|it| it.keys().cloned()).collect(),
            };
            // As they lie in memory, and with them what they name.
            labels.sort_unstable_by_key(|label| label.as_ptr());
            labels.iter().for_each(|label| self.reclaim(zone as u16, label, &[]));
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
            Err(place) if change > 0 => {
                if self.services.is_empty() {
                    self.services.reserve_exact(1);
                }
                self.services.insert(place, (service.clone(), 1));
            }
            Err(_) => (),
        }
    }
}
