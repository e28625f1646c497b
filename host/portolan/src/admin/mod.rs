//! The admin API, the dashboard, and the exporter: all that a person or a tool may ask.
//!
//! **Invariant:** read-only. Nothing here changes what is served, and nothing here holds up what
//! is: it reads the snapshot and the board, each by one atomic load.
//!
//! Reading order: `insight` (what other rooms must tell), `left_out` (what HTTP does without),
//! `view` (how things look in JSON),
//! `page` (lists), `explain`, `api` (who answers what), `events`, `guard`, `dashboard`, `listener` and `connections`.

pub(crate) mod insight;
mod left_out;
mod view;
mod page;
mod secret;

pub(crate) mod explain;
mod api;
mod events;
mod guard;
mod dashboard;
mod listener;
mod connections;

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use portolan_core::live::Live;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::control::board::{Board, SharedBoard};
use connections::Bounds;
use insight::Insight;
use listener::Reserved;

/// How many event streams may be open: browsers beyond that ask every few seconds instead.
const MAX_STREAMS: usize = 64;

/// Plugins as `/api/plugins` tells them.
pub(crate) fn plugins(board: &Board) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(view::plugin::PluginView::all(board))
}

/// What the admin API reads from.
pub(crate) struct Admin {
    live: Live,
    board: SharedBoard,
    insight: Arc<dyn Insight>,
}

impl Admin {
    /// An API over what is served, how everything is, and what other rooms can tell. It answers to
    /// IP addresses and to names that nobody elsewhere can have: a page from elsewhere cannot make a
    /// browser send those (DNS rebinding).
    pub(crate) fn new(live: Live, board: SharedBoard, insight: Arc<dyn Insight>) -> Self {
        Self { live, board, insight }
    }

    /// Answers on a bound socket for as long as the process lives. When `drain` says true, event
    /// streams end and `/ping` answers 503: whoever balances load is to see that we leave, not that
    /// we are gone.
    ///
    /// Failed connections end alone, and a failed accept is tried again.
    pub(crate) async fn serve(self, listener: TcpListener, drain: watch::Receiver<bool>) {
        let state = Arc::new(State {
            admin: self,
            drain,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            scrapes: Arc::new(Semaphore::new(1)),
        });
        connections::serve(Reserved::new(listener), api::routes(state), Bounds::usual()).await;
    }
}

/// What every handler gets.
struct State {
    admin: Admin,
    drain: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
    /// Whose turn it is to have `/metrics` made.
    scrapes: Arc<Semaphore>,
}

/// Ends when the process begins to drain, or when whoever could say so is gone.
async fn draining(mut drain: watch::Receiver<bool>) {
    // An error means that the sender is gone; nothing will be drained later than now.
    drop(drain.wait_for(|begun| *begun).await);
}
