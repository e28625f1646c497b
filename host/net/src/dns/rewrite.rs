//! Rules that put another name, or addresses, in the place of a name that is asked.
//!
//! Another name is said as what it is, an alias (CNAME): so the asker, its cache and its log see
//! the same as we do, and an answer that is signed stays good.

use std::net::IpAddr;

use hashbrown::HashMap;
use portolan_core::zone::{
    BODY_HEAD, MAX_NAME, Name, QUESTION_POINTER, RecordType, labels, parent,
};

use super::{
    message::{HEADER, Question, Section, ShortName},
    nowhere,
    reply::Reply,
};

/// Rules, by the names that they are for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rewrites {
    exact: HashMap<Box<[u8]>, Rewrite>,
    below: HashMap<Box<[u8]>, Rewrite>,
    ttl: u32,
}

/// What stands in the place of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// This name.
    Name(Name),
    /// The same labels below this name instead of below that of the rule.
    Below(Name),
    /// These addresses, and nothing else.
    Addresses(Vec<IpAddr>),
}

/// What a rule has made of a question.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one question")]
pub(super) enum Rewritten {
    /// Everything has been said.
    Answered,
    /// The name is an alias for this one, which stands at that place of the reply.
    Alias(ShortName, usize),
}

impl Rewrites {
    /// No rules yet; answers may be remembered for `ttl` seconds.
    pub fn new(ttl: u32) -> Self {
        Self { ttl, ..Self::default() }
    }

    /// A rule for a name. One that it has already is replaced.
    pub fn exactly(&mut self, name: &Name, rewrite: Rewrite) {
        self.exact.insert(name.to_lower().as_bytes().into(), rewrite);
    }

    /// A rule for all names below a name, however many labels they have.
    pub fn below(&mut self, name: &Name, rewrite: Rewrite) {
        self.below.insert(name.to_lower().as_bytes().into(), rewrite);
    }

    /// Applies the rule for the name of a question, if there is one. Of several the one with the
    /// longest name counts.
    pub(super) fn apply(
        &self,
        question: &Question<'_>,
        reply: &mut Reply<'_>,
    ) -> Option<Rewritten> {
        if self.exact.is_empty() && self.below.is_empty() {
            return None;
        }
        let name = question.name.as_bytes();
        let (rewrite, suffix) = self.find(name)?;
        reply.authoritative();
        match rewrite {
            Rewrite::Addresses(addresses) => {
                self.addresses(addresses, question, reply);
                Some(Rewritten::Answered)
            }
            Rewrite::Name(target) => self.alias(&[], target, question, reply),
            Rewrite::Below(target) => {
                let labels = name.get(..name.len() - suffix.len()).unwrap_or_default();
                self.alias(labels, target, question, reply)
            }
        }
    }

    /// What stands in the place of a name: a name or addresses.
    pub fn of(&self, name: &Name) -> Option<Rewrite> {
        let name = name.to_lower();
        let (rewrite, suffix) = self.find(name.as_bytes())?;
        let Rewrite::Below(target) = rewrite else { return Some(rewrite.clone()) };
        let own = name.as_bytes().get(..name.as_bytes().len() - suffix.len())?;
        Name::below(target, labels(own)).ok().map(Rewrite::Name)
    }

    /// The rule for a name in lower case, and what of the name it is for.
    fn find<'n>(&self, name: &'n [u8]) -> Option<(&Rewrite, &'n [u8])> {
        if let Some(rewrite) = self.exact.get(name) {
            return Some((rewrite, name));
        }
        let mut suffixes = std::iter::successors(parent(name), |name| parent(name));
        suffixes.find_map(|suffix| Some((self.below.get(suffix)?, suffix)))
    }

    fn addresses(&self, addresses: &[IpAddr], question: &Question<'_>, reply: &mut Reply<'_>) {
        let asked = question.rtype;
        let mut is_empty = true;
        for address in addresses {
            if RecordType::of(*address) == asked || asked == RecordType::ANY {
                is_empty = false;
                let mut body = self.head(RecordType::of(*address));
                match address {
                    IpAddr::V4(address) => body.push(&address.octets()),
                    IpAddr::V6(address) => body.push(&address.octets()),
                }
                if !reply.record(Section::Answer, body.finish(), HEADER) {
                    reply.truncated();
                }
            }
        }
        if is_empty {
            nowhere::says_no(reply, question, question.name.as_bytes());
        }
    }

    /// `None`: the name would be too long, or is the same.
    fn alias(
        &self,
        labels: &[u8],
        target: &Name,
        question: &Question<'_>,
        reply: &mut Reply<'_>,
    ) -> Option<Rewritten> {
        let mut body = self.head(RecordType::CNAME);
        if labels.len() + target.as_bytes().len() > MAX_NAME {
            return None;
        }
        body.push(labels);
        body.push(target.as_bytes());
        let body = body.finish();
        let name = ShortName::lower(body.get(BODY_HEAD..)?)?;
        if name.as_bytes() == question.name.as_bytes() {
            return None;
        }
        let owner = reply.position() + BODY_HEAD;
        if !reply.record(Section::Answer, body, HEADER) {
            reply.truncated();
            return Some(Rewritten::Answered);
        }
        match question.rtype {
            RecordType::CNAME | RecordType::ANY => Some(Rewritten::Answered),
            _ => Some(Rewritten::Alias(name, owner)),
        }
    }

    fn head(&self, rtype: RecordType) -> Body {
        let mut body = Body { bytes: [0; BODY_HEAD + MAX_NAME], length: 0 };
        body.push(&QUESTION_POINTER);
        body.push(&rtype.0.to_be_bytes());
        body.push(&[0, 1]);
        body.push(&self.ttl.to_be_bytes());
        body.push(&[0, 0]);
        body
    }
}

/// A record about the name of the question, on the stack.
struct Body {
    bytes: [u8; BODY_HEAD + MAX_NAME],
    length: usize,
}

impl Body {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    fn finish(&mut self) -> &[u8] {
        let data = self.length.saturating_sub(BODY_HEAD) as u8;
        // A name is no longer than 255 bytes.
        self.bytes[BODY_HEAD - 1] = data;
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
