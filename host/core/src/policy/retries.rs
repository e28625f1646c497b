//! What a router says of retries, over what its services say.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Retry, Statuses};

/// What a router says of retries (Traefik's middleware `retry`). What it does not say is as its service
/// has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retries {
    /// How many tries there are in all, the first one included. Where all backends were tried, they are
    /// tried again.
    pub attempts: u32,
    /// Answers on which it is tried again; none: not said.
    pub statuses: Statuses,
    /// The most bytes of a body that are kept for that.
    pub max_body: Option<u64>,
    /// How long nothing is done before the second try; before the last it is nearly twice that.
    pub interval: Duration,
    /// Later than this no try begins; `None`: no bound.
    pub timeout: Option<Duration>,
    /// Whether it is tried again when a backend cannot be reached, or breaks off.
    pub on_network_error: bool,
    /// Whether requests that do not do the same when they are done twice (RFC 9110, 9.2.2) may be sent
    /// again, too.
    pub any_method: bool,
}

/// As many bytes of a body Traefik keeps where it is not said.
const MAX_BODY: u64 = 2 << 20;

impl Retries {
    /// What is as Traefik has it where it is not said.
    pub fn new(attempts: u32) -> Self {
        Self {
            attempts,
            statuses: Statuses::default(),
            max_body: None,
            interval: Duration::ZERO,
            timeout: None,
            on_network_error: true,
            any_method: false,
        }
    }

    /// How long nothing is done before the next try, with so many left, that one included. Traefik's
    /// series: of `n` tries in all each pause is longer than the one before by the `n - 1`th root of 2. (There they
    /// are up to half longer or shorter, by chance.)
    pub fn pause(&self, left: u32) -> Duration {
        let (steps, done) = (self.attempts.saturating_sub(1), self.attempts.saturating_sub(left));
        if steps == 0 || self.interval.is_zero() {
            return Duration::ZERO;
        }
        let done = f64::from(done.saturating_sub(1).min(steps));
        self.interval.mul_f64(2_f64.powf(done / f64::from(steps)))
    }
}

/// When a request is sent again, as its router and its service say.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    said: Option<&'a Retries>,
    usual: &'a Retry,
}

impl<'a> Terms<'a> {
    /// What a router says, if it does, over what the service says.
    pub fn of(said: Option<&'a Retries>, usual: &'a Retry) -> Self {
        Self { said, usual }
    }

    /// What the router says.
    pub fn said(&self) -> Option<&'a Retries> {
        self.said
    }

    /// How many tries there are in all.
    pub fn attempts(&self) -> u32 {
        self.said.map_or(self.usual.attempts, |said| said.attempts)
    }

    /// Whether this answer is one on which it is tried again.
    pub fn is_poor(&self, status: StatusCode) -> bool {
        self.statuses().contains(status)
    }

    /// Whether it is tried again when a backend breaks off without an answer.
    pub fn on_reset(&self) -> bool {
        self.usual.on_reset && self.on_network_error()
    }

    /// Whether it is tried again when nobody can have had the request.
    pub fn on_network_error(&self) -> bool {
        self.said.is_none_or(|said| said.on_network_error)
    }

    /// Whether a request of this method that was written may ever be sent again.
    pub fn repeats(&self, method: &Method) -> bool {
        self.attempts() > 1
            && (self.on_reset() || !self.statuses().is_empty())
            && (method.is_idempotent() || self.said.is_some_and(|said| said.any_method))
    }

    /// The most bytes of a body that are kept for that.
    pub fn max_body(&self) -> u64 {
        match self.said {
            Some(Retries { max_body: Some(said), .. }) => *said,
            Some(said) if !said.statuses.is_empty() => MAX_BODY,
            _ => self.usual.max_body,
        }
    }

    fn statuses(&self) -> &'a Statuses {
        match self.said {
            Some(said) if !said.statuses.is_empty() => &said.statuses,
            _ => &self.usual.statuses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::StatusRange;

    fn only(status: u16) -> Statuses {
        Statuses(vec![StatusRange { from: status, to: status }])
    }

    #[test]
    fn pauses_grow_to_nearly_twice_the_first() {
        let retries = Retries { interval: Duration::from_millis(100), ..Retries::new(5) };
        let pauses: Vec<_> = (1..5).rev().map(|left| retries.pause(left).as_millis()).collect();
        assert_eq!(pauses, [100, 118, 141, 168]);
        assert_eq!(Retries::new(5).pause(2), Duration::ZERO);
        let once = Retries { interval: Duration::from_millis(100), ..Retries::new(1) };
        assert_eq!(once.pause(0), Duration::ZERO);
    }

    #[test]
    fn what_a_router_does_not_say_is_as_the_service_has_it() {
        let usual = Retry { statuses: only(502), on_reset: true, ..Retry::default() };
        let plain = Retries::new(7);
        let terms = Terms::of(Some(&plain), &usual);
        assert_eq!((terms.attempts(), terms.max_body()), (7, usual.max_body));
        assert!(terms.is_poor(StatusCode::BAD_GATEWAY) && terms.on_reset());
        assert!(terms.repeats(&Method::PUT) && !terms.repeats(&Method::POST));

        let own = Retries {
            statuses: only(429),
            on_network_error: false,
            any_method: true,
            ..Retries::new(2)
        };
        let terms = Terms::of(Some(&own), &usual);
        assert!(terms.is_poor(StatusCode::TOO_MANY_REQUESTS));
        assert!(!terms.is_poor(StatusCode::BAD_GATEWAY) && !terms.on_reset());
        assert!(terms.repeats(&Method::POST) && terms.max_body() == 2 << 20);

        let none = Terms::of(None, &usual);
        assert_eq!((none.attempts(), none.on_network_error()), (usual.attempts, true));
        assert!(none.repeats(&Method::PUT) && !none.repeats(&Method::POST));
        let once = Retries { statuses: only(502), ..Retries::new(1) };
        assert!(!Terms::of(Some(&once), &usual).repeats(&Method::GET));
    }
}
