//! What each option of dnsmasq(8) means to us.

use std::net::IpAddr;

use super::{lines::Line, plan::Plan, records};

/// Every option that dnsmasq has of which we know what to say; for "did you mean".
const KNOWN: &[&str] = &[
    "server",
    "local",
    "address",
    "rev-server",
    "no-resolv",
    "resolv-file",
    "no-poll",
    "no-hosts",
    "addn-hosts",
    "hostsdir",
    "expand-hosts",
    "domain",
    "cache-size",
    "no-negcache",
    "neg-ttl",
    "min-cache-ttl",
    "max-cache-ttl",
    "max-ttl",
    "local-ttl",
    "strict-order",
    "all-servers",
    "dns-forward-max",
    "stop-dns-rebind",
    "rebind-localhost-ok",
    "rebind-domain-ok",
    "domain-needed",
    "bogus-priv",
    "interface",
    "except-interface",
    "listen-address",
    "bind-interfaces",
    "bind-dynamic",
    "port",
    "localise-queries",
    "log-queries",
    "log-facility",
    "host-record",
    "cname",
    "txt-record",
    "srv-host",
    "mx-host",
    "ptr-record",
    "caa-record",
    "naptr-record",
    "edns-packet-max",
    "use-stale-cache",
    "dnssec",
    "add-subnet",
    "user",
    "group",
    "pid-file",
    "filterwin2k",
    "no-round-robin",
    "dns-rr",
    "synth-domain",
    "interface-name",
    "dynamic-host",
    "local-service",
    "conf-file",
    "conf-dir",
    "bogus-nxdomain",
    "dhcp-range",
    "dhcp-host",
    "dhcp-option",
    "enable-tftp",
    "auth-zone",
    "dns-loop-detect",
    "no-daemon",
    "keep-in-foreground",
];

/// Takes a line into the plan, or says why not.
pub(super) fn take(line: &Line, plan: &mut Plan) {
    let value = line.value.as_str();
    match line.name.as_str() {
        "server" | "local" => server(line, plan),
        "rev-server" => rev_server(line, plan),
        "address" => address(line, plan),
        "no-resolv" => plan.no_resolv = Some(Plan::note(line, ())),
        "resolv-file" if value == "/etc/resolv.conf" => (),
        "resolv-file" => plan.leave(
            line,
            "resolv.conf is read and followed by itself; name other resolvers in `dns.upstreams`",
        ),
        "no-hosts" => plan.no_hosts = true,
        "addn-hosts" | "hostsdir" => plan.hosts.push(Plan::note(line, value.to_owned())),
        "expand-hosts" => plan.expands = true,
        "domain" => domain(line, plan),
        "strict-order" => plan.set(line, "", "upstream-mode", "\"strict\""),
        "all-servers" => plan.set(line, "", "upstream-mode", "\"parallel\""),
        "domain-needed" => plan.set(line, "filter", "domain-needed", true),
        "stop-dns-rebind" => plan.set(line, "filter", "rebind-protection", "\"all\""),
        "rebind-localhost-ok" => plan.set(line, "filter", "rebind-localhost", true),
        "rebind-domain-ok" => {
            let names = value.split('/').filter(|name| !name.is_empty());
            // Our own names are never suspected.
            let names = names.filter(|name| *name != "consul");
            plan.exempt.extend(names.map(|name| Plan::note(line, name.to_owned())));
        }
        "cache-size" | "neg-ttl" | "min-cache-ttl" | "max-cache-ttl" | "max-ttl" | "local-ttl"
        | "no-negcache" | "use-stale-cache" | "edns-packet-max" | "port" => number(line, plan),
        "listen-address" => {
            let addresses = value.split(',').map(|it| Plan::note(line, it.trim().to_owned()));
            plan.listen.extend(addresses);
        }
        "log-queries" => plan.set(line, "query-log", "sample", 1),
        "host-record" | "cname" | "txt-record" | "srv-host" | "mx-host" | "ptr-record"
        | "caa-record" | "naptr-record" => records::take(line, plan),
        "bogus-priv" => plan.set(line, "filter", "bogus-priv", true),
        // What we do in any case.
        "no-poll" | "bind-interfaces" | "bind-dynamic" | "dns-loop-detect" | "dns-forward-max"
        | "keep-in-foreground" | "no-daemon" | "clear-on-reload" => (),
        "localise-queries" => plan.leave(
            line,
            "only the hosts of routers are answered with the address in the network of the \
             question (`dns.edge-addresses`); names of hosts files have all their addresses",
        ),
        "no-round-robin" => plan.leave(line, "addresses are given in changing order in any case"),
        "local-service" => plan.leave(
            line,
            "names of others are resolved for private networks only: `[dns.access] recursion`",
        ),
        "dns-rr" | "synth-domain" | "interface-name" | "dynamic-host" => plan
            .leave(line, "write the records that it makes into a zone with `names = \"static\"`"),
        "interface" | "except-interface" | "no-dhcp-interface" => plan.leave(
            line,
            "addresses are listened on, not interfaces: write those of the interface into \
             `dns.address` (one that comes later, as that of a bridge, may be written too)",
        ),
        "user" | "group" | "pid-file" | "log-facility" | "log-async" => {
            plan.leave(line, "the service manager's matter: see `config/systemd/portolan.service`")
        }
        "dnssec" | "trust-anchor" | "dnssec-check-unsigned" => plan.leave(
            line,
            "signatures are passed on, not checked here: name upstreams that check, over TLS",
        ),
        "add-subnet" | "add-mac" | "add-cpe-id" => {
            plan.leave(line, "nothing about who asks is told to upstreams");
        }
        "filterwin2k" | "bogus-nxdomain" | "ignore-address" | "alias" => {
            plan.leave(line, "there is nothing like it");
        }
        "ipset" | "nftset" | "connmark-allowlist" => {
            plan.leave(line, "firewalls are not told of names");
        }
        name if name.starts_with("dhcp") || name.starts_with("ra-") || name == "enable-ra" => {
            plan.leave(
                line,
                "DHCP is not served: leave it to dnsmasq with `port=0` and \
                 `dhcp-option=option:dns-server,ADDRESS` (of this node), or to another",
            );
        }
        name if name.starts_with("tftp") || name.starts_with("pxe") || name == "enable-tftp" => {
            plan.leave(line, "TFTP and PXE are not served: leave them to dnsmasq with `port=0`");
        }
        name if name.starts_with("auth-") => {
            plan.leave(line, "write the zone as `[dns.zones.…]` with `names = \"static\"`");
        }
        name => {
            let why = match portolan_core::name::nearest(name, KNOWN.iter().copied()) {
                Some(meant) => format!("dnsmasq has no such option; did you mean `{meant}`?"),
                None => "not an option that is known here".to_owned(),
            };
            plan.leave(line, why);
        }
    }
}

/// `/a/b/10.0.0.1#53@eth0`: the names, and what is behind them.
fn split(value: &str) -> (Vec<&str>, &str) {
    let Some(inner) = value.strip_prefix('/') else { return (Vec::new(), value) };
    let mut parts: Vec<_> = inner.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    (parts, last)
}

/// `10.0.0.1#5353@eth0` as we write it. An error says what cannot be taken.
fn upstream(text: &str) -> Result<String, String> {
    let (place, from) = text.split_once('@').map_or((text, None), |(it, from)| (it, Some(from)));
    let (ip, port) = place.split_once('#').unwrap_or((place, "53"));
    let ip: IpAddr = ip.parse().map_err(|_not_one| format!("`{ip}` is not an IP address"))?;
    if let Some(from) = from {
        return Err(format!("the way out (`{from}`) cannot be chosen; {ip} itself can be written"));
    }
    Ok(match (port, ip) {
        ("53", ip) => ip.to_string(),
        (port, IpAddr::V4(ip)) => format!("{ip}:{port}"),
        (port, IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
    })
}

fn server(line: &Line, plan: &mut Plan) {
    let (names, target) = split(&line.value);
    let is_consul = |name: &&str| *name == "consul" && !target.is_empty();
    let (consul, names): (Vec<_>, Vec<_>) = names.into_iter().partition(is_consul);
    if !consul.is_empty() {
        let why = "not needed any more: names of Consul are answered from the catalog \
                   (`[dns.zones.consul]` and `[providers.consul]`)";
        plan.leave(line, why);
        if names.is_empty() {
            return;
        }
    }
    let target = match target {
        "" => None,
        // The usual servers, for a name within one that has others.
        "#" => {
            return plan
                .leave(line, "a suffix cannot be given back to `dns.upstreams`: write them");
        }
        text => match upstream(text) {
            Ok(upstream) => Some(upstream),
            Err(why) => return plan.leave(line, why),
        },
    };
    if names.is_empty() {
        match target {
            Some(upstream) => plan.upstreams.push(Plan::note(line, upstream)),
            None => plan.leave(line, "there is no address in it"),
        }
        return;
    }
    for name in names {
        match name {
            // Names without a dot.
            "" => plan.set(line, "filter", "domain-needed", true),
            "#" => plan.leave(line, "`#` is every name: use `dns.upstreams`"),
            name => {
                let name = name.trim_start_matches("*.").to_ascii_lowercase();
                let upstreams = plan.suffixes.entry(name).or_default();
                upstreams.push(Plan::note(line, target.clone()));
            }
        }
    }
}

/// `rev-server=10.0.0.0/8,10.0.0.1`: names of addresses, for networks that end between labels.
fn rev_server(line: &Line, plan: &mut Plan) {
    let (network, target) = line.value.split_once(',').unwrap_or((&line.value, ""));
    let Some(suffix) = reverse(network) else {
        let why = "the network must be IPv4 with 8, 16 or 24 bits; for others write the suffixes \
                   into `[dns.forward]`";
        return plan.leave(line, why);
    };
    match upstream(target) {
        Ok(upstream) => {
            plan.suffixes.entry(suffix).or_default().push(Plan::note(line, Some(upstream)));
        }
        Err(why) => plan.leave(line, why),
    }
}

fn reverse(network: &str) -> Option<String> {
    let network: ipnet::Ipv4Net = network.parse().ok()?;
    let octets = network.network().octets();
    let kept = match network.prefix_len() {
        bits @ (8 | 16 | 24) => usize::from(bits / 8),
        _ => return None,
    };
    let labels: Vec<_> = octets.iter().take(kept).rev().map(u8::to_string).collect();
    Some(format!("{}.in-addr.arpa", labels.join(".")))
}

fn address(line: &Line, plan: &mut Plan) {
    let (names, target) = split(&line.value);
    if names.is_empty() {
        return plan.leave(line, "there is no name in it");
    }
    for name in names {
        match (name, target.parse::<IpAddr>()) {
            ("#", _) => plan.leave(line, "every name there is cannot be answered with one address"),
            ("", _) => {
                plan.leave(line, "names without a dot cannot be answered with one address");
            }
            (name, _) if matches!(target, "#" | "0.0.0.0" | "::") => {
                let null = plan.nulls.entry(name.to_ascii_lowercase()).or_default();
                let texts = if target == "#" { &["0.0.0.0", "::"][..] } else { &[target] };
                null.extend(texts.iter().map(|text| Plan::note(line, (*text).to_owned())));
            }
            (name, _) if target.is_empty() => {
                let nowhere = Plan::note(line, None);
                plan.suffixes.entry(name.to_ascii_lowercase()).or_default().push(nowhere);
            }
            (name, Ok(ip)) => {
                let name = name.to_ascii_lowercase();
                plan.record(line, &name, address_type(ip), ip.to_string(), None);
                if !plan.wild.contains(&name) {
                    plan.wild.push(name);
                }
            }
            (_, Err(_)) => plan.leave(line, format!("`{target}` is not an IP address")),
        }
    }
}

pub(super) fn address_type(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "A" } else { "AAAA" }
}

fn domain(line: &Line, plan: &mut Plan) {
    match line.value.split_once(',') {
        None => plan.domain = Some(Plan::note(line, line.value.clone())),
        Some(_) => plan.leave(line, "a domain for some addresses only is DHCP's matter"),
    }
}

/// Options that are numbers, or nearly.
fn number(line: &Line, plan: &mut Plan) {
    let parsed = line.value.parse::<u32>().ok();
    let needs_one = !matches!(line.name.as_str(), "no-negcache" | "use-stale-cache");
    let Some(number) = parsed.or_else(|| (!needs_one).then_some(0)) else {
        return plan.leave(line, format!("`{}` is not a number", line.value));
    };
    match line.name.as_str() {
        // An answer takes about this much with everything.
        "cache-size" => {
            let bytes = u64::from(number) * 300;
            let size = if number == 0 { 0 } else { bytes.div_ceil(1 << 20).max(1) };
            plan.set(line, "cache", "size", format!("\"{size}MiB\""));
        }
        "no-negcache" => plan.set(line, "cache", "negative-ttl", 0),
        "neg-ttl" => plan.leave(
            line,
            "answers that say no are remembered for as long as their SOA says, and without one not \
             at all (RFC 2308); `negative-ttl` of `[dns.cache]` only makes it shorter",
        ),
        "min-cache-ttl" => plan.set(line, "cache", "min-ttl", number),
        "max-cache-ttl" | "max-ttl" => plan.set(line, "cache", "max-ttl", number),
        "local-ttl" => plan.set(line, "", "ttl", number),
        // Seconds; without a number, a day.
        "use-stale-cache" => {
            let stale = parsed.unwrap_or(86_400);
            plan.set(line, "cache", "serve-stale", format!("\"{stale}s\""));
        }
        "edns-packet-max" if (512..=4096).contains(&number) => {
            plan.set(line, "access", "udp-size", number);
        }
        "edns-packet-max" => plan.leave(line, "replies over UDP have 512 to 4096 bytes at most"),
        "port" if number == 0 => plan.leave(line, "dnsmasq serves no DNS here: nothing to replace"),
        _ => match u16::try_from(number) {
            Ok(port) => plan.port = Some(Plan::note(line, port)),
            Err(_) => plan.leave(line, "not a port"),
        },
    }
}
