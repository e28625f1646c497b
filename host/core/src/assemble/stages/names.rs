//! Names: what the sources and the routers have to say to the registry.

use std::sync::Arc;

use super::{super::complaints::Plaintiff, Board, Turn, routers::Moved};
use crate::{
    catalog::Source,
    roll::Difference,
    zone::{DnsConfig, Registry, Zones},
};

impl Turn<'_> {
    /// Without DNS nobody asks for the hosts of routers, and it is no problem that they lead nowhere.
    pub(super) fn name_all(
        &mut self,
        before: &[Arc<Source>],
        moved: &[Moved],
        generation: u64,
    ) -> Zones {
        let dns = &self.inputs.dns;
        let is_served = *dns != DnsConfig::default();
        let nothing = Board::new(self.inputs).sources;
        let board = &mut *self.board;
        let is_new = board.dns.as_ref() != Some(dns);
        if is_new {
            board.dns = Some(dns.clone());
            board.registry = Registry::new(dns);
            board.registry.make_room(board.services.len(), board.routers.len());
        }
        let registry = &mut board.registry;
        tell_sources(registry, if is_new { &nothing } else { before }, &board.sources);
        if is_new {
            for entry in board.routers.iter().filter(|it| is_served && it.live.is_some()) {
                entry.hosts.iter().for_each(|it| registry.host(it, &entry.entrypoints, true));
            }
        } else {
            for moved in moved.iter().filter(|_| is_served) {
                let [before, after] = moved.hosts();
                if before != after {
                    after.0.iter().for_each(|host| registry.host(host, after.1, true));
                    before.0.iter().for_each(|host| registry.host(host, before.1, false));
                }
            }
        }
        let synced = board.sources.iter().all(|source| source.synced);
        // Serials compare modulo 2^32 (RFC 1982), so the generation may be cut.
        let zones = board.registry.zones(synced, generation as u32);
        board.complaints.set(|| Plaintiff::Zone, board.registry.problems());
        zones
    }
}

/// Tells the registry of names what is different in the sources.
fn tell_sources(registry: &mut Registry, before: &[Arc<Source>], after: &[Arc<Source>]) {
    for (order, (before, after)) in (0..).zip(before.iter().zip(after)) {
        if Arc::ptr_eq(before, after) {
            continue;
        }
        for Difference { before: was, after: is } in before.nodes.differences(&after.nodes) {
            if let Some((id, _)) = was.or(is).map(|it| &**it) {
                registry.node(order, id, was.map(|it| &it.1), is.map(|it| &it.1));
            }
        }
        for Difference { before: was, after: is } in before.instances.differences(&after.instances)
        {
            if let Some((_, registered)) = was.or(is).map(|it| &**it) {
                let [was, is] = [was, is].map(|it| it.map(|it| &it.1.instance));
                registry.instance(order, &registered.id, was, is);
            }
        }
    }
}
