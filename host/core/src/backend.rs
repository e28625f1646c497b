//! A backend: one address that answers for a service.

use std::{fmt, sync::Arc};

pub use crate::scheme::Scheme;
use crate::{
    figure::{Counter, Gauge, Histogram},
    item::Health,
    moment::Moment,
    standing::{Probed, Standing},
};

/// Why a backend gets no requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Out {
    /// The catalog says so.
    Catalog(Health),
    /// Its weight is 0.
    Weight,
    /// Probes fail.
    Probe(Arc<str>),
    /// Requests failed; for so many milliseconds yet.
    Ejected(u64),
    /// Requests failed, and one tries whether it is well again.
    Trial,
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog(health) => write!(f, "{} in the catalog", health.as_str()),
            Self::Weight => f.write_str("its weight is 0"),
            Self::Probe(reason) => write!(f, "health check: {reason}"),
            Self::Ejected(millis) => {
                write!(f, "requests failed, left alone for {:.1} s", *millis as f64 / 1000.0)
            }
            Self::Trial => f.write_str("requests failed, one tries whether it is well again"),
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
    /// How it stands: what probes and requests found out.
    pub standing: Standing,
}

impl Default for BackendFigures {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            in_flight: Gauge::default(),
            connect_failures: Counter::default(),
            failures: Counter::default(),
            duration: Histogram::starting_at(100_000),
            standing: Standing::default(),
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
    /// What goes before the path of each request (Traefik's `preservePath`): `/base`.
    pub path: Option<Arc<str>>,
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
    /// Whether catalog and configuration let requests go there.
    pub fn is_usable(&self) -> bool {
        self.health.is_usable() && self.weight > 0
    }

    /// The same, and probes do not say otherwise.
    pub fn is_well(&self) -> bool {
        self.is_usable() && self.figures.standing.probed() != Probed::Down
    }

    /// Why no requests go there now; `None` when they do.
    pub fn out(&self, now: Moment) -> Option<Out> {
        let standing = &self.figures.standing;
        if !self.health.is_usable() {
            return Some(Out::Catalog(self.health));
        }
        if self.weight == 0 {
            return Some(Out::Weight);
        }
        if standing.probed() == Probed::Down {
            let reason = standing.reason().unwrap_or_else(|| "it fails".into());
            return Some(Out::Probe(reason));
        }
        match standing.ejected_for(now) {
            0 => standing.is_avoided(now).then_some(Out::Trial),
            millis => Some(Out::Ejected(millis)),
        }
    }

    /// Where it is. What was found out of one path is not said of another at the same address.
    pub fn place(&self) -> (Scheme, &str, Option<&str>) {
        (self.scheme, &self.authority, self.path.as_deref())
    }

    /// As in a configuration: `http://10.0.0.7:8080`.
    pub fn url(&self) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        format!("{}://{}{path}", self.scheme.as_str(), self.authority)
    }
}
