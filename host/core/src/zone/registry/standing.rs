//! How each name stands, and what the claims on it add up to.

use hashbrown::hash_map::Entry;

use super::Registry;
use crate::zone::{
    catalog::{CatalogZone, fill, fill_node, is_in},
    claim::{Claim, Standing, Subject},
    draft::Draft,
    group::Site,
    name::Name,
    record::{self, RecordType},
    table::{Encoded, Kind},
};

impl Registry {
    pub(super) fn claim(&mut self, name: Name, claim: Claim) {
        if !self.is_stale {
            self.stand(name, |standing| standing.claims.insert(claim));
        }
    }

    pub(super) fn unclaim(&mut self, name: &Name, claim: &Claim) {
        if self.standing.contains_key(name) {
            self.stand(name.clone(), |standing| standing.claims.remove(claim));
        }
    }

    /// Changes how a name stands, and with it those between it and the origin of its zone.
    pub(super) fn stand(&mut self, name: Name, change: impl FnOnce(&mut Standing)) {
        let local = self.layout.local.as_ref();
        let is_static = self.layout.is_static(&name);
        let (standing, is_new) = match self.standing.entry(name.clone()) {
            Entry::Occupied(there) => (there.into_mut(), false),
            Entry::Vacant(free) => (free.insert(Standing::default()), true),
        };
        let was_wanted = is_static || standing.is_wanted();
        change(standing);
        let is_gone = !standing.is_wanted() && standing.below == 0;
        let is_wanted = is_static || standing.is_wanted();
        if is_new != is_gone && local.is_some_and(|local| name.is_within(local)) {
            self.count_local(is_new);
        }
        if is_gone {
            self.standing.remove(&name);
        }
        if was_wanted != is_wanted {
            self.stand_above(&name, is_wanted);
        }
        if !self.is_anew {
            self.dirty.insert(name);
        }
    }

    /// Notes a name that is to be made anew.
    pub(super) fn mark(&mut self, name: &Name) {
        if !self.is_anew {
            self.dirty.insert(name.clone());
        }
    }

    pub(super) fn stand_above(&mut self, name: &Name, is_wanted: bool) {
        for above in self.layout.between(name) {
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
            if is_different && !self.is_anew {
                self.dirty.insert(Name::of_wire(above));
            }
        }
    }

    /// `local` has an answer while there is any name in it.
    pub(super) fn count_local(&mut self, is_more: bool) {
        let before = self.local_count;
        self.local_count = before.saturating_add_signed(if is_more { 1 } else { -1 });
        if (before == 0) != (self.local_count == 0) && !self.is_anew {
            self.dirty.extend(self.layout.local.clone());
        }
    }

    /// A name as the claims add up, encoded.
    pub(super) fn make(&self, name: &Name, standing: Option<&Standing>) -> Option<Encoded> {
        let mut maker = self.layout.begin(name);
        let claims = standing.map(|standing| standing.claims.sorted()).unwrap_or_default();
        let ways = claims.iter().map_while(|claim| match claim {
            Claim::Router(way) => Some(*way),
            _ => None,
        });
        let ways: Vec<_> = ways.collect();
        if !ways.is_empty() {
            maker.add_router(&ways);
        }
        for claim in claims {
            match claim {
                // All of them together.
                Claim::Router(_) => (),
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

    pub(super) fn fill(&self, draft: &mut Draft, at: u16, zone: &CatalogZone, of: &Subject) {
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
