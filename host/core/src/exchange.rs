//! One request and its response, as rules, plans and plugins see them.
//!
//! **Invariant:** `host` and `path` are always the canonical forms of what the head says: whoever
//! changes the target goes through a method that keeps them so.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::name::ObjectName;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; never taken from a header.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name in the TLS handshake, lower case.
    pub sni: Option<Arc<str>>,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that the client spoke.
    pub version: Version,
    /// Headers, hop-by-hop ones removed.
    pub headers: HeaderMap,
    uri: Uri,
    /// The canonical host, where it is not a slice of what the client sent.
    host: Option<Box<str>>,
    /// The routing path, where it is not what the client sent.
    path: Option<Box<str>>,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Status code.
    pub status: StatusCode,
    /// Headers, hop-by-hop ones removed.
    pub headers: HeaderMap,
    /// Whether Portolan, not the backend, made it.
    pub local: bool,
}

/// A complete response made by a plan or a plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Header lines.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The content.
    pub body: Bytes,
}

/// One request and, on the way back, its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request as it is now: middlewares change it on the way in.
    pub request: RequestHead,
    /// The response as it is now; `None` on the way in.
    pub response: Option<ResponseHead>,
    /// The other end of the connection.
    pub peer: Peer,
    /// The entrypoint that it came in by.
    pub entrypoint: Arc<str>,
    /// The router that matched; `None` while routing.
    pub router: Option<ObjectName>,
    /// What middlewares left for each other.
    pub attributes: Vec<(String, Vec<u8>)>,
}

impl RequestHead {
    /// A head as it came from the wire. The authority is that of the target (HTTP/2, or
    /// absolute form: RFC 9112, 3.2.2), else the `Host` header.
    pub fn new(method: Method, uri: Uri, version: Version, headers: HeaderMap) -> Self {
        let mut head = Self { method, version, headers, uri, host: None, path: None };
        head.refresh_host();
        head.refresh_path();
        head
    }

    /// The target as it will be sent on.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port as the client sent them; empty when it sent none.
    pub fn authority(&self) -> &str {
        match self.uri.authority() {
            Some(authority) => authority.as_str(),
            None => self
                .headers
                .get(http::header::HOST)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        }
    }

    /// The host name: lower case, without port, brackets and trailing dot.
    pub fn host(&self) -> &str {
        match &self.host {
            Some(host) => host,
            None => bare_host(self.authority()),
        }
    }

    /// The path as routing sees it.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// The query, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Changes path and query. The route does not change with it.
    pub fn set_target(&mut self, target: http::uri::PathAndQuery) {
        let mut parts = std::mem::take(&mut self.uri).into_parts();
        parts.path_and_query = Some(target);
        // Scheme and authority come and go together, as `Uri` wants it; the target is valid.
        self.uri = Uri::from_parts(parts).unwrap_or_default();
        self.refresh_path();
    }

    /// Changes host and port.
    pub fn set_authority(&mut self, authority: HeaderValue) {
        let mut parts = std::mem::take(&mut self.uri).into_parts();
        parts.scheme = None;
        parts.authority = None;
        self.uri = Uri::from_parts(parts).unwrap_or_default();
        self.headers.insert(http::header::HOST, authority);
        self.refresh_host();
    }

    fn refresh_host(&mut self) {
        self.host = None;
        if self.host().bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.host = Some(self.host().to_ascii_lowercase().into());
        }
    }

    fn refresh_path(&mut self) {
        // TODO(core-routing): dot segments, double slashes, percent-encodings.
        self.path = None;
    }
}

/// An authority without port, brackets and trailing dot.
fn bare_host(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.strip_suffix('.').unwrap_or(host)
}
