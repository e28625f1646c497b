//! `strip-prefix`: takes a prefix off the path. All plan: it never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.strip-prefix]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The first of these that the path starts with is taken off, and named in
    /// `x-forwarded-prefix`.
    prefixes: Vec<String>,
    /// Without effect, for tags that have it: a path always begins with a slash.
    #[serde(default, rename = "force-slash")]
    _force_slash: Option<bool>,
}

#[derive(Debug)]
struct StripPrefix(Vec<String>);

impl Plugin for StripPrefix {
    type Config = Config;
    const NAME: &'static str = "strip-prefix";
    const SUMMARY: &'static str = "Takes a prefix off the path.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        if config.prefixes.is_empty() {
            invalid.add("/prefixes", "there is no prefix");
        }
        for (place, prefix) in config.prefixes.iter().enumerate() {
            if !prefix.starts_with('/') {
                invalid
                    .add(format!("/prefixes/{place}"), format!("`{prefix}` must start with `/`"));
            }
        }
        invalid.or(Self(config.prefixes))
    }
}

impl Middleware for StripPrefix {
    fn interest(&self) -> Interest {
        Interest::plan([Action::StripPrefix(self.0.clone())])
    }
}

register!(StripPrefix: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(prefixes: &[&str]) -> String {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        StripPrefix::new(Config { prefixes, _force_slash: None }).unwrap_err().to_string()
    }

    #[test]
    fn a_path_starts_with_a_slash_and_so_does_a_prefix() {
        assert_eq!(
            problems(&["/a", "b", ""]),
            "/prefixes/1: `b` must start with `/`\n/prefixes/2: `` must start with `/`"
        );
        assert_eq!(problems(&[]), "/prefixes: there is no prefix");
    }
}
