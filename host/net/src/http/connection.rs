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
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use portolan_core::{
    exchange::{Peer, ResponseHead},
    figure::Encryption,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::TlsStream;

use crate::tls::TlsContext;

use super::{
    body::{Body, Content},
    dial::LocalExecutor,
    edge::Edge,
    entrypoint::Door,
    headers, http1, proxy_protocol,
    roster::{Notice, Seat},
    service,
    tunnel::Tunnel,
    wire::Wire,
};
use crate::h1::{Line, Stream};

/// What the first bytes of HTTP/2 are (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client, as its requests know it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) edge: Rc<Edge>,
    pub(crate) door: Rc<Door>,
    pub(crate) peer: Peer,
    pub(crate) told: headers::Origin,
    /// How the connection is encrypted, and a number that stands for it.
    pub(crate) encryption: Option<(u32, Encryption)>,
    pub(crate) seat: Seat,
    /// Where the connection goes on when HTTP is over.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
    /// Its connection, where HTTP/1 is spoken.
    pub(crate) line: RefCell<Option<Rc<RefCell<Line>>>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(door: Rc<Door>, seat: Seat, mut stream: TcpStream, address: SocketAddr) {
    door.figures.open_connections.increment();
    if let Some(from) = from(&door, &mut stream, address).await {
        match &door.tls {
            None => plain(&door, seat, stream, from).await,
            // In a box, as everything that most connections are not: a task is as large as what it
            // may come to be, and most of them wait.
            Some(tls) => Box::pin(encrypted(&door, seat, stream, from, tls.clone())).await,
        }
    }
    door.figures.open_connections.decrement();
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// The client, as far as is known.
    address: SocketAddr,
    /// Whether what it says of others is believed.
    is_trusted: bool,
}

/// Where a connection comes from, if it says so where it must.
async fn from(door: &Door, stream: &mut TcpStream, peer: SocketAddr) -> Option<Arrival> {
    let trust = door.trust.load_full();
    let is_trusted = trust.takes_headers_of(peer.ip());
    if !trust.wants_header_of(peer.ip()) {
        return Some(Arrival { address: peer, is_trusted });
    }
    let limit = door.edge.config.handshake_timeout;
    match timeout(limit, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => Some(Arrival { address: client.unwrap_or(peer), is_trusted }),
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %peer, %error, "PROXY protocol failed");
            None
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            None
        }
    }
}

async fn plain(door: &Rc<Door>, seat: Seat, mut stream: TcpStream, from: Arrival) {
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
    let peer = Peer { address: from.address, tls: false, sni: None };
    let client = Client::new(door, seat, peer, from.is_trusted, None);
    speak(protocol, client, Stream::Plain(stream), ahead).await;
}

async fn encrypted(
    door: &Rc<Door>,
    seat: Seat,
    stream: TcpStream,
    from: Arrival,
    tls: Arc<TlsContext>,
) {
    let limit = door.edge.config.handshake_timeout;
    let stream = match timeout(limit, tls.accept(stream)).await {
        Ok(Ok(Some(stream))) => stream,
        // A certificate authority has seen what it wanted to see.
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %from.address, %error, "handshake failed");
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
    let peer = Peer { address: from.address, tls: true, sni };
    let client = Client::new(door, seat, peer, from.is_trusted, encryption(session));
    let stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
    speak(protocol, client, stream, Bytes::new()).await;
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

async fn speak(protocol: Protocol, client: Rc<Client>, stream: Stream, ahead: Bytes) {
    match protocol {
        Protocol::Http1 => http1::serve(client, stream, ahead).await,
        Protocol::Http2 => Box::pin(http2(client, Wire::new(stream, ahead))).await,
    }
}

async fn http2(client: Rc<Client>, wire: Wire) {
    let answering = client.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, incoming) = request.into_parts();
        let client = answering.clone();
        let answer = service::answer(client, parts, Content::Stream(incoming));
        async { Ok::<_, Infallible>(response(answer.await)) }
    });
    let config = &client.edge.config;
    let connection = http2::Builder::new(LocalExecutor)
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .serve_connection(wire, service);
    let mut connection = pin!(connection);
    let mut is_leaving = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = &result {
                    tracing::debug!(client.address = %client.peer.address, %error, "connection ended");
                }
                return Poll::Ready(());
            }
            // Leaving loses nothing: the client learns which of its requests were taken.
            match ready!(client.seat.poll_notice(cx)) {
                Notice::Expired if is_leaving => return Poll::Ready(()),
                Notice::Drain | Notice::Expired => {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    })
    .await;
}

fn response((head, body): (ResponseHead, Body)) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

impl Client {
    fn new(
        door: &Rc<Door>,
        seat: Seat,
        peer: Peer,
        is_trusted: bool,
        encryption: Option<(u32, Encryption)>,
    ) -> Rc<Self> {
        let edge = door.edge.clone();
        let address = HeaderValue::try_from(peer.address.ip().to_canonical().to_string());
        let told = headers::Origin {
            // The text of an address is a valid header value.
            address: address.unwrap_or(HeaderValue::from_static("unknown")),
            tls: peer.tls,
            server: edge.server.clone(),
            is_trusted,
        };
        let (door, tunnel, line) = (door.clone(), RefCell::default(), RefCell::default());
        Rc::new(Self { edge, door, peer, told, encryption, seat, tunnel, line })
    }
}

/// How a session is encrypted, in the words of Traefik, which are those of Go.
fn encryption(session: &rustls::ServerConnection) -> Option<(u32, Encryption)> {
    use rustls::{CipherSuite as Suite, ProtocolVersion as Version};
    let (version, suite) =
        (session.protocol_version()?, session.negotiated_cipher_suite()?.suite());
    let name = match version {
        Version::TLSv1_3 => "1.3",
        Version::TLSv1_2 => "1.2",
        _ => "unknown",
    };
    let cipher = match suite {
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        _ => suite.as_str().unwrap_or("unknown"),
    };
    let number = u32::from(u16::from(version)) << 16 | u32::from(u16::from(suite));
    Some((number, Encryption { version: name, cipher }))
}
