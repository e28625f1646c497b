//! An entrypoint on one worker: accepts connections until it is closed, and then those that the
//! system has accepted on our behalf.
//!
//! **Invariant:** no client can end the accept loop, and closing loses no connection that was there
//! before: who comes to an address that goes on finds its sockets open (`spare`).

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use nix::errno::Errno;
use portolan_core::{
    figure::{Counter, TrafficShard},
    limit::Limit,
    router::{Observability, TraceVerbosity},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task,
    time::sleep,
};

use crate::{
    tls::{Keyring, TlsContext},
    worker::WorkerFigures,
};

use super::{
    config::Trust,
    connection,
    crowd::Crowd,
    edge::Edge,
    limits::Limits,
    redirect::Redirect,
    roster::{Roster, Tick},
    server::EntrypointFigures,
    spare::Accepts,
};

/// How long nothing is accepted after the system ran out of something.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How often a person is told of that, in seconds.
const TELL_EVERY: Tick = 10;

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
    /// Read by each connection when it begins.
    pub(crate) limits: Arc<ArcSwap<Limits>>,
    /// Read by each request.
    pub(crate) noted: Arc<Noted>,
    /// Who is here, on all workers.
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) tls: Option<Arc<TlsContext>>,
    pub(crate) keyring: Arc<Keyring>,
    /// Where everybody is sent, if this entrypoint has no routers.
    pub(crate) redirect: Option<Arc<Redirect>>,
}

/// What is noted of requests whose router does not say, which may change while they come.
#[derive(Debug, Default)]
pub(crate) struct Noted(AtomicU8);

impl Noted {
    pub(crate) fn new(noted: Observability) -> Self {
        let it = Self::default();
        it.store(noted);
        it
    }

    /// A bit for each that is off, and one for each verbosity.
    pub(crate) fn store(&self, noted: Observability) {
        let bits = noted.wanted().map(|wanted| u8::from(!wanted));
        let verbosity = match noted.trace_verbosity {
            None => 0,
            Some(TraceVerbosity::Minimal) => 8,
            Some(TraceVerbosity::Detailed) => 16,
        };
        self.0.store(bits[0] | bits[1] << 1 | bits[2] << 2 | verbosity, Relaxed);
    }

    pub(crate) fn load(&self) -> Observability {
        let bits = self.0.load(Relaxed);
        let is_on = |bit: u8| Some(bits & bit == 0);
        let trace_verbosity = match bits & 24 {
            8 => Some(TraceVerbosity::Minimal),
            16 => Some(TraceVerbosity::Detailed),
            _ => None,
        };
        let [access_logs, metrics, tracing] = [1, 2, 4].map(is_on);
        Observability { access_logs, metrics, tracing, trace_verbosity }
    }
}

impl Door {
    /// Notes that a client went beyond a limit.
    pub(crate) fn exceeded(&self, limit: Limit) {
        self.figures.limits.count(limit);
        tracing::debug!(entrypoint = %self.name, limit = limit.as_str(), "beyond a limit");
    }
}

/// Accepts until told to close, then tells everybody to finish.
pub(crate) async fn accept(
    door: Rc<Door>,
    (listener, accepts): (TcpListener, Option<Accepts>),
    worker: Arc<WorkerFigures>,
    mut closing: oneshot::Receiver<()>,
) {
    let mut pause = Pause::default();
    loop {
        let next = async {
            if !door.crowd.has_room() {
                door.exceeded(Limit::Connections);
                door.crowd.room().await;
            }
            listener.accept().await
        };
        let outcome = tokio::select! {
            biased;
            _ = &mut closing => break,
            outcome = next => outcome,
        };
        match outcome {
            Ok((stream, address)) => {
                worker.accepted.increment();
                spawn(&door, stream, address);
            }
            Err(error) => pause.after(&door, &error).await,
        }
    }
    drop(accepts);
    // The system has completed handshakes for us; closing the socket would reset them.
    empty_queue(&door, listener, &worker.accepted);
    // Let the reactor note what has arrived, so that idle connections are not closed on requests.
    task::yield_now().await;
    door.roster.drain();
}

fn spawn(door: &Rc<Door>, stream: TcpStream, address: SocketAddr) {
    let door = door.clone();
    let place = door.crowd.enter();
    // On the roster from now on: a task that has not run yet must be waited for too.
    let seat = door.roster.enter();
    task::spawn_local(async move {
        connection::serve(door, seat, stream, address).await;
        drop(place);
    });
}

/// What becomes of errors.
#[derive(Debug, Default)]
struct Pause {
    /// When a person was told last, and how often it happened since.
    told: Option<Tick>,
    silent: u32,
}

impl Pause {
    /// Some errors concern the connection that was to be accepted: it is gone, the next may be
    /// good. All others, such as no file descriptors, will not pass by trying again at once.
    async fn after(&mut self, door: &Door, error: &io::Error) {
        use io::ErrorKind as Kind;
        let of_connection = matches!(
            error.kind(),
            Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused
        );
        if of_connection {
            return;
        }
        door.exceeded(match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE) => Limit::FileDescriptors,
            _ => Limit::System,
        });
        let now = door.edge.clock.now();
        if self.told.is_some_and(|told| now.wrapping_sub(told) < TELL_EVERY) {
            self.silent += 1;
        } else {
            let more = std::mem::take(&mut self.silent);
            self.told = Some(now);
            tracing::warn!(entrypoint = %door.name, %error, more, "accepting pauses");
        }
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
            spawn(door, stream, address);
        }
    }
}
