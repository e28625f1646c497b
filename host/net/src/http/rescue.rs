//! Every error becomes exactly one response: here it is decided which.
//!
//! A client reads the public sentence; the log has the cause.
//!
//! **Invariant:** there is no catch-all: a new error must be thought about here.

#![warn(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use portolan_core::{exchange::ResponseHead, hook::CallError, name::ObjectName, target::BadTarget};

use super::{body::Body, dial::DialError};

const X_PORTOLAN_REASON: HeaderName = HeaderName::from_static("x-portolan-reason");

/// Why a request was not answered by a backend or a middleware.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The target makes no sense.
    #[error("bad target")]
    Target(#[source] BadTarget),
    /// HTTP/1.1 without a host (RFC 9112, 3.2).
    #[error("no host")]
    NoHost,
    /// We are no proxy of that kind.
    #[error("CONNECT is not served")]
    Connect,
    /// No rule is true for it.
    #[error("no router")]
    NoRouter,
    /// The router relies on a middleware to answer, and none did.
    #[error("router `{0}` has no service, and no middleware answered")]
    NoService(ObjectName),
    /// A plugin failed, and its router wants that to be felt.
    #[error("middleware `{middleware}` failed")]
    Middleware {
        /// Which one.
        middleware: ObjectName,
        /// How.
        source: CallError,
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
        source: hyper::Error,
    },
    /// It changed to a protocol that the client did not ask for.
    #[error("backend `{backend}` changed the protocol unasked")]
    Upgrade {
        /// Which one.
        backend: String,
    },
    /// The client did not send its request to the end.
    #[error("the client's request body broke off")]
    Client(#[source] hyper::Error),
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

/// In which form a client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// A line of text.
    Text,
    /// An object.
    Json,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Verdict {
    status: StatusCode,
    /// A word for the reason, for machines.
    reason: &'static str,
    /// A sentence for people.
    sentence: &'static str,
}

impl HttpError {
    /// Whether this is for the log of those who run Portolan: somebody else than the client is
    /// to blame.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::Target(_) | Self::NoHost | Self::Connect | Self::NoRouter => false,
            Self::NoService(_) | Self::Middleware { .. } => true,
            Self::Forward { source, .. } => match source {
                ForwardError::Client(_) | ForwardError::Slow => false,
                ForwardError::NoBackend
                | ForwardError::Full
                | ForwardError::Resting { .. }
                | ForwardError::Address(_)
                | ForwardError::Dial { .. }
                | ForwardError::Exchange { .. }
                | ForwardError::Upgrade { .. }
                | ForwardError::Timeout { .. } => true,
            },
        }
    }

    fn verdict(&self) -> Verdict {
        use StatusCode as S;
        let (status, reason, sentence) = match self {
            Self::Target(_) => {
                (S::BAD_REQUEST, "bad-target", "this request's target or host is malformed")
            }
            Self::NoHost => (S::BAD_REQUEST, "no-host", "this request names no host"),
            Self::Connect => (S::NOT_IMPLEMENTED, "connect", "CONNECT is not served here"),
            Self::NoRouter => (S::NOT_FOUND, "no-router", "no router takes this request"),
            Self::NoService(_) => {
                (S::SERVICE_UNAVAILABLE, "no-service", "the router of this request has no service")
            }
            Self::Middleware { .. } => (
                S::SERVICE_UNAVAILABLE,
                "middleware-failed",
                "a middleware of this request's router failed",
            ),
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
            Self::Target(_)
            | Self::NoHost
            | Self::Connect
            | Self::NoRouter
            | Self::NoService(_)
            | Self::Middleware { .. }
            | Self::Forward { .. } => 1,
        }
    }

    /// The response to a client that reads such a page.
    pub(crate) fn rescue(&self, page: Page, say_why: bool) -> (ResponseHead, Body) {
        let Verdict { status, reason, sentence } = self.verdict();
        let phrase = status.canonical_reason().unwrap_or_default();
        let (kind, text) = match page {
            Page::Json => (
                "application/json",
                format!(
                    "{{\"status\":{},\"error\":\"{phrase}\",\"reason\":\"{reason}\",\"message\":\"{sentence}\"}}\n",
                    status.as_u16(),
                ),
            ),
            Page::Text => {
                ("text/plain; charset=utf-8", format!("{} {phrase}: {sentence}\n", status.as_u16()))
            }
        };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after()));
        }
        if say_why {
            headers.insert(X_PORTOLAN_REASON, HeaderValue::from_static(reason));
        }
        (ResponseHead { status, headers, local: true }, Body::full(Bytes::from(text)))
    }
}

impl ForwardError {
    fn verdict(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NoBackend => {
                (S::SERVICE_UNAVAILABLE, "no-backend", "no backend of this service is usable")
            }
            Self::Full => (
                S::SERVICE_UNAVAILABLE,
                "too-busy",
                "this service has as many requests under way as it may",
            ),
            Self::Resting { .. } => {
                (S::SERVICE_UNAVAILABLE, "circuit-open", "this service is given a rest")
            }
            Self::Address(_) => {
                (S::BAD_GATEWAY, "bad-backend", "the address of the backend is malformed")
            }
            Self::Dial { source, .. } => match source {
                DialError::Timeout(_) => {
                    (S::GATEWAY_TIMEOUT, "connect-timeout", "the backend did not accept in time")
                }
                DialError::Resolve(_) => {
                    (S::BAD_GATEWAY, "resolve-failed", "the backend's name has no address")
                }
                DialError::Connect(_) => {
                    (S::BAD_GATEWAY, "connect-failed", "the backend does not accept connections")
                }
                DialError::Setup(_) | DialError::Tls(_) => {
                    (S::BAD_GATEWAY, "tls-failed", "the backend's encryption could not be trusted")
                }
                DialError::Http(_) => {
                    (S::BAD_GATEWAY, "protocol", "the backend does not speak this protocol")
                }
            },
            Self::Exchange { .. } => (S::BAD_GATEWAY, "no-response", "the backend broke off"),
            Self::Upgrade { .. } => {
                (S::BAD_GATEWAY, "protocol", "the backend does not speak this protocol")
            }
            Self::Client(_) => (S::BAD_REQUEST, "body-broken", "this request's body broke off"),
            Self::Slow => {
                (S::REQUEST_TIMEOUT, "body-stalled", "this request's body did not come on")
            }
            Self::Timeout { .. } => {
                (S::GATEWAY_TIMEOUT, "response-timeout", "the backend did not answer in time")
            }
        }
    }
}

impl Page {
    /// What the client of a request reads: JSON if it asks for that, and not for text or HTML.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        let accept = request.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let wants_json = |accept: &str| accept.contains("json") && !accept.contains("text/");
        if accept.is_some_and(wants_json) { Self::Json } else { Self::Text }
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Body as _;

    use super::*;

    #[test]
    fn what_is_said_depends_on_what_is_accepted() {
        let kind = |accept: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT, HeaderValue::from_static(accept));
            let (head, body) = HttpError::NoRouter.rescue(Page::of(&request), true);
            assert!(body.size_hint().exact() > Some(0));
            assert_eq!(head.headers[X_PORTOLAN_REASON], "no-router");
            head.headers[CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        assert_eq!(kind("application/json"), "application/json");
        assert_eq!(kind("application/problem+json, */*"), "application/json");
        assert_eq!(kind("text/html, application/json"), "text/plain; charset=utf-8");
        assert_eq!(kind("*/*"), "text/plain; charset=utf-8");
    }

    #[test]
    fn a_503_says_when_to_come_back_and_the_reason_is_not_told_unasked() {
        let error = HttpError::Forward {
            service: ObjectName::new("a", "b"),
            source: ForwardError::NoBackend,
        };
        let (head, _) = error.rescue(Page::Text, false);
        assert_eq!(
            (head.status.as_u16(), &head.headers[RETRY_AFTER]),
            (503, &HeaderValue::from_static("1"))
        );
        assert!(!head.headers.contains_key(X_PORTOLAN_REASON));
    }
}
