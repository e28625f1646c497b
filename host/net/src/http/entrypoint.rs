//! An entrypoint on one worker: accepts connections until it is closed, and then those that the
//! system has accepted on our behalf.
//!
//! **Invariant:** no client can end the accept loop, and closing loses no connection.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use portolan_core::figure::{Counter, TrafficShard};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, oneshot},
    task,
    time::sleep,
};

use crate::{
    tls::{Keyring, TlsContext},
    worker::WorkerFigures,
};

use super::{
    config::Trust, connection, edge::Edge, redirect::Redirect, roster::Roster,
    server::EntrypointFigures,
};

/// How long nothing is accepted after the system ran out of something.
const BACK_OFF: Duration = Duration::from_millis(50);

/// An entrypoint on one worker.
#[derive(Debug)]
pub(crate) struct Door {
    /// A copy of this worker's own: its count is touched by every request.
    pub(crate) name: Arc<str>,
    pub(crate) edge: Rc<Edge>,
    pub(crate) roster: Rc<Roster>,
    pub(crate) figures: Arc<EntrypointFigures>,
    /// Of these, what this worker adds requests to.
    pub(crate) shard: Arc<TrafficShard>,
    /// Read by each connection when it begins.
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    pub(crate) tls: Option<Arc<TlsContext>>,
    pub(crate) keyring: Arc<Keyring>,
    /// Where everybody is sent, if this entrypoint has no routers.
    pub(crate) redirect: Option<Arc<Redirect>>,
}

/// Accepts until told to close, then tells everybody to finish.
pub(crate) async fn accept(
    door: Rc<Door>,
    listener: TcpListener,
    worker: Arc<WorkerFigures>,
    mut closing: oneshot::Receiver<()>,
) {
    loop {
        let next = async {
            // Never closed, so never an error: then there is no permit to hold.
            let permit = door.edge.permits.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, outcome) = tokio::select! {
            biased;
            _ = &mut closing => break,
            next = next => next,
        };
        match outcome {
            Ok((stream, address)) => {
                worker.accepted.increment();
                spawn(&door, stream, address, permit);
            }
            Err(error) => pause(&error).await,
        }
    }
    // The system has completed handshakes for us; closing the socket would reset them.
    empty_queue(&door, listener, &worker.accepted);
    // Let the reactor note what has arrived, so that idle connections are not closed on requests.
    task::yield_now().await;
    door.roster.drain();
}

fn spawn(
    door: &Rc<Door>,
    stream: TcpStream,
    address: SocketAddr,
    permit: Option<OwnedSemaphorePermit>,
) {
    let door = door.clone();
    // On the roster from now on: a task that has not run yet must be waited for too.
    let seat = door.roster.enter();
    task::spawn_local(async move {
        connection::serve(door, seat, stream, address).await;
        drop(permit);
    });
}

/// Some errors concern the connection that was to be accepted: it is gone, the next may be good.
/// All others, such as no file descriptors, will not pass by trying again at once.
async fn pause(error: &io::Error) {
    use io::ErrorKind as Kind;
    let of_connection = matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused
    );
    if !of_connection {
        tracing::warn!(%error, "accepting pauses");
        sleep(BACK_OFF).await;
    }
}

fn empty_queue(door: &Rc<Door>, listener: TcpListener, accepted: &Counter) {
    let Ok(listener) = listener.into_std() else { return };
    // It does not block: it ends with `WouldBlock` when the queue is empty.
    while let Ok((stream, address)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            accepted.increment();
            spawn(door, stream, address, None);
        }
    }
}
