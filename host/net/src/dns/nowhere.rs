//! Answers about names that nobody is asked for.

use portolan_core::zone::{BODY_HEAD, Name, QUESTION_POINTER, RecordType};

use super::{
    filter::BlockAnswer,
    message::{HEADER, Question, Rcode, Section},
    reply::{ExtendedError, Reply},
};

/// How long an answer of this kind may be remembered, in seconds: lists and rules change.
const SOON: u8 = 60;

/// There is no such name, and nobody is asked for it. `suffix` is what says so; `None`: the name
/// itself.
pub(super) fn no_such_name(
    question: &Question<'_>,
    suffix: Option<&Name>,
    limit: usize,
    out: &mut [u8],
) -> usize {
    let mut reply = Reply::to(question, limit, out);
    says_no(&mut reply, question, suffix.map_or(question.name.as_bytes(), Name::as_bytes));
    reply.finish(Rcode::NO_SUCH_NAME)
}

/// The name exists, without records, and nobody is asked for it.
pub(super) fn no_data(question: &Question<'_>, limit: usize, out: &mut [u8]) -> usize {
    let mut reply = Reply::to(question, limit, out);
    says_no(&mut reply, question, question.name.as_bytes());
    reply.finish(Rcode::NO_ERROR)
}

/// The name is on a block list.
pub(super) fn blocked(
    question: &Question<'_>,
    answer: BlockAnswer,
    limit: usize,
    out: &mut [u8],
) -> usize {
    let mut reply = Reply::to(question, limit, out);
    reply.because(ExtendedError::Blocked);
    let rcode = match answer {
        BlockAnswer::NoSuchName => Rcode::NO_SUCH_NAME,
        BlockAnswer::NoData | BlockAnswer::Zero => Rcode::NO_ERROR,
        BlockAnswer::Refused => return reply.finish(Rcode::REFUSED),
    };
    let zeros = match question.rtype {
        RecordType::A if answer == BlockAnswer::Zero => Some(4),
        RecordType::AAAA if answer == BlockAnswer::Zero => Some(16),
        _ => None,
    };
    match zeros {
        Some(length) => {
            let mut body = [0; BODY_HEAD + 16];
            let kind = question.rtype.0.to_be_bytes();
            (body[0], body[1]) = (QUESTION_POINTER[0], QUESTION_POINTER[1]);
            (body[2], body[3], body[5]) = (kind[0], kind[1], 1);
            (body[9], body[11]) = (SOON, length as u8);
            reply.record(
                Section::Answer,
                body.get(..BODY_HEAD + length).unwrap_or_default(),
                HEADER,
            );
        }
        None => says_no(&mut reply, question, question.name.as_bytes()),
    }
    reply.finish(rcode)
}

/// Adds what lets others remember that there is no such thing (RFC 2308, 3). `origin` is the name or
/// what it ends with, so a pointer into the question owns it: spelled out once more, a long name would
/// leave no room for it.
pub(super) fn says_no(reply: &mut Reply<'_>, question: &Question<'_>, origin: &[u8]) {
    let before = question.name.as_bytes().len().saturating_sub(origin.len());
    reply.record(Section::Authority, &SOA, HEADER + before);
}

/// An SOA that says how long the answer may be remembered, and nothing else.
const SOA: [u8; 34] = {
    let mut body = [0; 34];
    // A pointer to the question in place of the owner; type, class, TTL, length; two root names.
    (body[0], body[1], body[3], body[5], body[9], body[11]) = (0xc0, 12, 6, 1, SOON, 22);
    (body[17], body[33]) = (1, SOON);
    body
};
