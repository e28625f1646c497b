//! `add-prefix`: puts a prefix before the path. All plan: it never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, log, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.add-prefix]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What to put before the path: `/v2`. A slash alone has no effect.
    prefix: String,
}

/// Without a prefix it does nothing.
#[derive(Debug)]
struct AddPrefix(Option<String>);

impl Plugin for AddPrefix {
    type Config = Config;
    const NAME: &'static str = "add-prefix";
    const SUMMARY: &'static str = "Puts a prefix before the path.";

    fn new(config: Config) -> Result<Self, Invalid> {
        if config.prefix.is_empty() {
            return Err(Invalid::at("/prefix", "the prefix is empty"));
        }
        // Traefik takes it without the slash as well.
        match config.prefix.trim_start_matches('/') {
            // Traefik asks backends for `//x` then, which is not what anybody means.
            "" => {
                log::warn("a slash alone has no effect", &[("option", &"/prefix")]);
                Ok(Self(None))
            }
            prefix => Ok(Self(Some(format!("/{prefix}")))),
        }
    }
}

impl Middleware for AddPrefix {
    fn interest(&self) -> Interest {
        Interest::plan(self.0.clone().map(Action::AddPrefix))
    }
}

register!(AddPrefix: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn add_prefix(prefix: &str) -> Result<AddPrefix, Invalid> {
        AddPrefix::new(Config { prefix: prefix.to_owned() })
    }

    #[test]
    fn the_prefix_begins_with_one_slash() {
        let check = |prefix, expected: &str| {
            let expected = Interest::plan([Action::AddPrefix(expected.to_owned())]);
            assert_eq!(add_prefix(prefix).unwrap().interest(), expected);
        };
        check("/v2", "/v2");
        check("v2/a", "/v2/a");
        check("//v2", "/v2");
    }

    #[test]
    fn a_slash_alone_is_nothing_to_do() {
        for prefix in ["/", "//"] {
            assert_eq!(add_prefix(prefix).unwrap().interest(), Interest::default());
        }
    }

    #[test]
    fn an_empty_prefix_is_refused() {
        assert_eq!(add_prefix("").unwrap_err().to_string(), "/prefix: the prefix is empty");
    }
}
