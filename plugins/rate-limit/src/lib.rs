//! `rate-limit`: lets each source ask so much in a time. All plan: the host counts.

use std::num::NonZeroU64;

use portolan_plugin::{
    Action, Field, Interest, Invalid, Middleware, Plugin, RateLimit as Limit, Scope,
    SourceCriterion, Span, log, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.rate-limit]`. Names and meanings are those of Traefik.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// So many requests of a source in each `period`. 0: as many as it likes.
    average: u64,
    /// `1s`, `1m30s`, `100ms`, or a number of seconds. Without it, and with 0, a second.
    period: Option<Span>,
    /// So many may come at once, after a while without any. Less than 1 is 1.
    burst: Option<i64>,
    /// Whose requests are counted together. By default those of one address, which is that of the peer.
    source_criterion: Option<SourceCriterion>,
    /// Whether a source has its share at each router that uses the middleware (`router`, as in Traefik),
    /// or one for all of them (`middleware`).
    scope: Scope,
    /// Without effect: each node counts by itself.
    redis: Option<serde_json::Value>,
}

#[derive(Debug)]
struct RateLimit {
    config: Config,
    /// Nanoseconds.
    period: u64,
}

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

impl Plugin for RateLimit {
    type Config = Config;
    const NAME: &'static str = "rate-limit";
    const SUMMARY: &'static str =
        "Lets each source ask so much in a time, and answers 429 to the rest.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let period = config.period.as_ref().map_or(Some(SECOND), Span::nanos);
        if period.is_none() {
            invalid.add("/period", "expected a duration such as `1m30s`, or a number of seconds");
        }
        let period = period.filter(|nanos| *nanos > 0).unwrap_or(SECOND);
        if config.average > period {
            invalid.add("/average", "more than one request in each nanosecond is no limit");
        }
        if let Some(criterion) = &config.source_criterion {
            criterion.check("/source-criterion", &mut invalid);
        }
        if config.redis.is_some() {
            log::warn(
                "without effect: each node counts by itself, so with several a source gets so many \
                 times its share; divide `average` and `burst` by their number",
                &[("option", &"/redis")],
            );
        }
        invalid.or(Self { config, period })
    }
}

impl Middleware for RateLimit {
    fn interest(&self) -> Interest {
        let Self { config, period } = self;
        let Some(average) = NonZeroU64::new(config.average) else { return Interest::default() };
        let criterion = config.source_criterion.clone().unwrap_or_default();
        Interest::plan([Action::RateLimit(Limit {
            average: average.get(),
            period: *period,
            burst: config.burst.and_then(|burst| u64::try_from(burst).ok()).unwrap_or(1).max(1),
            sources: criterion.sources(Field::ClientIp, config.scope),
        })])
    }
}

register!(RateLimit: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(config: serde_json::Value) -> Option<Limit> {
        let config = serde_json::from_value(config).unwrap();
        let interest = RateLimit::new(config).unwrap().interest();
        match interest.steps() {
            [] => None,
            [(None, actions)] => match actions.as_slice() {
                [Action::RateLimit(limit)] => Some(limit.clone()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_is_as_in_traefik() {
        let limit = |config| limit(config).map(|it| (it.average, it.period, it.burst));
        assert_eq!(limit(serde_json::json!({})), None);
        assert_eq!(limit(serde_json::json!({ "average": 0, "burst": 5 })), None);
        assert_eq!(limit(serde_json::json!({ "average": 10 })), Some((10, SECOND, 1)));
        let config = serde_json::json!({ "average": 10, "burst": -3, "period": 0 });
        assert_eq!(limit(config), Some((10, SECOND, 1)));
        let config = serde_json::json!({ "average": 6, "burst": 7, "period": "1m" });
        assert_eq!(limit(config), Some((6, 60 * SECOND, 7)));
    }

    #[test]
    fn a_source_is_an_address_unless_it_is_said_otherwise() {
        let sources = |more: serde_json::Value| {
            let mut config = serde_json::json!({ "average": 1 });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            limit(config).unwrap().sources
        };
        let plain = sources(serde_json::json!({}));
        assert_eq!((plain.by, plain.together), (Field::ClientIp, false));
        let shared = sources(serde_json::json!({
            "scope": "middleware", "source-criterion": { "request-host": true }
        }));
        assert_eq!((shared.by, shared.together), (Field::Host, true));
    }

    #[test]
    fn each_bad_option_is_named() {
        let config = serde_json::from_value(serde_json::json!({
            "average": 2_000_000_000, "period": "soon",
            "source-criterion": { "request-host": true, "request-header-name": "x" }
        }));
        assert_eq!(
            RateLimit::new(config.unwrap()).unwrap_err().to_string(),
            "/period: expected a duration such as `1m30s`, or a number of seconds\n\
             /average: more than one request in each nanosecond is no limit\n\
             /source-criterion/request-host: requests are counted by one thing, and there is \
             `request-header-name` already"
        );
    }
}
