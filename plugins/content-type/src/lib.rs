//! `content-type`: does nothing, for those who have it from Traefik. There it says that the type of a
//! response without one is to be guessed; here nobody guesses, and types pass as they are.

use portolan_plugin::{Interest, Invalid, Middleware, Plugin, log, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.content-type]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Without effect, and deprecated in Traefik.
    #[serde(default)]
    auto_detect: Option<bool>,
}

#[derive(Debug)]
struct ContentType;

impl Plugin for ContentType {
    type Config = Config;
    const NAME: &'static str = "content-type";
    const SUMMARY: &'static str = "Does nothing: types of content pass as they are.";

    fn new(config: Config) -> Result<Self, Invalid> {
        if config.auto_detect.is_some() {
            log::warn("an option has no effect", &[("option", &"/auto-detect")]);
        }
        Ok(Self)
    }
}

impl Middleware for ContentType {
    fn interest(&self) -> Interest {
        Interest::default()
    }
}

register!(ContentType: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_nothing_whatever_it_is_told() {
        for auto_detect in [None, Some(true), Some(false)] {
            let middleware = ContentType::new(Config { auto_detect }).unwrap();
            assert_eq!(middleware.interest(), Interest::default());
        }
    }
}
