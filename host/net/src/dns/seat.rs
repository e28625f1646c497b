//! Places for connections: where none is free, the client that has been silent longest gives its up.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use tokio::{sync::Notify, time::Instant};

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when it is the client's turn.
    since: Cell<Instant>,
    wanted: Notify,
    /// It was asked for once: it will be free soon.
    is_leaving: Cell<bool>,
}

impl Default for Seat {
    fn default() -> Self {
        let since = Cell::new(Instant::now());
        Self { since, wanted: Notify::new(), is_leaving: Cell::new(false) }
    }
}

impl Seat {
    /// From now on it is the client's turn.
    pub(super) fn touch(&self) {
        self.since.set(Instant::now());
    }

    /// Since when it is.
    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    /// Waits until another client needs the place.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// The places of one listener that are taken.
#[derive(Debug, Default)]
pub(super) struct Seats(RefCell<Vec<Weak<Seat>>>);

impl Seats {
    /// A place for a new connection.
    pub(super) fn take(&self) -> Rc<Seat> {
        let seat = Rc::<Seat>::default();
        let mut seats = self.0.borrow_mut();
        // Those that are gone are cleared away before room for more is made.
        if seats.len() == seats.capacity() {
            seats.retain(|seat| seat.strong_count() > 0);
        }
        seats.push(Rc::downgrade(&seat));
        seat
    }

    /// Asks for the place of who has been silent longest.
    pub(super) fn make_room(&self) {
        let seats = self.0.borrow();
        let staying = seats.iter().filter_map(Weak::upgrade).filter(|it| !it.is_leaving.get());
        if let Some(seat) = staying.min_by_key(|seat| seat.since()) {
            seat.is_leaving.set(true);
            seat.wanted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_has_been_silent_longest_makes_room() {
        let seats = Seats::default();
        let mut taken = Vec::new();
        for _ in 0..100 {
            advance(Duration::from_secs(1)).await;
            taken.push(seats.take());
        }
        taken[0].touch();
        // One that is gone is asked for nothing.
        drop(taken.remove(1));
        seats.make_room();
        // Who was asked is not asked again, however long it takes to go.
        seats.make_room();
        for (place, seat) in taken.iter().enumerate() {
            let wanted = timeout(Duration::from_millis(1), seat.wanted()).await;
            assert_eq!(wanted.is_ok(), place == 1 || place == 2, "{place}");
        }
    }
}
