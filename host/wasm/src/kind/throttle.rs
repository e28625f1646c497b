//! What a plugin wants counted by the host.

use std::time::Duration;

use portolan_core::{
    rule::{ClientStrategy, Field},
    throttle::{By, InFlightLimit, Rate, RateLimit, Sources},
};

use super::predicate::field;
use crate::bindings::middleware_interest as wit;

/// A limit that makes sense as far as can be seen here; or what is wrong with it.
pub(super) fn rate_limit(limit: wit::RateLimit) -> Result<RateLimit, String> {
    let wit::RateLimit { average, period, burst, sources: of } = limit;
    let rate = Rate { average, period: Duration::from_nanos(period), burst };
    sources(of).map(|sources| RateLimit::new(rate, sources))
}

/// The same for what is under way.
pub(super) fn in_flight(limit: wit::InFlight) -> Result<InFlightLimit, String> {
    let wit::InFlight { amount, sources: of } = limit;
    sources(of).map(|sources| InFlightLimit::new(amount, sources))
}

fn sources(sources: wit::Sources) -> Result<Sources, String> {
    let by = match field(&sources.by)? {
        Field::ClientIp => By::Client(ClientStrategy::PEER),
        Field::Client(strategy) => By::Client(strategy),
        Field::Header(name) => By::Header(name),
        Field::Host => By::Host,
        other => return Err(format!("requests are not counted by {other:?}")),
    };
    Ok(Sources { by, together: sources.together })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::predicate::Field as By;

    #[test]
    fn what_is_no_source_is_refused() {
        let of = |by: By| sources(wit::Sources { by, together: false });
        for good in [
            By::ClientIp,
            By::Host,
            By::Header("x-key".into()),
            By::Other("client-ip;depth=1".into()),
        ] {
            assert!(of(good).is_ok());
        }
        for bad in [By::Path, By::Header("a b".into()), By::Other("weather".into())] {
            assert!(of(bad).is_err());
        }
    }
}
