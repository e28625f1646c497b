//! `redirect-regex`: sends clients to what a regular expression makes of the URL. All plan: it never runs
//! for a request.

use portolan_plugin::{
    Action, Interest, Invalid, Middleware, PatternRedirect, Plugin, Rewriting, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.redirect-regex]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What is looked for in the URL, `scheme://host:port/path?query`, in Go's syntax:
    /// `^https?://www\.(.+)`.
    regex: String,
    /// What takes the place of each find: `https://${1}`, where `$1`, `${1}` and `${name}` stand for what
    /// groups found. What comes out is where the client is sent, if it is another URL.
    #[serde(default)]
    replacement: String,
    /// Whether clients may remember it: 301 and 308 instead of 302 and 307.
    #[serde(default)]
    permanent: bool,
}

#[derive(Debug)]
struct RedirectRegex(Config);

impl Plugin for RedirectRegex {
    type Config = Config;
    const NAME: &'static str = "redirect-regex";
    const SUMMARY: &'static str = "Sends clients to what a regular expression makes of the URL.";

    fn new(config: Config) -> Result<Self, Invalid> {
        match config.regex.is_empty() {
            true => Err(Invalid::at("/regex", "the expression is empty")),
            false => Ok(Self(config)),
        }
    }
}

impl Middleware for RedirectRegex {
    fn interest(&self) -> Interest {
        let Config { regex, replacement, permanent } = &self.0;
        let rewriting = Rewriting::new(regex.as_str(), replacement.as_str());
        let redirect = PatternRedirect { rewriting, permanent: *permanent };
        Interest::plan([Action::RedirectPattern(redirect)])
    }
}

register!(RedirectRegex: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(regex: &str, permanent: bool) -> Result<RedirectRegex, Invalid> {
        let (regex, replacement) = (regex.to_owned(), "https://${1}".to_owned());
        RedirectRegex::new(Config { regex, replacement, permanent })
    }

    #[test]
    fn it_is_handed_to_the_host_as_it_is_written() {
        for permanent in [false, true] {
            let rewriting = Rewriting::new(r"^https?://www\.(.+)", "https://${1}");
            let expected = Action::RedirectPattern(PatternRedirect { rewriting, permanent });
            let interest = redirect(r"^https?://www\.(.+)", permanent).unwrap().interest();
            assert_eq!(interest, Interest::plan([expected]));
        }
    }

    #[test]
    fn an_expression_that_is_everywhere_is_refused() {
        let problem = redirect("", false).unwrap_err().to_string();
        assert_eq!(problem, "/regex: the expression is empty");
    }
}
