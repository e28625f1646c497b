//! `strip-prefix`: takes a prefix off the path. All plan: it never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, log, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.strip-prefix]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The first of these that the path starts with is taken off, and named in
    /// `x-forwarded-prefix`. One that does not start with a slash has no effect.
    #[serde(default)]
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
        let is_good = |(place, prefix): &(usize, String)| {
            // Every path starts with a slash, so Traefik's comparison never holds either.
            let is_good = prefix.starts_with('/');
            if !is_good {
                let option = format!("/prefixes/{place}");
                log::warn("a prefix without a slash has no effect", &[("option", &option)]);
            }
            is_good
        };
        let good = config.prefixes.into_iter().enumerate().filter(is_good);
        Ok(Self(good.map(|(_, prefix)| prefix).collect()))
    }
}

impl Middleware for StripPrefix {
    fn interest(&self) -> Interest {
        match self.0.is_empty() {
            true => Interest::default(),
            false => Interest::plan([Action::StripPrefix(self.0.clone())]),
        }
    }
}

register!(StripPrefix: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(prefixes: &[&str]) -> Interest {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        StripPrefix::new(Config { prefixes, _force_slash: None }).unwrap().interest()
    }

    #[test]
    fn a_prefix_that_never_fits_is_passed_over() {
        let prefixes = ["/a", "/c/"].map(str::to_owned).to_vec();
        let expected = Interest::plan([Action::StripPrefix(prefixes)]);
        assert_eq!(plan(&["/a", "b", "", "/c/"]), expected);
    }

    #[test]
    fn no_prefix_is_nothing_to_do() {
        assert_eq!(plan(&[]), Interest::default());
        assert_eq!(plan(&["b"]), Interest::default());
    }
}
