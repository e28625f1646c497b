//! `strip-prefix-regex`: takes off the path what a regular expression finds at its beginning. All plan: it
//! never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.strip-prefix-regex]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What the first of these finds at the beginning of the path is taken off, and named in
    /// `x-forwarded-prefix`: `/foo/[a-z0-9]+/`, in Go's syntax. In a tag a comma separates two.
    #[serde(default)]
    regex: Vec<String>,
}

#[derive(Debug)]
struct StripPrefixRegex(Vec<String>);

impl Plugin for StripPrefixRegex {
    type Config = Config;
    const NAME: &'static str = "strip-prefix-regex";
    const SUMMARY: &'static str = "Takes off the path what a regular expression finds.";

    fn new(config: Config) -> Result<Self, Invalid> {
        // Traefik leaves out blanks around each.
        Ok(Self(config.regex.iter().map(|regex| regex.trim().to_owned()).collect()))
    }
}

impl Middleware for StripPrefixRegex {
    fn interest(&self) -> Interest {
        match self.0.is_empty() {
            true => Interest::default(),
            false => Interest::plan([Action::StripPrefixPattern(self.0.clone())]),
        }
    }
}

register!(StripPrefixRegex: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(regex: &[&str]) -> Interest {
        let regex = regex.iter().map(|&regex| regex.to_owned()).collect();
        StripPrefixRegex::new(Config { regex }).unwrap().interest()
    }

    #[test]
    fn each_expression_keeps_its_place() {
        let regex = ["^/a", "", "/b/"].map(str::to_owned).to_vec();
        let expected = Interest::plan([Action::StripPrefixPattern(regex)]);
        assert_eq!(plan(&[" ^/a", "", "/b/ "]), expected);
    }

    #[test]
    fn no_expression_is_nothing_to_do() {
        assert_eq!(plan(&[]), Interest::default());
    }
}
