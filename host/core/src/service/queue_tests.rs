//! The line in front of a service: whose turn it is, whatever happens in whatever order.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{Freed, Queue, Waiting};

#[derive(Default)]
struct Call(AtomicBool);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Two backends with room for some requests each, and a line in front of them.
#[derive(Default)]
struct Place {
    queue: Queue,
    free: [Cell<u32>; 2],
}

/// One who waits, for one of the backends or for any.
struct Guest<'a> {
    name: usize,
    only: Option<usize>,
    call: Arc<Call>,
    waiting: Waiting<'a>,
}

impl Place {
    fn freed(&self, at: usize) -> Freed {
        Freed::at(&self.free[at])
    }

    fn give_back(&self, at: usize) {
        self.free[at].set(self.free[at].get() + 1);
        self.queue.release(self.freed(at));
    }

    fn enter(&self, name: usize, only: Option<usize>) -> Guest<'_> {
        // It looks as soon as it is there.
        let call = Arc::new(Call(AtomicBool::new(true)));
        let waker = Waker::from(call.clone());
        let freed = only.map(|at| self.freed(at));
        let waiting = self.queue.stand(usize::MAX, freed, &waker).unwrap();
        Guest { name, only, call, waiting }
    }

    fn look(&self, only: Option<usize>) -> Option<(usize, Freed)> {
        let found = (0..2).filter(|at| only.is_none_or(|only| only == *at));
        let at = found.into_iter().find(|at| self.free[*at].get() > 0)?;
        self.free[at].set(self.free[at].get() - 1);
        Some((at, self.freed(at)))
    }
}

impl Guest<'_> {
    /// Does what it was woken for.
    fn run(&self, place: &Place) -> Poll<usize> {
        self.call.0.store(false, SeqCst);
        let waker = Waker::from(self.call.clone());
        self.waiting.poll(&mut Context::from_waker(&waker), || place.look(self.only))
    }

    fn is_woken(&self) -> bool {
        self.call.0.load(SeqCst)
    }
}

#[test]
fn who_was_called_in_vain_stays_the_first() {
    let place = Place::default();
    let guests: Vec<_> = (0..3).map(|name| place.enter(name, None)).collect();
    assert!(guests.iter().all(|guest| guest.run(&place).is_pending()));
    // Twice for one place.
    place.give_back(0);
    place.queue.release(place.freed(0));
    assert!(guests[0].is_woken() && guests[1].is_woken() && !guests[2].is_woken());
    assert_eq!(guests[0].run(&place), Poll::Ready(0));
    assert!(guests[1].run(&place).is_pending());
    assert!(guests[2].is_woken(), "what one could not use is offered to the next");
    assert!(guests[2].run(&place).is_pending());
    place.give_back(0);
    assert!(guests[1].is_woken() && !guests[2].is_woken());
    assert_eq!(guests[1].run(&place), Poll::Ready(0));
    assert_eq!(place.queue.len(), 1);
}

#[test]
fn who_comes_new_takes_nothing_from_who_was_called() {
    let place = Place::default();
    let first = place.enter(0, None);
    assert!(first.run(&place).is_pending());
    place.give_back(0);
    let new = place.enter(1, None);
    assert!(new.run(&place).is_pending(), "it is the first one's turn");
    assert_eq!(first.run(&place), Poll::Ready(0));
    assert!(new.is_woken(), "now it may look");
    place.give_back(1);
    assert_eq!(new.run(&place), Poll::Ready(1));
    // Who waits for one backend does not keep others from another.
    let picky = place.enter(2, Some(0));
    assert!(picky.run(&place).is_pending());
    place.give_back(1);
    assert!(!picky.is_woken());
    assert_eq!(place.enter(3, None).run(&place), Poll::Ready(1));
}

#[test]
fn who_goes_hands_on_what_was_offered_and_no_more_stand_than_may() {
    let place = Place::default();
    let mut guests: Vec<_> = (0..3).map(|name| place.enter(name, None)).collect();
    assert!(guests.iter().all(|guest| guest.run(&place).is_pending()));
    place.give_back(0);
    drop(guests.remove(0));
    assert!(guests[0].is_woken() && !guests[1].is_woken());
    assert!(place.queue.stand(2, None, Waker::noop()).is_none());
    drop(guests);
    assert!(place.queue.is_empty());
}

#[test]
fn who_comes_back_stands_where_it_stood() {
    let place = Place::default();
    let guests: Vec<_> = (0..3).map(|name| place.enter(name, None)).collect();
    assert!(guests.iter().all(|guest| guest.run(&place).is_pending()));
    let ticket = guests[0].waiting.ticket();
    place.give_back(0);
    assert_eq!(guests[0].run(&place), Poll::Ready(0));
    let again = |ticket| {
        let call = Arc::new(Call(AtomicBool::new(true)));
        let waiting = place.queue.stand_again(ticket, None, &Waker::from(call.clone()));
        Guest { name: 9, only: None, call, waiting }
    };
    // One who stood there before, and one who was there before anybody stood.
    let (stood, never) = (again(Some(ticket)), again(None));
    assert!(never.run(&place).is_pending() && stood.run(&place).is_pending());
    for (guest, next) in [(&never, &stood), (&stood, &guests[1]), (&guests[1], &guests[2])] {
        place.give_back(0);
        assert!(guest.is_woken() && !next.is_woken());
        assert_eq!(guest.run(&place), Poll::Ready(0));
    }
}

#[test]
fn a_change_that_nobody_told_of_is_found_by_the_first_and_goes_through_the_line() {
    let place = Place::default();
    let guests: Vec<_> = (0..3).map(|name| place.enter(name, None)).collect();
    assert!(guests.iter().all(|guest| guest.run(&place).is_pending()));
    place.free[0].set(2);
    guests[1].waiting.look_again(None);
    assert!(guests[1].run(&place).is_pending(), "it is not the first");
    guests[0].waiting.look_again(None);
    assert_eq!(guests[0].run(&place), Poll::Ready(0));
    assert_eq!(guests[1].run(&place), Poll::Ready(0));
    assert!(guests[2].is_woken());
}

/// The next number of a sequence that looks like chance.
fn chance(seed: &Cell<u64>, below: usize) -> usize {
    seed.set(crate::balance::mix(seed.get()));
    (seed.get() % below as u64) as usize
}

#[test]
fn in_whatever_order_things_happen_nothing_is_free_that_somebody_waits_for_in_vain() {
    for start in 0..2000 {
        let (place, seed) = (Place::default(), Cell::new(start));
        let is_mixed = start % 2 == 1;
        let (mut guests, mut taken) = (Vec::<Guest<'_>>::new(), vec![0, 1]);
        for name in 0..60 {
            match chance(&seed, 6) {
                0 | 1 => {
                    let only = (is_mixed && chance(&seed, 3) == 0).then(|| chance(&seed, 2));
                    guests.push(place.enter(name, only));
                }
                2 if !taken.is_empty() => {
                    let at = chance(&seed, taken.len());
                    place.give_back(taken.remove(at));
                }
                3 if !guests.is_empty() && chance(&seed, 4) == 0 => {
                    let at = chance(&seed, guests.len());
                    drop(guests.remove(at));
                }
                _ => run_one(&place, &seed, &mut guests, &mut taken),
            }
        }
        while guests.iter().any(Guest::is_woken) {
            run_one(&place, &seed, &mut guests, &mut taken);
        }
        for guest in &guests {
            let could = (0..2).filter(|at| guest.only.is_none_or(|only| only == *at));
            let free = could.into_iter().any(|at| place.free[at].get() > 0);
            assert!(!free, "{start}: {} waits in vain", guest.name);
        }
    }
}

/// One of those who were woken looks.
fn run_one(place: &Place, seed: &Cell<u64>, guests: &mut Vec<Guest<'_>>, taken: &mut Vec<usize>) {
    let woken: Vec<_> = (0..guests.len()).filter(|at| guests[*at].is_woken()).collect();
    if woken.is_empty() {
        return;
    }
    let at = woken[chance(seed, woken.len())];
    if let Poll::Ready(found) = guests[at].run(place) {
        guests.remove(at);
        taken.push(found);
    }
}

#[test]
fn one_place_is_had_in_the_order_of_coming_whatever_else_happens() {
    for start in 0..500 {
        let (place, seed) = (Place::default(), Cell::new(start));
        let (mut guests, mut taken, mut last) = (Vec::<Guest<'_>>::new(), vec![0], None);
        for name in 0..100 {
            match chance(&seed, 4) {
                0 => guests.push(place.enter(name, None)),
                1 if taken.pop().is_some() => place.give_back(0),
                _ => {
                    let before: Vec<_> = guests.iter().map(|guest| guest.name).collect();
                    run_one(&place, &seed, &mut guests, &mut taken);
                    let gone =
                        before.iter().find(|it| guests.iter().all(|guest| guest.name != **it));
                    if let Some(gone) = gone {
                        assert!(last < Some(*gone), "{start}: {gone} before {last:?}");
                        assert_eq!(before.first(), Some(gone), "{start}");
                        last = Some(*gone);
                    }
                }
            }
        }
    }
}
