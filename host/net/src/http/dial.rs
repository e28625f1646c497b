//! Makes connections to backends: name, TCP, TLS, HTTP.
//!
//! **Invariant:** a connection that was made is one that speaks the protocol it was made for; its
//! certificate, if it has one, was checked against the host of the backend's address.

use std::{cell::Cell, future::poll_fn, io, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::client::conn::http2;
use portolan_core::service::Scheme;
use socket2::SockRef;
use tokio::{
    net::{TcpStream, lookup_host},
    task,
};
use tokio_rustls::{TlsConnector, TlsStream};

use super::{
    frames::{Broken, Counted, MOST_RESETS, Resets},
    origin::{Origin, Target},
    pool::Link,
    server::keepalive,
    shared::{Lease, Most, SharedLink, UNKNOWN, Watcher},
    wire::Wire,
};
use crate::{
    h1::{Buffers, Stream},
    shortage::is_ours,
    transport::Trust,
};

/// How long what was sent may stay unacknowledged where a connection is shared. Linux would wait for a quarter
/// of an hour for a machine that is gone without a word, and until then every new request would wait with it.
/// Not for HTTP/1: it would also end connections of which a backend does not read for so long, as it may
/// there; over HTTP/2 nobody stops reading.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// What a backend may send of one response before it is read: enough for 5 MiB/s from as far as 100 ms
/// away. A client that does not read has so much of our memory.
const STREAM_WINDOW: u32 = 512 * 1024;
/// What it may send of all responses together. As much as none of them ever fills: else clients that read
/// slowly would hold up all others. Go's client has the same.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// So many requests that were given up are remembered for a second: what was on its way for them is passed
/// over in silence.
const REMEMBERED: usize = 512;

/// Why there is no connection to a backend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Its name has no address.
    #[error("resolve the name")]
    Resolve(#[source] io::Error),
    /// It does not accept.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// No certificates to trust are on this machine, or the library refuses.
    #[error("set up TLS")]
    Setup(#[source] io::Error),
    /// No encrypted connection.
    #[error("TLS handshake")]
    Tls(#[source] io::Error),
    /// An encrypted connection that the backend refused behind the handshake. With TLS 1.3 it has our
    /// certificate, or hears that there is none, only when we are done.
    #[error("TLS behind the handshake")]
    Refused(#[source] Box<rustls::Error>),
    /// No HTTP connection.
    #[error("HTTP handshake")]
    Http(#[source] hyper::Error),
    /// The connection ended before the first frame, which says that HTTP/2 is spoken.
    #[error("it does not speak HTTP/2")]
    NotHttp2(#[source] Option<hyper::Error>),
    /// There is one, but it takes no requests.
    #[error("it takes no requests")]
    Closed,
    /// It took too long.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl DialError {
    /// Whether it tells of us, and nothing of the backend.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Resolve(error) | Self::Connect(error) | Self::Setup(error) => is_ours(error),
            Self::Tls(_)
            | Self::Refused(_)
            | Self::Http(_)
            | Self::NotHttp2(_)
            | Self::Closed
            | Self::Timeout(_) => false,
        }
    }
}

/// A connection that requests can be sent over.
pub(crate) enum Connected {
    /// For one request at a time.
    Alone(Box<Link>),
    /// For many at once.
    Shared(Lease),
}

/// What connections to backends need.
#[derive(Debug)]
pub(crate) struct Dialer {
    buffers: Rc<Buffers>,
    trust: Arc<Trust>,
    /// The most bytes in the head of a response.
    max_head: usize,
}

impl Dialer {
    /// Makes connections that use these buffers, trust like this, and take heads of so many bytes.
    pub(crate) fn new(buffers: Rc<Buffers>, trust: Arc<Trust>, max_head: usize) -> Self {
        Self { buffers, trust, max_head }
    }

    /// A new connection for one request that asks for another protocol, which only HTTP/1 can do,
    /// whatever else the origin speaks (RFC 9113, 8.5 took `Upgrade` away).
    pub(crate) async fn dial_alone(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let stream = connect(&origin.target).await?;
        let stream = match origin.scheme {
            Scheme::Http | Scheme::H2c => Stream::Plain(stream),
            Scheme::Https => {
                let offered = vec![b"http/1.1".to_vec()];
                let stream = self.encrypt(stream, origin, Some(offered)).await?;
                Stream::Tls(Box::new(stream))
            }
        };
        let mut link = Link::new(stream, origin.clone(), self.buffers.clone());
        if origin.scheme != Scheme::Http {
            // Other requests are to have HTTP/2.
            link.use_once();
        }
        Ok(Connected::Alone(link))
    }

    /// A new connection to an origin.
    pub(crate) async fn dial(&self, origin: &Rc<Origin>) -> Result<Connected, DialError> {
        let stream = connect(&origin.target).await?;
        match origin.scheme {
            Scheme::Http => Ok(self.alone(Stream::Plain(stream), origin)),
            Scheme::H2c => self.share(Stream::Plain(stream), origin).await,
            Scheme::Https => {
                let stream = self.encrypt(stream, origin, None).await?;
                let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let stream = Stream::Tls(Box::new(stream));
                origin.is_shared.set(Some(speaks_h2));
                match speaks_h2 {
                    true => self.share(stream, origin).await,
                    false => Ok(self.alone(stream, origin)),
                }
            }
        }
    }

    async fn share(&self, stream: Stream, origin: &Origin) -> Result<Connected, DialError> {
        let link = shared(stream, self.max_head).await?;
        Ok(Connected::Shared(origin.share(link)))
    }

    fn alone(&self, stream: Stream, origin: &Rc<Origin>) -> Connected {
        Connected::Alone(Link::new(stream, origin.clone(), self.buffers.clone()))
    }

    /// `offered`: protocols that are offered in place of what the way of the origin offers.
    async fn encrypt(
        &self,
        stream: TcpStream,
        origin: &Origin,
        offered: Option<Vec<Vec<u8>>>,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let mut config = self.trust.config(&origin.way).await.map_err(DialError::Setup)?;
        if let Some(offered) = offered {
            Arc::make_mut(&mut config).alpn_protocols = offered;
        }
        let name = origin.server_name().ok_or(io::ErrorKind::InvalidInput);
        let name = name.map_err(|kind| DialError::Setup(kind.into()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        stream.map(TlsStream::Client).map_err(DialError::Tls)
    }
}

async fn connect(target: &Target) -> Result<TcpStream, DialError> {
    let stream = match target {
        Target::Address(address) => TcpStream::connect(address).await,
        Target::Name(name, port) => {
            let addresses = lookup_host((name.as_str(), *port)).await;
            let addresses: Vec<_> = addresses.map_err(DialError::Resolve)?.collect();
            TcpStream::connect(&*addresses).await
        }
    };
    let stream = stream.map_err(DialError::Connect)?;
    stream.set_nodelay(true).map_err(DialError::Connect)?;
    SockRef::from(&stream).set_tcp_keepalive(&keepalive()).map_err(DialError::Connect)?;
    Ok(stream)
}

async fn shared(stream: Stream, max_head: usize) -> Result<SharedLink, DialError> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream.socket())
        .set_tcp_user_timeout(Some(UNACKNOWLEDGED))
        .map_err(DialError::Connect)?;
    let (resets, broken) = (Resets::default(), Broken::default());
    let counted = Counted::new(stream, resets.clone(), broken.clone());
    let wire = Wire::new(counted, Bytes::new());
    let most = Most::unknown();
    let mut builder = http2::Builder::new(Watcher(most.clone()));
    builder
        .initial_max_send_streams(UNKNOWN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_local_error_reset_streams(MOST_RESETS)
        .max_concurrent_reset_streams(REMEMBERED)
        // Ours comes first. This counts 32 bytes for each line beside its text.
        .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX).saturating_mul(2));
    let handshake = builder.handshake(wire).await;
    let (sender, mut connection) = handshake.map_err(DialError::Http)?;
    let (told, cause) = (most.clone(), Rc::new(Cell::new(None)));
    let noted = cause.clone();
    task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            most.set(connection.current_max_send_streams(), cx);
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "connection to backend ended");
            noted.set(Some(error));
        }
        most.end();
    });
    told.known().await;
    if !told.is_known() {
        return Err(match broken.why() {
            Some(error) => DialError::Refused(error.into()),
            None => DialError::NotHttp2(cause.take()),
        });
    }
    match told.is_any() {
        true => Ok(SharedLink::new(sender, told, resets)),
        false => Err(DialError::Closed),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use hyper::{server::conn::http2 as server, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{net::TcpListener, task::LocalSet};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_many_share_is_given_up_when_nothing_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = async |_| Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()));
            let builder = server::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok();
        });
        let stream = connect(&Target::Address(address)).await.unwrap();
        let socket = SockRef::from(&stream).try_clone().unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), None, "HTTP/1 may wait");
        let link = LocalSet::new().run_until(shared(Stream::Plain(stream), 1024)).await.unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        drop(link);
    }
}
