//! The connections of the admin API: how many there may be, and how long one may say nothing.
//!
//! **Invariant:** whoever opens connections and sends no request takes nothing that requests to the edge
//! need, and gives way to who does send one.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::{
    resource::{Resource, getrlimit},
    socket::{setsockopt, sockopt::TcpUserTimeout},
};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
};

use super::listener::Reserved;

/// How far clients of the admin API may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// So many connections. One too many takes the place of the one that has been without a first request for
    /// the longest, or else waits.
    pub(super) connections: usize,
    /// How long the head of a request may take, from the beginning of the connection or the end of the
    /// answer before.
    pub(super) head: Duration,
    /// How long a client may take nothing of what it is sent.
    pub(super) unread: Duration,
}

impl Bounds {
    /// More than tools and browsers of a team need, and a quarter of the descriptors at most: the others
    /// are for those who are served.
    pub(super) fn usual() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let quarter = usize::try_from(files / 4).unwrap_or(usize::MAX);
        Self {
            connections: quarter.clamp(1, 256),
            head: Duration::from_secs(15),
            unread: Duration::from_secs(60),
        }
    }
}

/// A connection on which no request has come yet, as far as is known.
struct Silent {
    is_heard: Arc<AtomicBool>,
    /// Ends it.
    end: oneshot::Sender<()>,
}

impl Silent {
    fn is_over(&self) -> bool {
        self.is_heard.load(Relaxed) || self.end.is_closed()
    }
}

/// Answers on a socket for as long as the process lives.
pub(super) async fn serve(mut listener: Reserved, app: Router, bounds: Bounds) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    // The one that came first is the first.
    let mut silent = VecDeque::<Silent>::new();
    loop {
        let stream = listener.accept().await;
        set_up(&stream, bounds.unread);
        if room.available_permits() == 0 {
            silent.retain(|it| !it.is_over());
            if let Some(longest) = silent.pop_front() {
                longest.end.send(()).unwrap_or_default();
            }
        }
        // It is never closed. Meanwhile others wait where the system keeps them.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let is_heard = Arc::<AtomicBool>::default();
        let (end, ended) = oneshot::channel();
        if silent.len() >= bounds.connections {
            silent.retain(|it| !it.is_over());
        }
        silent.push_back(Silent { is_heard: is_heard.clone(), end });
        let (app, heard) = (TowerToHyperService::new(app.clone()), is_heard.clone());
        let service = service_fn(move |request| {
            heard.store(true, Relaxed);
            app.call(request)
        });
        let served = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let mut served = std::pin::pin!(served);
            let outcome = tokio::select! {
                outcome = &mut served => outcome,
                // Where its request came just now it stays.
                end = ended => match end {
                    Ok(()) if !is_heard.load(Relaxed) => Ok(()),
                    _ => served.await,
                },
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "connection to the admin API ended");
            }
            drop(place);
        });
    }
}

/// What is sent leaves at once, and is taken or given up.
fn set_up(stream: &TcpStream, unread: Duration) {
    let millis = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true);
    let set = set.and_then(|()| Ok(setsockopt(stream, TcpUserTimeout, &millis)?));
    if let Err(error) = set {
        tracing::debug!(%error, "options of a connection to the admin API not set");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::{Instant, timeout},
    };

    use super::*;

    const HEAD: Duration = Duration::from_secs(15);

    async fn start(connections: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/ping", get(async || "OK"));
        let bounds = Bounds { connections, head: HEAD, unread: Duration::from_secs(60) };
        tokio::spawn(serve(Reserved::new(listener), app, bounds));
        address
    }

    /// Sends this, and reads until the other side closes.
    async fn said(address: SocketAddr, bytes: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = timeout(4 * HEAD, stream.read_to_string(&mut text)).await;
        read.expect("it is still open").unwrap();
        text
    }

    const PING: &str = "GET /ping HTTP/1.1\r\nHost: a\r\n";

    #[tokio::test(start_paused = true)]
    async fn half_a_head_and_a_kept_connection_are_given_up() {
        let address = start(8).await;
        for begun in ["", PING] {
            assert_eq!(said(address, begun).await, "");
        }
        let answer = said(address, &format!("{PING}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_takes_the_place_of_the_longest_silent_one() {
        let address = start(2).await;
        let begun = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(PING.as_bytes()).await.unwrap();
            silent.push(stream);
        }
        let answer = said(address, &format!("{PING}Connection: close\r\n\r\n")).await;
        assert!(answer.ends_with("OK"), "{answer}");
        assert!(begun.elapsed() < HEAD);
        let mut read = String::new();
        silent[0].read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "");
        assert!(begun.elapsed() < HEAD, "it was the first to go");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_waits_for_those_that_were_heard() {
        let address = start(2).await;
        let begun = Instant::now();
        let mut kept = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{PING}\r\n").as_bytes()).await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            kept.push(stream);
        }
        let answer = said(address, &format!("{PING}Connection: close\r\n\r\n")).await;
        assert!(answer.ends_with("OK"), "{answer}");
        assert!(begun.elapsed() >= HEAD);
    }
}
