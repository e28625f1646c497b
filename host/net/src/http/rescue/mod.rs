//! Every error becomes exactly one response: here it is decided which.
//!
//! A client reads the public sentence; the log has the cause.
//!
//! **Invariant:** there is no catch-all: a new error must be thought about here.

#![warn(clippy::wildcard_enum_match_arm)]

mod ask;

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use portolan_core::{
    exchange::ResponseHead, hook::CallError, limit::Limit, middleware::Middleware,
    name::ObjectName, reason::Reason, router::Router, target::BadTarget,
};
use rustls::InvalidMessage;

pub(crate) use self::ask::AskError;
use super::{
    account::client_closed,
    body::{Body, StreamError},
    dial::DialError,
    page::Page,
};
use crate::h1::{HeadError, WireError};

/// Why a request was not answered by a backend or a middleware.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// It is not HTTP, or can be read in two ways.
    #[error("malformed request")]
    Malformed(#[source] HeadError),
    /// It is HTTP in clear, where TLS is spoken.
    #[error("HTTP in clear on an encrypted entrypoint")]
    PlainHttp,
    /// The rest of its body did not come.
    #[error("the client stopped sending")]
    Stalled,
    /// The rest of its head did not come.
    #[error("the client stopped within the head of its request")]
    HeaderTimeout,
    /// Its path has an encoded character that is not wanted here.
    #[error("the path has an encoded character that this entrypoint refuses")]
    EncodedCharacter,
    /// The target makes no sense.
    #[error("bad target")]
    Target(#[source] BadTarget),
    /// HTTP/1.1 without a host (RFC 9112, 3.2).
    #[error("no host")]
    NoHost,
    /// We are no proxy of that kind.
    #[error("CONNECT is not served")]
    Connect,
    /// Its host wants another handshake than the one it came over.
    #[error("the host wants other TLS options than the handshake had")]
    Misdirected,
    /// It has been here too often: a service of ours leads back to us (RFC 8586).
    #[error("the request goes in circles")]
    Loop,
    /// No rule is true for it.
    #[error("no router")]
    NoRouter,
    /// The router relies on a middleware to answer, and none did.
    #[error("router `{0}` has no service, and no middleware answered")]
    NoService(ObjectName),
    /// The router is there to answer nothing.
    #[error("the router's service is `noop@internal`, and no middleware answered")]
    Noop,
    /// The service of the router is not there, or does not work.
    #[error("router `{router}`: {lack}")]
    BrokenService {
        /// Whose.
        router: ObjectName,
        /// Why.
        lack: Arc<str>,
    },
    /// What the router says of who may pass cannot be read.
    #[error("the router lets nobody through: what it says of who may pass cannot be read")]
    ClosedRouter,
    /// The router relies on a middleware that cannot do its work.
    #[error("middleware `{0}` is missing or not in working order")]
    NoMiddleware(ObjectName),
    /// A plugin failed, and its router wants that to be felt.
    #[error("middleware `{middleware}` failed")]
    Middleware {
        /// Which one.
        middleware: ObjectName,
        /// How.
        source: CallError,
    },
    /// Whether it may pass could not be found out.
    #[error("middleware `{middleware}`")]
    Authority {
        /// Which one asks.
        middleware: ObjectName,
        /// Why not.
        source: AskError,
    },
    /// It could not be sent on.
    #[error("service `{service}`")]
    Forward {
        /// To where.
        service: ObjectName,
        /// Why.
        source: ForwardError,
    },
}

/// Why a request could not be sent on, or came back without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// None of the backends is usable.
    #[error("no usable backend")]
    NoBackend,
    /// So much is under way that nothing more is taken.
    #[error("too many requests under way")]
    Full,
    /// Too much of it failed, so it is left alone.
    #[error("circuit breaker open")]
    Resting {
        /// For so many milliseconds yet.
        millis: u64,
    },
    /// The address of a backend is none.
    #[error("`{0}` is not an address")]
    Address(String),
    /// No connection, to as many backends as were tried.
    #[error("backend `{backend}`")]
    Dial {
        /// The last one that was tried.
        backend: String,
        /// Why not.
        source: DialError,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("backend `{backend}` gave no response")]
    Exchange {
        /// Which one.
        backend: String,
        /// What happened.
        source: StreamError,
    },
    /// It changed to a protocol that the client did not ask for.
    #[error("backend `{backend}` changed to a protocol that it was not offered")]
    Upgrade {
        /// Which one.
        backend: String,
    },
    /// The client did not send its request to the end.
    #[error("the client's request body broke off")]
    Client(#[source] StreamError),
    /// The client paused for too long.
    #[error("the client's request body stalled")]
    Slow,
    /// It took too long.
    #[error("backend `{backend}` gave no response within {} ms", limit.as_millis())]
    Timeout {
        /// Which one.
        backend: String,
        /// What it was given.
        limit: Duration,
    },
}

impl ForwardError {
    /// Whether it tells of us, and nothing of the backend.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Dial { source, .. } if source.is_ours())
    }

    /// Whether no backend can have got the request.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::NoBackend | Self::Resting { .. } | Self::Address(_) | Self::Dial { .. } => true,
            // Another service may be no less busy; whoever limits one wants it to be felt.
            Self::Full => false,
            Self::Exchange { .. } | Self::Upgrade { .. } | Self::Timeout { .. } => false,
            Self::Client(_) | Self::Slow => false,
        }
    }

    /// The status that a service is noted with of which this is all that came.
    pub(super) fn status(&self) -> StatusCode {
        match self.verdict() {
            (status, Reason::ClientGone, _) => client_closed().unwrap_or(status),
            (status, ..) => status,
        }
    }

    /// The reason, in a word.
    pub(super) fn reason(&self) -> Reason {
        self.verdict().1
    }

    /// Whether it is the client's own fault.
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self, Self::Client(_) | Self::Slow)
    }
}

/// What an error is to those who run Portolan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Concern {
    /// Somebody else than the client is to blame.
    Failure,
    /// The client is to blame, or the configuration.
    Refusal,
    /// The client is to blame.
    None,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Verdict {
    status: StatusCode,
    /// The reason, for machines.
    reason: Reason,
    /// A sentence for people.
    sentence: &'static str,
}

impl HttpError {
    /// What it is that a request meets which comes through all middlewares of such a router.
    pub(crate) fn without_service(router: &Router) -> Self {
        let name = router.name.clone();
        match &router.lack {
            _ if router.is_noop => Self::Noop,
            Some(lack) => Self::BrokenService { router: name, lack: lack.clone() },
            None => Self::NoService(name),
        }
    }

    /// What it is that a request meets at a middleware that lets nobody through.
    pub(crate) fn closed_by(middleware: &Middleware) -> Self {
        match middleware.is_closed_router() {
            true => Self::ClosedRouter,
            false => Self::NoMiddleware(middleware.name.clone()),
        }
    }

    /// What this is to those who run Portolan.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::NoRouter | Self::Noop | Self::EncodedCharacter | Self::Misdirected => {
                Concern::Refusal
            }
            Self::Malformed(_)
            | Self::PlainHttp
            | Self::Stalled
            | Self::HeaderTimeout
            | Self::Target(_)
            | Self::NoHost
            | Self::Connect => Concern::None,
            Self::Loop
            | Self::NoService(_)
            | Self::BrokenService { .. }
            | Self::ClosedRouter
            | Self::NoMiddleware(_)
            | Self::Middleware { .. } => Concern::Failure,
            Self::Authority { source, .. } => source.concern(),
            Self::Forward { source, .. } => match source {
                ForwardError::Client(_) | ForwardError::Slow => Concern::None,
                ForwardError::NoBackend
                | ForwardError::Full
                | ForwardError::Resting { .. }
                | ForwardError::Address(_)
                | ForwardError::Dial { .. }
                | ForwardError::Exchange { .. }
                | ForwardError::Upgrade { .. }
                | ForwardError::Timeout { .. } => Concern::Failure,
            },
        }
    }

    fn verdict(&self) -> Verdict {
        use {Reason as R, StatusCode as S};
        let (status, reason, sentence) = match self {
            Self::Malformed(HeadError::TooLarge | HeadError::TooMany) => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                R::HeadTooLarge,
                "the head of this request is too large",
            ),
            Self::Malformed(error) => malformed(*error),
            Self::PlainHttp => (
                S::BAD_REQUEST,
                R::PlainHttp,
                "this port speaks TLS: use https:// instead of http://",
            ),
            Self::Stalled => (
                S::REQUEST_TIMEOUT,
                R::BodyTimeout,
                "the rest of this request did not come in time",
            ),
            Self::HeaderTimeout => (
                S::REQUEST_TIMEOUT,
                R::HeaderTimeout,
                "the head of this request did not come in time",
            ),
            Self::EncodedCharacter => (
                S::BAD_REQUEST,
                R::EncodedCharacter,
                "the path of this request has an encoded character that is refused here",
            ),
            Self::Target(BadTarget::OtherHost) => {
                (S::BAD_REQUEST, R::TwoHosts, "this request names two hosts")
            }
            Self::Target(_) => {
                (S::BAD_REQUEST, R::BadTarget, "this request's target or host is malformed")
            }
            Self::NoHost => (S::BAD_REQUEST, R::NoHost, "this request names no host"),
            Self::Connect => (S::NOT_IMPLEMENTED, R::Connect, "CONNECT is not served here"),
            Self::Misdirected => {
                (S::MISDIRECTED_REQUEST, R::Misdirected, "this host takes a connection of its own")
            }
            Self::Loop => {
                (S::LOOP_DETECTED, R::Loop, "the service of this request leads back here")
            }
            Self::NoRouter => (S::NOT_FOUND, R::NoRouter, "no router takes this request"),
            Self::Noop => (S::IM_A_TEAPOT, R::Noop, "nothing is served here"),
            Self::NoService(_) => {
                (S::SERVICE_UNAVAILABLE, R::NoService, "the router of this request has no service")
            }
            Self::BrokenService { .. } => (
                S::SERVICE_UNAVAILABLE,
                R::NoService,
                "the service of this request's router is not in working order",
            ),
            Self::ClosedRouter => (
                S::SERVICE_UNAVAILABLE,
                R::NoMiddleware,
                "the router of this request is not in working order",
            ),
            Self::NoMiddleware(_) => (
                S::SERVICE_UNAVAILABLE,
                R::NoMiddleware,
                "a middleware of this request's router is not in working order",
            ),
            Self::Middleware { .. } => (
                S::SERVICE_UNAVAILABLE,
                R::MiddlewareFailed,
                "a middleware of this request's router failed",
            ),
            Self::Authority { source, .. } => source.verdict(),
            Self::Forward { source, .. } => source.verdict(),
        };
        Verdict { status, reason, sentence }
    }

    /// After how many seconds it may be worth another try.
    fn retry_after(&self) -> u64 {
        match self {
            Self::Forward { source: ForwardError::Resting { millis }, .. } => {
                millis.div_ceil(1000).max(1)
            }
            Self::Malformed(_)
            | Self::PlainHttp
            | Self::Stalled
            | Self::HeaderTimeout
            | Self::EncodedCharacter
            | Self::Misdirected
            | Self::Target(_)
            | Self::NoHost
            | Self::Connect
            | Self::Loop
            | Self::NoRouter
            | Self::NoService(_)
            | Self::Noop
            | Self::BrokenService { .. }
            | Self::ClosedRouter
            | Self::NoMiddleware(_)
            | Self::Middleware { .. }
            | Self::Authority { .. }
            | Self::Forward { .. } => 1,
        }
    }

    /// The limit of its entrypoint that the request goes beyond. A head that took too long was noted
    /// when that was found.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Self::Malformed(HeadError::TooLarge) => Some(Limit::HeaderBytes),
            Self::Malformed(HeadError::TooMany) => Some(Limit::Headers),
            Self::EncodedCharacter => Some(Limit::EncodedCharacters),
            Self::Stalled
            | Self::Forward { source: ForwardError::Slow, .. }
            | Self::Authority { source: AskError::Client(ForwardError::Slow), .. } => {
                Some(Limit::RequestStall)
            }
            Self::Malformed(_)
            | Self::PlainHttp
            | Self::HeaderTimeout
            | Self::Misdirected
            | Self::Target(_)
            | Self::NoHost
            | Self::Connect
            | Self::Loop
            | Self::NoRouter
            | Self::NoService(_)
            | Self::Noop
            | Self::BrokenService { .. }
            | Self::ClosedRouter
            | Self::NoMiddleware(_)
            | Self::Middleware { .. }
            | Self::Authority { .. }
            | Self::Forward { .. } => None,
        }
    }

    /// The reason, in a word.
    pub(crate) fn reason(&self) -> Reason {
        self.verdict().reason
    }

    /// The response to a client that reads such a page. `say_why`: the header for the reason.
    pub(crate) fn rescue(&self, page: Page, say_why: Option<&HeaderName>) -> (ResponseHead, Body) {
        let Verdict { status, reason, sentence } = self.verdict();
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, page.media_type());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after()));
        }
        if let Some(name) = say_why {
            headers.insert(name, HeaderValue::from_static(reason.as_str()));
        }
        let text = page.write(status, reason.as_str(), sentence);
        (ResponseHead { status, headers: headers.into(), local: true }, Body::full(text))
    }
}

fn malformed(error: HeadError) -> (StatusCode, Reason, &'static str) {
    use Reason as R;
    let (reason, sentence) = match error {
        HeadError::Start => (R::BadRequestLine, "the first line of this request is malformed"),
        HeadError::Target => (R::BadTarget, "this request's target or host is malformed"),
        HeadError::Version => (R::BadVersion, "this request is not HTTP/1.0 or HTTP/1.1"),
        HeadError::Line => (R::BadHeader, "a header line of this request is malformed"),
        HeadError::BareLf => (R::BareLf, "a line of this request ends without CR"),
        HeadError::TooLarge | HeadError::TooMany => {
            (R::HeadTooLarge, "the head of this request is too large")
        }
        HeadError::Length => (R::BadLength, "the content-length of this request is not one number"),
        HeadError::TransferEncoding => {
            (R::BadTransferEncoding, "the only transfer-encoding served here is chunked")
        }
        HeadError::Framing => {
            (R::TwoFramings, "content-length and transfer-encoding contradict each other")
        }
    };
    (StatusCode::BAD_REQUEST, reason, sentence)
}

/// Whether what came instead of a handshake was no TLS at all.
fn is_in_clear(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Whether TLS itself failed, and not what it runs over.
fn is_of_encryption(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

impl ForwardError {
    fn verdict(&self) -> (StatusCode, Reason, &'static str) {
        use {Reason as R, StatusCode as S};
        match self {
            Self::NoBackend => {
                (S::SERVICE_UNAVAILABLE, R::NoBackend, "no backend of this service is usable")
            }
            Self::Full => (
                S::SERVICE_UNAVAILABLE,
                R::TooBusy,
                "this service has as many requests under way as it may",
            ),
            Self::Resting { .. } => {
                (S::SERVICE_UNAVAILABLE, R::CircuitOpen, "this service is given a rest")
            }
            Self::Address(_) => {
                (S::BAD_GATEWAY, R::BadBackend, "the address of the backend is malformed")
            }
            Self::Dial { source, .. } if source.is_ours() => (
                S::SERVICE_UNAVAILABLE,
                R::NoResources,
                "there are no file descriptors or no memory left for a connection to the backend",
            ),
            Self::Dial { source, .. } => match source {
                DialError::Timeout(_) => {
                    (S::GATEWAY_TIMEOUT, R::ConnectTimeout, "the backend did not accept in time")
                }
                DialError::Resolve(_) => {
                    (S::BAD_GATEWAY, R::ResolveFailed, "the backend's name has no address")
                }
                DialError::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    (S::BAD_GATEWAY, R::ConnectRefused, "the backend does not accept connections")
                }
                DialError::Connect(_) => {
                    (S::BAD_GATEWAY, R::ConnectFailed, "the backend cannot be reached")
                }
                DialError::Tls(error) if is_in_clear(error) => {
                    (S::BAD_GATEWAY, R::TlsFailed, "the backend does not encrypt")
                }
                DialError::Setup(_) | DialError::Tls(_) => {
                    (S::BAD_GATEWAY, R::TlsFailed, "the backend's encryption could not be trusted")
                }
                DialError::Refused(_) => {
                    (S::BAD_GATEWAY, R::TlsFailed, "the backend refused or broke the encryption")
                }
                DialError::Closed => {
                    (S::BAD_GATEWAY, R::ConnectFailed, "the backend takes no requests")
                }
                DialError::Http(_) | DialError::NotHttp2(_) => {
                    (S::BAD_GATEWAY, R::Protocol, "the backend does not speak this protocol")
                }
            },
            Self::Exchange {
                source:
                    StreamError::Http1(WireError::Head(HeadError::TooLarge | HeadError::TooMany)),
                ..
            } => (
                S::BAD_GATEWAY,
                R::ResponseHeadTooLarge,
                "the head of the backend's answer is too large",
            ),
            Self::Exchange { source: StreamError::Http1(WireError::Head(_)), .. } => {
                (S::BAD_GATEWAY, R::Protocol, "the backend does not speak this protocol")
            }
            // With TLS 1.3 a backend refuses our certificate, or that there is none, only behind the handshake.
            Self::Exchange { source: StreamError::Http1(WireError::Io(error)), .. }
                if is_of_encryption(error) =>
            {
                (S::BAD_GATEWAY, R::TlsFailed, "the backend refused or broke the encryption")
            }
            Self::Exchange { .. } => (S::BAD_GATEWAY, R::NoResponse, "the backend broke off"),
            Self::Upgrade { .. } => {
                (S::BAD_GATEWAY, R::Protocol, "the backend does not speak this protocol")
            }
            // It is written to nobody, and noted as 499.
            Self::Client(source) if source.is_gone() => {
                (S::BAD_REQUEST, R::ClientGone, "the client went away within its request")
            }
            Self::Client(_) => (S::BAD_REQUEST, R::BodyBroken, "this request's body broke off"),
            Self::Slow => (
                S::REQUEST_TIMEOUT,
                R::BodyTimeout,
                "the rest of this request did not come in time",
            ),
            Self::Timeout { .. } => {
                (S::GATEWAY_TIMEOUT, R::ResponseTimeout, "the backend did not answer in time")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_503_says_when_to_come_back_and_the_reason_is_not_told_unasked() {
        let error = HttpError::Forward {
            service: ObjectName::new("a", "b"),
            source: ForwardError::NoBackend,
        };
        let (head, _) = error.rescue(Page::Text, None);
        assert_eq!(
            (head.status.as_u16(), &head.headers[RETRY_AFTER]),
            (503, &HeaderValue::from_static("1"))
        );
        assert_eq!(head.headers.len(), 3);
        let name = HeaderName::from_static("x-why");
        let (head, _) = error.rescue(Page::Json, Some(&name));
        assert_eq!(head.headers["x-why"], "no-backend");
    }
}
