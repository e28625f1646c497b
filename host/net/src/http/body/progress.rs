//! Who is waited for while a request is sent: its client, for more of it, or the backend.

use std::{cell::Cell, rc::Rc, time::Instant};

/// Who is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    /// The client: the backend has taken all that came, and there is more to come.
    Client,
    /// The backend, to take more of what has come, since then.
    Room(Instant),
    /// The backend, to answer: the last of the request came then.
    Answer(Instant),
}

/// How a request gets on. Shared by whoever sends it and whoever waits for its answer.
///
/// What the system takes for a backend counts as taken, as with nginx (`proxy_send_timeout`): how
/// much of that the backend has read cannot be told for all kinds of connections.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Rc<Cell<Awaited>>);

impl Progress {
    /// Of a request that begins now.
    pub(super) fn begun() -> Self {
        Self(Rc::new(Cell::new(Awaited::Room(Instant::now()))))
    }

    /// Who is waited for.
    pub(crate) fn awaited(&self) -> Awaited {
        self.0.get()
    }

    /// Whether it is the client who keeps everybody waiting.
    pub(crate) fn is_up_to_client(&self) -> bool {
        matches!(self.awaited(), Awaited::Client)
    }

    /// Another backend gets the request.
    pub(crate) fn begin_again(&self) {
        self.taken();
    }

    /// The backend does not take what has come. `has_moved`: it took a part since this was last said.
    pub(crate) fn blocked(&self, has_moved: bool) {
        let now = Instant::now();
        match self.awaited() {
            Awaited::Client => self.0.set(Awaited::Room(now)),
            Awaited::Room(_) if has_moved => self.0.set(Awaited::Room(now)),
            Awaited::Answer(_) if has_moved => self.0.set(Awaited::Answer(now)),
            Awaited::Room(_) | Awaited::Answer(_) => {}
        }
    }

    /// A piece was handed on.
    pub(super) fn taken(&self) {
        self.0.set(Awaited::Room(Instant::now()));
    }

    /// Nothing has come.
    pub(super) fn starved(&self) {
        self.0.set(Awaited::Client);
    }

    /// The last of it was handed on.
    pub(super) fn ended(&self) {
        if !matches!(self.awaited(), Awaited::Answer(_)) {
            self.0.set(Awaited::Answer(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(progress: &Progress) -> Instant {
        match progress.awaited() {
            Awaited::Client => panic!("it is up to the client"),
            Awaited::Room(since) | Awaited::Answer(since) => since,
        }
    }

    #[test]
    fn who_takes_a_part_is_waited_for_anew_and_who_takes_nothing_is_not() {
        let progress = Progress::begun();
        for end in [false, true] {
            if end {
                progress.ended();
            }
            let begin = since(&progress);
            progress.blocked(false);
            assert_eq!(since(&progress), begin);
            progress.blocked(true);
            assert!(since(&progress) > begin, "a slow backend is not a stuck one");
        }
        assert!(matches!(progress.awaited(), Awaited::Answer(_)));
    }

    #[test]
    fn a_client_that_pauses_is_not_blamed_for_what_was_not_taken_of_it() {
        let progress = Progress::begun();
        progress.starved();
        assert!(progress.is_up_to_client());
        progress.blocked(false);
        assert!(!progress.is_up_to_client());
    }
}
