//! Names from the catalog: services, tags, nodes, and the names of addresses.
//!
//! The grammar is Consul's (its agent/dns.go). Only what cannot be derived from a question
//! is written down: names with a datacenter (when there is but one), RFC 2782 names and `.addr`
//! names are understood when they are asked, see [`super::grammar`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hashbrown::HashMap;

use super::{
    ZoneInputs,
    draft::{Draft, Drafts},
    label::{hex_label, is_host_like, meta_text, to_label},
    name::Name,
    record::{self, RecordType},
    table::Kind,
};
use crate::{
    item::{Instance, Node},
    problem::Problem,
};

/// Where catalog names are put.
#[derive(Debug)]
pub(super) struct CatalogZone {
    pub(super) origin: Name,
    /// Consul's grammar; else a service stands right below the origin.
    pub(super) is_consul: bool,
    pub(super) ttl: u32,
}

/// Nodes and instances, grouped and with their addresses read.
pub(super) struct Catalog<'a> {
    nodes: &'a [std::sync::Arc<Node>],
    services: BTreeMap<String, Vec<Site<'a>>>,
    /// In lower case.
    datacenters: BTreeSet<String>,
}

/// An instance with its address.
#[derive(Clone, Copy)]
struct Site<'a> {
    instance: &'a Instance,
    address: Address<'a>,
    /// The address is that of the node.
    is_of_node: bool,
}

#[derive(Clone, Copy)]
enum Address<'a> {
    Ip(IpAddr),
    Name(&'a str),
    Unknown,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Self {
        match text.parse() {
            Ok(address) => Self::Ip(address),
            Err(_) if text.is_empty() => Self::Unknown,
            Err(_) => Self::Name(text),
        }
    }
}

impl<'a> Catalog<'a> {
    /// Groups the instances by service, whatever the case of its name.
    pub(super) fn new(inputs: &ZoneInputs<'a>) -> Self {
        let by_name: HashMap<(&str, &str), &Node> = inputs
            .nodes
            .iter()
            .map(|node| ((node.datacenter.as_str(), node.name.as_str()), &**node))
            .collect();
        let mut services = BTreeMap::<String, Vec<Site<'_>>>::new();
        for instance in inputs.instances {
            let node = by_name.get(&(instance.datacenter.as_str(), instance.node.as_str()));
            let is_of_node = instance.address.is_empty();
            let text = match node {
                Some(node) if is_of_node => &node.address,
                _ => &instance.address,
            };
            let site = Site { instance, address: Address::parse(text), is_of_node };
            services.entry(instance.service.to_ascii_lowercase()).or_default().push(site);
        }
        let of_nodes = inputs.nodes.iter().map(|node| &node.datacenter);
        let named: BTreeSet<&str> = of_nodes
            .chain(inputs.instances.iter().map(|instance| &instance.datacenter))
            .map(String::as_str)
            .filter(|datacenter| !datacenter.is_empty())
            .collect();
        let datacenters = named.into_iter().map(str::to_ascii_lowercase).collect();
        Self { nodes: inputs.nodes, services, datacenters }
    }

    /// The datacenters that names may carry, in lower case.
    pub(super) fn datacenters(&self) -> impl Iterator<Item = &str> {
        self.datacenters.iter().map(String::as_str)
    }

    /// What of a name stands for a datacenter: nothing (all of them), and each one by itself when
    /// there are several. A name with the only datacenter there is, is understood when asked.
    fn scopes(&self) -> impl Iterator<Item = Option<&str>> {
        let several = self.datacenters.len() > 1;
        std::iter::once(None).chain(self.datacenters().filter(move |_| several).map(Some))
    }

    /// Drafts the names of one zone.
    pub(super) fn draft(
        &self,
        zone: &CatalogZone,
        drafts: &mut Drafts,
        problems: &mut Vec<Problem>,
    ) {
        for scope in self.scopes() {
            if zone.is_consul {
                for keyword in ["service", "node", "addr"] {
                    if let Some(name) = zone.name(&[keyword], scope) {
                        drafts.imply(&name);
                    }
                }
            }
            for node in self.nodes {
                if is_in(scope, &node.datacenter) {
                    draft_node(node, zone, scope, drafts);
                }
            }
        }
        let mut merged = BTreeMap::<String, Vec<Site<'_>>>::new();
        for (service, sites) in &self.services {
            let label = if zone.is_consul { service.clone() } else { to_label(service) };
            merged.entry(label).or_default().extend_from_slice(sites);
        }
        for (label, sites) in &merged {
            if label.is_empty() || label.contains('.') || label.len() > 63 {
                problems.extend(unreachable(label, sites, zone));
                continue;
            }
            for scope in self.scopes() {
                self.draft_service(label, sites, zone, scope, drafts);
            }
        }
    }

    fn draft_service(
        &self,
        label: &str,
        sites: &[Site<'_>],
        zone: &CatalogZone,
        scope: Option<&str>,
        drafts: &mut Drafts,
    ) {
        let sites: Vec<_> =
            sites.iter().copied().filter(|site| is_in(scope, &site.instance.datacenter)).collect();
        let keyword: &[&str] = if zone.is_consul { &["service"] } else { &[] };
        let mut tags = BTreeMap::<String, Vec<Site<'_>>>::new();
        for site in &sites {
            for tag in site.instance.tags.iter().filter(|tag| is_host_like(tag)) {
                tags.entry(tag.to_ascii_lowercase()).or_default().push(*site);
            }
        }
        let mut labels = vec![label];
        labels.extend(keyword);
        if !sites.is_empty()
            && let Some(name) = zone.name(&labels, scope)
            && let Some(draft) = drafts.claim(&name, Kind::Service)
        {
            fill(draft, &sites, 0, zone);
        }
        // The name of a tag that nobody can use would make that of its service exist.
        tags.retain(|_, sites| sites.iter().any(|site| site.instance.health.is_usable()));
        for (tag, sites) in &tags {
            let mut labels: Vec<_> = tag.split('.').collect();
            labels.push(label);
            labels.extend(keyword);
            if let Some(name) = zone.name(&labels, scope)
                && let Some(draft) = drafts.claim(&name, Kind::Tag)
            {
                fill(draft, sites, tag.len() + 1, zone);
            }
        }
    }

    /// Drafts the names of addresses: a node's own, else those of the services there.
    pub(super) fn draft_reverse(&self, zone: &CatalogZone, drafts: &mut Drafts) {
        for node in self.nodes {
            let target = node_name(&node.name, &node.datacenter, zone);
            if let (Address::Ip(address), Some(target)) = (Address::parse(&node.address), target) {
                draft_pointer(address, &target, zone.ttl, drafts);
            }
        }
        for (service, sites) in &self.services {
            for site in sites.iter().filter(|site| !site.is_of_node) {
                let Address::Ip(address) = site.address else { continue };
                let target = match zone.is_consul {
                    true => zone.name(&[service, "service"], scope_of(&site.instance.datacenter)),
                    false => zone.name(&[&to_label(service)], None),
                };
                if let Some(target) = target {
                    draft_pointer(address, &target, zone.ttl, drafts);
                }
            }
        }
    }
}

/// Drafts the name of an address, unless it has one.
pub(super) fn draft_pointer(address: IpAddr, target: &Name, ttl: u32, drafts: &mut Drafts) {
    let name = Name::reverse(address);
    let is_free = drafts.find(&name).is_none_or(|draft| draft.is_empty());
    if !address.is_unspecified()
        && is_free
        && let Some(draft) = drafts.claim(&name, Kind::Reverse)
    {
        draft.push(&record::pointer(RecordType::PTR, target, ttl));
    }
}

impl CatalogZone {
    /// `labels[.scope].origin`, in lower case.
    fn name(&self, labels: &[&str], scope: Option<&str>) -> Option<Name> {
        self.spelled(labels, scope).map(|name| name.to_lower())
    }

    fn spelled(&self, labels: &[&str], scope: Option<&str>) -> Option<Name> {
        let labels = labels.iter().copied().chain(scope).map(str::as_bytes);
        Name::below(&self.origin, labels).ok()
    }
}

/// Consul writes the datacenter into every target, so that it means the same everywhere.
fn scope_of(datacenter: &str) -> Option<&str> {
    (!datacenter.is_empty()).then_some(datacenter)
}

fn is_in(scope: Option<&str>, datacenter: &str) -> bool {
    scope.is_none_or(|scope| scope.eq_ignore_ascii_case(datacenter))
}

fn node_name(node: &str, datacenter: &str, zone: &CatalogZone) -> Option<Name> {
    let labels: Vec<_> = node.split('.').chain(["node"]).collect();
    zone.spelled(&labels, scope_of(datacenter).filter(|_| zone.is_consul))
}

/// A node answers whatever its health is.
fn draft_node(node: &Node, zone: &CatalogZone, scope: Option<&str>, drafts: &mut Drafts) {
    let labels: Vec<_> = node.name.split('.').chain(["node"]).collect();
    let Some(name) = zone.name(&labels, scope) else { return };
    let Some(draft) = drafts.claim(&name, Kind::Node) else { return };
    match Address::parse(&node.address) {
        Address::Ip(address) => draft.push(&record::address(address, zone.ttl)),
        Address::Name(target) => push_alias(draft, &name, target, zone.ttl),
        Address::Unknown => (),
    }
    // Nothing may stand beside a CNAME (RFC 1034, 3.6.2).
    if draft.set(RecordType::CNAME).is_none() {
        for (key, value) in &node.meta {
            draft.push(&record::txt(&meta_text(key, value), zone.ttl));
        }
    }
}

/// The answers of a service: those of its usable instances.
fn fill(draft: &mut Draft, sites: &[Site<'_>], subject: usize, zone: &CatalogZone) {
    let usable: Vec<_> =
        sites.iter().filter(|site| site.instance.health.is_usable()).copied().collect();
    let saturated = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    draft.about.subject = u8::try_from(subject).unwrap_or_default();
    draft.about.usable = saturated(usable.len());
    draft.about.total = saturated(sites.len());
    let mut seen = BTreeSet::new();
    for site in &usable {
        if let Address::Ip(address) = site.address
            && seen.insert(address)
        {
            draft.push_new(&record::address(address, zone.ttl), &[]);
        }
    }
    // Consul gives a name only when no instance has an address, and then only the first.
    let first = usable.iter().find_map(|site| match site.address {
        Address::Name(target) => Some(target),
        Address::Ip(_) | Address::Unknown => None,
    });
    if let Some(target) = first.filter(|_| seen.is_empty()) {
        let name = draft.name().clone();
        push_alias(draft, &name, target, zone.ttl);
    }
    push_srv(draft, &usable, zone);
}

/// SRV records stand beside the CNAME of a service of names only: who asks for SRV gets those.
fn push_srv(draft: &mut Draft, usable: &[Site<'_>], zone: &CatalogZone) {
    let mut seen = BTreeSet::new();
    for site in usable {
        let instance = site.instance;
        let Some(target) = srv_target(site, zone) else { continue };
        if !seen.insert((target.clone(), instance.port)) {
            continue;
        }
        let glue = match site.address {
            Address::Ip(address) => record::address(address, zone.ttl),
            Address::Name(_) | Address::Unknown => Vec::new(),
        };
        let weight = u16::try_from(instance.weight()).unwrap_or(u16::MAX);
        draft.push_new(&record::srv(weight, instance.port, &target, zone.ttl), &glue);
    }
}

/// Since Consul 1.7: `<hex>.addr` for an instance with an address of its own, else its node.
fn srv_target(site: &Site<'_>, zone: &CatalogZone) -> Option<Name> {
    let datacenter = scope_of(&site.instance.datacenter).filter(|_| zone.is_consul);
    match site.address {
        Address::Ip(_) if site.is_of_node => {
            node_name(&site.instance.node, &site.instance.datacenter, zone)
        }
        Address::Ip(address) => zone.spelled(&[&hex_label(address), "addr"], datacenter),
        Address::Name(target) => Name::parse(target).ok(),
        Address::Unknown => None,
    }
}

/// An address that is the name itself would be a loop.
fn push_alias(draft: &mut Draft, owner: &Name, target: &str, ttl: u32) {
    if let Ok(target) = Name::parse(target)
        && target.to_lower() != *owner
    {
        draft.push(&record::pointer(RecordType::CNAME, &target, ttl));
    }
}

fn unreachable(label: &str, sites: &[Site<'_>], zone: &CatalogZone) -> Option<Problem> {
    let instance = sites.first()?.instance;
    let why = match label {
        "" => "it has no letters or digits",
        _ if label.len() > 63 => "it is longer than 63 bytes",
        _ => "it has a dot in it",
    };
    let message = format!("service `{}` has no name in `{}`: {why}", instance.service, zone.origin);
    Some(Problem::warning("dns", instance.id.clone(), message))
}
