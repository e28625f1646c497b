//! The HTTP job of a worker: opens and closes its entrypoints as it is told, and counts seconds.
//!
//! **Invariant:** the job ends when every connection that was accepted has ended.

use std::{
    convert::Infallible, net::TcpListener as StdListener, rc::Rc, sync::Arc, time::Duration,
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use portolan_core::{figure::Combinations, live::Live};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{self, JoinHandle},
    time::{MissedTickBehavior, interval},
};

use crate::{
    tls::{Keyring, TlsContext},
    worker::WorkerContext,
};

use super::{
    config::{HttpConfig, Trust},
    crowd::Crowd,
    edge::Edge,
    entrypoint::{Door, Noted, accept},
    limits::Limits,
    redirect::Redirect,
    roster::{Patience, Roster},
    server::EntrypointFigures,
    spare::Accepts,
};

/// What a worker is told by the server.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept here.
    Open(OpenDoor),
    /// Finish what is open there, and let go.
    Close(u64),
    /// Count requests by what their headers say, from the next one on; what comes with it is dropped then.
    CountBy(Option<Arc<Combinations>>, mpsc::Sender<Infallible>),
}

/// An entrypoint to be opened.
#[derive(Debug)]
pub(crate) struct OpenDoor {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) listener: Option<StdListener>,
    pub(crate) accepts: Option<Accepts>,
    pub(crate) figures: Arc<EntrypointFigures>,
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    pub(crate) limits: Arc<ArcSwap<Limits>>,
    pub(crate) noted: Arc<Noted>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) tls: Option<Arc<TlsContext>>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) redirect: Option<Arc<Redirect>>,
}

/// An entrypoint that is open, or closing.
struct Accepting {
    roster: Rc<Roster>,
    limits: Arc<ArcSwap<Limits>>,
    /// `None` when it is closing.
    close: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

struct HttpWorker {
    context: WorkerContext,
    edge: Rc<Edge>,
    doors: HashMap<u64, Accepting>,
}

/// Serves HTTP on a worker until that is to stop and everything is finished.
pub(crate) async fn work(
    context: WorkerContext,
    config: Arc<HttpConfig>,
    live: Live,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut stop = context.stop.clone();
    let edge = Edge::new(config, &live, context.index);
    if edge.pen.is_some() {
        let edge = edge.clone();
        task::spawn_local(async move {
            if let Some(pen) = &edge.pen {
                pen.keep_flushing().await;
            }
        });
    }
    let mut worker = HttpWorker { context, edge, doors: HashMap::new() };
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(command) = commands.recv() => worker.obey(command),
            _ = seconds.tick() => worker.tick(),
            _ = stop.requested() => break,
        }
    }
    // A listener that was bound has clients, even if it never came to be opened.
    while let Ok(command) = commands.try_recv() {
        worker.obey(command);
    }
    let ids: Vec<u64> = worker.doors.keys().copied().collect();
    ids.into_iter().for_each(|id| worker.close(id));
    let doors: Vec<_> = worker.doors.drain().map(|(_, door)| door).collect();
    let rosters: Vec<_> = doors.iter().map(|door| door.roster.clone()).collect();
    let mut finished = std::pin::pin!(finish(doors));
    loop {
        tokio::select! {
            () = &mut finished => break,
            _ = seconds.tick() => {
                worker.tick();
                rosters.iter().for_each(|roster| roster.sweep());
            }
        }
    }
    worker.edge.pool.close_idle();
}

async fn finish(doors: Vec<Accepting>) {
    for door in doors {
        if let Err(error) = door.task.await {
            tracing::error!(%error, "accept loop panicked");
        }
        door.roster.emptied().await;
    }
}

impl HttpWorker {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(door) => self.open(door),
            Command::Close(id) => self.close(id),
            Command::CountBy(headers, _done) => _ = self.edge.combinations.replace(headers),
        }
    }

    fn open(&mut self, door: OpenDoor) {
        let OpenDoor { id, name, listener, figures, accepts, .. } = door;
        let Some(listener) = listener else { return };
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(entrypoint = %name, %error, "worker cannot listen");
                return;
            }
        };
        let edge = self.edge.clone();
        let roster = Roster::new(edge.clock.clone(), Patience::of(&door.limits.load().timeouts));
        let shard = figures.traffic.shard(self.context.index).clone();
        let limits = door.limits.clone();
        let door = Rc::new(Door {
            name: (*name).into(),
            edge,
            roster: roster.clone(),
            figures,
            shard,
            trust: door.trust,
            limits: door.limits,
            noted: door.noted,
            crowd: door.crowd,
            tls: door.tls,
            keyring: door.keyring,
            redirect: door.redirect,
        });
        let (close, closing) = oneshot::channel();
        let figures = self.context.figures.clone();
        let task = task::spawn_local(accept(door, (listener, accepts), figures, closing));
        self.doors.insert(id, Accepting { roster, limits, close: Some(close), task });
    }

    fn close(&mut self, id: u64) {
        if let Some(close) = self.doors.get_mut(&id).and_then(|door| door.close.take()) {
            // It listens for as long as it accepts.
            close.send(()).unwrap_or_default();
        }
    }

    fn tick(&mut self) {
        self.edge.tick();
        self.doors.retain(|_, door| !(door.task.is_finished() && door.roster.is_empty()));
        for door in self.doors.values() {
            door.roster.set_patience(Patience::of(&door.limits.load().timeouts));
            door.roster.sweep();
        }
    }
}
