//! What a client takes (RFC 9110, 12.5.3).

use super::Coding;
use crate::exchange::members;

/// How much it likes what it takes, in thousandths; 0: not at all.
type Weight = u16;

/// What is said of what a client takes.
#[derive(Default)]
struct Said {
    codings: [Option<Weight>; Coding::ALL.len()],
    identity: Option<Weight>,
    others: Option<Weight>,
}

/// What a client that says this likes best of these; `None`: nothing compressed.
pub(super) fn choose<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    codings: &[Coding],
    default: Option<Coding>,
) -> Option<Coding> {
    let (mut said, mut has_said) = (Said::default(), false);
    for line in lines {
        has_said = true;
        members(line).for_each(|member| said.note(member));
    }
    if !has_said {
        return default;
    }
    let best = codings.iter().map(|coding| said.weight(*coding)).max().filter(|best| *best > 0)?;
    if said.identity.is_some_and(|identity| identity > best) {
        return None;
    }
    let is_best = |coding: &Coding| said.weight(*coding) == best;
    // Who likes nothing better than anything is given what the operator likes.
    let default = default.filter(|default| said.others == Some(best) && is_best(default));
    default.or_else(|| codings.iter().copied().find(is_best))
}

impl Said {
    fn note(&mut self, member: &[u8]) {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(quality).unwrap_or(1000);
        let place = if name == b"*" {
            &mut self.others
        } else if name.eq_ignore_ascii_case(b"identity") {
            &mut self.identity
        } else if let Some(coding) = coding(name) {
            &mut self.codings[coding as usize]
        } else {
            return;
        };
        // Of what is said twice, the greater, as in Traefik.
        *place = Some(place.map_or(weight, |before| before.max(weight)));
    }

    fn weight(&self, coding: Coding) -> Weight {
        self.codings[coding as usize].or(self.others).unwrap_or(0)
    }
}

fn coding(name: &[u8]) -> Option<Coding> {
    // RFC 9110, 8.4.1.3.
    if name.eq_ignore_ascii_case(b"x-gzip") {
        return Some(Coding::Gzip);
    }
    let is_it = |coding: &Coding| name.eq_ignore_ascii_case(coding.as_str().as_bytes());
    Coding::ALL.into_iter().find(is_it)
}

/// The weight that a parameter says, if it says one; one that is none is 0, as in Traefik.
fn quality(parameter: &[u8]) -> Option<Weight> {
    let (name, value) = parameter.split_at(parameter.iter().position(|byte| *byte == b'=')?);
    if !name.trim_ascii().eq_ignore_ascii_case(b"q") {
        return None;
    }
    Some(thousandths(value.get(1..).unwrap_or_default().trim_ascii()).unwrap_or(0))
}

/// A number from 0 to 1; what is greater is 1.
fn thousandths(number: &[u8]) -> Option<Weight> {
    let mut parts = number.splitn(2, |byte| *byte == b'.');
    let (whole, part) = (parts.next()?, parts.next().unwrap_or_default());
    let is_number = !number.is_empty() && whole.iter().chain(part).all(u8::is_ascii_digit);
    if !is_number || whole.is_empty() && part.is_empty() {
        return None;
    }
    if whole.iter().any(|digit| *digit != b'0') {
        return Some(1000);
    }
    let digit = |place: usize| part.get(place).map_or(0, |digit| Weight::from(digit - b'0'));
    let weight = digit(0) * 100 + digit(1) * 10 + digit(2);
    // A little is not nothing.
    let is_nothing = part.iter().all(|digit| *digit == b'0');
    Some(if is_nothing { 0 } else { weight.max(1) })
}
