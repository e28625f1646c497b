//! How much one source may ask: what Traefik's `rateLimit` and `inFlightReq` count, and for whom.
//!
//! **Invariant:** who asks takes no lock and, once the first requests came, allocates nothing; and however
//! many sources somebody invents, the memory is bounded and none of them gets more than its share.
//!
//! Reading order: `source` (whose share it is), `rate` (how much in a time), `slots` (where that is kept),
//! `in_flight` (how much at once), `seats` (where that is kept).

mod in_flight;
mod rate;
mod seats;
mod slots;
mod source;
#[cfg(test)]
mod seats_tests;
#[cfg(test)]
mod tests;

pub use in_flight::InFlightLimit;
pub use rate::{Pace, Rate, RateLimit};
pub use seats::Held;
pub use source::{By, Key, Sources};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};

use crate::{
    exchange::Reply,
    figure::{Counter, Gauge},
};

/// The answer to what is beyond a limit (RFC 6585, 4).
fn too_many() -> Reply {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Reply {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: vec![(CONTENT_TYPE, plain)],
        body: Bytes::from_static(b"Too Many Requests"),
    }
}

/// What a middleware that counts has done. It stays when its configuration changes for another good one.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests that wait for their turn.
    pub waiting: Gauge,
}
