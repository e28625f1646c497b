//! Who waits for a place: first come, first served, over all threads.
//!
//! **Invariant:** while nobody waits, giving a place back is one atomic read; the lock is taken only
//! by those who wait and by those who wake them.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

/// Those who wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    tickets: AtomicU64,
    line: Mutex<VecDeque<(u64, Waker)>>,
}

/// Somebody who waits; ready when it is worth a try.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    /// `None` before the first poll, and after the last.
    ticket: Option<u64>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for a place to become free. It may be gone by the time one looks: then wait again.
    pub fn wait(&self) -> Waiting<'_> {
        Waiting { queue: self, ticket: None }
    }

    /// A place became free: whoever has waited longest may try.
    pub fn release(&self) {
        if self.is_empty() {
            return;
        }
        let first = {
            let mut line = self.line();
            let first = line.pop_front();
            self.waiting.store(line.len(), SeqCst);
            first
        };
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<(u64, Waker)>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Stands in line without waiting for a poll. A place that becomes free from now on is not
    /// missed.
    pub fn stand(&mut self, waker: &Waker) {
        if self.ticket.is_none() {
            let ticket = self.queue.tickets.fetch_add(1, SeqCst);
            let mut line = self.queue.line();
            line.push_back((ticket, waker.clone()));
            self.queue.waiting.store(line.len(), SeqCst);
            self.ticket = Some(ticket);
        }
    }
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ticket) = self.ticket else {
            self.stand(cx.waker());
            return Poll::Pending;
        };
        let mut line = self.queue.line();
        match line.iter_mut().find(|(known, _)| *known == ticket) {
            Some((_, waker)) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => {
                drop(line);
                self.ticket = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut line = self.queue.line();
        let place = line.iter().position(|(known, _)| *known == ticket);
        match place {
            Some(place) => drop(line.remove(place)),
            None => {
                // It was called and does not come: the next may.
                drop(line);
                return self.queue.release();
            }
        }
        self.queue.waiting.store(line.len(), SeqCst);
    }
}
