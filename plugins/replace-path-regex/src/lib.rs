//! `replace-path-regex`: replaces what a regular expression finds in the path. All plan: it never runs for a
//! request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, Rewriting, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.replace-path-regex]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What is looked for in the path as it is sent, in Go's syntax: `^/foo/(.*)`.
    regex: String,
    /// What takes the place of each find: `/bar/$1`, where `$1`, `${1}` and `${name}` stand for what groups
    /// found. The query stays; the path before is named in `x-replaced-path`.
    #[serde(default)]
    replacement: String,
}

#[derive(Debug)]
struct ReplacePathRegex {
    regex: String,
    replacement: String,
}

impl Plugin for ReplacePathRegex {
    type Config = Config;
    const NAME: &'static str = "replace-path-regex";
    const SUMMARY: &'static str = "Replaces what a regular expression finds in the path.";

    fn new(config: Config) -> Result<Self, Invalid> {
        // Traefik leaves out blanks around either.
        let (regex, replacement) = (config.regex.trim(), config.replacement.trim());
        if regex.is_empty() {
            return Err(Invalid::at("/regex", "the expression is empty"));
        }
        Ok(Self { regex: regex.to_owned(), replacement: replacement.to_owned() })
    }
}

impl Middleware for ReplacePathRegex {
    fn interest(&self) -> Interest {
        let rewriting = Rewriting::new(self.regex.as_str(), self.replacement.as_str());
        Interest::plan([Action::RewritePath(rewriting)])
    }
}

register!(ReplacePathRegex: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(regex: &str, replacement: &str) -> Result<ReplacePathRegex, Invalid> {
        let (regex, replacement) = (regex.to_owned(), replacement.to_owned());
        ReplacePathRegex::new(Config { regex, replacement })
    }

    #[test]
    fn blanks_around_are_left_out() {
        let expected = Rewriting::new("^/foo/(.*)", "/bar/$1");
        let interest = replace(" ^/foo/(.*)\n", " /bar/$1 ").unwrap().interest();
        assert_eq!(interest, Interest::plan([Action::RewritePath(expected)]));
    }

    #[test]
    fn an_expression_that_is_everywhere_is_refused() {
        for empty in ["", " "] {
            let problem = replace(empty, "/x").unwrap_err().to_string();
            assert_eq!(problem, "/regex: the expression is empty");
        }
    }
}
