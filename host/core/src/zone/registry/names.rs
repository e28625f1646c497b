//! The names that nodes and services claim.

use std::{collections::BTreeSet, sync::Arc};

use super::Registry;
use crate::{
    item::Node,
    zone::{
        catalog::{is_in, node_labels, unreachable},
        claim::{Claim, Subject},
        group::{Place, Site},
        label::is_host_like,
        name::Name,
    },
};

impl Registry {
    /// Names that exist in Consul's grammar though nothing is there.
    pub(super) fn keywords(&self) -> Vec<Name> {
        let mut names = Vec::new();
        for zone in &self.layout.catalog {
            let keywords = match zone.is_consul {
                true => &["service", "node", "addr", "query"][..],
                false => &["node", "addr"],
            };
            for (_, scope) in self.all_scopes() {
                names.extend(keywords.iter().filter_map(|keyword| zone.name([*keyword], scope)));
            }
        }
        names
    }

    /// What of a name stands for a datacenter: nothing (all of them), and each one by itself when
    /// there are several. A name with the only datacenter there is, is understood when asked.
    pub(super) fn all_scopes(&self) -> impl Iterator<Item = (u8, Option<&str>)> {
        let several = self.scopes.len() > 1;
        let named = self.scopes.iter().filter(move |_| several).map(|scope| Some(&**scope));
        (0..u8::MAX).zip(std::iter::once(None).chain(named))
    }

    pub(super) fn scope(&self, place: u8) -> Option<&str> {
        usize::from(place).checked_sub(1).and_then(|at| self.scopes.get(at)).map(|name| &**name)
    }

    pub(super) fn names_of_node(&self, node: &Node, place: &Place) -> Vec<(Name, Claim)> {
        let mut names = Vec::new();
        if self.is_stale {
            return names;
        }
        for (zone, at) in self.layout.catalog.iter().zip(0..) {
            for (number, scope) in self.all_scopes() {
                if is_in(scope, &node.datacenter)
                    && let Some(name) = zone.name(node_labels(node), scope)
                {
                    let subject = Subject::Node(number, place.clone());
                    names.push((name, Claim::Catalog { zone: at, subject }));
                }
            }
        }
        names
    }

    /// The instances of a label, in the order of the catalog.
    pub(super) fn sites<'a>(&'a self, zone: u16, label: &'a str) -> impl Iterator<Item = &'a Site> {
        let place = usize::from(zone);
        let is_consul = self.layout.catalog.get(place).is_some_and(|zone| zone.is_consul);
        let alone = is_consul.then_some(label);
        let services = self.labels.get(place).filter(|_| !is_consul).and_then(|it| it.get(label));
        let services = services.into_iter().flatten().map(|name| &**name).chain(alone);
        services.filter_map(|name| self.groups.services.get(name)).flat_map(|it| it.values())
    }

    /// The names of a service, with those of its tags.
    pub(super) fn names_of_label(&self, at: u16, label: &Arc<str>) -> Vec<(Name, Claim)> {
        let mut names = Vec::new();
        let Some(zone) = self.layout.catalog.get(usize::from(at)) else { return names };
        let sites: Vec<_> = self.sites(at, label).collect();
        if sites.is_empty() || unreachable(label, sites.iter().copied(), zone).is_some() {
            return names;
        }
        names.reserve_exact(1);
        for (number, scope) in self.all_scopes() {
            let mut is_there = false;
            let mut tags = BTreeSet::new();
            for site in sites.iter().filter(|site| is_in(scope, &site.instance.datacenter)) {
                is_there = true;
                // The name of a tag that nobody can use would make that of its service exist.
                if zone.options.serves(site.instance.health) {
                    let named = site.instance.tags.iter().filter(|tag| is_host_like(tag));
                    tags.extend(named.map(|tag| tag.to_ascii_lowercase()));
                }
            }
            let mut add = |tag: Option<&str>| {
                let tag_labels = tag.into_iter().flat_map(|tag| tag.split('.'));
                let labels = tag_labels.chain([&**label]).chain(zone.keyword().iter().copied());
                if let Some(name) = zone.name(labels, scope) {
                    let subject = Subject::Service(label.clone(), number, tag.map(Arc::from));
                    names.push((name, Claim::Catalog { zone: at, subject }));
                }
            };
            if is_there {
                add(None);
            }
            for tag in &tags {
                add(Some(tag));
            }
        }
        names
    }

    /// The names of a service are about to change.
    pub(super) fn touch(&mut self, service: &str) {
        if self.is_stale {
            return;
        }
        for place in 0..self.layout.catalog.len() {
            let Some(zone) = self.layout.catalog.get(place) else { continue };
            let at = (place as u16, zone.label(service).into_owned());
            if !self.pending.contains_key(&at) {
                let names = self.names_of_label(at.0, &at.1.as_str().into());
                self.pending.insert(at, names);
            }
        }
    }

    /// A service changed: it claims its names, and lets go of those that it has no more.
    pub(super) fn reclaim(&mut self, zone: u16, label: &Arc<str>, before: &[(Name, Claim)]) {
        let after = self.names_of_label(zone, label);
        for (name, claim) in before {
            self.mark(name);
            if !after.iter().any(|(_, it)| it == claim) {
                self.unclaim(name, claim);
            }
        }
        for (name, claim) in after {
            match before.iter().any(|(_, it)| *it == claim) {
                true => self.mark(&name),
                false => self.claim(name, claim),
            }
        }
        let origin = self.layout.catalog.get(usize::from(zone));
        match origin.and_then(|origin| unreachable(label, self.sites(zone, label), origin)) {
            Some(problem) => drop(self.unreachable.insert((zone, label.clone()), problem)),
            None if self.unreachable.is_empty() => (),
            None => drop(self.unreachable.remove(&(zone, label.clone()))),
        }
    }

    /// A service came or is gone: the labels in our grammar know it, or forget it.
    pub(super) fn relabel(&mut self, service: &str) {
        let known = self.groups.services.get_key_value(service).map(|(name, _)| name.clone());
        for (zone, labels) in self.layout.catalog.iter().zip(&mut self.labels) {
            if zone.is_consul {
                continue;
            }
            let label = zone.label(service);
            match &known {
                Some(name) => {
                    // Mostly they are spelled alike, and there is one of each label.
                    let services = match labels.get_mut(&*label) {
                        Some(services) => services,
                        None if *label == **name => labels.entry(name.clone()).or_default(),
                        None => labels.entry(label.into()).or_default(),
                    };
                    if let Err(place) = services.binary_search(name) {
                        if services.is_empty() {
                            services.reserve_exact(1);
                        }
                        services.insert(place, name.clone());
                    }
                }
                None => {
                    if let Some(services) = labels.get_mut(&*label) {
                        services.retain(|name| **name != *service);
                        if services.is_empty() {
                            labels.remove(&*label);
                        }
                    }
                }
            }
        }
    }
}
