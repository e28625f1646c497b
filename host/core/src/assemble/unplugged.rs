//! Middlewares that lack something: their plugin, or a member where they are chains; and what to do about it.
//!
//! Who uses one closes. While nobody does it is a warning: the plugin may yet be dropped into its
//! folder.

use super::merge::Object;
use crate::{
    declare::MiddlewareSpec,
    name::{ObjectName, fold, nearest},
    problem::{Problem, Severity},
    snapshot::MiddlewareEntry,
};

/// What is wrong with such a middleware, as long as nobody uses it.
pub(super) fn problem<'a>(
    name: &ObjectName,
    object: &Object<MiddlewareSpec>,
    known: impl Iterator<Item = &'a str>,
) -> Problem {
    let wanted = object.spec.plugin.as_deref().unwrap_or_default();
    let problem = Problem::warning(&*name.provider, &*object.origin, message(wanted))
        .at(object.spec.pointer.clone());
    match counterpart(wanted) {
        Some(hint) => problem.hint(hint),
        None => problem.did_you_mean(nearest(wanted, known)),
    }
}

/// Something that a middleware lacks.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    /// What is told as long as nobody uses the middleware.
    pub(super) problem: Problem,
    /// Whether it is an error when somebody does: it cannot be that it only has not come yet.
    pub(super) is_mistake: bool,
}

/// The same with the routers that use it now.
pub(super) fn used(Lack { problem, is_mistake }: &Lack, entry: &MiddlewareEntry) -> Problem {
    let provider = &entry.entry.name.provider;
    let users = entry.entry.used_by.keys().map(|user| match user.provider == *provider {
        true => format!("`{}`", user.name),
        false => format!("`{user}`"),
    });
    let mut shown: Vec<_> = users.take(SHOWN).collect();
    let all = entry.entry.used_by.len();
    if all > SHOWN {
        shown.push(format!("{} more", all - SHOWN));
    }
    let mut told = problem.clone();
    let Some(last) = shown.pop() else { return told };
    if *is_mistake {
        told.severity = Severity::Error;
    }
    told.message = match shown.is_empty() {
        true => format!("{}: router {last} answers 503", problem.message),
        false => {
            format!("{}: routers {} and {last} answer 503", problem.message, shown.join(", "))
        }
    };
    told
}

/// So many routers are named.
const SHOWN: usize = 4;

/// What is wrong, in short.
pub(super) fn message(plugin: &str) -> String {
    format!("there is no middleware plugin `{plugin}`")
}

/// What to do about a middleware of Traefik that is none here.
fn counterpart(plugin: &str) -> Option<String> {
    let of_service = |key: &str| {
        Some(format!("a service does that itself: `services.<name>.load-balancer.{key}`"))
    };
    match fold(plugin).as_str() {
        "circuitbreaker" => of_service("circuit-breaker.error-ratio"),
        of_traefik if TRAEFIKS.contains(&of_traefik) => Some(
            "it is Traefik's, and not here: its routers stay closed until they go without it, or a \
             plugin of that name is in the plugins folder"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Middlewares of Traefik for which there is nothing here, as they compare.
const TRAEFIKS: [&str; 6] =
    ["buffering", "digestauth", "encodedcharacters", "errors", "grpcweb", "passtlsclientcert"];
