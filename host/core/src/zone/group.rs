//! The instances of the catalog by service, with the addresses that they answer with.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::label::lowered;
use crate::item::{Instance, Node};

/// Where something stands in the catalog: the place of its provider, and its name there.
pub(super) type Place = (u32, Arc<str>);

/// The datacenter and the name of a node.
type NodeName = (String, String);

/// The service of an instance, and where it stands.
pub(super) type Spot = (Arc<str>, Place);

/// An instance with its address.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) instance: Arc<Instance>,
    /// The node that it is on, where its own address is none or a name.
    node: Option<Arc<Node>>,
    ip: Option<IpAddr>,
}

/// An address as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address<'a> {
    Ip(IpAddr),
    Name(&'a str),
    Unknown,
}

impl<'a> Address<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        match text.parse() {
            Ok(address) => Self::Ip(address),
            Err(_) if text.is_empty() => Self::Unknown,
            Err(_) => Self::Name(text),
        }
    }
}

/// Whether the address of the node may be that of an instance.
fn leans_on_node(instance: &Instance) -> bool {
    instance.address.parse::<IpAddr>().is_err()
}

impl Site {
    fn new(instance: Arc<Instance>, node: Option<Arc<Node>>) -> Self {
        let mut site = Self { instance, node, ip: None };
        site.ip = site.text().parse().ok();
        site
    }

    fn text(&self) -> &str {
        self.node().map_or(&self.instance.address, |node| &node.address)
    }

    /// The node, when the address is that of it.
    pub(super) fn node(&self) -> Option<&Node> {
        self.node.as_deref().filter(|_| self.is_of_node())
    }

    /// The addresses of the node when the instance's own is a name. They count where that name is
    /// the one that is asked for, as in Consul: it cannot lead to itself.
    pub(super) fn behind_name(&self) -> impl Iterator<Item = IpAddr> {
        self.node.iter().filter(|_| !self.is_of_node()).flat_map(|node| node.addresses())
    }

    /// Whether the address is that of the node.
    pub(super) fn is_of_node(&self) -> bool {
        self.instance.address.is_empty()
    }

    pub(super) fn address(&self) -> Address<'_> {
        self.ip.map_or_else(|| Address::parse(self.text()), Address::Ip)
    }

    /// Where it is too, by another protocol.
    pub(super) fn also_at(&self) -> &[IpAddr] {
        self.node().map_or(&self.instance.also_at, |node| &node.also_at)
    }

    /// The address, when it is an IP address and the instance's own.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        self.ip.filter(|_| !self.is_of_node())
    }
}

/// The instances of a service, in the order of the catalog. Mostly there are few: a list takes a
/// tenth of what a tree would.
#[derive(Clone, Debug, Default)]
pub(super) struct Sites(Vec<(Place, Site)>);

impl Sites {
    pub(super) fn values(&self) -> impl Iterator<Item = &Site> {
        self.0.iter().map(|(_, site)| site)
    }

    fn find(&self, place: &Place) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(place))
    }

    fn get(&self, place: &Place) -> Option<&Site> {
        self.find(place).ok().and_then(|at| self.0.get(at)).map(|(_, site)| site)
    }

    fn insert(&mut self, place: &Place, site: Site) {
        match self.find(place) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = site;
                }
            }
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (place.clone(), site));
            }
        }
    }

    fn remove(&mut self, place: &Place) -> Option<Site> {
        self.find(place).ok().map(|at| self.0.remove(at).1)
    }
}

/// Nodes, and instances by service.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    pub(super) nodes: BTreeMap<Place, Arc<Node>>,
    /// By datacenter and name. Of two providers that know a node, the later counts.
    by_name: HashMap<NodeName, Vec<Place>>,
    /// By the name of the service in lower case.
    pub(super) services: HashMap<Arc<str>, Sites>,
    /// The instances that have the address of a node, or may have it.
    on_node: HashMap<NodeName, HashSet<Spot>>,
    /// How many nodes and instances there are in each, in lower case.
    pub(super) datacenters: BTreeMap<String, usize>,
}

/// The name of a service, as it is compared.
pub(super) fn key(instance: &Instance) -> Cow<'_, str> {
    lowered(&instance.service)
}

impl Groups {
    /// Takes a node over.
    pub(super) fn set_node(
        &mut self,
        place: &Place,
        before: Option<&Arc<Node>>,
        after: Option<&Arc<Node>>,
    ) {
        if let Some(before) = before {
            self.leave(&before.datacenter);
            self.nodes.remove(place);
            let named = (before.datacenter.clone(), before.name.clone());
            if let Some(places) = self.by_name.get_mut(&named) {
                places.retain(|known| known != place);
                if places.is_empty() {
                    self.by_name.remove(&named);
                }
            }
        }
        if let Some(after) = after {
            self.enter(&after.datacenter);
            self.nodes.insert(place.clone(), after.clone());
            let named = (after.datacenter.clone(), after.name.clone());
            let places = self.by_name.entry(named).or_default();
            let at = places.partition_point(|known| known < place);
            places.insert(at, place.clone());
        }
    }

    /// The instances that have the address of a node, or may have it.
    pub(super) fn on_node(&self, node: &Node) -> Vec<Spot> {
        let named = (node.datacenter.clone(), node.name.clone());
        self.on_node.get(&named).into_iter().flatten().cloned().collect()
    }

    /// Reads the address of an instance again.
    pub(super) fn refresh(&mut self, service: &str, place: &Place) {
        let sites = self.services.get(service);
        let Some(instance) = sites.and_then(|it| it.get(place)).map(|it| it.instance.clone())
        else {
            return;
        };
        let site = Site::new(instance.clone(), self.node_of(&instance));
        if let Some(sites) = self.services.get_mut(service) {
            sites.insert(place, site);
        }
    }

    /// Takes an instance out.
    pub(super) fn remove(&mut self, place: &Place, instance: &Instance) -> Option<Site> {
        self.leave(&instance.datacenter);
        let service = key(instance);
        let sites = self.services.get_mut(&*service)?;
        let site = sites.remove(place);
        if sites.0.is_empty() {
            self.services.remove(&*service);
        }
        if leans_on_node(instance) {
            let node = (instance.datacenter.clone(), instance.node.clone());
            if let Some(there) = self.on_node.get_mut(&node) {
                there.remove(&(service.as_ref().into(), place.clone()));
                if there.is_empty() {
                    self.on_node.remove(&node);
                }
            }
        }
        site
    }

    /// Puts an instance in. Answers its service, and its own address.
    pub(super) fn insert(
        &mut self,
        place: &Place,
        instance: &Arc<Instance>,
    ) -> (Arc<str>, Option<IpAddr>) {
        self.enter(&instance.datacenter);
        let service = key(instance);
        let known = self.services.get_key_value(&*service).map(|(known, _)| known.clone());
        let service: Arc<str> = known.unwrap_or_else(|| service.into());
        if leans_on_node(instance) {
            let node = (instance.datacenter.clone(), instance.node.clone());
            self.on_node.entry(node).or_default().insert((service.clone(), place.clone()));
        }
        let site = Site::new(instance.clone(), self.node_of(instance));
        let ip = site.own_ip();
        self.services.entry(service.clone()).or_default().insert(place, site);
        (service, ip)
    }

    fn node_of(&self, instance: &Instance) -> Option<Arc<Node>> {
        if !leans_on_node(instance) {
            return None;
        }
        let named = (instance.datacenter.clone(), instance.node.clone());
        let place = self.by_name.get(&named)?.last()?;
        self.nodes.get(place).cloned()
    }

    fn enter(&mut self, datacenter: &str) {
        if !datacenter.is_empty() {
            let name = lowered(datacenter);
            match self.datacenters.get_mut(&*name) {
                Some(count) => *count += 1,
                None => drop(self.datacenters.insert(name.into_owned(), 1)),
            }
        }
    }

    fn leave(&mut self, datacenter: &str) {
        let name = lowered(datacenter);
        if let Some(count) = self.datacenters.get_mut(&*name) {
            *count -= 1;
            if *count == 0 {
                self.datacenters.remove(&*name);
            }
        }
    }
}
