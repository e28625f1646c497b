//! One connection of a client, from its first byte to its last: encryption, protocol, requests,
//! and perhaps a tunnel at the end.
//!
//! **Invariant:** a client that says nothing, or goes on for ever, costs one task and no more; it
//! is told to go by its entrypoint's roster.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use http::HeaderValue;
use portolan_core::{exchange::Peer, figure::Encryption, limit::Limit};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::TlsStream;

use crate::tls::{Greeting, TlsContext, subject};

use super::{
    crowd::Guest,
    edge::{Edge, ticks},
    entrypoint::Door,
    headers, http1, http2,
    limits::Limits,
    proxy_protocol,
    rescue::HttpError,
    roster::{Notice, Seat, Tick},
    tunnel::Tunnel,
};
use crate::h1::{Line, Stream};

/// What the first bytes of HTTP/2 are (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client, as its requests know it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) edge: Rc<Edge>,
    pub(crate) door: Rc<Door>,
    /// How far it may go.
    pub(crate) limits: Arc<Limits>,
    pub(crate) peer: Peer,
    pub(crate) told: headers::Origin,
    /// How the connection is encrypted, and a number that stands for it.
    pub(crate) encryption: Option<(u32, Encryption)>,
    /// Whom the client's certificate is about, where that is written down.
    pub(crate) subject: Option<Rc<str>>,
    pub(crate) seat: Seat,
    /// Where the connection goes on when HTTP is over.
    pub(crate) tunnel: RefCell<Option<Box<Tunnel>>>,
    /// Its connection, where HTTP/1 is spoken.
    pub(crate) line: RefCell<Option<Rc<RefCell<Line>>>>,
    /// How many requests there were.
    requests: Cell<u32>,
    /// Whether no more are to come.
    is_last: Cell<bool>,
    began: Tick,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(door: Rc<Door>, seat: Seat, mut stream: TcpStream, address: SocketAddr) {
    door.figures.open_connections.increment();
    let limits = door.limits.load_full();
    if let Some(from) = from(&door, &limits, &mut stream, address).await
        && let Ok(_guest) = welcome(&door, &limits, from)
    {
        match &door.tls {
            None => plain(&door, limits, seat, stream, from).await,
            // In a box, as everything that most connections are not: a task is as large as what it
            // may come to be, and most of them wait.
            Some(tls) => {
                let tls = tls.clone();
                Box::pin(encrypted(&door, limits, seat, stream, from, tls)).await;
            }
        }
    }
    door.figures.open_connections.decrement();
}

/// Counts a connection as its client's, where that is limited. An error: there are too many.
fn welcome(door: &Door, limits: &Limits, from: Arrival) -> Result<Option<Guest>, ()> {
    let Some(most) = limits.max_connections_per_client.filter(|_| !from.is_proxy) else {
        return Ok(None);
    };
    let guest = door.crowd.welcome(from.address.ip(), most);
    if guest.is_none() {
        door.exceeded(Limit::ClientConnections);
        tracing::debug!(client.address = %from.address, "client has too many connections");
    }
    guest.map(Some).ok_or(())
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// The client, as far as is known.
    address: SocketAddr,
    /// Whether what it says of others is believed.
    is_trusted: bool,
    /// Whether that is all that is known of the client: behind it may be many.
    is_proxy: bool,
}

/// Where a connection comes from, if it says so where it must.
async fn from(
    door: &Door,
    limits: &Limits,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Option<Arrival> {
    let trust = door.trust.load_full();
    // Whoever stands before us with the PROXY protocol does not read headers: those that come are
    // of the one it names, so it is that one who has to be trusted.
    let arrival = |address: SocketAddr, is_named: bool| {
        let is_trusted = trust.takes_headers_of(address.ip());
        Some(Arrival { address, is_trusted, is_proxy: is_trusted || !is_named })
    };
    if !trust.wants_header_of(peer.ip()) {
        return arrival(peer, true);
    }
    match timeout(limits.timeouts.handshake, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => arrival(client.unwrap_or(peer), client.is_some()),
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %peer, %error, "PROXY protocol failed");
            None
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            door.exceeded(Limit::HandshakeTimeout);
            None
        }
    }
}

async fn plain(
    door: &Rc<Door>,
    limits: Arc<Limits>,
    seat: Seat,
    mut stream: TcpStream,
    from: Arrival,
) {
    let sniffed = {
        let gone = pin!(poll_fn(|cx| match seat.poll_notice(cx) {
            Poll::Ready(Notice::Expired(limit)) => Poll::Ready(limit),
            // Its first request is on its way; the roster will not wait for it long.
            Poll::Ready(Notice::Drain) | Poll::Pending => Poll::Pending,
        }));
        match select(pin!(sniff(&mut stream)), gone).await {
            Either::Left((sniffed, _)) => sniffed,
            Either::Right((limit, _)) => {
                return limit.into_iter().for_each(|limit| door.exceeded(limit));
            }
        }
    };
    let Ok((protocol, ahead)) = sniffed else { return };
    let peer = Peer { address: from.address, tls: false, sni: None };
    let client = Client::new(door, limits, seat, peer, from.is_trusted, (None, None));
    speak(protocol, client, Stream::Plain(stream), ahead).await;
}

async fn encrypted(
    door: &Rc<Door>,
    limits: Arc<Limits>,
    seat: Seat,
    stream: TcpStream,
    from: Arrival,
    tls: Arc<TlsContext>,
) {
    let stream = match timeout(limits.timeouts.handshake, tls.accept(stream)).await {
        Ok(Ok(Greeting::Encrypted(stream))) => *stream,
        // A certificate authority has seen what it wanted to see.
        Ok(Ok(Greeting::Challenge)) => return,
        Ok(Ok(Greeting::Plain(stream, said))) => {
            let peer = Peer { address: from.address, tls: false, sni: None };
            let client = Client::new(door, limits, seat, peer, from.is_trusted, (None, None));
            let error = HttpError::PlainHttp;
            return http1::turn_away(client, Stream::Plain(stream), said, error).await;
        }
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %from.address, %error, "handshake failed");
            return;
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            door.exceeded(Limit::HandshakeTimeout);
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
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.filter(|_| door.edge.pen.is_some());
    let subject = shown.and_then(|certificate| subject(certificate)).map(Rc::from);
    let said = (encryption(session), subject);
    let client = Client::new(door, limits, seat, peer, from.is_trusted, said);
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
        Protocol::Http2 => Box::pin(http2::serve(client, stream, ahead)).await,
    }
}

impl Client {
    fn new(
        door: &Rc<Door>,
        limits: Arc<Limits>,
        seat: Seat,
        peer: Peer,
        is_trusted: bool,
        (encryption, subject): (Option<(u32, Encryption)>, Option<Rc<str>>),
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
        let (requests, is_last, began) = (Cell::new(0), Cell::new(false), edge.clock.now());
        Rc::new(Self {
            edge,
            door,
            limits,
            peer,
            told,
            encryption,
            subject,
            seat,
            tunnel,
            line,
            requests,
            is_last,
            began,
        })
    }

    /// A request is taken.
    pub(crate) fn note_request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
    }

    /// Whether the connection ends behind what was taken of it: it had its requests, or its time.
    pub(crate) fn is_last_request(&self) -> bool {
        let limits = &*self.limits;
        if self.is_last.get() || self.requests.get() == 0 {
            return self.is_last.get();
        }
        let age = self.edge.clock.now().wrapping_sub(self.began);
        let limit = if limits.keep_alive_max_requests.is_some_and(|it| self.requests.get() >= it) {
            Limit::Requests
        } else if limits.keep_alive_max_time.is_some_and(|it| age >= ticks(it)) {
            Limit::Age
        } else {
            return false;
        };
        self.is_last.set(true);
        self.door.exceeded(limit);
        true
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
