//! The event stream that keeps the dashboard live (server-sent events, HTML standard, 9.2).
//!
//! **Invariant:** a stream tells *that* something changed, never what: a browser that missed
//! events, or cannot have any, reads the same pages and is as right as the others.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    extract::State as Extract,
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{State, api::Refusal, draining, view};
use crate::control::board::Board;

/// A number and a pointer are compared this often for each open dashboard; changes closer together than
/// this are told as one.
const LOOK: Duration = Duration::from_millis(200);

/// Figures are told this often, which also shows that the connection lives.
const PULSE: Duration = Duration::from_secs(2);

/// `GET /api/events`: `change` when snapshot or board were replaced, `pulse` with the overview
/// every two seconds.
pub(super) async fn events(Extract(state): Extract<Arc<State>>) -> Response {
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        let message = "too many event streams are open";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    };
    let watcher = Watcher::new(state.clone(), permit);
    let ended = Box::pin(draining(state.drain.clone()));
    let events = stream::unfold(watcher, async |mut watcher| Some((watcher.next().await, watcher)));
    Sse::new(until(events, ended)).into_response()
}

/// One stream, and what it told last.
struct Watcher {
    state: Arc<State>,
    look: Interval,
    told: Option<(u64, Weak<Board>)>,
    pulsed: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    fn new(state: Arc<State>, permit: OwnedSemaphorePermit) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { state, look, told: None, pulsed: None, _permit: permit }
    }

    async fn next(&mut self) -> Result<Event, Infallible> {
        loop {
            let now = self.look.tick().await;
            // First, or it would never be its turn where something changes all the time.
            let is_due = match self.pulsed {
                Some(last) => now.duration_since(last) >= PULSE,
                None => self.told.is_some(),
            };
            if is_due {
                self.pulsed = Some(now);
                return Ok(self.pulse());
            }
            if let Some(generation) = self.changed() {
                let data = format!(r#"{{"generation":{generation}}}"#);
                return Ok(Event::default().event("change").data(data));
            }
        }
    }

    /// The generation that is served, when it or the board is not the one that was told last.
    fn changed(&mut self) -> Option<u64> {
        let generation = self.state.admin.live.load().generation;
        // Weak: a browser that has stopped reading must not keep an old board alive.
        let board = Arc::downgrade(&self.state.admin.board.load_full());
        let same = self.told.as_ref().is_some_and(|(old_generation, old_board)| {
            *old_generation == generation && Weak::ptr_eq(old_board, &board)
        });
        self.told = Some((generation, board));
        (!same).then_some(generation)
    }

    fn pulse(&self) -> Event {
        let admin = &self.state.admin;
        let overview =
            view::overview::Overview::of(&admin.live.load(), &admin.board.load(), &*admin.insight);
        let event = Event::default().event("pulse");
        event.json_data(overview).unwrap_or_else(|_| Event::default().comment("no overview"))
    }
}

/// The stream until something ends.
fn until<S: Stream>(events: S, ended: impl Future<Output = ()>) -> impl Stream<Item = S::Item> {
    use futures_util::StreamExt as _;
    events.take_until(ended)
}
