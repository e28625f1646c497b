//! Where instances rest between calls.
//!
//! **Invariant:** whoever takes gets what was put last, if nobody else came in between: what was
//! used last is what the processor still has in its caches, and few instances do the work.

use std::sync::{Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::{CachePadded, atomic::AtomicCell};

/// The instances that one thread uses, or few. To take one and to put it back costs two swaps.
pub(crate) struct Shelf<T> {
    last: CachePadded<AtomicCell<Option<Box<T>>>>,
    others: ArrayQueue<Box<T>>,
}

impl<T> Shelf<T> {
    pub(crate) fn new() -> Self {
        Self { last: AtomicCell::new(None).into(), others: ArrayQueue::new(OTHERS) }
    }

    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.last.take().or_else(|| self.others.pop())
    }

    /// What does not fit any more is dropped.
    pub(crate) fn put(&self, item: Box<T>) {
        if let Some(before) = self.last.swap(Some(item)) {
            drop(self.others.push(before));
        }
    }
}

/// The instances that any thread uses, for calls that take so long that a lock is nothing.
pub(crate) struct Stack<T>(Mutex<Vec<Box<T>>>);

impl<T> Stack<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// There are never more of them than calls at once.
    pub(crate) fn put(&self, item: Box<T>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }
}

/// A thread runs one hook at a time; more instances come from threads that share a shelf.
const OTHERS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_last_is_taken_first_and_what_does_not_fit_is_dropped() {
        let (shelf, stack) = (Shelf::new(), Stack::new());
        for number in 0..10 {
            shelf.put(Box::new(number));
            stack.put(Box::new(number));
        }
        assert_eq!((shelf.take(), stack.take()), (Some(Box::new(9)), Some(Box::new(9))));
        shelf.put(Box::new(9));
        assert_eq!(shelf.take(), Some(Box::new(9)));
        assert_eq!(std::iter::from_fn(|| shelf.take()).count(), OTHERS);
        assert_eq!(std::iter::from_fn(|| stack.take()).count(), 9);
    }
}
