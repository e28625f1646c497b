//! What is noted of a request for its line.
//!
//! **Invariant:** an entry that was used before is blank again: nothing of one request stands in the
//! line of another.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use http::{HeaderName, HeaderValue, Method, Version};
use portolan_core::{exchange::Headers, figure::Encryption, reason::Reason};

use super::config::{Capture, HeaderFields};

/// What is noted of a request while it is under way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) start: SystemTime,
    /// Its number since the start of the process.
    pub(super) count: u64,
    /// Nothing is known of method, target and version.
    pub(super) is_unread: bool,
    pub(super) method: Method,
    pub(super) version: Version,
    /// As the client sent it.
    pub(super) target: String,
    pub(super) authority: String,
    pub(super) user: String,
    pub(super) router: String,
    pub(super) service: String,
    pub(super) backend: Option<Backend>,
    pub(super) headers: Vec<Header>,
}

/// The backend that was asked last.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) scheme: &'static str,
    pub(super) authority: String,
}

/// A header that is to be written; without a value it is redacted.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) side: Side,
    pub(super) name: HeaderName,
    pub(super) value: Option<HeaderValue>,
}

/// Whose header it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// The client's.
    Request,
    /// The backend's.
    Origin,
    /// The one that the client gets.
    Downstream,
}

/// What is known of a request when its response has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// Who asks, which trusted proxies before us may have said.
    pub(crate) client: IpAddr,
    /// Whom the client's certificate is about.
    pub(crate) subject: Option<&'a str>,
    pub(crate) entrypoint: &'a str,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) status: u16,
    /// Nanoseconds, altogether.
    pub(crate) nanos: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// The same before it was compressed.
    pub(crate) origin_bytes: u64,
    pub(crate) retries: u32,
    pub(crate) reason: Option<Reason>,
    pub(crate) origin: Option<OriginEnding>,
    /// Trace and span, in hexadecimal digits.
    pub(crate) trace: Option<([u8; 32], [u8; 16])>,
}

/// What is known of the backend's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginEnding {
    /// Absent when it gave no answer.
    pub(crate) status: Option<u16>,
    /// Nanoseconds.
    pub(crate) nanos: u64,
}

impl Entry {
    pub(super) fn blank() -> Self {
        Self {
            start: SystemTime::UNIX_EPOCH,
            count: 0,
            is_unread: false,
            method: Method::GET,
            version: Version::HTTP_11,
            target: String::new(),
            authority: String::new(),
            user: String::new(),
            router: String::new(),
            service: String::new(),
            backend: None,
            headers: Vec::new(),
        }
    }

    /// Forgets everything but its room.
    pub(super) fn clear(&mut self) {
        for text in [
            &mut self.target,
            &mut self.authority,
            &mut self.user,
            &mut self.router,
            &mut self.service,
        ] {
            text.clear();
        }
        self.is_unread = false;
        self.backend = None;
        self.headers.clear();
    }

    /// Notes who authenticated.
    pub(crate) fn user(&mut self, name: &[u8]) {
        self.user.clear();
        self.user.push_str(&String::from_utf8_lossy(name));
    }

    /// Notes the router that takes it.
    pub(crate) fn router(&mut self, name: impl std::fmt::Display) {
        replace(&mut self.router, name);
    }

    /// Notes the service that it is for; of one that is made of others, whose backend is asked.
    pub(crate) fn service(&mut self, name: impl std::fmt::Display) {
        replace(&mut self.service, name);
    }

    /// Notes the backend that is asked.
    pub(crate) fn backend(&mut self, scheme: &'static str, authority: &str) {
        self.backend = Some(Backend { scheme, authority: authority.to_owned() });
    }

    /// Notes the headers of a request that is admitted, in place of those that came.
    pub(crate) fn admitted(&mut self, headers: &Headers, wanted: &HeaderFields) {
        // There is no answer yet.
        self.headers.clear();
        self.headers(Side::Request, headers, wanted);
    }

    /// Notes the headers of one side that are to be written.
    pub(crate) fn headers(&mut self, side: Side, headers: &Headers, wanted: &HeaderFields) {
        if wanted.is_empty() {
            return;
        }
        for (name, value) in headers.iter() {
            let value = match wanted.of(name) {
                Capture::Keep => Some(value.clone()),
                Capture::Redact => None,
                Capture::Drop => continue,
            };
            self.headers.push(Header { side, name: name.clone(), value });
        }
    }
}

fn replace(text: &mut String, by: impl std::fmt::Display) {
    use std::fmt::Write as _;
    text.clear();
    // A string takes everything.
    write!(text, "{by}").unwrap_or_default();
}
