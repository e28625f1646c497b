//! Names from the catalog: services, tags, nodes, and the names of addresses.
//!
//! The grammar is Consul's (its agent/dns.go). Only what cannot be derived from a question
//! is written down: names with a datacenter (when there is but one), RFC 2782 names and `.addr`
//! names are understood when they are asked, see [`super::grammar`].

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr};

use super::{
    draft::{Draft, Drafts},
    group::{Address, Site},
    label::{hex_label, meta_text, to_label},
    name::Name,
    options::ZoneOptions,
    record::{self, RecordType},
    table::Kind,
};
use crate::{item::Node, problem::Problem};

/// Where catalog names are put.
#[derive(Clone, Debug)]
pub(super) struct CatalogZone {
    pub(super) origin: Name,
    /// Consul's grammar; else a service stands right below the origin.
    pub(super) is_consul: bool,
    pub(super) ttl: u32,
    pub(super) options: ZoneOptions,
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
    pub(super) fn name<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a str>,
        scope: Option<&'a str>,
    ) -> Option<Name> {
        self.spelled(labels, scope).map(|name| name.to_lower())
    }

    /// The label of a service in this zone, whose name is in lower case.
    pub(super) fn label<'a>(&self, service: &'a str) -> Cow<'a, str> {
        if self.is_consul { service.into() } else { to_label(service) }
    }

    fn node_ttl(&self) -> u32 {
        self.options.node_ttl.unwrap_or(self.ttl)
    }

    /// What stands behind the label of a service.
    pub(super) fn keyword<'a>(&self) -> &'a [&'a str] {
        if self.is_consul { &["service"] } else { &[] }
    }

    /// The name that the address of an instance leads to.
    pub(super) fn reverse_target(&self, service: &str, datacenter: &str) -> Option<Name> {
        match self.is_consul {
            true => self.name([service, "service"], scope_of(datacenter)),
            false => self.name([&*to_label(service)], None),
        }
    }

    fn spelled<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a str>,
        scope: Option<&'a str>,
    ) -> Option<Name> {
        let labels = labels.into_iter().chain(scope).map(str::as_bytes);
        Name::below(&self.origin, labels).ok()
    }
}

/// Consul writes the datacenter into every target, so that it means the same everywhere.
fn scope_of(datacenter: &str) -> Option<&str> {
    (!datacenter.is_empty()).then_some(datacenter)
}

pub(super) fn is_in(scope: Option<&str>, datacenter: &str) -> bool {
    scope.is_none_or(|scope| scope.eq_ignore_ascii_case(datacenter))
}

pub(super) fn node_name(node: &str, datacenter: &str, zone: &CatalogZone) -> Option<Name> {
    let labels = node.split('.').chain(["node"]);
    zone.spelled(labels, scope_of(datacenter).filter(|_| zone.is_consul))
}

/// The labels of a node in a zone.
pub(super) fn node_labels(node: &Node) -> impl Iterator<Item = &str> {
    node.name.split('.').chain(["node"])
}

/// A node answers whatever its health is.
pub(super) fn fill_node(draft: &mut Draft, node: &Node, zone: &CatalogZone) {
    let name = draft.name().clone();
    match Address::parse(&node.address) {
        Address::Name(target) if node.also_at.is_empty() => {
            push_alias(draft, &name, target, zone.node_ttl());
        }
        Address::Ip(_) | Address::Name(_) | Address::Unknown => {
            for address in node.addresses() {
                draft.push(&record::address(address, zone.node_ttl()));
            }
        }
    }
    // Nothing may stand beside a CNAME (RFC 1034, 3.6.2).
    if draft.set(RecordType::CNAME).is_none() {
        for (key, value) in &node.meta {
            draft.push(&record::txt(&meta_text(key, value), zone.node_ttl()));
        }
    }
}

/// The answers of a service: those of its usable instances.
pub(super) fn fill(draft: &mut Draft, sites: &[&Site], subject: usize, zone: &CatalogZone) {
    let usable: Vec<_> =
        sites.iter().filter(|site| zone.options.serves(site.instance.health)).copied().collect();
    let named = sites.first().and_then(|site| zone.options.ttl_of(&site.instance.service));
    let ttl = named.unwrap_or(zone.ttl);
    let is_alone = usable.len() == 1;
    let saturated = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    draft.about.subject = u8::try_from(subject).unwrap_or_default();
    draft.about.usable = saturated(usable.len());
    draft.about.total = saturated(sites.len());
    let name = draft.name().clone();
    let (mut seen, mut has_address) = (BTreeSet::new(), false);
    for site in &usable {
        for address in addresses(site, &name) {
            if is_alone || seen.insert(address) {
                draft.push_new(&record::address(address, ttl), &[]);
            }
            has_address = true;
        }
    }
    // Consul gives a name only when no instance has an address, and then one of them: who answers
    // chooses.
    if !has_address {
        let mut seen = BTreeSet::new();
        for site in &usable {
            if let Address::Name(target) = site.address()
                && seen.insert(target)
            {
                push_alias(draft, &name, target, ttl);
            }
        }
    }
    push_srv(draft, &usable, zone, ttl);
}

/// The addresses of an instance for who asks by `name`.
fn addresses(site: &Site, name: &Name) -> impl Iterator<Item = IpAddr> {
    let (own, is_itself) = match site.address() {
        Address::Ip(address) => (Some(address), false),
        Address::Name(target) => (None, is_name(target, name)),
        Address::Unknown => (None, false),
    };
    let behind = site.behind_name().filter(move |_| is_itself);
    own.into_iter().chain(site.also_at().iter().copied()).chain(behind)
}

/// Whether a text spells a name, which is in lower case.
fn is_name(text: &str, name: &Name) -> bool {
    Name::parse(text).is_ok_and(|parsed| parsed.to_lower() == *name)
}

/// SRV records stand beside the CNAME of a service of names only: who asks for SRV gets those.
fn push_srv(draft: &mut Draft, usable: &[&Site], zone: &CatalogZone, ttl: u32) {
    let mut seen = BTreeSet::new();
    for site in usable {
        let instance = &site.instance;
        let Some(target) = srv_target(site, zone) else { continue };
        if usable.len() > 1 && !seen.insert((target.clone(), instance.port)) {
            continue;
        }
        let mut glue = match site.address() {
            Address::Ip(address) => record::address(address, ttl),
            Address::Name(_) | Address::Unknown => Vec::new(),
        };
        // A name that is made of an address has no other.
        if site.is_of_node() {
            for address in site.also_at() {
                glue.extend_from_slice(&record::address(*address, ttl));
            }
        }
        // What is told with the record is told of its target: of the node, unless that is a name
        // outside, of which we know nothing.
        if zone.options.node_meta && matches!(site.address(), Address::Ip(_)) {
            for (key, value) in site.node().into_iter().flat_map(|node| &node.meta) {
                glue.extend_from_slice(&record::txt(&meta_text(key, value), zone.node_ttl()));
            }
        }
        let weight = u16::try_from(instance.weight()).unwrap_or(u16::MAX);
        draft.push_new(&record::srv(weight, instance.port, &target, ttl), &glue);
    }
}

/// Since Consul 1.7: `<hex>.addr` for an instance with an address of its own, else its node.
fn srv_target(site: &Site, zone: &CatalogZone) -> Option<Name> {
    let datacenter = scope_of(&site.instance.datacenter).filter(|_| zone.is_consul);
    match site.address() {
        Address::Ip(_) if site.is_of_node() => {
            node_name(&site.instance.node, &site.instance.datacenter, zone)
        }
        Address::Ip(address) => zone.spelled([&*hex_label(address), "addr"], datacenter),
        Address::Name(target) => Name::parse(target).ok(),
        Address::Unknown => None,
    }
}

/// An address that is the name itself would be a loop. It is known not to be there.
fn push_alias(draft: &mut Draft, owner: &Name, target: &str, ttl: u32) {
    if let Ok(target) = Name::parse(target)
        && target.to_lower() != *owner
    {
        draft.push_new(&record::pointer(RecordType::CNAME, &target, ttl), &[]);
    }
}

/// What is wrong with the label of a service, if it cannot be one; told at its first instance.
pub(super) fn unreachable<'a>(
    label: &str,
    mut sites: impl Iterator<Item = &'a Site>,
    zone: &CatalogZone,
) -> Option<Problem> {
    let why = match label {
        "" => "it has no letters or digits",
        _ if label.len() > 63 => "it is longer than 63 bytes",
        _ if label.contains('.') => "it has a dot in it",
        _ => return None,
    };
    let instance = &sites.next()?.instance;
    let message = format!("service `{}` has no name in `{}`: {why}", instance.service, zone.origin);
    Some(Problem::warning("dns", instance.id.clone(), message))
}
