//! `[dns]` and what stands below it.

pub(super) mod access;
mod zones;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use portolan_core::zone::ZoneConfig;
use toml::Spanned;

use self::access::{Access, QueryLog};
use super::{
    edge,
    model::{self, Entrypoint},
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
        /// Default: see `edge.rs`.
        edge_addresses: Option<Vec<IpAddr>> = None,
        ttl: Ttl = Ttl(5),
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

/// `entrypoints` say what the hosts of routers resolve to, unless that is configured.
pub(super) fn validate(
    dns: Dns,
    entrypoints: &[Entrypoint],
    reading: &mut Reading<'_>,
) -> model::Dns {
    let listed = |addresses: OneOrMany<Spanned<SocketAddr>>| -> Vec<SocketAddr> {
        addresses.0.into_iter().map(Spanned::into_inner).collect()
    };
    let addresses = listed(dns.address);
    for upstream in dns.upstreams.iter().flatten() {
        if addresses.iter().any(|own| edge::is_reached_by(*own, upstream.get_ref().0)) {
            let finding = Finding::error(upstream.span(), "this upstream is Portolan itself");
            reading.add(finding.hint("a question that is not ours would go round in a circle"));
        }
    }
    let ttl = dns.ttl.0;
    model::Dns {
        addresses,
        tls_addresses: listed(dns.tls_address),
        https_addresses: listed(dns.https_address),
        policy: access::policy(dns.access, &dns.query_log, reading),
        upstreams: dns.upstreams.map(|all| all.into_iter().map(|one| one.into_inner().0).collect()),
        edge_addresses: dns.edge_addresses.unwrap_or_else(|| {
            edge::default_addresses(entrypoints.iter().map(|entrypoint| entrypoint.address.ip()))
        }),
        ttl,
        zones: zones(dns.zones.0, ttl, reading),
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
