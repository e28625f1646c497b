//! How many requests were reset on a connection, as what we write there shows.
//!
//! h2 ends a connection on which it had to reset too much because of the other side, and with it all
//! that is under way there. It counts as long as the connection lives, and what it counts is mostly no
//! fault: bytes that were on their way when a request was answered before its body, or given up by its
//! client, come for a request that is over. So a connection that comes near ends in good order before.
//!
//! **Invariant:** [`TIRED`] is far enough from [`MOST_RESETS`] for what is under way to end.

use std::{
    cell::{Cell, OnceCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::{Heads, PREFACE};
use crate::{h1::Stream, http2::kind::RST_STREAM};

/// So many may be reset before h2 ends the connection. Each that waits to be written takes memory,
/// some hundred bytes, so it has to be bounded (RUSTSEC-2024-0003).
pub(crate) const MOST_RESETS: usize = 4096;
/// After so many a connection takes no more requests.
const TIRED: u32 = 2048;

/// Counts them, for all who know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resets(Rc<Cell<u32>>);

impl Resets {
    /// Whether there were so many that the connection had better end.
    pub(crate) fn are_too_many(&self) -> bool {
        self.0.get() >= TIRED
    }
}

/// What is written to an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Sent {
    heads: Heads,
    resets: Resets,
}

impl Sent {
    /// What we send to a backend.
    pub(crate) fn to_backend(resets: Resets) -> Self {
        Self { heads: Heads::behind(PREFACE), resets }
    }

    /// Follows so many of these bytes.
    pub(crate) fn note(&mut self, slices: &[IoSlice<'_>], mut length: usize) {
        for slice in slices {
            let mut bytes = slice.get(..length).unwrap_or(slice);
            length -= bytes.len();
            while let Some(head) = self.heads.next(&mut bytes) {
                let is_reset = u32::from(head.kind == RST_STREAM);
                self.resets.0.set(self.resets.0.get() + is_reset);
            }
        }
    }
}

/// Why the encryption of a connection broke, for all who know it. Of an error that h2 reads it passes on
/// no more than the words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken(Rc<OnceCell<rustls::Error>>);

impl Broken {
    /// Why it broke, if it did.
    pub(crate) fn why(&self) -> Option<rustls::Error> {
        self.0.get().cloned()
    }

    fn note(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(inner) = inner {
            self.0.get_or_init(|| inner.clone());
        }
    }
}

/// A connection to a backend whose resets are counted, and that tells why its encryption broke.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: Stream,
    sent: Sent,
    broken: Broken,
    /// Whether the backend has said something.
    was_read: bool,
}

impl Counted {
    /// A connection on which nothing was written yet.
    pub(crate) fn new(stream: Stream, resets: Resets, broken: Broken) -> Self {
        Self { stream, sent: Sent::to_backend(resets), broken, was_read: false }
    }

    /// What is told of a write that failed. A backend that refuses us goes as soon as it has said so, and who
    /// writes may hear of that before it has read why. Both come together, so there is little to wait for.
    fn poll_failed(&mut self, cx: &mut Context<'_>, error: io::Error) -> Poll<io::Error> {
        if !self.was_read {
            let mut room = [0; 256];
            let mut room = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
            read.unwrap_or_else(|why| self.broken.note(&why));
        }
        Poll::Ready(error)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.was_read = true;
        Poll::Ready(read.inspect_err(|error| self.broken.note(error)))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => self.poll_failed(cx, error).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices)) {
            Ok(length) => {
                self.sent.note(slices, length);
                Poll::Ready(Ok(length))
            }
            Err(error) => self.poll_failed(cx, error).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ClientConfig, ServerConfig, crypto::aws_lc_rs};
    use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::anchors::Anchors;

    #[tokio::test]
    async fn who_is_refused_and_only_writes_hears_why() {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let own = own.self_signed(&key).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anchors = || {
            let mut anchors = Anchors::none();
            anchors.add(own.der().clone()).unwrap();
            anchors
        };
        let server = ServerConfig::builder_with_provider(provider.clone());
        let server = server.with_safe_default_protocol_versions().unwrap();
        let clients = anchors().of_clients(&provider, false).unwrap();
        let server = server.with_client_cert_verifier(clients);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let server = server.with_single_cert(vec![own.der().clone()], key).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone());
        let client = client.with_safe_default_protocol_versions().unwrap().dangerous();
        let servers = anchors().of_servers(&provider).unwrap();
        let client = client.with_custom_certificate_verifier(servers).with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refusal = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(server)).accept(stream).await.err().unwrap()
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        let broken = Broken::default();
        let stream = Stream::Tls(Box::new(stream.into()));
        let mut stream = Counted::new(stream, Resets::default(), broken.clone());
        refusal.await.unwrap();
        while stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.is_ok()
            && stream.flush().await.is_ok()
        {}
        let required = rustls::AlertDescription::CertificateRequired;
        assert_eq!(broken.why(), Some(rustls::Error::AlertReceived(required)));
    }
}
