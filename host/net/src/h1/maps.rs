//! Room for headers that was used before: to make it anew for each message, one on each side, would be a
//! third of what a request allocates.

use std::cell::RefCell;

use http::HeaderMap;
use portolan_core::exchange::{Headers, Lines};

/// A worker's room for headers, at rest.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: RefCell<Vec<Headers>>,
    /// Of those that are no maps.
    lines: RefCell<Vec<Headers>>,
}

/// How many of each rest: more are under way at once only while something waits.
const MOST: usize = 64;
/// The largest map that is kept, in lines. What few need is not kept for all.
const LARGEST: usize = 128;

impl Maps {
    /// An empty map with room for so many lines.
    pub(crate) fn take(&self, lines: usize) -> Headers {
        match self.maps.borrow_mut().pop() {
            Some(mut map) => {
                map.reserve(lines);
                map
            }
            None => HeaderMap::with_capacity(lines).into(),
        }
    }

    /// Headers that stay lines.
    pub(crate) fn unread(&self, lines: Lines) -> Headers {
        match self.lines.borrow_mut().pop() {
            Some(room) => room.unread_in(lines),
            None => Headers::unread(lines),
        }
    }

    /// Takes some back, whatever they say.
    pub(crate) fn give(&self, mut headers: Headers) {
        headers.forget();
        let rest = match headers.lines() {
            Some(_) => &self.lines,
            None if (1..=LARGEST).contains(&headers.capacity()) => &self.maps,
            None => return,
        };
        let mut rest = rest.borrow_mut();
        if rest.len() < MOST {
            rest.push(headers);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_map_that_comes_back_is_empty_and_large_ones_are_let_go() {
        let maps = Maps::default();
        let mut map = maps.take(4);
        let room = map.capacity();
        map.append("x-secret", HeaderValue::from_static("of another client"));
        map.append("x-secret", HeaderValue::from_static("twice"));
        maps.give(map);
        let map = maps.take(4);
        assert!(map.is_empty() && map.get("x-secret").is_none());
        assert_eq!((map.capacity(), maps.maps.borrow().len()), (room, 0));
        assert!(maps.take(40).capacity() >= 40);
        maps.give(HeaderMap::with_capacity(2 * LARGEST).into());
        // One that nothing was ever in has no room to keep.
        maps.give(HeaderMap::new().into());
        assert_eq!(maps.maps.borrow().len(), 0);
        (0..2 * MOST).for_each(|_| maps.give(HeaderMap::with_capacity(4).into()));
        assert_eq!(maps.maps.borrow().len(), MOST);
    }
}
