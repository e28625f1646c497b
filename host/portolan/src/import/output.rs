//! The plan as TOML, each key with the lines that it comes from.

use std::{collections::BTreeMap, fmt::Write as _};

use super::plan::{From, Plan, Record};

const HEAD: &str = "# What dnsmasq did, for Portolan: put this in place of [dns] in config.toml, and look at it\n\
                    # with `portolan check` before dnsmasq is stopped. Behind each # is the line it comes from.\n";

/// Writes everything that was taken, and names what was not.
pub(super) fn toml(plan: &Plan) -> String {
    let mut out = String::from(HEAD);
    let text = &mut out;
    line(text, "\n[dns]");
    dns(plan, text);
    rewrite(plan, text);
    forward(plan, text);
    for (table, name) in [
        ("cache", "[dns.cache]"),
        ("filter", "[dns.filter]"),
        ("access", "[dns.access]"),
        ("query-log", "[dns.query-log]"),
    ] {
        let exempt = if table == "filter" { plan.exempt.as_slice() } else { &[] };
        if exempt.is_empty() && !plan.keys.iter().any(|(of, ..)| *of == table) {
            continue;
        }
        line(text, &format!("\n{name}"));
        keys(plan, table, text);
        if !exempt.is_empty() {
            list(text, "rebind-exempt", exempt);
        }
    }
    line(text, "\n# Names of the catalog: what `server=/consul/…` asked Consul for.");
    line(text, "[dns.zones.consul]\nnames = \"consul\"");
    zones(plan, text);
    if !plan.left.is_empty() {
        line(text, "\n# Not taken as they are:");
        for left in &plan.left {
            line(text, &format!("# {}: {}\n#   {}", left.place, left.text, left.why));
        }
    }
    out
}

fn dns(plan: &Plan, text: &mut String) {
    let port = plan.port.as_ref().map_or(53, |port| port.value);
    plan.port.iter().for_each(|port| origin(text, &port.origin));
    let mut addresses: Vec<String> = Vec::new();
    for listen in &plan.listen {
        origin(text, &listen.origin);
        let is_v6 = listen.value.contains(':');
        addresses.push(match is_v6 {
            true => format!("\"[{}]:{port}\"", listen.value),
            false => format!("\"{}:{port}\"", listen.value),
        });
    }
    if addresses.is_empty() {
        // What dnsmasq does that is told nothing.
        addresses.extend([format!("\"0.0.0.0:{port}\""), format!("\"[::]:{port}\"")]);
    }
    line(text, &format!("address = [{}]", addresses.join(", ")));
    plan.no_resolv.iter().for_each(|it| origin(text, &it.origin));
    if !plan.upstreams.is_empty() || plan.no_resolv.is_some() {
        list(text, "upstreams", &plan.upstreams);
    }
    if !plan.no_hosts {
        let usual =
            From { value: "/etc/hosts".to_owned(), origin: "read unless `no-hosts`".into() };
        let hosts: Vec<_> = std::iter::once(usual).chain(plan.hosts.iter().cloned()).collect();
        list(text, "hosts", &hosts);
    } else if !plan.hosts.is_empty() {
        list(text, "hosts", &plan.hosts);
    }
    if let Some(domain) = plan.domain.as_ref().filter(|_| plan.expands) {
        origin(text, &domain.origin);
        line(text, &format!("hosts-domain = {}", quoted(&domain.value)));
    }
    keys(plan, "", text);
}

fn rewrite(plan: &Plan, text: &mut String) {
    if plan.rewrites.is_empty() {
        return;
    }
    line(text, "\n[dns.rewrite]");
    for (name, to) in &plan.rewrites {
        to.iter().for_each(|it| origin(text, &it.origin));
        let values: Vec<_> = to.iter().map(|it| quoted(&it.value)).collect();
        line(text, &format!("{} = [{}]", quoted(name), values.join(", ")));
    }
}

fn forward(plan: &Plan, text: &mut String) {
    let zones = owners(plan);
    let suffixes: Vec<_> =
        plan.suffixes.iter().filter(|(suffix, _)| !zones.contains_key(suffix.as_str())).collect();
    if suffixes.is_empty() {
        return;
    }
    line(text, "\n[dns.forward]");
    for (suffix, upstreams) in suffixes {
        upstreams.iter().for_each(|upstream| origin(text, &upstream.origin));
        let asked = upstreams.iter().filter_map(|upstream| upstream.value.as_deref());
        let asked: Vec<_> = asked.map(quoted).collect();
        line(text, &format!("{} = [{}]", quoted(suffix), asked.join(", ")));
    }
}

/// The zones that records need; one that lies in none is a zone by itself.
fn owners(plan: &Plan) -> BTreeMap<&str, Vec<&From<Record>>> {
    let mut zones: BTreeMap<&str, Vec<&From<Record>>> = BTreeMap::new();
    for record in &plan.records {
        let owner = record.value.owner.as_str();
        zones.entry(plan.root(owner).unwrap_or(owner)).or_default().push(record);
    }
    zones
}

fn zones(plan: &Plan, text: &mut String) {
    for (zone, records) in owners(plan) {
        line(text, &format!("\n[dns.zones.{}]\nnames = \"static\"\nrecords = [", quoted(zone)));
        for From { value: record, origin } in records {
            let Record { owner, rtype, data, ttl } = record;
            line(text, &format!("    # {origin}"));
            let own = owner.strip_suffix(zone).unwrap_or(owner).trim_end_matches('.');
            let names = match (own, plan.wild.iter().any(|wild| wild == owner)) {
                ("", true) => vec!["@".to_owned(), "*".to_owned()],
                ("", false) => vec!["@".to_owned()],
                (own, true) => vec![own.to_owned(), format!("*.{own}")],
                (own, false) => vec![own.to_owned()],
            };
            for name in names {
                let ttl = ttl.map_or_else(String::new, |ttl| format!(", ttl = {ttl}"));
                let (name, data) = (quoted(&name), quoted(data));
                line(
                    text,
                    &format!("    {{ name = {name}, type = \"{rtype}\", data = {data}{ttl} }},"),
                );
            }
        }
        line(text, "]");
    }
}

fn keys(plan: &Plan, table: &str, text: &mut String) {
    for (_, key, value) in plan.keys.iter().filter(|(of, ..)| *of == table) {
        origin(text, &value.origin);
        line(text, &format!("{key} = {}", value.value));
    }
}

fn list(text: &mut String, key: &str, values: &[From<String>]) {
    values.iter().for_each(|value| origin(text, &value.origin));
    let values: Vec<_> = values.iter().map(|value| quoted(&value.value)).collect();
    line(text, &format!("{key} = [{}]", values.join(", ")));
}

/// As a string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// One line may say several things; it is named once.
fn origin(text: &mut String, origin: &str) {
    let comment = format!("# {origin}");
    if text.lines().next_back() != Some(&comment) {
        line(text, &comment);
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}
