//! One connection of a client, from its first byte to its last: encryption, protocol, requests,
//! and perhaps a tunnel at the end.
//!
//! **Invariant:** a client that says nothing, or goes on for ever, costs one task and no more; it
//! is told to go by its entrypoint's roster.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use portolan_core::exchange::Peer;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::TlsStream;

use crate::tls::TlsContext;

use super::{
    dial::LocalExecutor,
    edge::Edge,
    entrypoint::Door,
    headers,
    roster::{Notice, Seat},
    service,
    tunnel::Tunnel,
    wire::{Stream, Wire},
};

/// What the first bytes of HTTP/2 are (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client, as its requests know it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) edge: Rc<Edge>,
    pub(crate) door: Rc<Door>,
    pub(crate) peer: Peer,
    pub(crate) told: headers::Origin,
    pub(crate) seat: Seat,
    /// Where the connection goes on when HTTP is over.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(door: Rc<Door>, seat: Seat, stream: TcpStream, address: SocketAddr) {
    door.figures.open_connections.increment();
    match &door.tls {
        None => plain(&door, seat, stream, address).await,
        Some(tls) => encrypted(&door, seat, stream, address, tls.clone()).await,
    }
    door.figures.open_connections.decrement();
}

async fn plain(door: &Rc<Door>, seat: Seat, mut stream: TcpStream, address: SocketAddr) {
    let sniffed = {
        let gone = pin!(poll_fn(|cx| match seat.poll_notice(cx) {
            Poll::Ready(Notice::Expired) => Poll::Ready(()),
            // Its first request is on its way; the roster will not wait for it long.
            Poll::Ready(Notice::Drain) | Poll::Pending => Poll::Pending,
        }));
        match select(pin!(sniff(&mut stream)), gone).await {
            Either::Left((sniffed, _)) => sniffed,
            Either::Right(_) => return,
        }
    };
    let Ok((protocol, ahead)) = sniffed else { return };
    let peer = Peer { address, tls: false, sni: None };
    let client = Client::new(door, seat, peer);
    speak(protocol, client, Wire::new(Stream::Plain(stream), ahead)).await;
}

async fn encrypted(
    door: &Rc<Door>,
    seat: Seat,
    stream: TcpStream,
    address: SocketAddr,
    tls: Arc<TlsContext>,
) {
    let limit = door.edge.config.handshake_timeout;
    let stream = match timeout(limit, tls.accept(stream)).await {
        Ok(Ok(Some(stream))) => stream,
        // A certificate authority has seen what it wanted to see.
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %address, %error, "handshake failed");
            return;
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            return;
        }
    };
    let session = &stream.get_ref().1;
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        Some(_) | None => Protocol::Http1,
    };
    let sni = session.server_name().map(|name| name.to_ascii_lowercase().into());
    let client = Client::new(door, seat, Peer { address, tls: true, sni });
    let stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
    speak(protocol, client, Wire::new(stream, Bytes::new())).await;
}

/// Reads until it is clear which protocol is spoken; what was read is to be read again.
async fn sniff(stream: &mut TcpStream) -> io::Result<(Protocol, Bytes)> {
    let mut ahead = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let protocol = match PREFACE.get(..ahead.len()) {
            Some(begin) if *begin == *ahead => continue,
            None if ahead.starts_with(PREFACE) => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        return Ok((protocol, ahead.freeze()));
    }
}

async fn speak(protocol: Protocol, client: Rc<Client>, wire: Wire) {
    match protocol {
        Protocol::Http1 => http1(client, wire).await,
        Protocol::Http2 => http2(client, wire).await,
    }
}

async fn http1(client: Rc<Client>, wire: Wire) {
    let answering = client.clone();
    let service = service_fn(move |request| {
        let answer = service::answer(answering.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(client.edge.config.max_header_bytes)
        .serve_connection(wire, service);
    let ended = drive(&client, Protocol::Http1, |cx, leave| {
        let mut connection = Pin::new(&mut connection);
        if leave {
            connection.as_mut().graceful_shutdown();
        }
        connection.poll(cx)
    })
    .await;
    let tunnel = client.tunnel.take();
    if let (Some(Ok(())), Some(tunnel)) = (ended, tunnel) {
        let parts = connection.into_parts();
        tunnel.run(parts.io.into_stream(), parts.read_buf).await;
    }
}

async fn http2(client: Rc<Client>, wire: Wire) {
    let answering = client.clone();
    let service = service_fn(move |request| {
        let answer = service::answer(answering.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let config = &client.edge.config;
    let connection = http2::Builder::new(LocalExecutor)
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .serve_connection(wire, service);
    let mut connection = pin!(connection);
    drive(&client, Protocol::Http2, |cx, leave| {
        if leave {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
}

/// Drives a connection until it ends, or until it had its chance to end and did not take it.
/// `step` lets it read and write; its second argument asks it to leave.
///
/// In HTTP/2 leaving loses nothing: the client learns which of its requests were taken. In
/// HTTP/1 closing a quiet connection may cross a request, so that leaves with its next response,
/// or when it stays quiet.
async fn drive(
    client: &Client,
    protocol: Protocol,
    mut step: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
) -> Option<hyper::Result<()>> {
    let (mut draining, mut leaving) = (false, false);
    poll_fn(|cx| {
        // First whatever has arrived already: a request that was sent is answered.
        let mut ended = step(cx, false);
        loop {
            if let Poll::Ready(result) = ended {
                if let Err(error) = &result {
                    tracing::debug!(client.address = %client.peer.address, %error, "connection ended");
                }
                return Poll::Ready(Some(result));
            }
            if draining
                && !leaving
                && (protocol == Protocol::Http2 || client.seat.is_busy())
            {
                leaving = true;
                ended = step(cx, true);
                continue;
            }
            match client.seat.poll_notice(cx) {
                Poll::Ready(Notice::Drain) => draining = true,
                Poll::Ready(Notice::Expired) if leaving => return Poll::Ready(None),
                Poll::Ready(Notice::Expired) => {
                    leaving = true;
                    ended = step(cx, true);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

impl Client {
    fn new(door: &Rc<Door>, seat: Seat, peer: Peer) -> Rc<Self> {
        let edge = door.edge.clone();
        let address = HeaderValue::try_from(peer.address.ip().to_canonical().to_string());
        let told = headers::Origin {
            // The text of an address is a valid header value.
            address: address.unwrap_or(HeaderValue::from_static("unknown")),
            tls: peer.tls,
            server: edge.server.clone(),
        };
        Rc::new(Self { edge, door: door.clone(), peer, told, seat, tunnel: RefCell::default() })
    }
}
