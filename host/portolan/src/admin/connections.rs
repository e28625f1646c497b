//! The connections of the admin API: how many there may be, and how long one may say nothing.
//!
//! **Invariant:** whoever opens connections and sends no request takes nothing that requests to the edge
//! need, and gives way to who does send one. A connection with a request under way never gives way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use http_body_util::BodyExt as _;
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
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};

use super::listener::Reserved;

/// How far clients of the admin API may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// So many connections. One too many takes the place of the one that has been without a first request for
    /// the longest, or else of the one whose last answer is the longest ago, or else waits for one of these.
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

/// How long one that gives way has for the end of its last answer.
const LEAVING: Duration = Duration::from_millis(200);

/// What happens on a connection.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    /// No request has come yet.
    Silent,
    /// The last answer ended then.
    Idle(Instant),
    /// A request is under way.
    Busy,
    /// It is to give way.
    Leaving {
        /// Whether any request came before.
        was_heard: bool,
    },
}

/// A connection, as those see it who look for room.
struct Seat {
    phase: Mutex<Phase>,
    /// Told when it is to give way.
    leave: Notify,
    /// Told when an answer has ended on any of them, or one does not give way.
    moved: Arc<Notify>,
}

impl Seat {
    fn new(moved: Arc<Notify>) -> Self {
        Self { phase: Mutex::new(Phase::Silent), leave: Notify::new(), moved }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way, until its answer was taken to the end.
struct UnderWay(Arc<Seat>);

impl UnderWay {
    fn begin(seat: &Arc<Seat>) -> Self {
        *seat.phase() = Phase::Busy;
        Self(seat.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Idle(Instant::now());
        self.0.moved.notify_waiters();
    }
}

/// Tells the one to go that can best be spared: it has been silent for the longest, or else idle.
fn make_room(seats: &mut Vec<Arc<Seat>>) {
    // Of those that ended nobody else knows. The one that came first is the first.
    seats.retain(|seat| Arc::strong_count(seat) > 1);
    let spared = seats.iter().min_by_key(|seat| *seat.phase());
    if let Some(seat) = spared {
        let mut phase = seat.phase();
        let was_heard = match *phase {
            Phase::Silent => false,
            Phase::Idle(_) => true,
            Phase::Busy | Phase::Leaving { .. } => return,
        };
        *phase = Phase::Leaving { was_heard };
        seat.leave.notify_one();
    }
}

/// Answers on a socket for as long as the process lives.
pub(super) async fn serve(mut listener: Reserved, app: Router, bounds: Bounds) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    let moved = Arc::<Notify>::default();
    let mut seats = Vec::<Arc<Seat>>::new();
    loop {
        let stream = listener.accept().await;
        set_up(&stream, bounds.unread);
        // Meanwhile others wait where the system keeps them.
        let place = loop {
            let next = moved.notified();
            if let Ok(place) = room.clone().try_acquire_owned() {
                break place;
            }
            make_room(&mut seats);
            tokio::select! {
                // It is never closed.
                Ok(place) = room.clone().acquire_owned() => break place,
                () = next => (),
            }
        };
        if seats.len() >= bounds.connections {
            seats.retain(|seat| Arc::strong_count(seat) > 1);
        }
        let seat = Arc::new(Seat::new(moved.clone()));
        seats.push(seat.clone());
        let (app, taken) = (TowerToHyperService::new(app.clone()), seat.clone());
        let service = service_fn(move |request| {
            let under_way = UnderWay::begin(&taken);
            let answer = app.call(request);
            async move {
                // The body of the answer takes it along.
                let answer = answer.await?;
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    body.map_frame(move |frame| {
                        let _ends_with_the_body = &under_way;
                        frame
                    })
                }))
            }
        });
        let served = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let mut served = std::pin::pin!(served);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut served => break outcome,
                    () = seat.leave.notified() => (),
                }
                let phase = *seat.phase();
                match phase {
                    Phase::Leaving { was_heard: false } => break Ok(()),
                    // What it has not taken yet of its last answer it may still take.
                    Phase::Leaving { was_heard: true } => {
                        served.as_mut().graceful_shutdown();
                        break timeout(LEAVING, served).await.unwrap_or(Ok(()));
                    }
                    // Its request came just now.
                    _ => seat.moved.notify_waiters(),
                }
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

    use axum::{body::Body, routing::get};
    use futures_util::StreamExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::{Instant, timeout},
    };

    use super::*;

    const HEAD: Duration = Duration::from_secs(15);

    async fn start(connections: usize) -> SocketAddr {
        start_with(connections, Arc::default()).await
    }

    /// `/slow` is answered once it is released, `/stream` never to the end.
    async fn start_with(connections: usize, release: Arc<Notify>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = get(async move || {
            release.notified().await;
            "slow"
        });
        let endless = get(async || {
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("begun")]);
            Body::from_stream(pieces.chain(futures_util::stream::pending()))
        });
        let app = Router::new().route("/ping", get(async || "OK"));
        let app = app.route("/slow", slow).route("/stream", endless);
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

    /// One that was heard, and is kept.
    async fn kept(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{PING}\r\n").as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_takes_the_place_of_the_one_that_was_answered_the_longest_ago() {
        let address = start(2).await;
        let begun = Instant::now();
        let mut both = [kept(address).await, kept(address).await];
        tokio::time::advance(Duration::from_millis(1)).await;
        // The first one is heard again.
        both[0].write_all(format!("{PING}\r\n").as_bytes()).await.unwrap();
        assert!(both[0].read(&mut [0; 1024]).await.unwrap() > 0);
        let answer = said(address, &format!("{PING}Connection: close\r\n\r\n")).await;
        assert!(answer.ends_with("OK"), "{answer}");
        assert_eq!(both[1].read(&mut [0; 1024]).await.unwrap(), 0);
        assert!(begun.elapsed() < HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_waits_for_requests_that_are_under_way() {
        let release = Arc::<Notify>::default();
        let address = start_with(2, release.clone()).await;
        let mut slow = Vec::new();
        for path in ["/slow", "/stream"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        // The head of the second answer came, and its body has begun.
        assert!(slow[1].read(&mut [0; 1024]).await.unwrap() > 0);
        let ping = format!("{PING}Connection: close\r\n\r\n");
        let mut answer = std::pin::pin!(said(address, &ping));
        assert!(timeout(2 * HEAD, &mut answer).await.is_err(), "it took a place");
        let released = Instant::now();
        release.notify_one();
        let answer = answer.await;
        assert!(answer.ends_with("OK"), "{answer}");
        assert!(released.elapsed() < HEAD, "it takes the place of one that was answered");
        let mut text = vec![0; 1024];
        let length = slow[0].read(&mut text).await.unwrap();
        assert!(text[..length].ends_with(b"slow"), "{}", String::from_utf8_lossy(&text));
    }
}
