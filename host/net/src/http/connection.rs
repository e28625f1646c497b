//! One connection of a client, from its first byte to its last: encryption, protocol, requests,
//! and perhaps a tunnel at the end.
//!
//! **Invariant:** a client that says nothing, or goes on for ever, costs one task and no more; it
//! is told to go by its entrypoint's roster.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use portolan_core::{exchange::Peer, figure::Encryption, limit::Limit};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::TlsStream;

use crate::tls::{Greeting, Shown, TlsContext, subject};

use super::{
    config::Telling,
    crowd::Guest,
    edge::{Edge, ticks},
    entrypoint::Door,
    forwarded::Forwarded,
    http1, http2,
    limits::Limits,
    proxy_protocol,
    rescue::HttpError,
    roster::{Notice, Seat, Tick},
    tunnel::Tunnel,
};
use crate::h1::Stream;

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
    pub(crate) told: Forwarded,
    /// How the connection is encrypted, and a number that stands for it.
    pub(crate) encryption: Option<(u32, Encryption)>,
    /// Whom the client's certificate is about, where that is written down.
    pub(crate) subject: Option<Rc<str>>,
    /// What it showed of itself in the handshake, where it was asked.
    pub(crate) shown: Option<Box<Shown>>,
    pub(crate) seat: Seat,
    /// Its place among the connections of its client, where those are limited.
    _guest: Option<Guest>,
    /// Where the connection goes on when HTTP is over.
    pub(crate) tunnel: RefCell<Option<Box<Tunnel>>>,
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

/// What goes on over a connection once it is known what that is, until it ends.
type Talk = Pin<Box<dyn Future<Output = ()>>>;

/// Serves a connection until it ends. In boxes, since a task is as large as what it may come to be, and
/// most of them wait: what it takes to get to know a client is given back before.
pub(crate) fn serve(
    door: Rc<Door>,
    seat: Seat,
    stream: TcpStream,
    address: SocketAddr,
) -> impl Future<Output = ()> {
    let open = Open::new(&door);
    let meeting = Box::pin(meet(door, seat, stream, address));
    async move {
        if let Some(talk) = meeting.await {
            talk.await;
        }
        drop(open);
    }
}

/// Gets to know who comes, and what it speaks; `None`: it goes on to nothing.
async fn meet(
    door: Rc<Door>,
    seat: Seat,
    mut stream: TcpStream,
    address: SocketAddr,
) -> Option<Talk> {
    let limits = door.limits.load_full();
    let address = canonical(address);
    let from = attended(&door, &seat, from(&door, &limits, &mut stream, address)).await??;
    let guest = welcome(&door, &limits, from).ok()?;
    let met = Met { limits, seat, from, guest };
    match door.tls.clone() {
        None => plain(&door, met, stream).await,
        Some(tls) => encrypted(&door, met, stream, tls).await,
    }
}

/// Who comes.
struct Met {
    limits: Arc<Limits>,
    seat: Seat,
    from: Arrival,
    /// Its place among those of its client.
    guest: Option<Guest>,
}

/// A connection that is counted as open.
struct Open(Rc<Door>);

impl Open {
    fn new(door: &Rc<Door>) -> Self {
        door.figures.open_connections.increment();
        Self(door.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.figures.open_connections.decrement();
    }
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
    /// What is told of it otherwise than usual.
    telling: Telling,
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
        let (is_proxy, telling) = (is_trusted || !is_named, trust.telling());
        Some(Arrival { address, is_trusted, is_proxy, telling })
    };
    if !trust.wants_header_of(peer.ip()) {
        return arrival(peer, true);
    }
    match timeout(limits.timeouts.handshake, proxy_protocol::read(stream)).await {
        Ok(Ok(client)) => arrival(client.map_or(peer, canonical), client.is_some()),
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            door.edge.complain_of_proxy(&door.name, peer, &error);
            None
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            door.exceeded(Limit::HandshakeTimeout);
            None
        }
    }
}

/// An address of IPv4 that a socket for both versions shows as one of IPv6, as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// What comes before the first request, as far as somebody waits for it: `None` when the client was
/// quiet for too long.
async fn attended<T>(door: &Door, seat: &Seat, first: impl Future<Output = T>) -> Option<T> {
    let gone = pin!(poll_fn(|cx| match seat.poll_notice(cx) {
        Poll::Ready(Notice::Expired(limit)) => Poll::Ready(limit),
        // Its first request is on its way; the roster will not wait for it long.
        Poll::Ready(Notice::Drain | Notice::Look) | Poll::Pending => Poll::Pending,
    }));
    match select(pin!(first), gone).await {
        Either::Left((first, _)) => {
            seat.remind();
            Some(first)
        }
        Either::Right((limit, _)) => {
            limit.into_iter().for_each(|limit| door.exceeded(limit));
            None
        }
    }
}

async fn plain(door: &Rc<Door>, met: Met, mut stream: TcpStream) -> Option<Talk> {
    let sniffed = attended(door, &met.seat, sniff(&mut stream)).await?;
    let (protocol, ahead) = sniffed.ok()?;
    let client = Client::new(door, met, Encrypted::NOT);
    Some(speak(protocol, client, Stream::Plain(stream), ahead))
}

async fn encrypted(
    door: &Rc<Door>,
    met: Met,
    stream: TcpStream,
    tls: Arc<TlsContext>,
) -> Option<Talk> {
    let greeting = timeout(met.limits.timeouts.handshake, tls.accept(stream));
    let Some(greeting) = attended(door, &met.seat, greeting).await else {
        door.figures.handshake_failures.increment();
        return None;
    };
    let (stream, shown) = match greeting {
        Ok(Ok(Greeting::Encrypted(stream, shown))) => (*stream, shown),
        // A certificate authority has seen what it wanted to see.
        Ok(Ok(Greeting::Challenge)) => return None,
        Ok(Ok(Greeting::Plain(stream, said))) => {
            let client = Client::new(door, met, Encrypted::NOT);
            let error = HttpError::PlainHttp;
            return Some(Box::pin(http1::turn_away(client, Stream::Plain(stream), said, error)));
        }
        Ok(Err(error)) => {
            door.figures.handshake_failures.increment();
            tracing::debug!(client.address = %met.from.address, %error, "handshake failed");
            return None;
        }
        Err(_elapsed) => {
            door.figures.handshake_failures.increment();
            door.exceeded(Limit::HandshakeTimeout);
            return None;
        }
    };
    let session = &stream.get_ref().1;
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        Some(_) | None => Protocol::Http1,
    };
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.filter(|_| door.edge.pen.is_some());
    let encrypted = Encrypted {
        is: true,
        sni: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        how: encryption(session),
        subject: certificate.and_then(|certificate| subject(certificate)).map(Rc::from),
        shown,
    };
    let client = Client::new(door, met, encrypted);
    let stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
    Some(speak(protocol, client, stream, Bytes::new()))
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

fn speak(protocol: Protocol, client: Rc<Client>, stream: Stream, ahead: Bytes) -> Talk {
    match protocol {
        Protocol::Http1 => Box::pin(http1::serve(client, stream, ahead)),
        Protocol::Http2 => Box::pin(http2::serve(client, stream, ahead)),
    }
}

/// What is known of a connection by its encryption.
struct Encrypted {
    is: bool,
    /// The name that was asked for.
    sni: Option<Arc<str>>,
    how: Option<(u32, Encryption)>,
    /// Whom the client's certificate is about.
    subject: Option<Rc<str>>,
    /// What the client showed of itself, where it was asked.
    shown: Option<Box<Shown>>,
}

impl Encrypted {
    const NOT: Self = Self { is: false, sni: None, how: None, subject: None, shown: None };
}

impl Client {
    fn new(door: &Rc<Door>, met: Met, encrypted: Encrypted) -> Rc<Self> {
        let Met { limits, seat, from, guest } = met;
        let Encrypted { is: tls, sni, how: encryption, subject, shown } = encrypted;
        let edge = door.edge.clone();
        let peer = Peer { address: from.address, tls, sni };
        let told =
            Forwarded::new(peer.address.ip(), peer.tls, edge.server.clone(), from.is_trusted)
                .telling(from.telling);
        let (door, tunnel) = (door.clone(), RefCell::default());
        let (requests, is_last, began) = (Cell::new(0), Cell::new(false), edge.clock.now());
        Rc::new(Self {
            edge,
            door,
            limits,
            peer,
            told,
            encryption,
            subject,
            shown,
            seat,
            _guest: guest,
            tunnel,
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
