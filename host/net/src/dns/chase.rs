//! A name of ours that is another name for one outside: our CNAMEs, and then what an upstream says
//! of their target.
//!
//! The rare case, so it is done the plain way: both messages are read and one is written anew,
//! because compressed names cannot be moved as bytes.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RecordType, rdata::opt::EdnsOption},
};

use super::{
    message::Rcode,
    reply,
    stored::{Age, STALE_TTL, Stored},
};

/// Writes the reply: `chain` is ours, a whole message with the CNAMEs, and `stored` is what an
/// upstream said of the last of their targets, so long ago. When they do not fit together,
/// the chain is all that is written, and says that something is missing.
pub(super) fn join(chain: &[u8], stored: &Stored, age: Age, limit: usize, out: &mut [u8]) -> usize {
    let limit = limit.min(out.len());
    let joined = joined(chain, stored, age, limit);
    let fitting = joined.as_ref().filter(|message| message.len() <= limit);
    let message = fitting.map_or(chain, Vec::as_slice);
    let Some(room) = out.get_mut(..message.len()) else { return 0 };
    room.copy_from_slice(message);
    if fitting.is_none() {
        reply::cut_short(room);
    }
    room.len()
}

fn joined(chain: &[u8], stored: &Stored, age: Age, limit: usize) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(chain).ok()?;
    let mut outside = Message::from_vec(stored.wire()).ok()?;
    for record in outside.answers.iter_mut().chain(&mut outside.authorities) {
        record.ttl = match age {
            Age::Fresh(age) => record.ttl.saturating_sub(age),
            Age::Stale => STALE_TTL,
        };
    }
    message.metadata.authentic_data &= outside.metadata.authentic_data;
    message.answers.append(&mut outside.answers);
    // Of the authorities only the SOA says something to whoever asked us (RFC 2308, 2).
    outside.authorities.retain(|record| record.record_type() == RecordType::SOA);
    message.authorities.append(&mut outside.authorities);
    if stored.rcode() == Rcode::NO_SUCH_NAME {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    let plain = message.to_vec().ok()?;
    let (Some(edns), Some(error)) = (&mut message.edns, stored.reason(age)) else {
        return Some(plain);
    };
    let error = EdnsOption::Unknown(reply::EXTENDED_ERROR, (error as u16).to_be_bytes().to_vec());
    edns.options_mut().insert(error);
    // What explains an answer must not make it larger than it may be.
    message.to_vec().ok().filter(|it| it.len() <= limit).or(Some(plain))
}
