//! How much, how long, how often: bounds on what a service does to its backends.

use std::time::Duration;

use super::Statuses;

/// When a request is sent again, to another backend.
///
/// A request that reached nobody always is: it costs the backends nothing. One that may have been
/// acted upon only is if it was asked for, if doing it twice does no harm (RFC 9110, 9.2.2), and
/// within a budget, so that retries never multiply an outage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retry {
    /// How many backends are tried for one request, the first one included. Unless it is 1, those that accept no
    /// connection do not count while there are others that may.
    pub attempts: u32,
    /// Answers on which another backend is tried: what the client would get, ours for a backend that gives
    /// none included.
    pub statuses: Statuses,
    /// Whether another is tried when a backend breaks off without an answer.
    pub on_reset: bool,
    /// The most bytes of a body that are kept for that.
    pub max_body: u64,
    /// Of all requests, in percent, how many may be sent again.
    pub budget_percent: u32,
    /// How many per second may be sent again, however few requests there are.
    pub budget_min: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            statuses: Statuses::default(),
            on_reset: false,
            max_body: 64 * 1024,
            budget_percent: 20,
            budget_min: 3,
        }
    }
}

impl Retry {
    /// Whether a request that was written may ever be sent again.
    pub fn repeats(&self) -> bool {
        self.attempts > 1 && (self.on_reset || !self.statuses.is_empty())
    }
}

/// When a service is given a rest: too many of its requests failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Breaker {
    /// Of the requests in the window, in percent, how many must fail.
    pub error_percent: u32,
    /// The time that is looked at.
    pub window: Duration,
    /// With fewer requests than this in the window nothing is concluded.
    pub min_requests: u32,
    /// How long requests are answered with 503, before one is let through to see.
    pub fallback: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            error_percent: 50,
            window: Duration::from_secs(10),
            min_requests: 20,
            fallback: Duration::from_secs(10),
        }
    }
}

/// How much at once. `None`: no bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Requests under way in the whole service. What is more waits.
    pub max_requests: Option<u64>,
    /// Requests under way at one backend, which over HTTP/1 are as many connections in use.
    /// What is more goes to another backend, or waits.
    pub max_requests_per_backend: Option<u64>,
    /// How many requests may wait.
    pub queue: usize,
    /// How long a request may wait; then it is answered with 503.
    pub queue_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_requests: None,
            max_requests_per_backend: None,
            queue: 100,
            queue_timeout: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.max_requests.is_some() || self.max_requests_per_backend.is_some()
    }

    /// Whether what is more may wait at all.
    pub fn has_queue(&self) -> bool {
        self.any() && self.queue > 0 && !self.queue_timeout.is_zero()
    }
}

/// How long; 0: for ever, or what holds for the whole edge to connect. `None`: it is not said here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Timeouts {
    /// For a connection, its name and its handshake included.
    pub connect: Option<Duration>,
    /// From the end of the request to the head of the response; and for how long a backend may take
    /// no more of a request.
    pub response_header: Option<Duration>,
    /// From one piece of the response to the next.
    pub response_idle: Option<Duration>,
    /// From one piece of the request's body to the next: until it comes, and until the backend takes it.
    pub request_idle: Option<Duration>,
    /// For the whole exchange, retries and bodies included.
    pub total: Option<Duration>,
}
