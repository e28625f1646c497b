//! What DNS says of a host.

use std::net::IpAddr;

use portolan_core::{
    snapshot::Snapshot,
    zone::{Answer, Name, RecordSet, RecordType, Zones, body_text},
};
use portolan_net::dns::{Forwarding, Rewrite, Rewrites};

use super::{NameAnswer, NameOutcome, Record};

/// What DNS answers to the questions for both kinds of addresses of a host.
pub(super) fn resolve(
    host: &str,
    snapshot: &Snapshot,
    rewrites: &Rewrites,
    forwarding: &Forwarding,
) -> NameAnswer {
    let zones = &snapshot.zones;
    let told = |outcome, records, why| NameAnswer { name: host.to_owned(), outcome, records, why };
    let name = match Name::parse(host) {
        Ok(name) => name.to_lower(),
        Err(error) => return told(NameOutcome::NxDomain, Vec::new(), format!("no name: {error}")),
    };
    let name = match rewrites.of(&name) {
        None => name,
        Some(Rewrite::Addresses(addresses)) => {
            let record = |ip: &IpAddr| Record {
                rtype: if ip.is_ipv4() { "A" } else { "AAAA" }.to_owned(),
                data: ip.to_string(),
                ttl: 0,
            };
            let why = "a rule of `dns.rewrite` says so".to_owned();
            return told(NameOutcome::Answered, addresses.iter().map(record).collect(), why);
        }
        Some(Rewrite::Name(target) | Rewrite::Below(target)) => {
            let alias = resolve(&target.to_string(), snapshot, &Rewrites::default(), forwarding);
            let why = format!("a rule of `dns.rewrite` makes it `{target}`: {}", alias.why);
            return told(alias.outcome, alias.records, why);
        }
    };
    if let Some((suffix, upstreams)) = forwarding.beside_zones(zones, &name) {
        let asked: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
        let (outcome, who) = match asked.is_empty() {
            true => (NameOutcome::NxDomain, "asks nobody".to_owned()),
            false => (NameOutcome::Forwarded, format!("asks {}", asked.join(", "))),
        };
        let why = format!("`dns.forward` {who} for `{suffix}` and all below it");
        return told(outcome, Vec::new(), why);
    }
    let (outcome, records) = both(zones, &name);
    let why = match outcome {
        NameOutcome::Forwarded => "no zone and no router has this name".to_owned(),
        _ => zones.why(&name),
    };
    told(outcome, records, why)
}

/// A record that [`body_text`] wrote: `60 A 10.0.0.7`.
pub(crate) fn record(text: &str) -> Record {
    let (ttl, rest) = text.split_once(' ').unwrap_or_default();
    let (rtype, data) = rest.split_once(' ').unwrap_or((rest, ""));
    Record { rtype: rtype.to_owned(), data: data.to_owned(), ttl: ttl.parse().unwrap_or(0) }
}

fn both(zones: &Zones, name: &Name) -> (NameOutcome, Vec<Record>) {
    let mut records = Vec::new();
    let mut outcome = NameOutcome::NoData;
    for rtype in [RecordType::A, RecordType::AAAA] {
        match zones.answer(name.as_bytes(), rtype) {
            Answer::Records(found) => records.extend(texts(&found)),
            // One alias is the answer to both questions.
            Answer::Alias(found) => return (NameOutcome::Answered, texts(&found).collect()),
            Answer::NoData(_) => {}
            Answer::NoSuchName(_) => outcome = NameOutcome::NxDomain,
            Answer::OnDemand(_) => outcome = NameOutcome::OnDemand,
            Answer::NotSynced(_) => outcome = NameOutcome::ServFail,
            Answer::NotOurs => outcome = NameOutcome::Forwarded,
        }
    }
    if records.is_empty() { (outcome, records) } else { (NameOutcome::Answered, records) }
}

fn texts(records: &RecordSet<'_>) -> impl Iterator<Item = Record> {
    records.in_order().map(|found| record(&body_text(found.body)))
}

#[cfg(test)]
mod tests {
    use super::record;

    #[test]
    fn a_text_is_taken_apart_into_its_fields() {
        let srv = record("0 SRV 1 1 3000 a.node.consul.");
        assert_eq!((srv.ttl, &*srv.rtype, &*srv.data), (0, "SRV", "1 1 3000 a.node.consul."));
        assert_eq!(record("").rtype, "");
    }
}
