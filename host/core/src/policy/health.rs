//! How it is found out whether a backend is well: by probes, and by what requests tell.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::scheme::Scheme;

/// Probes that we send to each backend. Traefik's options and defaults, with thresholds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// What is spoken.
    pub mode: CheckMode,
    /// Path and query.
    pub path: String,
    /// Instead of the scheme of the backend.
    pub scheme: Option<Scheme>,
    /// Instead of the port of the backend.
    pub port: Option<u16>,
    /// The method of an HTTP probe.
    pub method: Method,
    /// The status that is well; `None`: any from 200 to 399.
    pub status: Option<StatusCode>,
    /// What stands in `Host`; `None`: the address of the backend.
    pub hostname: Option<String>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a redirect to the same backend is followed; else its status is judged.
    pub follow_redirects: bool,
    /// From one probe to the next while all is well.
    pub interval: Duration,
    /// The same after a probe that failed.
    pub unhealthy_interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How many probes in a row must succeed before a backend that is down is up.
    pub rise: u32,
    /// How many must fail before one that is up is down.
    pub fall: u32,
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CheckMode {
    /// A request, judged by its status.
    #[default]
    Http,
    /// The gRPC health protocol (`grpc.health.v1.Health/Check`).
    Grpc,
    /// A connection that is accepted.
    Tcp,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            mode: CheckMode::Http,
            path: "/".to_owned(),
            scheme: None,
            port: None,
            method: Method::GET,
            status: None,
            hostname: None,
            headers: Vec::new(),
            follow_redirects: true,
            interval: Duration::from_secs(30),
            unhealthy_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            rise: 1,
            fall: 1,
        }
    }
}

/// When a backend is left alone for a while because requests to it fail.
///
/// Without a word in the configuration only connections that cannot be made count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passive {
    /// Whether backends are left alone at all.
    pub enabled: bool,
    /// How many failures in a row it takes.
    pub max_failed_attempts: u32,
    /// Within what time.
    pub failure_window: Duration,
    /// Whether an answer from 500 up, and none at all, is a failure too, as in Traefik.
    pub on_status: bool,
    /// How long for the first time; each further time is twice as long.
    pub ejection: Duration,
    /// The longest time.
    pub max_ejection: Duration,
    /// In percent: when fewer of the backends are in use, nobody is left alone, but for those that accept no
    /// connections while others do.
    pub panic_threshold: u8,
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            enabled: true,
            max_failed_attempts: 2,
            failure_window: Duration::from_secs(10),
            on_status: false,
            ejection: Duration::from_secs(1),
            max_ejection: Duration::from_secs(60),
            panic_threshold: 50,
        }
    }
}

/// One status, or all from one to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
}

/// A set of status codes, as Traefik writes it: `500-599,429`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statuses(pub Vec<StatusRange>);

impl Statuses {
    /// Whether a status is among them.
    pub fn contains(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0.iter().any(|range| (range.from..=range.to).contains(&status))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
