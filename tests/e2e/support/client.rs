//! An HTTP client that says what it sends and sees what comes, over a real socket.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

/// A response, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As text, whatever it is.
    pub(crate) body: String,
    /// As it came.
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The first value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.body))
    }
}

/// Sends requests to one address, each on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) SocketAddr);

impl Client {
    /// `GET path` with a `Host`.
    pub(crate) async fn get(self, host: &str, path: &str) -> Answer {
        self.send(request(Method::GET, host, path).body(Full::default()).unwrap()).await.unwrap()
    }

    /// The same; `None` when no answer came.
    pub(crate) async fn try_get(self, host: &str, path: &str) -> Option<Answer> {
        self.send(request(Method::GET, host, path).body(Full::default()).unwrap()).await.ok()
    }

    pub(crate) async fn send(self, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
        exchange(TcpStream::connect(self.0).await?, request).await
    }

    /// `GET path` over TLS; the certificate must come from this authority and fit the name.
    pub(crate) async fn get_tls(
        self,
        authority: &[rustls::pki_types::CertificateDer<'static>],
        host: &str,
        path: &str,
    ) -> Result<Answer, BoxError> {
        self.get_as(authority, host, host, path, None).await
    }

    /// The same, with a `Host` other than the name of the handshake, and perhaps with a
    /// certificate of the client's own.
    pub(crate) async fn get_as(
        self,
        authority: &[rustls::pki_types::CertificateDer<'static>],
        sni: &str,
        host: &str,
        path: &str,
        own: Option<Own>,
    ) -> Result<Answer, BoxError> {
        let stream = encrypted(self.0, authority, sni, own).await?;
        exchange(stream, request(Method::GET, host, path).body(Full::default())?).await
    }
}

/// A stream within TLS to a server that shows a certificate for a name.
pub(crate) async fn encrypted(
    server: SocketAddr,
    authority: &[rustls::pki_types::CertificateDer<'static>],
    name: &str,
    own: Option<Own>,
) -> Result<TlsStream<TcpStream>, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(authority.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match own {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    let name = rustls::pki_types::ServerName::try_from(name.to_owned())?;
    let stream = TcpStream::connect(server).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// A client's own certificate.
pub(crate) type Own =
    (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>);

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request with a `Host`.
pub(crate) fn request(method: Method, host: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", host)
}

/// `GET /` with one header more.
pub(crate) fn request_with(host: &str, name: &str, value: &str) -> Request<Full<Bytes>> {
    request(Method::GET, host, "/").header(name, value).body(Full::default()).unwrap()
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    drop(sender);
    driver.abort();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body, bytes })
}
