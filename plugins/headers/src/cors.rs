//! Cross-origin resource sharing (the Fetch standard, 3.2), as a plan where that can be.
//!
//! A plan cannot repeat what a request says, so it has a step for each origin of a short list. Where
//! the list is long, or holds regular expressions, [`Origins`] are looked up by the hooks.

use portolan_plugin::{Action, Field, Interest, Invalid, Op, Predicate, Reply, header};
use regex_lite::Regex;

use crate::Config;

/// More origins than this are looked up by the hooks: a plan has two steps for each, and at most 64.
const PLANNED: usize = 16;

/// Origins that are looked up.
#[derive(Debug)]
pub(crate) struct Origins {
    exact: Vec<String>,
    patterns: Vec<Regex>,
}

impl Origins {
    /// Those of a configuration; `None` where a plan does it.
    pub(crate) fn of(config: &Config, invalid: &mut Invalid) -> Option<Self> {
        const OPTION: &str = "/access-control-allow-origin-list-regex";
        let mut patterns = Vec::new();
        for (place, text) in config.access_control_allow_origin_list_regex.iter().enumerate() {
            match Regex::new(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    invalid.add(format!("{OPTION}/{place}"), format!("`{text}`: {error}"));
                }
            }
        }
        let exact = &config.access_control_allow_origin_list;
        let is_planned = patterns.is_empty() && exact.len() <= PLANNED;
        let takes_all = exact.iter().any(|origin| origin == "*");
        (!is_planned && !takes_all).then(|| Self { exact: exact.clone(), patterns })
    }

    /// Whether this one may ask. Patterns are found anywhere, as in Traefik: anchor them.
    pub(crate) fn allow(&self, origin: &[u8]) -> bool {
        let is_it = |allowed: &String| allowed.as_bytes() == origin;
        let matches = |origin| self.patterns.iter().any(|pattern| pattern.is_match(origin));
        self.exact.iter().any(is_it) || str::from_utf8(origin).is_ok_and(matches)
    }
}

/// The part of the configuration that is about CORS.
pub(crate) struct Cors<'a> {
    pub(crate) config: &'a Config,
    /// Whether origins are looked up by the hooks.
    pub(crate) is_called: bool,
}

impl Cors<'_> {
    pub(crate) fn check(&self, invalid: &mut Invalid) {
        let config = self.config;
        let lists = [
            ("access-control-allow-origin-list", &config.access_control_allow_origin_list),
            ("access-control-allow-methods", &config.access_control_allow_methods),
            ("access-control-allow-headers", &config.access_control_allow_headers),
            ("access-control-expose-headers", &config.access_control_expose_headers),
        ];
        for (option, values) in lists {
            for (place, value) in values.iter().enumerate() {
                invalid.check(|| format!("/{option}/{place}"), header::check_value(value));
            }
        }
    }

    /// Answers the question that browsers ask before the request itself.
    pub(crate) fn preflight(&self, mut interest: Interest) -> Interest {
        if !self.is_wanted() || self.is_called {
            return interest;
        }
        let asked = is_preflight();
        for origin in &self.config.access_control_allow_origin_list {
            let reply = self.answer().header("access-control-allow-origin", origin.as_str());
            if origin == "*" {
                return interest.step(asked, [Action::Reply(reply)]);
            }
            interest = interest.step(asked.clone().and(is_from(origin)), [Action::Reply(reply)]);
        }
        interest.step(asked, [Action::Reply(self.answer())])
    }

    /// Marks the answers to the requests themselves.
    pub(crate) fn actual(&self, mut interest: Interest) -> Interest {
        let config = self.config;
        let planned = config.access_control_allow_origin_list.iter().filter(|_| !self.is_called);
        for origin in planned {
            let allow =
                [Action::set_response_header("access-control-allow-origin", origin.as_str())];
            if origin == "*" {
                interest = interest.always(allow);
                break;
            }
            interest = interest.step(is_from(origin), allow);
        }
        let mut actions = Vec::new();
        if config.access_control_allow_credentials {
            actions.push(Action::set_response_header("access-control-allow-credentials", "true"));
        }
        if let Some(exposed) = joined(&config.access_control_expose_headers) {
            actions.push(Action::set_response_header("access-control-expose-headers", exposed));
        }
        if config.add_vary_header {
            actions.push(Action::append_response_header("vary", "Origin"));
        }
        interest.always(actions)
    }

    /// Traefik's rule for whether a preflight is answered here or by the backend.
    fn is_wanted(&self) -> bool {
        let config = self.config;
        config.access_control_allow_credentials
            || !config.access_control_allow_headers.is_empty()
            || !config.access_control_allow_methods.is_empty()
            || !config.access_control_allow_origin_list.is_empty()
            || !config.access_control_allow_origin_list_regex.is_empty()
            || !config.access_control_expose_headers.is_empty()
            || config.access_control_max_age != 0
            || config.add_vary_header
    }

    /// The answer to the question, but for the origin.
    pub(crate) fn answer(&self) -> Reply {
        let config = self.config;
        let lines = [
            (
                "access-control-allow-credentials",
                config.access_control_allow_credentials.then(|| "true".to_owned()),
            ),
            ("access-control-allow-headers", joined(&config.access_control_allow_headers)),
            ("access-control-allow-methods", joined(&config.access_control_allow_methods)),
            ("access-control-max-age", Some(config.access_control_max_age.to_string())),
        ];
        lines.into_iter().fold(Reply::new(200), |reply, (name, value)| match value {
            Some(value) => reply.header(name, value),
            None => reply,
        })
    }
}

/// The plan, with no step for preflights: the hooks answer them, before anything else is done.
pub(crate) fn but_for_preflights(plan: &Interest) -> Interest {
    plan.steps().iter().fold(Interest::default(), |interest, (when, actions)| {
        let others = is_preflight().not();
        let when = match when {
            Some(when) => others.and(when.clone()),
            None => others,
        };
        interest.step(when, actions.iter().cloned())
    })
}

fn is_preflight() -> Predicate {
    Predicate::All(vec![
        Predicate::test(Field::Method, Op::Equals, ["OPTIONS"]),
        Predicate::has_header("origin"),
        Predicate::has_header("access-control-request-method"),
    ])
}

fn is_from(origin: &str) -> Predicate {
    Predicate::test(Field::Header("origin".to_owned()), Op::Equals, [origin])
}

fn joined(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}
