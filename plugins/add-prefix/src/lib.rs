//! `add-prefix`: puts a prefix before the path. All plan: it never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.add-prefix]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What to put before the path: `/v2`.
    prefix: String,
}

#[derive(Debug)]
struct AddPrefix(String);

impl Plugin for AddPrefix {
    type Config = Config;
    const NAME: &'static str = "add-prefix";
    const SUMMARY: &'static str = "Puts a prefix before the path.";

    fn new(config: Config) -> Result<Self, Invalid> {
        // Traefik takes it without the slash as well.
        match config.prefix.trim_start_matches('/') {
            "" => Err(Invalid::at("/prefix", "the prefix is empty")),
            prefix => Ok(Self(format!("/{prefix}"))),
        }
    }
}

impl Middleware for AddPrefix {
    fn interest(&self) -> Interest {
        Interest::plan([Action::AddPrefix(self.0.clone())])
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
        assert_eq!(add_prefix("/v2").unwrap().0, "/v2");
        assert_eq!(add_prefix("v2/a").unwrap().0, "/v2/a");
        assert_eq!(add_prefix("//v2").unwrap().0, "/v2");
    }

    #[test]
    fn an_empty_prefix_is_refused() {
        assert_eq!(add_prefix("").unwrap_err().to_string(), "/prefix: the prefix is empty");
        assert_eq!(add_prefix("/").unwrap_err().to_string(), "/prefix: the prefix is empty");
    }
}
