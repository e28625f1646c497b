//! `in-flight-req`: lets each source have so many requests under way. All plan: the host counts.

use portolan_plugin::{
    Action, Field, InFlight, Interest, Invalid, Middleware, Plugin, Scope, SourceCriterion,
    register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.in-flight-req]`. Names and meanings are those of Traefik.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// So many requests of a source may be under way at once.
    amount: u64,
    /// Whose requests are counted together. By default those for one host.
    #[serde(default)]
    source_criterion: Option<SourceCriterion>,
    /// Whether a source may have so many at each router that uses the middleware (`router`, as in
    /// Traefik), or at all of them (`middleware`).
    #[serde(default)]
    scope: Scope,
}

#[derive(Debug)]
struct InFlightReq(Config);

impl Plugin for InFlightReq {
    type Config = Config;
    const NAME: &'static str = "in-flight-req";
    const SUMMARY: &'static str =
        "Lets each source have so many requests under way, and answers 429 to more.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        if config.amount == 0 {
            invalid.add("/amount", "no request could be under way, so nobody would be let in");
        }
        if let Some(criterion) = &config.source_criterion {
            criterion.check("/source-criterion", &mut invalid);
        }
        invalid.or(Self(config))
    }
}

impl Middleware for InFlightReq {
    fn interest(&self) -> Interest {
        let Self(Config { amount, source_criterion, scope }) = self;
        let criterion = source_criterion.clone().unwrap_or_default();
        let sources = criterion.sources(Field::Host, *scope);
        Interest::plan([Action::InFlight(InFlight { amount: *amount, sources })])
    }
}

register!(InFlightReq: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn made(config: serde_json::Value) -> Result<InFlight, String> {
        let config = serde_json::from_value(config).unwrap();
        let interest = InFlightReq::new(config).map_err(|it| it.to_string())?.interest();
        match interest.steps() {
            [(None, actions)] => match actions.as_slice() {
                [Action::InFlight(limit)] => Ok(limit.clone()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_is_a_host_unless_it_is_said_otherwise() {
        let limit = made(serde_json::json!({ "amount": 3 })).unwrap();
        assert_eq!((limit.amount, limit.sources.by), (3, Field::Host));
        let address = serde_json::json!({
            "amount": 1, "scope": "middleware", "source-criterion": { "ip-strategy": {} }
        });
        let sources = made(address).unwrap().sources;
        assert_eq!((sources.by, sources.together), (Field::ClientIp, true));
    }

    #[test]
    fn each_bad_option_is_named() {
        let config = serde_json::json!({
            "amount": 0, "source-criterion": { "request-host": true, "request-header-name": "x" }
        });
        assert_eq!(
            made(config).unwrap_err(),
            "/amount: no request could be under way, so nobody would be let in\n\
             /source-criterion/request-host: requests are counted by one thing, and there is \
             `request-header-name` already"
        );
    }
}
