//! How a service treats its backends, as plain values: what was asked for, with its defaults.
//!
//! Names and meanings are Traefik's where it has them; what it lacks stands beside.
//!
//! **Invariant:** two policies that are equal treat backends alike, so a service is made anew
//! exactly when its policy or its backends change.

mod health;
mod limit;
mod retries;
mod tls;
mod transport;

pub use health::{CheckMode, HealthCheck, Passive, StatusRange, Statuses};
pub use limit::{Breaker, Limits, Retry, Timeouts};
pub use retries::{Retries, Terms};
pub use tls::{Curve, Suite, TlsVersion};
pub use transport::{ClientCertificate, PemTexts, Transport};

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::HeaderName;

/// How traffic is shared, and how requests are sent on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadBalancer {
    /// Whether the backend sees the client's `Host`, or its own address.
    pub pass_host_header: bool,
    /// Who is next.
    pub strategy: Strategy,
    /// What [`Strategy::Hashed`] looks at.
    pub hash_on: HashOn,
    /// Whether a client stays with its backend, by a cookie.
    pub sticky: Option<Sticky>,
    /// How long a backend that is new or came back takes to its full share; `None`: no time.
    pub slow_start: Option<Duration>,
    /// Probes that we send.
    pub health_check: Option<HealthCheck>,
    /// What requests tell of a backend.
    pub passive: Passive,
    /// When a request is sent again.
    pub retry: Retry,
    /// When the service is given a rest.
    pub breaker: Option<Breaker>,
    /// How much at once.
    pub limits: Limits,
    /// How long.
    pub timeouts: Timeouts,
    /// How connections to the backends are made: a reference to a [`Transport`].
    pub transport: Option<String>,
    /// Nobody is let through: what protects the service was declared, and cannot be done.
    pub is_closed: bool,
}

impl LoadBalancer {
    /// The defaults, which nearly all services share.
    pub fn usual() -> Arc<Self> {
        static USUAL: LazyLock<Arc<LoadBalancer>> = LazyLock::new(Arc::default);
        USUAL.clone()
    }
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            pass_host_header: true,
            strategy: Strategy::default(),
            hash_on: HashOn::default(),
            sticky: None,
            slow_start: None,
            health_check: None,
            passive: Passive::default(),
            retry: Retry::default(),
            breaker: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            transport: None,
            is_closed: false,
        }
    }
}

/// Who is next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// In turn, as often as weights say.
    #[default]
    RoundRobin,
    /// Of two at random the one with fewer requests under way.
    TwoChoices,
    /// The one that answers fastest, for what it has under way.
    LeastTime,
    /// The same for the same client, as far as backends stay (rendezvous hashing).
    Hashed,
}

impl Strategy {
    /// All of them, by the names of the configuration; Traefik's come first.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("wrr", Self::RoundRobin),
        ("p2c", Self::TwoChoices),
        ("leasttime", Self::LeastTime),
        ("hrw", Self::Hashed),
        ("consistent-hash", Self::Hashed),
    ];

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "wrr",
            Self::TwoChoices => "p2c",
            Self::LeastTime => "leasttime",
            Self::Hashed => "hrw",
        }
    }
}

/// By what clients are told apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HashOn {
    /// By their address.
    #[default]
    ClientIp,
    /// By a header; by their address when they do not send it.
    Header(HeaderName),
    /// By a cookie; by their address when they do not send it.
    Cookie(String),
}

/// A cookie that keeps a client with its backend. Defaults are Traefik's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sticky {
    /// Its name; `None`: one that is made from the name of the service.
    pub name: Option<String>,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`: `none`, `lax` or `strict`; `None`: not said.
    pub same_site: Option<SameSite>,
    /// `Max-Age` in seconds; 0: until the browser ends; below: it is removed at once.
    pub max_age: i64,
    /// `Path`; `None`: `/`.
    pub path: Option<String>,
    /// `Domain`; `None`: that of the request alone.
    pub domain: Option<String>,
}

/// To whom a browser sends a cookie along (RFC 6265bis, 5.6.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// To everybody.
    None,
    /// When a link is followed.
    Lax,
    /// Within the site only.
    Strict,
}
