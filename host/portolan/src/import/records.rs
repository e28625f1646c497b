//! Options that are records.

use std::net::IpAddr;

use super::{lines::Line, options::address_type, plan::Plan};

/// Takes a record, one form for each option.
pub(super) fn take(line: &Line, plan: &mut Plan) {
    let words: Vec<_> = line.value.split(',').map(str::trim).collect();
    match (line.name.as_str(), words.as_slice()) {
        ("host-record", words) => {
            let (words, ttl) = with_ttl(words);
            let (addresses, names): (Vec<&str>, Vec<&str>) =
                words.iter().partition(|word| word.parse::<IpAddr>().is_ok());
            for name in names {
                for ip in addresses.iter().filter_map(|it| it.parse::<IpAddr>().ok()) {
                    plan.record(line, name, address_type(ip), ip.to_string(), ttl);
                }
            }
        }
        ("cname", words) => {
            let (words, ttl) = with_ttl(words);
            let Some((target, aliases)) = words.split_last() else { return };
            for alias in aliases {
                let target = format!("{}.", target.trim_end_matches('.'));
                plan.record(line, alias, "CNAME", target, ttl);
            }
        }
        ("txt-record", [name, ..]) => {
            let text = line.raw.split_once(',').map_or("", |(_, text)| text);
            plan.record(line, name, "TXT", strings(text).join(" "), None);
        }
        ("srv-host", [name, target, rest @ ..]) if !target.is_empty() => {
            let at = |place: usize, default| rest.get(place).copied().unwrap_or(default);
            let (port, priority, weight) = (at(0, "1"), at(1, "0"), at(2, "0"));
            let data = format!("{priority} {weight} {port} {target}.");
            plan.record(line, name, "SRV", data, None);
        }
        ("mx-host", [name, target, rest @ ..]) if !target.is_empty() => {
            let preference = rest.first().copied().unwrap_or("1");
            plan.record(line, name, "MX", format!("{preference} {target}."), None);
        }
        ("ptr-record", [name, target]) => {
            plan.record(line, name, "PTR", format!("{}.", target.trim_end_matches('.')), None);
        }
        ("caa-record", [name, flags, tag, value]) => {
            plan.record(line, name, "CAA", format!("{flags} {tag} \"{value}\""), None);
        }
        ("naptr-record", [name, order, preference, flags, service, pattern, rest @ ..])
            if rest.len() < 2 =>
        {
            let target = rest.first().map_or("", |target| target.trim_end_matches('.'));
            let texts = format!("\"{flags}\" \"{service}\" \"{pattern}\"");
            let data = format!("{order} {preference} {texts} {target}.");
            plan.record(line, name, "NAPTR", data, None);
        }
        _ => plan.leave(line, "it leaves to dnsmasq what it should say: write the record yourself"),
    }
}

/// The last word may be a TTL.
fn with_ttl<'a>(words: &'a [&'a str]) -> (&'a [&'a str], Option<u32>) {
    let ttl = words.split_last().and_then(|(last, rest)| Some((rest, last.parse().ok()?)));
    ttl.map_or((words, None), |(rest, ttl)| (rest, Some(ttl)))
}

/// Strings between commas, each in quotation marks; a comma within such marks separates nothing.
fn strings(text: &str) -> Vec<String> {
    let mut is_quoted = false;
    let mut is_end = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    let bare = |text: &str| text.trim().trim_matches('"').replace('"', "");
    text.split(&mut is_end).map(|text| format!("\"{}\"", bare(text))).collect()
}
