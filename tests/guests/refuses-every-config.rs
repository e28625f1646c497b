//! No configuration is good enough for it.

use portolan_plugin::{Invalid, Middleware, Plugin, register};

/// `[http.middlewares.<name>.refuses-every-config]`
#[derive(schemars::JsonSchema, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What is refused.
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { greeting: "hello".to_owned() }
    }
}

struct RefusesEveryConfig;

impl Plugin for RefusesEveryConfig {
    type Config = Config;
    const NAME: &'static str = "refuses-every-config";
    const SUMMARY: &'static str = "Takes no configuration.";

    fn new(config: Config) -> Result<Self, Invalid> {
        Err(Invalid::at("/greeting", format!("`{}` is not good enough", config.greeting)))
    }
}

impl Middleware for RefusesEveryConfig {}

register!(RefusesEveryConfig: Middleware);
