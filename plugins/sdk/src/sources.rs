//! Whose requests are counted together, as configurations write it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{ClientStrategy, Field, Invalid, Sources, header::is_token};

/// What one source of requests is told from another by (Traefik's `sourceCriterion`): one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceCriterion {
    /// The address of the client, found so. Where there are proxies before us they have to be trusted
    /// (`forwarded-headers` of the entrypoint), else all clients are one.
    pub ip_strategy: Option<ClientStrategy>,
    /// The value of this header, which is as honest as whoever writes it. Those without it are one source.
    pub request_header_name: String,
    /// The host.
    pub request_host: bool,
}

/// For what a source has one share.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// For each router that uses the middleware, as in Traefik.
    #[default]
    Router,
    /// For all routers that use it.
    Middleware,
}

impl SourceCriterion {
    /// Adds what is wrong to `invalid`; `path` is where the configuration has it.
    pub fn check(&self, path: &str, invalid: &mut Invalid) {
        if let Some(strategy) = &self.ip_strategy {
            strategy.check(&format!("{path}/ip-strategy"), invalid);
        }
        let name = &self.request_header_name;
        if !name.is_empty() && !is_token(name) {
            invalid
                .add(format!("{path}/request-header-name"), format!("`{name}` is no header name"));
        }
        let said = [
            ("ip-strategy", self.ip_strategy.is_some()),
            ("request-header-name", !name.is_empty()),
            ("request-host", self.request_host),
        ];
        let mut said = said.into_iter().filter(|(_, is_said)| *is_said);
        if let (Some((one, _)), Some((other, _))) = (said.next(), said.next()) {
            let message =
                format!("requests are counted by one thing, and there is `{one}` already");
            invalid.add(format!("{path}/{other}"), message);
        }
    }

    /// The same for the host; `otherwise`: what counts where nothing is said.
    pub fn sources(&self, otherwise: Field, scope: Scope) -> Sources {
        let by = match self {
            Self { request_host: true, .. } => Field::Host,
            Self { ip_strategy: Some(strategy), .. } => strategy.field(),
            Self { request_header_name: name, .. } if !name.is_empty() => {
                Field::Header(name.to_ascii_lowercase())
            }
            _ => otherwise,
        };
        Sources { by, together: scope == Scope::Middleware }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criterion(strategy: Option<u32>, header: &str, request_host: bool) -> SourceCriterion {
        let ip_strategy =
            strategy.map(|depth| ClientStrategy { depth, ..ClientStrategy::default() });
        SourceCriterion { ip_strategy, request_header_name: header.to_owned(), request_host }
    }

    #[test]
    fn a_criterion_is_one_thing() {
        let wrong = |criterion: SourceCriterion| {
            let mut invalid = Invalid::none();
            criterion.check("/source-criterion", &mut invalid);
            invalid.or(()).map_err(|invalid| invalid.to_string())
        };
        for good in [
            criterion(None, "", false),
            criterion(Some(0), "", false),
            criterion(None, "X-Key", false),
            criterion(None, "", true),
        ] {
            assert_eq!(wrong(good), Ok(()));
        }
        assert_eq!(
            wrong(criterion(Some(1), "X Key", true)),
            Err("/source-criterion/request-header-name: `X Key` is no header name\n\
                 /source-criterion/request-header-name: requests are counted by one thing, and there is \
                 `ip-strategy` already"
                .to_owned())
        );
    }

    #[test]
    fn what_is_said_comes_before_what_is_usual() {
        let by = |it: SourceCriterion| it.sources(Field::ClientIp, Scope::Router).by;
        assert_eq!(by(criterion(None, "", false)), Field::ClientIp);
        assert_eq!(by(criterion(None, "", true)), Field::Host);
        assert_eq!(by(criterion(None, "X-Key", false)), Field::Header("x-key".to_owned()));
        assert_eq!(by(criterion(Some(0), "", false)), Field::ClientIp);
        let other = Field::Other("client-ip;depth=2".to_owned());
        assert_eq!(by(criterion(Some(2), "", false)), other);
        assert!(criterion(None, "", false).sources(Field::Host, Scope::Middleware).together);
    }
}
