//! The connections of the admin API: how many there may be, and how long one may say nothing.
//!
//! **Invariant:** whoever opens connections and sends no request takes nothing that requests to the edge
//! need, and gives back what the admin API needs.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::{
    resource::{Resource, getrlimit},
    socket::{setsockopt, sockopt::TcpUserTimeout},
};
use tokio::{net::TcpStream, sync::Semaphore};

use super::listener::Reserved;

/// How far clients of the admin API may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// So many connections; one too many waits where the system keeps it.
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

/// Answers on a socket for as long as the process lives.
pub(super) async fn serve(mut listener: Reserved, app: Router, bounds: Bounds) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    // It is never closed.
    while let Ok(place) = room.clone().acquire_owned().await {
        let stream = listener.accept().await;
        set_up(&stream, bounds.unread);
        let app = TowerToHyperService::new(app.clone());
        let served = http.serve_connection(TokioIo::new(stream), app);
        tokio::spawn(async move {
            if let Err(error) = served.await {
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
    async fn a_connection_too_many_waits_for_one_that_says_nothing() {
        let address = start(2).await;
        let ask = async || said(address, &format!("{PING}Connection: close\r\n\r\n")).await;
        let begun = Instant::now();
        let _silent = TcpStream::connect(address).await.unwrap();
        assert!(ask().await.ends_with("OK"));
        assert!(begun.elapsed() < HEAD);
        let _silent_too = TcpStream::connect(address).await.unwrap();
        assert!(ask().await.ends_with("OK"));
        assert!(begun.elapsed() >= HEAD);
    }
}
