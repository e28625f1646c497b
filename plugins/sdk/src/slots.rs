//! Hooks that are given the headers they numbered and nothing else: the cheapest there are.

use crate::{Middleware, ResponseVerdict, Verdict};

/// Middleware that needs no more of a request than the headers it numbered with
/// [`Interest::request_headers`](crate::Interest::request_headers), and changes no others.
///
/// Nothing but the call itself crosses to the plugin and back, so it costs a fraction of
/// [`OnRequest`](crate::OnRequest). One of the two is named in [`register!`](crate::register).
pub trait OnRequestSlots: Middleware {
    /// Called once for a request, outermost middleware first. Changes are applied when this
    /// returns [`Verdict::Proceed`]; after a panic they are forgotten.
    fn on_request(&self, request: &mut Slots) -> Verdict;
}

/// The same for responses, with the headers that it numbered with
/// [`Interest::response_headers`](crate::Interest::response_headers).
pub trait OnResponseSlots: Middleware {
    /// Called once for a response, innermost middleware first. `context` is what the request hook
    /// of the same request said with [`Verdict::with_response`], else 0; `request` are headers of
    /// the request as it was sent on, and stay as they are.
    fn on_response(&self, context: u64, request: &Slots, response: &mut Slots) -> ResponseVerdict;
}

/// The numbered headers of a message.
#[derive(Debug, Default)]
pub struct Slots {
    given: Vec<u8>,
    changes: Vec<u8>,
    /// Of the response, when it comes.
    later: Vec<u8>,
}

/// Stands for the length of a value that is not there.
const REMOVED: u32 = u32::MAX;

impl Slots {
    /// Headers and their values, for tests.
    pub fn new<'a>(headers: impl IntoIterator<Item = (u32, &'a [u8])>) -> Self {
        let mut given = Vec::new();
        for (place, value) in headers {
            push(&mut given, place, value);
        }
        Self::packed(Some(given))
    }

    pub(crate) fn packed(given: Option<Vec<u8>>) -> Self {
        let given = given.unwrap_or_default();
        Self { given, changes: Vec::new(), later: Vec::new() }
    }

    /// What was changed, and what is to be changed of the response.
    pub(crate) fn into_changes(self) -> (Vec<u8>, Vec<u8>) {
        (self.changes, self.later)
    }

    /// The first value of a header, by its place among those that the interest numbers, as it came
    /// with the call.
    pub fn slot(&self, place: u32) -> Option<&[u8]> {
        let is_it = |(other, _): &(u32, Option<&[u8]>)| *other == place;
        entries(&self.given).find(is_it).and_then(|(_, value)| value)
    }

    /// Replaces all lines of a header by one. A value that cannot be one of a header fails the
    /// whole call: see [`header::check_value`](crate::header::check_value).
    pub fn set_slot(&mut self, place: u32, value: &[u8]) {
        self.changes.reserve(8 + value.len());
        push(&mut self.changes, place, value);
    }

    /// Removes all lines of a header.
    pub fn remove_slot(&mut self, place: u32) {
        remove(&mut self.changes, place);
    }

    /// Replaces, when the response comes, all lines of a header of it by one, whoever gives it: `place`
    /// is among those that the interest numbers of responses. What can be said now needs no
    /// [`OnResponseSlots`], and costs half. It counts in a request hook only.
    pub fn set_response_slot(&mut self, place: u32, value: &[u8]) {
        self.later.reserve(8 + value.len());
        push(&mut self.later, place, value);
    }

    /// Removes, when the response comes, all lines of a header of it.
    pub fn remove_response_slot(&mut self, place: u32) {
        remove(&mut self.later, place);
    }

    /// What was changed, in order, for tests. `None`: removed.
    pub fn changes(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        entries(&self.changes)
    }

    /// What is to be changed of the response, in order, for tests. `None`: removed.
    pub fn response_changes(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        entries(&self.later)
    }
}

fn push(packed: &mut Vec<u8>, place: u32, value: &[u8]) {
    packed.extend_from_slice(&place.to_le_bytes());
    packed.extend_from_slice(&(value.len() as u32).to_le_bytes());
    packed.extend_from_slice(value);
}

fn remove(packed: &mut Vec<u8>, place: u32) {
    packed.extend_from_slice(&place.to_le_bytes());
    packed.extend_from_slice(&REMOVED.to_le_bytes());
}

fn entries(mut rest: &[u8]) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let (place, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let (value, after) = match length {
            REMOVED => (None, after),
            length => {
                after.split_at_checked(length as usize).map(|(it, after)| (Some(it), after))?
            }
        };
        rest = after;
        Some((u32::from_le_bytes(*place), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_can_be_read_and_what_is_changed_is_told() {
        let mut slots = Slots::new([(0, b"zero".as_slice()), (7, b"")]);
        assert_eq!(slots.slot(0), Some(b"zero".as_slice()));
        assert_eq!(slots.slot(7), Some(b"".as_slice()));
        assert_eq!(slots.slot(1), None);
        slots.set_slot(1, b"one");
        slots.remove_slot(0);
        let changes: Vec<_> = slots.changes().collect();
        assert_eq!(changes, [(1, Some(b"one".as_slice())), (0, None)]);
        assert_eq!(slots.slot(1), None, "what was given stays as it was");
        assert_eq!(slots.response_changes().count(), 0);
        slots.set_response_slot(3, b"three");
        slots.remove_response_slot(4);
        let later: Vec<_> = slots.response_changes().collect();
        assert_eq!(later, [(3, Some(b"three".as_slice())), (4, None)]);
        assert_eq!(slots.changes().count(), 2);
    }

    #[test]
    fn half_an_entry_is_none() {
        let whole = Slots::new([(3, b"value".as_slice())]).given;
        for length in 0..whole.len() {
            let half = Slots::packed(whole.get(..length).map(<[u8]>::to_vec));
            assert_eq!(half.slot(3), None, "{length} bytes");
        }
    }
}
