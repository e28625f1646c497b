//! What a middleware counts, in words.

use portolan_core::throttle::{By, InFlightLimit, RateLimit, Sources};

/// What a limit does.
pub(super) fn rate(limit: &RateLimit) -> String {
    let rate = &limit.rate;
    format!(
        "lets {} make {} in {:?}{}, up to {} at once, and answers 429 to the rest",
        whose(&limit.sources),
        requests(rate.average),
        rate.period,
        where_counted(&limit.sources),
        rate.burst,
    )
}

/// The same of what is under way.
pub(super) fn in_flight(limit: &InFlightLimit) -> String {
    format!(
        "lets {} have {} under way{}, and answers 429 to more",
        whose(&limit.sources),
        requests(limit.amount),
        where_counted(&limit.sources),
    )
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

fn whose(sources: &Sources) -> String {
    match &sources.by {
        By::Client(_) => "each client address".to_owned(),
        By::Header(name) => format!("each value of `{name}`"),
        By::Host => "each host".to_owned(),
    }
}

fn where_counted(sources: &Sources) -> &'static str {
    if sources.together { " at all its routers" } else { " at each router" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_core::throttle::Rate;

    use super::*;

    #[test]
    fn a_limit_is_told_with_whom_it_is_for() {
        let rate = Rate { average: 10, period: Duration::from_secs(60), burst: 5 };
        let sources = Sources { by: By::Header("x-key".parse().unwrap()), together: false };
        assert_eq!(
            super::rate(&RateLimit::new(rate, sources)),
            "lets each value of `x-key` make 10 requests in 60s at each router, up to 5 at once, and \
             answers 429 to the rest"
        );
    }
}
