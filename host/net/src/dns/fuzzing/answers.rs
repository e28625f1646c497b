//! Whatever an upstream says.

use portolan_core::zone::RecordType;

use super::super::{
    chase,
    forward::CacheConfig,
    message::{Header, Incoming, MAX_TCP, MAX_UDP, PLAIN_UDP, flag},
    stored::{Age, Stored},
};

/// Whatever an upstream says is refused, or kept in a form whose replies fit. Answers whether it was
/// kept.
pub fn upstream_answer(bytes: &[u8]) -> bool {
    let asked = question(b"\x01a\x07example\x03com\x00");
    let Incoming::Question(question) = Incoming::parse(&asked) else { return false };
    let name = question.name;
    let Ok(mut stored) = Stored::parse(bytes, name.as_bytes(), RecordType::A) else { return false };
    stored.without_private(bytes.len().is_multiple_of(2));
    stored.clamp(&CacheConfig { min_ttl: 10, ..CacheConfig::default() });
    let chain = chain();
    let (mut whole, mut joined) = (vec![0; MAX_TCP], vec![0; MAX_TCP]);
    stored.write(&question, Age::Stale, (MAX_TCP, 0), &mut whole);
    chase::join(&chain, &stored, Age::Stale, MAX_TCP, &mut joined);
    let mut out = [0; MAX_UDP];
    for (age, limit) in [
        (Age::Fresh(5), MAX_UDP),
        (Age::Stale, 60),
        (Age::Fresh(u32::MAX), PLAIN_UDP),
        (Age::Fresh(0), 700),
    ] {
        let length = stored.write(&question, age, (limit, 0), &mut out);
        assert!(length <= limit, "{length} of {limit}");
        says_what_is_missing(out.get(..length).unwrap_or_default(), &whole);
        let length = chase::join(&chain, &stored, age, limit, &mut out);
        assert!(length <= limit.max(chain.len()), "{length} of {limit}");
        says_what_is_missing(out.get(..length).unwrap_or_default(), &joined);
    }
    true
}

/// Where answers are missing, or all that says that there are none, TC says so.
fn says_what_is_missing(reply: &[u8], whole: &[u8]) {
    let [reply, whole] = [reply, whole].map(|it| Header::parse(it).expect("a header"));
    let missing = |section: usize| reply.counts[section] < whole.counts[section];
    let is_empty = whole.counts[1] == 0 && reply.counts[2] == 0;
    let is_cut = reply.flags & flag::TRUNCATED != 0;
    let is_short = missing(1) || is_empty && missing(2);
    assert!(is_cut || !is_short, "{reply:?} of {whole:?}");
}

/// A question for an address, with EDNS.
fn question(name: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(name);
    packet.extend_from_slice(&[0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet
}

/// A name of ours that is another name for one outside.
fn chain() -> Vec<u8> {
    let mut packet = question(b"\x03out\x04home\x04arpa\x00");
    packet.truncate(packet.len() - 11);
    packet.splice(2..12, [0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    packet.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 15]);
    packet.extend_from_slice(b"\x01a\x07example\x03com\x00");
    packet
}
