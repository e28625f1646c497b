//! `replace-path`: puts another path in the place of the request's. All plan: it never runs for a request.

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.replace-path]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The path that is asked for instead: `/index.html`. The query stays; the path before is named
    /// in `x-replaced-path`.
    path: String,
}

#[derive(Debug)]
struct ReplacePath(String);

impl Plugin for ReplacePath {
    type Config = Config;
    const NAME: &'static str = "replace-path";
    const SUMMARY: &'static str = "Puts another path in the place of the request's.";

    fn new(config: Config) -> Result<Self, Invalid> {
        // Traefik takes it without the slash as well.
        let path = config.path.trim_start_matches('/');
        Ok(Self(format!("/{path}")))
    }
}

impl Middleware for ReplacePath {
    fn interest(&self) -> Interest {
        Interest::plan([Action::ReplacePath(self.0.clone())])
    }
}

register!(ReplacePath: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_begins_with_one_slash() {
        for (path, expected) in [("/new", "/new"), ("new/x", "/new/x"), ("//a", "/a"), ("", "/")] {
            let middleware = ReplacePath::new(Config { path: path.to_owned() }).unwrap();
            let expected = Interest::plan([Action::ReplacePath(expected.to_owned())]);
            assert_eq!(middleware.interest(), expected);
        }
    }
}
