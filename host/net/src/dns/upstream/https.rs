//! Questions over HTTPS (RFC 8484): one connection of HTTP/2, a stream for each question.

use std::{cell::RefCell, io};

use bytes::Bytes;
use http::{
    Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};

use super::super::message::MAX_TCP;
use crate::worker::LocalExecutor;

const MESSAGE: &str = "application/dns-message";

/// What questions are sent with; copies share the connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// The connection to one upstream.
#[derive(Default)]
pub(super) struct Web {
    sender: RefCell<Option<Sender>>,
}

impl Web {
    /// The connection, if it is open.
    pub(super) fn open(&self) -> Option<Sender> {
        self.sender.borrow().clone().filter(|sender| !sender.is_closed())
    }

    /// Begins a connection over a stream, and keeps it.
    pub(super) async fn begin(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) -> io::Result<Sender> {
        let (sender, connection) =
            handshake(LocalExecutor, TokioIo::new(stream)).await.map_err(io::Error::other)?;
        spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an upstream ended");
            }
        });
        *self.sender.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }
}

/// Asks one question. Its id should be 0, so that caches of HTTP can be of use.
pub(super) async fn ask(
    mut sender: Sender,
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
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if !response.status().is_success() {
        return Err(io::Error::other(format!("the upstream says {}", response.status())));
    }
    let body = Limited::new(response.into_body(), MAX_TCP).collect().await;
    Ok(body.map_err(io::Error::other)?.to_bytes().to_vec())
}
