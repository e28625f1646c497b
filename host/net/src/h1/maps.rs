//! Header maps that were used before: making two for each request, one on each side, would be a
//! third of what it allocates.

use std::cell::RefCell;

use http::HeaderMap;

/// A worker's header maps at rest.
#[derive(Debug, Default)]
pub(crate) struct Maps(RefCell<Vec<HeaderMap>>);

/// How many rest: more are under way at once only while something waits.
const MOST: usize = 64;
/// The largest that is kept, in lines. What few need is not kept for all.
const LARGEST: usize = 128;

impl Maps {
    /// An empty map with room for so many lines.
    pub(crate) fn take(&self, lines: usize) -> HeaderMap {
        match self.0.borrow_mut().pop() {
            Some(mut map) => {
                map.reserve(lines);
                map
            }
            None => HeaderMap::with_capacity(lines),
        }
    }

    /// Takes one back, whatever is in it.
    pub(crate) fn give(&self, mut map: HeaderMap) {
        let mut rest = self.0.borrow_mut();
        if (1..=LARGEST).contains(&map.capacity()) && rest.len() < MOST {
            map.clear();
            rest.push(map);
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
        assert_eq!((map.capacity(), maps.0.borrow().len()), (room, 0));
        assert!(maps.take(40).capacity() >= 40);
        maps.give(HeaderMap::with_capacity(2 * LARGEST));
        // One that nothing was ever in has no room to keep.
        maps.give(HeaderMap::new());
        assert_eq!(maps.0.borrow().len(), 0);
        (0..2 * MOST).for_each(|_| maps.give(HeaderMap::with_capacity(4)));
        assert_eq!(maps.0.borrow().len(), MOST);
    }
}
