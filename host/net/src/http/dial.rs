//! Makes connections to backends: name, TCP, TLS, HTTP.
//!
//! **Invariant:** a connection that was made is one that speaks the protocol it was made for; its
//! certificate, if it has one, was checked against the host of the backend's address.

use std::{future::poll_fn, io, pin::Pin, rc::Rc, sync::Arc, time::Duration};

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
    origin::{Origin, Target},
    pool::Link,
    server::keepalive,
    shared::{Lease, Most, SharedLink, UNKNOWN, Watcher},
    wire::Wire,
};
use crate::{
    h1::{Buffers, Stream},
    transport::Trust,
};

/// How long the system of a backend may leave unacknowledged what it was sent. Linux would wait for a quarter
/// of an hour for a machine that is gone without a word, and until then every request that shares its
/// connection would wait with it.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

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
    /// No HTTP connection.
    #[error("HTTP handshake")]
    Http(#[source] hyper::Error),
    /// It took too long.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
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
}

impl Dialer {
    /// Makes connections that use these buffers, and trust like this.
    pub(crate) fn new(buffers: Rc<Buffers>, trust: Arc<Trust>) -> Self {
        Self { buffers, trust }
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
            Scheme::H2c => {
                let link = shared(Stream::Plain(stream)).await?;
                Ok(Connected::Shared(origin.share(link)))
            }
            Scheme::Https => {
                let stream = self.encrypt(stream, origin, None).await?;
                let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let stream = Stream::Tls(Box::new(stream));
                match speaks_h2 {
                    true => Ok(Connected::Shared(origin.share(shared(stream).await?))),
                    false => Ok(self.alone(stream, origin)),
                }
            }
        }
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
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive()).map_err(DialError::Connect)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)).map_err(DialError::Connect)?;
    Ok(stream)
}

async fn shared(stream: Stream) -> Result<SharedLink, DialError> {
    let wire = Wire::new(stream, Bytes::new());
    let most = Most::unknown();
    let mut builder = http2::Builder::new(Watcher(most.clone()));
    let handshake = builder.initial_max_send_streams(UNKNOWN).handshake(wire).await;
    let (sender, mut connection) = handshake.map_err(DialError::Http)?;
    let told = most.clone();
    task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            most.set(connection.current_max_send_streams(), cx);
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "connection to backend ended");
        }
        most.end();
    });
    told.known().await;
    Ok(SharedLink::new(sender, told))
}
