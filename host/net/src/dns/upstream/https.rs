//! Questions over HTTPS (RFC 8484): one connection of HTTP/2, a stream for each question.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    task::spawn_local,
    time::timeout,
};

use super::{super::message::MAX_TCP, silence::Silence};
use crate::worker::LocalExecutor;

const MESSAGE: &str = "application/dns-message";

/// An answer that takes longer than this will not come.
const LATE: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it still is one, and how long it may take to say so.
const PING: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(5)];

/// The connection to one upstream that is kept.
#[derive(Default)]
pub(super) struct Web {
    kept: RefCell<Option<Rc<Connection>>>,
}

/// A connection. Questions share it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    silence: Silence,
}

impl Web {
    /// The connection, if it is open and has not been silent for too long.
    pub(super) fn open(&self, patience: Duration) -> Option<Rc<Connection>> {
        let may_ask = |it: &Rc<Connection>| !it.sender.is_closed() && !it.silence.lasts(patience);
        self.kept.borrow().clone().filter(may_ask)
    }

    /// Begins a connection over a stream, and keeps it.
    pub(super) async fn begin(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) -> io::Result<Rc<Connection>> {
        let [interval, patience] = PING;
        let handshake = Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(patience)
            // Also while nothing is asked: else the next question would be the one that finds out.
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an upstream ended");
            }
        });
        let connection = Rc::new(Connection { sender, silence: Silence::default() });
        *self.kept.borrow_mut() = Some(connection.clone());
        Ok(connection)
    }
}

impl Connection {
    /// Asks one question. Its id should be 0, so that caches of HTTP can be of use.
    pub(super) async fn ask(
        self: &Rc<Self>,
        host: &str,
        path: &str,
        question: Vec<u8>,
    ) -> io::Result<Vec<u8>> {
        // An IPv6 address stands in brackets in a URL.
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let request = Request::post(format!("https://{host}{path}"))
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::from(question))
            .map_err(io::Error::other)?;
        self.silence.asked();
        let (arrived, arrival) = oneshot::channel();
        let connection = self.clone();
        // Who asks may be content with somebody else's answer; that this one came late is no silence.
        spawn_local(async move {
            let response = timeout(LATE, connection.sender.clone().send_request(request)).await;
            if let Ok(response) = response {
                connection.silence.heard();
                // Perhaps nobody waits any more.
                drop(arrived.send(response));
            }
        });
        let response = arrival.await.map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))?;
        let response = response.map_err(io::Error::other)?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("the upstream says {}", response.status())));
        }
        let body = Limited::new(response.into_body(), MAX_TCP).collect().await;
        Ok(body.map_err(io::Error::other)?.to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::duplex,
        task::{LocalSet, yield_now},
        time::advance,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_not_used_again() {
        LocalSet::new()
            .run_until(async {
                let (web, (ours, _theirs)) = (Web::default(), duplex(65_536));
                let connection = web.begin(ours).await.unwrap();
                assert!(web.open(SHORT).is_some());
                let asked = connection.ask("dns.example", "/dns-query", vec![0; 12]);
                assert!(timeout(SHORT * 2, asked).await.is_err());
                assert!(web.open(SHORT).is_none());
                assert!(web.open(SHORT * 3).is_some());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_dead_is_noticed_though_nothing_is_asked() {
        LocalSet::new()
            .run_until(async {
                let (web, (ours, _theirs)) = (Web::default(), duplex(65_536));
                web.begin(ours).await.unwrap();
                for step in PING {
                    assert!(web.open(SHORT).is_some());
                    advance(step + SHORT).await;
                    for _ in 0..16 {
                        yield_now().await;
                    }
                }
                assert!(web.open(SHORT).is_none());
            })
            .await;
    }
}
