//! Questions that are under way, and who waits for each.
//!
//! **Invariant:** what begins under other settings, or before a flush, is told to those who wait for it
//! and to nobody else: whoever asks later asks anew, and it is not remembered.

use std::{cell::RefCell, rc::Rc};

use hashbrown::{HashMap, hash_map::Entry};
use tokio::{sync::oneshot, time::Instant};

use super::{
    super::{cache::Key, stored::Stored},
    ForwardError, Forwarder,
    groups::Group,
    settings::DEADLINE,
};

/// What became of a question.
pub(super) type Outcome = Result<Rc<Stored>, ForwardError>;
/// One who waits for that.
pub(super) type Asker = oneshot::Sender<Outcome>;
/// The questions that began under the same settings, and who waits for each.
pub(super) type Flights = RefCell<HashMap<Box<[u8]>, Vec<Asker>>>;

impl Forwarder {
    /// Waits for a question that is under way, or puts it under way.
    pub(super) fn join(
        self: &Rc<Self>,
        key: &Key,
        group: &Rc<Group>,
    ) -> Result<oneshot::Receiver<Outcome>, ForwardError> {
        let (asker, arrival) = oneshot::channel();
        self.launch(key, group, Some(asker))?;
        Ok(arrival)
    }

    /// Puts a question under way unless it is so already, for somebody or for nobody in particular.
    pub(super) fn launch(
        self: &Rc<Self>,
        key: &Key,
        group: &Rc<Group>,
        asker: Option<Asker>,
    ) -> Result<(), ForwardError> {
        if group.is_empty() {
            return Err(ForwardError::NoUpstreams);
        }
        let room = self.current.borrow().settings.room;
        if self.waiting.get() >= room.0 || group.waiting.get() >= room.of_group() {
            return Err(ForwardError::Full);
        }
        let is_full = self.under_way.get() >= room.0 || group.under_way.get() >= room.of_group();
        let flights = self.flights.borrow().clone();
        match flights.borrow_mut().entry(key.as_bytes().into()) {
            Entry::Occupied(mut flight) => flight.get_mut().extend(asker),
            Entry::Vacant(_) if is_full => return Err(ForwardError::Full),
            Entry::Vacant(vacant) => {
                vacant.insert(asker.into_iter().collect());
                self.under_way.update(|count| count + 1);
                group.under_way.update(|count| count + 1);
                let flying = Rc::clone(self).fly(*key, group.clone(), flights.clone());
                tokio::task::spawn_local(flying);
            }
        }
        Ok(())
    }

    /// Asks for everybody who waits. Not one of them: whoever asked first may hang up.
    async fn fly(self: Rc<Self>, key: Key, group: Rc<Group>, flights: Rc<Flights>) {
        let outcome = match group.is_catalog {
            true => self.look_up(&key).await,
            false => self.ask_to_the_end(&key, &group).await,
        };
        let outcome = outcome.map(Rc::new);
        self.under_way.update(|count| count.saturating_sub(1));
        group.under_way.update(|count| count.saturating_sub(1));
        // By now there may be other upstreams, or other lists, which it was not held against.
        if Rc::ptr_eq(&flights, &self.flights.borrow()) {
            let (mut cache, now) = (self.cache.borrow_mut(), Instant::now());
            match &outcome {
                Ok(stored) => cache.put(&key, stored, now),
                Err(_) => cache.put_failure(&key, now),
            }
        }
        let waiting = flights.borrow_mut().remove(key.as_bytes()).unwrap_or_default();
        for asker in waiting {
            // Whoever no longer waits needs no answer.
            drop(asker.send(outcome.clone()));
        }
    }

    /// What upstreams say of a name, and of what it leads to.
    async fn ask_to_the_end(
        self: &Rc<Self>,
        key: &Key,
        group: &Group,
    ) -> Result<Stored, ForwardError> {
        let deadline = Instant::now() + DEADLINE;
        let mut stored = self.ask(key, key, group).await?;
        if stored.is_half_way() {
            stored = Box::pin(self.followed(key, group, stored, deadline)).await?;
        }
        // Once, as a whole: an alias alone says that there is nothing behind it.
        stored.clamp(&self.current.borrow().settings.cache);
        Ok(stored.shuffled_if_addresses())
    }
}

/// Counts one who waits, until it no longer does.
pub(super) struct Waiting<'a>(&'a Forwarder, Rc<Group>);

impl<'a> Waiting<'a> {
    pub(super) fn new(forwarder: &'a Forwarder, group: Rc<Group>) -> Self {
        forwarder.waiting.update(|waiting| waiting + 1);
        group.waiting.update(|waiting| waiting + 1);
        forwarder.figures.waiting.increment();
        Self(forwarder, group)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.update(|waiting| waiting.saturating_sub(1));
        self.1.waiting.update(|waiting| waiting.saturating_sub(1));
        self.0.figures.waiting.decrement();
    }
}
