//! The admin API at an address.
//!
//! **Invariant:** it never shares an address (`SO_REUSEPORT`), not for a moment: who came to an
//! entrypoint would meet it by chance.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};

use crate::admin::Admin;

/// The admin API at an address.
pub(super) struct Serving {
    pub(super) wanted: SocketAddr,
    pub(super) bound: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    /// Begins to serve. `is_left`: others of ours are just letting go of the address.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub(super) async fn begin(
        admin: Admin,
        wanted: SocketAddr,
        is_left: bool,
        draining: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let listener = match is_left {
            true => in_time(wanted).await?,
            false => TcpListener::bind(wanted).await?,
        };
        let bound = listener.local_addr()?;
        let task = tokio::spawn(admin.serve(listener, draining));
        Ok(Self { wanted, bound, task })
    }

    /// Lets go of the address, at once; requests under way are finished.
    pub(super) async fn end(mut self) {
        self.task.abort();
        // That it was aborted is what was wanted.
        drop((&mut self.task).await);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on an address as soon as the workers have let go of it: they are told, and it takes them
/// one turn.
async fn in_time(address: SocketAddr) -> io::Result<TcpListener> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < PATIENCE =>
            {
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
