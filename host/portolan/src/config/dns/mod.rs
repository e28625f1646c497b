//! `[dns]` and what stands below it.

pub(super) mod access;
pub(super) mod forward;
mod rewrite;
mod zones;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use portolan_core::zone::ZoneConfig;
use portolan_net::dns::{Mode, Policy};
use toml::Spanned;

use self::{
    access::{Access, QueryLog},
    forward::{Cache, Filter, UpstreamMode},
};
use super::{
    edge, model,
    read::{Named, Node, OneOrMany, Read, Reading, table},
    report::Finding,
    schema::{loopback, unplaced},
    value::{Ttl, Upstream, Word, read_word},
};

table! {
    /// `[dns]`
    pub(in crate::config) struct Dns {
        /// One address or a list.
        address: OneOrMany<Spanned<SocketAddr>> = OneOrMany(vec![unplaced(loopback(5300))]),
        /// Where DNS over TLS is spoken.
        tls_address: OneOrMany<Spanned<SocketAddr>> = OneOrMany(Vec::new()),
        /// Where DNS over HTTPS is spoken.
        https_address: OneOrMany<Spanned<SocketAddr>> = OneOrMany(Vec::new()),
        /// Default: the resolvers of the system.
        upstreams: Option<Vec<Spanned<Upstream>>> = None,
        upstream_mode: UpstreamMode = UpstreamMode(Mode::Fastest),
        /// Letters of questions to upstreams.
        mix_case: bool = true,
        /// Upstreams of some names, by suffix.
        forward: Named<Vec<Spanned<Upstream>>> = Named(Vec::new()),
        /// Who says where upstreams are that have a name. Default: the resolvers of the system.
        bootstrap: Option<Vec<Spanned<Upstream>>> = None,
        rewrite: rewrite::Rules = Named(Vec::new()),
        cache: Cache = Cache::default(),
        filter: Filter = Filter::default(),
        /// Default: see `edge.rs`.
        edge_addresses: Option<Vec<IpAddr>> = None,
        ttl: Ttl = Ttl(5),
        /// Of the hosts of routers that lie in no zone.
        router_ttl: Ttl = Ttl(10),
        /// Hosts files, and folders of them.
        hosts: Vec<PathBuf> = Vec::new(),
        hosts_domain: Option<Spanned<String>> = None,
        access: Access = Access::default(),
        query_log: QueryLog = QueryLog::default(),
        zones: Named<Zone> = Named(Vec::new()),
    }
}

table! {
    /// `[dns.zones.<origin>]`
    pub(in crate::config) struct Zone {
        names: Spanned<ZoneKind>,
        /// Only with `names = "static"`.
        records: Option<Spanned<Vec<Record>>> = None,
        /// Default: that of `[dns]`.
        ttl: Option<Ttl> = None,
        /// Of names of nodes. Default: that of the zone.
        node_ttl: Option<Spanned<Ttl>> = None,
        /// Of services, by name, `beginning*` or `*`. Default: that of the zone.
        service_ttl: Option<Spanned<Named<Ttl>>> = None,
        /// How long others may remember that there is no such name.
        negative_ttl: Option<Ttl> = None,
        /// Whether a warning is enough not to be answered.
        only_passing: Option<Spanned<bool>> = None,
        /// Default: as Consul, only in zones of its grammar.
        additional_node_meta: Option<Spanned<bool>> = None,
    }
}

table! {
    /// `{ name = "…", type = "…", data = "…", ttl = … }`
    pub(in crate::config) struct Record {
        name: Spanned<String>,
        r#type: Spanned<String>,
        data: Spanned<String>,
        /// Default: that of the zone.
        ttl: Option<Ttl> = None,
    }
}

/// What `names` says, before its records are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) enum ZoneKind {
    Consul,
    Services,
    Routers,
    Static,
}

impl Word for ZoneKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("consul", Self::Consul),
        ("services", Self::Services),
        ("routers", Self::Routers),
        ("static", Self::Static),
    ];
}

impl Read for ZoneKind {
    const EXPECTED: &'static str = "one of `consul`, `services`, `routers` and `static`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

pub(super) fn validate(dns: Dns, reading: &mut Reading<'_>) -> model::Dns {
    let listed = |addresses: OneOrMany<Spanned<SocketAddr>>| -> Vec<SocketAddr> {
        addresses.0.into_iter().map(Spanned::into_inner).collect()
    };
    let addresses = listed(dns.address);
    let suffixes = forward::suffixes(dns.forward, reading);
    let global = dns.upstreams.iter().flatten();
    let global = global.map(|upstream| (upstream.span(), &upstream.get_ref().0));
    let special = suffixes.iter().flat_map(|(_, upstreams)| upstreams);
    for (span, upstream) in global.chain(special.map(|it| (it.span(), it.get_ref()))) {
        let Some(address) = upstream.address() else { continue };
        if addresses.iter().any(|own| edge::is_reached_by(*own, address)) {
            let finding = Finding::error(span, "this upstream is Portolan itself");
            reading.add(finding.hint("a question that is not ours would go round in a circle"));
        }
    }
    let ttl = dns.ttl.0;
    let rewrites = Arc::new(rewrite::rewrites(dns.rewrite, ttl, reading));
    model::Dns {
        addresses,
        tls_addresses: listed(dns.tls_address),
        https_addresses: listed(dns.https_address),
        policy: Policy { rewrites, ..access::policy(dns.access, &dns.query_log, reading) },
        bootstrap: dns.bootstrap.map(|all| forward::bootstrap(all, reading)),
        upstreams: dns.upstreams.map(|all| all.into_iter().map(|one| one.into_inner().0).collect()),
        mode: dns.upstream_mode.0,
        mix_case: dns.mix_case,
        suffixes: suffixes
            .into_iter()
            .map(|(name, all)| (name, all.into_iter().map(Spanned::into_inner).collect()))
            .collect(),
        cache: forward::cache(&dns.cache),
        filter: forward::filter(dns.filter, reading),
        edge_addresses: dns.edge_addresses,
        ttl,
        router_ttl: dns.router_ttl.0,
        zones: zones(dns.zones.0, ttl, reading),
        hosts: dns.hosts,
        hosts_domain: dns.hosts_domain.and_then(|text| forward::name(&text, reading)),
    }
}

fn zones(
    entries: Vec<(Spanned<String>, Zone)>,
    ttl: u32,
    reading: &mut Reading<'_>,
) -> Vec<ZoneConfig> {
    let mut zones: Vec<ZoneConfig> = Vec::with_capacity(entries.len());
    let mut places: HashMap<String, Range<usize>> = HashMap::new();
    for (name, entry) in entries {
        let Some(zone) = zones::validate(&name, entry, ttl, reading) else { continue };
        match places.get(&zone.origin) {
            Some(first) => {
                let message = format!("zone `{}` is there twice", zone.origin);
                let finding = Finding::error(name.span(), message);
                reading.add(finding.also(first.clone(), "first here"));
            }
            None => {
                places.insert(zone.origin.clone(), name.span());
                zones.push(zone);
            }
        }
    }
    zones
}
