//! What Consul does and we do not, each for a reason. A rule puts one thing right in what Consul
//! says, without a look at what we say.

use std::collections::BTreeSet;

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::{
    asker::{Answer, Line, Lines},
    world::{NEGATIVE_TTL, NODE_TTL, ZONE_TTL},
};

/// A difference that is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Difference {
    /// It gives SOA and NS for any name; we for the zone. Those of the zone name its own servers and
    /// stand beside each other; ours name us, and who asks for one gets one.
    ZoneRecords,
    /// Asked for something else than addresses, or for the other family, it answers with addresses
    /// all the same (service and TXT, `addr` and anything, what an alias leads to): a client that
    /// asks for text gets none.
    OtherType,
    /// A name that is an alias is one for every type, and nothing stands beside that (RFC 1034,
    /// 3.6.2); with Consul a node has text too, and nothing at all for types that it does not know.
    AliasForAll,
    /// What it knows of nodes comes along unasked. With us only where a SRV record leads to the
    /// node, and for as long as when it is asked for.
    NodeText,
    /// It says that a name does not exist below which there are names: resolvers that minimise
    /// questions give up there (RFC 8020).
    EmptyNonTerminal,
    /// It does not look whether there is a node, or an address, when it would have no answer of that
    /// type for any: "nothing of this type" may be remembered for a name that does not exist.
    NotLooked,
    /// Without a SOA nobody knows how long to remember that there is nothing (RFC 2308).
    WithoutSoa,
    /// The names of addresses have no life with it, and it fails where nobody has an address: with us
    /// there is no such name, as nobody outside knows private ones (RFC 6303).
    Reverse,
    /// Where two instances or two ports of a node lead to the same, it says so twice.
    Repeats,
    /// For ANY it gives all it has; RFC 8482 has us give one set.
    Any,
    /// What there is in another datacenter was looked up a moment ago, and is so much older.
    Older,
}

/// Those that are met however fast the questions follow each other: all but `Older`.
pub(super) const ALWAYS_MET: [Difference; 10] = [
    Difference::ZoneRecords,
    Difference::OtherType,
    Difference::AliasForAll,
    Difference::NodeText,
    Difference::EmptyNonTerminal,
    Difference::NotLooked,
    Difference::WithoutSoa,
    Difference::Reverse,
    Difference::Repeats,
    Difference::Any,
];

/// A question.
pub(super) struct Question<'a> {
    /// In lower case.
    pub(super) name: &'a str,
    pub(super) rtype: RecordType,
}

impl Question<'_> {
    /// What Consul has to be asked to know what it has. It answers with records of the zone whatever
    /// the name is; and an RFC 2782 name without `service` is there for SRV only, so that who asks
    /// for something else is told that there is no such name.
    pub(super) fn for_consul(&self, name: &str) -> (String, RecordType) {
        let rtype = match self.rtype {
            RecordType::SOA | RecordType::NS if !self.is_apex() => RecordType::MX,
            rtype => rtype,
        };
        let labels: Vec<_> = name.split('.').collect();
        let name = match labels[..] {
            [service, tag, ref zone @ ..]
                if rtype != RecordType::SRV
                    && [service, tag].iter().all(|label| label.starts_with('_'))
                    && matches!(self.labels()[..], [_, _] | [_, _, "dc9"]) =>
            {
                format!("{service}.{tag}.service.{}", zone.join("."))
            }
            _ => name.to_owned(),
        };
        (name, rtype)
    }

    fn is_apex(&self) -> bool {
        self.name == "consul."
    }

    /// The labels before the zone, without the datacenter that there is.
    fn labels(&self) -> Vec<&str> {
        let own = self.name.trim_end_matches("consul.").trim_end_matches('.');
        let own = own.strip_suffix("dc1").map_or(own, |own| own.trim_end_matches('.'));
        own.split('.').collect()
    }

    /// Whether there are names below it in any case, or may be, which only a source knows.
    fn is_non_terminal(&self) -> bool {
        match self.labels()[..] {
            [""] | ["service" | "node"] | ["rack", "node"] => true,
            ["service" | "node", "dc9"] => true,
            [only] | [only, "service"] => only.starts_with('_'),
            _ => false,
        }
    }

    /// Whether it is a name of a node or of an address that there is not.
    fn is_of_nothing(&self) -> bool {
        match self.labels()[..] {
            ["nobody", "node"] | [_, .., "node", "dc9"] => true,
            [spelled, "addr"] | [spelled, "addr", "dc9"] => matches!(spelled, "0a08" | "xx"),
            _ => false,
        }
    }
}

/// Whether our answer is Consul's, put right, and what had to be. Else what it should have been.
pub(super) fn compare(
    asked: &Question<'_>,
    consul: &Answer,
    ours: &Answer,
) -> Result<Vec<Difference>, Answer> {
    let mut right = consul.clone();
    let mut met = put_right(asked, &mut right);
    // Where several answers are right, ours is one of them.
    for (difference, rule) in [(Difference::Any, any as Choice), (Difference::Older, older)] {
        let before = right.clone();
        rule(asked, &mut right, ours);
        if right != before {
            met.push(difference);
        }
    }
    if *ours == right { Ok(met) } else { Err(right) }
}

type Rule = fn(&Question<'_>, &mut Answer);
type Choice = fn(&Question<'_>, &mut Answer, &Answer);

fn put_right(asked: &Question<'_>, answer: &mut Answer) -> Vec<Difference> {
    let rules: [(Difference, Rule); 9] = [
        (Difference::ZoneRecords, zone_records),
        (Difference::OtherType, other_type),
        (Difference::AliasForAll, alias_for_all),
        (Difference::NodeText, node_text),
        (Difference::EmptyNonTerminal, empty_non_terminal),
        (Difference::NotLooked, not_looked),
        (Difference::WithoutSoa, without_soa),
        (Difference::Reverse, reverse),
        (Difference::Repeats, |_, answer| answer.repeated.clear()),
    ];
    let mut met = Vec::new();
    for (difference, rule) in rules {
        let before = answer.clone();
        rule(asked, answer);
        if *answer != before {
            met.push(difference);
        }
    }
    met
}

fn zone_records(asked: &Question<'_>, answer: &mut Answer) {
    if !asked.is_apex() {
        return;
    }
    if asked.rtype == RecordType::NS {
        answer.answers = [Line::new("consul.", ZONE_TTL, RecordType::NS, "ns.consul.")].into();
        answer.additional = [Line::new("ns.consul.", ZONE_TTL, RecordType::A, "127.0.0.1")].into();
    } else if asked.rtype == RecordType::SOA {
        answer.authority.clear();
        answer.additional.clear();
    }
}

fn other_type(asked: &Question<'_>, answer: &mut Answer) {
    let is_asked = |rtype| asked.rtype == RecordType::ANY || asked.rtype == rtype;
    answer.answers.retain(|it| !it.rtype.is_ip_addr() || is_asked(it.rtype));
}

fn alias_for_all(asked: &Question<'_>, answer: &mut Answer) {
    if asked.labels() == ["outer", "node"] {
        let alias = Line::new(asked.name, NODE_TTL, RecordType::CNAME, "outer.example.com.");
        answer.answers = [alias].into();
    }
}

fn node_text(_asked: &Question<'_>, answer: &mut Answer) {
    let leads = answer.answers.iter().filter(|it| it.rtype == RecordType::SRV);
    let target = |it: &Line| it.data.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
    let targets: BTreeSet<_> = leads.map(target).collect();
    let (texts, mut others): (Lines, Lines) =
        answer.additional.iter().cloned().partition(|it| it.rtype == RecordType::TXT);
    let kept = texts.into_iter().filter(|it| targets.contains(&it.owner));
    others.extend(kept.map(|it| Line { ttl: NODE_TTL, ..it }));
    answer.additional = others;
}

fn empty_non_terminal(asked: &Question<'_>, answer: &mut Answer) {
    if answer.code == ResponseCode::NXDomain && asked.is_non_terminal() {
        answer.code = ResponseCode::NoError;
    }
}

fn not_looked(asked: &Question<'_>, answer: &mut Answer) {
    if answer.code == ResponseCode::NoError && answer.answers.is_empty() && asked.is_of_nothing() {
        answer.code = ResponseCode::NXDomain;
    }
}

fn without_soa(asked: &Question<'_>, answer: &mut Answer) {
    // The one alias into the zone leads to a name that has addresses of one family only.
    let is_alias = |it: &Line| it.rtype == RecordType::CNAME && it.data == "one.service.consul.";
    let leads_to_nothing = asked.rtype != RecordType::ANY
        && answer.answers.len() == 1
        && answer.answers.iter().all(is_alias);
    let is_ours = asked.name.ends_with("consul.");
    if is_ours && (answer.answers.is_empty() || leads_to_nothing) {
        answer.authority = [soa(NEGATIVE_TTL)].into();
    }
}

fn reverse(asked: &Question<'_>, answer: &mut Answer) {
    if asked.rtype != RecordType::PTR {
        return;
    }
    if asked.name == "9.9.9.10.in-addr.arpa." && answer.code == ResponseCode::ServFail {
        (answer.code, answer.is_authoritative) = (ResponseCode::NXDomain, true);
        answer.authority = [soa_of("10.in-addr.arpa.", 5, 5)].into();
    }
    let lives = |it: Line| Line { ttl: ZONE_TTL, ..it };
    answer.answers = std::mem::take(&mut answer.answers).into_iter().map(lives).collect();
}

fn any(asked: &Question<'_>, answer: &mut Answer, ours: &Answer) {
    if asked.rtype != RecordType::ANY {
        return;
    }
    if asked.is_apex() {
        // It has a record of which Consul says that it is not there.
        (answer.answers, answer.authority) = ([soa(NEGATIVE_TTL)].into(), Lines::new());
    } else if let Some(chosen) = ours.answers.first() {
        answer.answers.retain(|it| it.rtype == chosen.rtype && it.owner == asked.name);
    }
}

fn older(asked: &Question<'_>, answer: &mut Answer, ours: &Answer) {
    let is_elsewhere = asked.name.ends_with(".dc9.consul.");
    if let Some(kept) = ours.authority.first().filter(|_| is_elsewhere)
        && answer.authority == [soa(NEGATIVE_TTL)].into()
        && kept.ttl < NEGATIVE_TTL
    {
        answer.authority = [soa(kept.ttl)].into();
    }
}

fn soa(ttl: u32) -> Line {
    soa_of("consul.", ttl, NEGATIVE_TTL)
}

fn soa_of(zone: &str, ttl: u32, negative_ttl: u32) -> Line {
    let data = format!("ns.{zone} hostmaster.{zone} 0 3600 600 86400 {negative_ttl}");
    Line::new(zone, ttl, RecordType::SOA, &data)
}
