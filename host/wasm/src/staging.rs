//! What a hook has changed so far, and what it sees of the exchange with that in mind.
//!
//! **Invariant:** the exchange itself is not touched before [`Staged::commit`]; a hook that fails
//! leaves it as it was.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};
use portolan_core::{
    edit::Edit,
    exchange::{Exchange, Headers, RequestHead},
};

/// The changes of one hook, in order. Kept by the instance, so that its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    edits: Vec<Edit>,
    bytes: usize,
}

/// More bytes were staged than one hook may stage.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Which of the two heads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// What an edit does to the lines of one header.
enum Effect<'a> {
    Set(&'a HeaderValue),
    Append(&'a HeaderValue),
    Remove,
}

impl Staged {
    /// Adds a change of so many bytes. One that is too large takes no room from those after it.
    pub(crate) fn push(&mut self, edit: Edit, bytes: usize) -> Result<(), TooLarge> {
        let bytes = self.bytes + bytes;
        if bytes > MAX_STAGED || self.edits.len() == MAX_EDITS {
            return Err(TooLarge);
        }
        self.bytes = bytes;
        self.edits.push(edit);
        Ok(())
    }

    /// The attributes as they would be, without that of this key: how many bytes they have.
    pub(crate) fn attributes_beside(&self, exchange: &Exchange, key: &str) -> usize {
        let staged = self.edits.iter().filter_map(|edit| match edit {
            Edit::SetAttribute(key, value) => Some((key, value)),
            _ => None,
        });
        let kept = exchange.attributes.iter().map(|(key, value)| (key, value));
        // Of each key the last value counts.
        let all: BTreeMap<&String, &Vec<u8>> = kept.chain(staged).collect();
        let others = all.into_iter().filter(|(other, _)| *other != key);
        others.map(|(key, value)| key.len() + value.len()).sum()
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> usize {
        self.edits.len()
    }

    /// Takes out those behind so many.
    pub(crate) fn split_off(&mut self, at: usize) -> Vec<Edit> {
        self.edits.split_off(at)
    }

    /// Applies the changes.
    pub(crate) fn commit(&mut self, exchange: &mut Exchange) {
        self.bytes = 0;
        for edit in self.edits.drain(..) {
            edit.apply(exchange);
        }
    }

    /// Forgets the changes.
    pub(crate) fn discard(&mut self) {
        self.bytes = 0;
        self.edits.clear();
    }

    /// The latest change that `pick` knows.
    pub(crate) fn last<'a, T>(&'a self, pick: impl FnMut(&'a Edit) -> Option<T>) -> Option<T> {
        self.edits.iter().rev().find_map(pick)
    }

    /// The first value of a header.
    pub(crate) fn first<'a>(
        &'a self,
        side: Side,
        exchange: &'a Exchange,
        name: &HeaderName,
    ) -> Option<&'a [u8]> {
        if self.edits.is_empty() && *name != HOST {
            return headers(side, exchange)?.first(name);
        }
        self.values(side, exchange, name).into_iter().next()
    }

    /// All values of a header, in order.
    pub(crate) fn values<'a>(
        &'a self,
        side: Side,
        exchange: &'a Exchange,
        name: &HeaderName,
    ) -> Vec<&'a [u8]> {
        if side == Side::Request && *name == HOST {
            return self.authority(&exchange.request).into_iter().collect();
        }
        let lines = headers(side, exchange).map(|headers| headers.values(name));
        let mut values: Vec<&[u8]> = lines.into_iter().flatten().collect();
        for edit in &self.edits {
            match effect(edit, side) {
                Some((of, Effect::Set(value))) if of == name => {
                    values.clear();
                    values.push(value.as_bytes());
                }
                Some((of, Effect::Append(value))) if of == name => values.push(value.as_bytes()),
                Some((of, Effect::Remove)) if of == name => values.clear(),
                _ => (),
            }
        }
        values
    }

    /// Every line of a head.
    pub(crate) fn lines(&self, side: Side, exchange: &Exchange) -> HeaderMap {
        let lines = headers(side, exchange).cloned().unwrap_or_default();
        let mut lines = lines.into_map();
        for edit in &self.edits {
            // A map that is full stays as it is, as it will when the edits are applied.
            _ = match effect(edit, side) {
                Some((name, Effect::Set(value))) => {
                    lines.try_insert(name.clone(), value.clone()).is_ok()
                }
                Some((name, Effect::Append(value))) => {
                    lines.try_append(name.clone(), value.clone()).is_ok()
                }
                Some((name, Effect::Remove)) => lines.remove(name).is_some(),
                None => false,
            };
        }
        lines
    }

    fn authority<'a>(&'a self, request: &'a RequestHead) -> Option<&'a [u8]> {
        let staged = self.last(|edit| match edit {
            Edit::SetAuthority(authority) => Some(authority.value().as_bytes()),
            _ => None,
        });
        staged.or_else(|| Some(request.authority().as_bytes()).filter(|text| !text.is_empty()))
    }
}

fn headers(side: Side, exchange: &Exchange) -> Option<&Headers> {
    match side {
        Side::Request => Some(&exchange.request.headers),
        Side::Response => exchange.response.as_ref().map(|response| &response.headers),
    }
}

fn effect(edit: &Edit, side: Side) -> Option<(&HeaderName, Effect<'_>)> {
    match (side, edit) {
        (Side::Request, Edit::SetRequestHeader(name, value))
        | (Side::Response, Edit::SetResponseHeader(name, value)) => {
            Some((name, Effect::Set(value)))
        }
        (Side::Request, Edit::AppendRequestHeader(name, value))
        | (Side::Response, Edit::AppendResponseHeader(name, value)) => {
            Some((name, Effect::Append(value)))
        }
        (Side::Request, Edit::RemoveRequestHeader(name))
        | (Side::Response, Edit::RemoveResponseHeader(name)) => Some((name, Effect::Remove)),
        _ => None,
    }
}

/// As `http.wit` says.
const MAX_STAGED: usize = 64 << 10;

/// Bounds those that weigh nothing.
const MAX_EDITS: usize = 2048;

#[cfg(test)]
mod tests {
    use portolan_core::test_util;

    use super::*;

    fn attribute(key: &str, length: usize) -> (Edit, usize) {
        (Edit::SetAttribute(key.to_owned(), vec![1; length]), key.len() + length)
    }

    #[test]
    fn what_is_too_large_takes_no_room_from_what_comes_after_it() {
        let mut staged = Staged::default();
        let mut push = |key: &str, length| {
            let (edit, bytes) = attribute(key, length);
            staged.push(edit, bytes).is_ok()
        };
        assert!(!push("a", MAX_STAGED));
        assert!(push("a", MAX_STAGED - 1), "the whole of it");
        assert!(!push("b", 0));
        staged.discard();
        let removal = || Edit::RemoveRequestHeader(HOST);
        assert!((0..MAX_EDITS).all(|_| staged.push(removal(), 0).is_ok()));
        assert!(staged.push(removal(), 0).is_err());
    }

    #[test]
    fn an_attribute_does_not_count_beside_its_own_next_value() {
        let mut exchange = test_util::exchange("GET http://a.local/");
        attribute("kept", 10).0.apply(&mut exchange);
        let mut staged = Staged::default();
        for (key, length) in [("staged", 100), ("staged", 20), ("kept", 5)] {
            let (edit, bytes) = attribute(key, length);
            staged.push(edit, bytes).expect("room");
        }
        let beside = |key| staged.attributes_beside(&exchange, key);
        assert_eq!([beside("kept"), beside("staged"), beside("new")], [26, 9, 35]);
    }
}
