//! `[dns.zones.<origin>]` → [`ZoneConfig`].

use portolan_core::{
    name::nearest,
    zone::{Names, StaticRecord, ZoneConfig, ZoneOptions},
};
use toml::Spanned;

use super::{Record, Zone, ZoneKind};
use crate::config::{read::Reading, report::Finding};

/// The record types whose data can be written in a configuration (RFC 1035, 5.1 and the RFC of
/// each). The data itself is parsed where zones are built.
const RECORD_TYPES: [&str; 13] = [
    "A", "AAAA", "CNAME", "TXT", "SRV", "MX", "NS", "PTR", "CAA", "HTTPS", "SVCB", "NAPTR", "TLSA",
];

/// Checks one zone. `ttl` is that of `[dns]`.
pub(super) fn validate(
    name: &Spanned<String>,
    zone: Zone,
    ttl: u32,
    reading: &mut Reading<'_>,
) -> Option<ZoneConfig> {
    let origin = origin(name, reading)?;
    let ttl = zone.ttl.map_or(ttl, |ttl| ttl.0);
    if let Some(records) = &zone.records
        && *zone.names.get_ref() != ZoneKind::Static
    {
        let message = "only a zone with `names = \"static\"` has records of its own";
        let finding = Finding::error(records.span(), message);
        reading.add(finding.also(zone.names.span(), "this zone has other names"));
    }
    let names = match zone.names.get_ref() {
        ZoneKind::Consul => Names::Consul,
        ZoneKind::Services => Names::Services,
        ZoneKind::Routers => Names::Routers,
        ZoneKind::Static => {
            let records = zone.records.map(Spanned::into_inner).unwrap_or_default().into_iter();
            Names::Static(records.filter_map(|it| record(it, &origin, ttl, reading)).collect())
        }
    };
    let is_catalog = matches!(names, Names::Consul | Names::Services);
    let (service_ttl, node_ttl) = (zone.service_ttl, zone.node_ttl);
    let unused = [
        ("service-ttl", service_ttl.as_ref().map(Spanned::span)),
        ("node-ttl", node_ttl.as_ref().map(Spanned::span)),
        ("only-passing", zone.only_passing.as_ref().map(Spanned::span)),
        ("additional-node-meta", zone.additional_node_meta.as_ref().map(Spanned::span)),
    ];
    for (key, span) in unused {
        if let Some(span) = span.filter(|_| !is_catalog) {
            let message = format!("`{key}` is for zones with names of the catalog");
            let finding = Finding::error(span, message);
            reading.add(finding.also(zone.names.span(), "this zone has other names"));
        }
    }
    let service_ttl = service_ttl.into_iter().flat_map(|named| named.into_inner().0);
    let options = ZoneOptions {
        node_ttl: node_ttl.map(|ttl| ttl.into_inner().0),
        service_ttl: service_ttl.map(|(name, ttl)| (name.into_inner(), ttl.0)).collect(),
        negative_ttl: zone
            .negative_ttl
            .map_or_else(|| ZoneOptions::default().negative_ttl, |ttl| ttl.0),
        only_passing: zone.only_passing.is_some_and(Spanned::into_inner),
        // As Consul does (`enable_additional_node_meta_txt`).
        node_meta: zone.additional_node_meta.map_or(names == Names::Consul, Spanned::into_inner),
    };
    Some(ZoneConfig { origin, names, ttl, options })
}

/// Lower case, without the trailing dot.
fn origin(name: &Spanned<String>, reading: &mut Reading<'_>) -> Option<String> {
    let text = name.get_ref().to_ascii_lowercase();
    let origin = text.strip_suffix('.').unwrap_or(&text);
    if let Some(complaint) = complaint(origin) {
        let message = format!("{:?} is not the name of a zone: {complaint}", name.get_ref());
        reading.add(Finding::error(name.span(), message));
        return None;
    }
    Some(origin.to_owned())
}

/// What is wrong with a domain name (RFC 1035, 2.3.4; underscores as of RFC 2181, 11), if
/// anything.
fn complaint(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.len() > 253 {
        Some("it is longer than 253 characters")
    } else if name.split('.').any(str::is_empty) {
        Some("it has an empty label")
    } else if name.split('.').any(|label| label.len() > 63) {
        Some("it has a label of more than 63 characters")
    } else if !name.chars().all(|c| plain(c) || c == '.') {
        Some("labels are made of letters, digits, `-` and `_`")
    } else {
        None
    }
}

fn record(
    record: Record,
    origin: &str,
    ttl: u32,
    reading: &mut Reading<'_>,
) -> Option<StaticRecord> {
    let name = record_name(&record.name, origin, reading);
    let rtype = record_type(&record.r#type, reading);
    if let Some(expected) = rtype.as_deref().and_then(|rtype| address_complaint(rtype, &record)) {
        let message = format!("the data of this record must be {expected}");
        reading.add(Finding::error(record.data.span(), message));
    }
    let ttl = record.ttl.map_or(ttl, |ttl| ttl.0);
    Some(StaticRecord { name: name?, rtype: rtype?, data: record.data.into_inner(), ttl })
}

/// Relative to the zone. A name that already ends with the zone is taken as whole: that is how
/// people paste it.
fn record_name(name: &Spanned<String>, origin: &str, reading: &mut Reading<'_>) -> Option<String> {
    let text = name.get_ref().to_ascii_lowercase();
    let absolute = text.strip_suffix('.');
    let bare = absolute.unwrap_or(&text);
    let relative = match bare.strip_suffix(origin) {
        Some("") => "@",
        Some(above) => above.strip_suffix('.').unwrap_or(bare),
        None => bare,
    };
    if absolute.is_some() && relative == bare {
        let message = format!("`{text}` does not lie in the zone `{origin}`");
        reading.add(Finding::error(name.span(), message));
        return None;
    }
    let labels = match relative {
        "@" | "*" => return Some(relative.to_owned()),
        _ => relative.strip_prefix("*.").unwrap_or(relative),
    };
    if let Some(complaint) = complaint(labels) {
        let message = format!("{:?} is not a name: {complaint}", name.get_ref());
        let finding = Finding::error(name.span(), message);
        reading.add(finding.hint("`@` is the zone itself, `*` stands for every other name"));
        return None;
    }
    Some(relative.to_owned())
}

fn record_type(rtype: &Spanned<String>, reading: &mut Reading<'_>) -> Option<String> {
    let upper = rtype.get_ref().to_ascii_uppercase();
    if RECORD_TYPES.contains(&upper.as_str()) {
        return Some(upper);
    }
    let message = format!("records of type `{}` cannot be given here", rtype.get_ref());
    let candidate = nearest(rtype.get_ref(), RECORD_TYPES);
    let finding = Finding::error(rtype.span(), message).did_you_mean(candidate);
    reading.add(finding);
    None
}

/// What the data of an address record should be, if it is not.
fn address_complaint(rtype: &str, record: &Record) -> Option<&'static str> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let data = record.data.get_ref();
    match rtype {
        "A" if data.parse::<Ipv4Addr>().is_err() => Some("an IPv4 address"),
        "AAAA" if data.parse::<Ipv6Addr>().is_err() => Some("an IPv6 address"),
        _ => None,
    }
}
