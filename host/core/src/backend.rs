//! A backend: one address that answers for a service.

use std::sync::Arc;

use crate::{
    figure::{Counter, Gauge, Histogram},
    item::Health,
};

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
    /// HTTP/2 in clear text, by prior knowledge.
    H2c,
}

impl Scheme {
    /// The scheme of a backend URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }
}

/// What a backend has done. Kept when the snapshot changes and the backend stays.
#[derive(Debug)]
pub struct BackendFigures {
    /// Requests sent to it.
    pub requests: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Requests that failed after the connection was made.
    pub failures: Counter,
    /// Time from sending the request to the head of the response.
    pub duration: Histogram,
}

impl Default for BackendFigures {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            in_flight: Gauge::default(),
            connect_failures: Counter::default(),
            failures: Counter::default(),
            duration: Histogram::starting_at(100_000),
        }
    }
}

/// One address that answers.
#[derive(Clone, Debug)]
pub struct Backend {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// `10.0.0.7:8080`, `[::1]:80` or `name:80`.
    pub authority: Arc<str>,
    /// Its share of the traffic while usable.
    pub weight: u32,
    /// What the catalog says of it.
    pub health: Health,
    /// The instance or table that declares it.
    pub origin: Arc<str>,
    /// What it has done.
    pub figures: Arc<BackendFigures>,
}

impl Backend {
    /// Whether requests may go there now.
    pub fn is_usable(&self) -> bool {
        self.health.is_usable() && self.weight > 0
    }

    /// As in a configuration: `http://10.0.0.7:8080`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority)
    }
}
