//! The query log: one line for a question, as a line of the log, with the target `query`. Where lines
//! are for people they do not tell their target, so it is said once more.

use portolan_core::zone::Text;

use super::{
    asker::Asker,
    message::{Header, Question, flag},
};

/// Writes a line.
pub(super) fn question(question: &Question<'_>, asker: Asker, reply: &[u8]) {
    let header = Header::parse(reply);
    let code = header.map(|header| header.flags & flag::RCODE);
    let is_ours = header.map(|header| header.flags & flag::AUTHORITATIVE != 0);
    let answers = header.map(|header| header.counts[1]);
    let (client, transport) = (asker.client, asker.transport.as_str());
    let (name, rtype) = (Text(question.name.as_bytes()), question.rtype);
    let bytes = reply.len();
    tracing::info!(
        target: "query",
        %client, transport, %name, %rtype, code, is_ours, answers, bytes,
        "query"
    );
}
