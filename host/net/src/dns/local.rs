//! Answers from our own zones.

use portolan_core::zone::{Answer, Answered, Authority, RecordSet, RecordType, Zones, body_data};

use super::{
    message::{HEADER, Question, Rcode, Section, ShortName},
    nearby::Near,
    reply::Reply,
    rewrite::{Rewrites, Rewritten},
    whose::{Origin, Whose},
};

/// The longest chain of CNAMEs that is followed. Consul follows 3, others 8 to 16.
const MAX_CHAIN: usize = 8;

/// What our own zones have to say.
#[derive(Debug)]
pub(super) enum Local {
    /// The reply only needs to be finished.
    Answered(Rcode),
    /// The name is not ours.
    NotOurs,
    /// A source may know this name, and can be asked.
    OnDemand(ShortName),
    /// The name is ours, but another name for this one, which is not ours.
    Outside(ShortName),
}

/// Who else may know a name.
pub(super) trait Others {
    /// Who is asked for a name in lower case that a zone of ours does not have.
    fn whose(&self, name: &[u8], origin: Origin) -> Whose;

    /// Whether a source can be asked for what the catalog does not have.
    fn look_up(&self) -> bool;
}

/// What our own zones have to say, and which of them.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) local: Local,
    /// The place of the zone in the configuration, if it is one of those.
    pub(super) zone: Option<usize>,
}

/// Writes what our own zones have to say to a question, or to what `rewrites` make of it.
pub(super) fn answer(
    zones: &Zones,
    others: &impl Others,
    question: &Question<'_>,
    rewrites: &Rewrites,
    (random, near): (u32, Option<Near<'_>>),
    reply: &mut Reply<'_>,
) -> Found {
    let mut at = At { name: question.name, owner: HEADER };
    match rewrites.apply(question, reply) {
        None => (),
        Some(Rewritten::Answered) => {
            return Found { local: Local::Answered(Rcode::NO_ERROR), zone: None };
        }
        Some(Rewritten::Alias(name, owner)) => at = At { name, owner },
    }
    let mut zone = None;
    let way = Way { others, random, near, is_whole: true };
    let local = follow(zones, question, at, &way, reply, &mut zone);
    Found { local, zone }
}

/// Writes what zones have to say to a question, where they know what it asks for by another name.
/// Also the name outside of them that this leads to. Zones that were made for this question are
/// not whole: what they do not know, others may.
pub(super) fn answer_as(
    zones: &Zones,
    question: &Question<'_>,
    name: ShortName,
    (random, is_whole): (u32, bool),
    reply: &mut Reply<'_>,
) -> (Rcode, Option<ShortName>) {
    let at = At { name, owner: HEADER };
    let way = Way { others: &Alone, random, near: None, is_whole };
    match follow(zones, question, at, &way, reply, &mut None) {
        Local::Answered(rcode) => (rcode, None),
        Local::OnDemand(_) | Local::NotOurs => (Rcode::NO_SUCH_NAME, None),
        Local::Outside(target) => (Rcode::NO_ERROR, Some(target)),
    }
}

/// A name, and where it stands in the reply.
struct At {
    name: ShortName,
    owner: usize,
}

/// Zones without anybody beside them.
struct Alone;

impl Others for Alone {
    fn whose(&self, _name: &[u8], _origin: Origin) -> Whose {
        Whose::Ours
    }

    fn look_up(&self) -> bool {
        false
    }
}

/// How zones are asked.
struct Way<'a, O> {
    others: &'a O,
    random: u32,
    near: Option<Near<'a>>,
    /// Whether they are all there are.
    is_whole: bool,
}

fn follow(
    zones: &Zones,
    question: &Question<'_>,
    mut at: At,
    way: &Way<'_, impl Others>,
    reply: &mut Reply<'_>,
    first: &mut Option<usize>,
) -> Local {
    for _ in 0..MAX_CHAIN {
        let At { name, owner } = &at;
        let owner = *owner;
        let answered = zones.answer_from(name.as_bytes(), question.rtype);
        let origin = Origin::of(&answered);
        let whose = origin.map_or(Whose::Ours, |it| way.others.whose(name.as_bytes(), it));
        let Answered { answer: found, zone, wildcard, edge } = answered;
        *first = first.or(zone);
        match whose {
            Whose::Others | Whose::Nobodys if owner == HEADER => return Local::NotOurs,
            Whose::Others => return Local::Outside(*name),
            Whose::Nobodys if wildcard.is_some() => return Local::Outside(*name),
            Whose::Nobodys | Whose::Ours => (),
        }
        if owner == HEADER && !matches!(found, Answer::NotOurs | Answer::NotSynced(_)) {
            reply.authoritative();
        }
        let records = match found {
            // An alias is one (RFC 1034, 3.6.2), though there may be several to choose from.
            Answer::Records(records) if is_alias(&records, question.rtype) => {
                let alias = records.shuffled(way.random).next();
                if alias.is_some_and(|it| !reply.record(Section::Answer, it.body, owner)) {
                    reply.truncated();
                }
                return Local::Answered(Rcode::NO_ERROR);
            }
            Answer::Records(records) => {
                reply.answers((records, edge), owner, zones, (way.random, way.near));
                return Local::Answered(Rcode::NO_ERROR);
            }
            Answer::Alias(records) => records,
            Answer::NoData(authority) => {
                negative(reply, question, &at, authority);
                return Local::Answered(Rcode::NO_ERROR);
            }
            Answer::NoSuchName(_) | Answer::OnDemand(_) if owner != HEADER && !way.is_whole => {
                return Local::Outside(*name);
            }
            Answer::NoSuchName(authority)
            | Answer::NotSynced(authority)
            | Answer::OnDemand(authority) => {
                let is_on_demand = matches!(found, Answer::OnDemand(_));
                if is_on_demand && way.others.look_up() {
                    return Local::OnDemand(*name);
                }
                if matches!(found, Answer::NotSynced(_)) || is_on_demand && !zones.is_synced() {
                    // Without a reason (RFC 8914): of a failure that has one systemd-resolved 257
                    // does not ask the next server.
                    return Local::Answered(Rcode::FAILURE);
                }
                negative(reply, question, &at, authority);
                return Local::Answered(Rcode::NO_SUCH_NAME);
            }
            Answer::NotOurs if owner == HEADER => return Local::NotOurs,
            Answer::NotOurs => return Local::Outside(*name),
        };
        let Some(alias) = records.shuffled(way.random).next() else { break };
        let start = reply.position();
        if !reply.record(Section::Answer, alias.body, owner) {
            reply.truncated();
            break;
        }
        let Some(target) = ShortName::lower(body_data(alias.body)) else { break };
        at = At { name: target, owner: start + alias.body.len() - target.as_bytes().len() };
    }
    Local::Answered(Rcode::NO_ERROR)
}

/// Whether records that were asked for by type are aliases.
fn is_alias(records: &RecordSet<'_>, asked: RecordType) -> bool {
    asked == RecordType::CNAME
        || asked == RecordType::ANY
            && records.in_order().next().is_some_and(|it| it.rtype() == RecordType::CNAME)
}

/// Every answer that says no tells how long that may be remembered (RFC 2308, 3). The name ends
/// with the origin of its zone, so the owner of the SOA is a pointer into the name.
fn negative(reply: &mut Reply<'_>, question: &Question<'_>, at: &At, authority: Authority<'_>) {
    // A name that is answered under another one still stands there as it was asked.
    let At { name, owner } = at;
    let owner = *owner;
    let name = if owner == HEADER { question.name.as_bytes() } else { name.as_bytes() };
    let Some(origin) = authority.origin else {
        reply.record(Section::Authority, authority.soa, owner);
        return;
    };
    if name.ends_with(origin) {
        reply.record(Section::Authority, authority.soa, owner + name.len() - origin.len());
    } else {
        reply.spelled(Section::Authority, origin, authority.soa);
    }
}
