//! `redirect-scheme`: sends clients to the same place under another scheme. All plan: it never runs
//! for a request.

use portolan_plugin::{
    Action, Field, Interest, Invalid, Middleware, Op, Plugin, Predicate, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.redirect-scheme]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The scheme to go to: `https`.
    scheme: String,
    /// The port to go to. Left out: the scheme's own.
    #[serde(default)]
    port: Option<u16>,
    /// Whether clients may remember it: 301 and 308 instead of 302 and 307.
    #[serde(default)]
    permanent: bool,
}

#[derive(Debug)]
struct RedirectScheme {
    scheme: String,
    port: Option<u16>,
    permanent: bool,
}

impl Plugin for RedirectScheme {
    type Config = Config;
    const NAME: &'static str = "redirect-scheme";
    const SUMMARY: &'static str = "Sends clients to another scheme, such as https.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let scheme = config.scheme.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => {
                let message = format!("`{}` is neither `http` nor `https`", config.scheme);
                invalid.add("/scheme", message);
                0
            }
        };
        if config.port == Some(0) {
            invalid.add("/port", "a port is 1 to 65535");
        }
        let port = config.port.filter(|&port| port != own_port);
        invalid.or(Self { scheme, port, permanent: config.permanent })
    }
}

impl Middleware for RedirectScheme {
    fn interest(&self) -> Interest {
        let (for_get, for_others) = if self.permanent { (301, 308) } else { (302, 307) };
        let elsewhere = Predicate::test(Field::Scheme, Op::Equals, [self.scheme.as_str()]).not();
        // Clients may change the method to GET at 301 and 302. As in Traefik, HEAD is not to.
        let get = Predicate::test(Field::Method, Op::Equals, ["GET"]);
        Interest::default()
            .step(elsewhere.clone().and(get), [self.redirect(for_get)])
            .step(elsewhere, [self.redirect(for_others)])
    }
}

impl RedirectScheme {
    fn redirect(&self, status: u16) -> Action {
        Action::redirect(status, self.scheme.as_str(), self.port)
    }
}

register!(RedirectScheme: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(
        scheme: &str,
        port: Option<u16>,
        permanent: bool,
    ) -> Result<RedirectScheme, Invalid> {
        RedirectScheme::new(Config { scheme: scheme.to_owned(), port, permanent })
    }

    fn redirects(scheme: &str, port: Option<u16>, permanent: bool) -> Vec<(u16, Option<u16>)> {
        let interest = redirect(scheme, port, permanent).unwrap().interest();
        let actions = interest.steps().iter().flat_map(|(_, actions)| actions.clone());
        actions
            .map(|action| match action {
                Action::Redirect(redirect) => (redirect.status, redirect.port),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn only_get_is_sent_on_with_301_and_302() {
        let interest = redirect("https", None, false).unwrap().interest();
        let when: Vec<_> = interest.steps().iter().map(|(when, _)| when.clone().unwrap()).collect();
        let elsewhere = Predicate::test(Field::Scheme, Op::Equals, ["https"]).not();
        let get = Predicate::test(Field::Method, Op::Equals, ["GET"]);
        assert_eq!(when, [elsewhere.clone().and(get), elsewhere]);
        assert_eq!(redirects("https", None, false), [(302, None), (307, None)]);
        assert_eq!(redirects("https", None, true), [(301, None), (308, None)]);
    }

    #[test]
    fn the_port_of_the_scheme_is_not_written() {
        assert_eq!(redirects("HTTPS", Some(443), false), [(302, None), (307, None)]);
        assert_eq!(redirects("https", Some(8443), false), [(302, Some(8443)), (307, Some(8443))]);
        assert_eq!(redirects("http", Some(443), false), [(302, Some(443)), (307, Some(443))]);
    }

    #[test]
    fn other_schemes_are_refused() {
        let problems = redirect("ftp", Some(0), false).unwrap_err().to_string();
        assert_eq!(
            problems,
            "/scheme: `ftp` is neither `http` nor `https`\n/port: a port is 1 to 65535"
        );
    }
}
