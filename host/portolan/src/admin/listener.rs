//! The socket of the admin API, which answers when the process has no file descriptors left: then of
//! all times somebody wants to look, and whoever watches over us must not take us for dead.
//!
//! **Invariant:** what is kept back is given to connections of the admin API only.

use std::{fs::File, time::Duration};

use portolan_net::shortage;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// So many file descriptors are kept back: for a probe, a scraper, and some who look.
const KEPT_BACK: usize = 8;
/// How long to wait for descriptors once these are used up, too.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A listener with descriptors of its own.
pub(super) struct Reserved {
    listener: TcpListener,
    kept_back: Vec<File>,
}

impl Reserved {
    /// Keeps some back for this listener, if there are any.
    pub(super) fn new(listener: TcpListener) -> Self {
        let mut reserved = Self { listener, kept_back: Vec::with_capacity(KEPT_BACK) };
        reserved.keep_back();
        reserved
    }

    fn keep_back(&mut self) {
        while self.kept_back.len() < KEPT_BACK
            && let Ok(nothing) = File::open("/dev/null")
        {
            self.kept_back.push(nothing);
        }
    }

    /// The next connection, however long that takes.
    pub(super) async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((accepted, _)) => {
                    self.keep_back();
                    return accepted;
                }
                Err(error) if shortage::is_ours(&error) && self.kept_back.pop().is_some() => {}
                Err(error) if shortage::is_ours(&error) => sleep(BACK_OFF).await,
                // One that is gone already.
                Err(error) => tracing::debug!(%error, "connection to the admin API not accepted"),
            }
        }
    }
}
