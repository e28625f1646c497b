//! What a middleware plugin wants of the host for one binding: its plan, and what it is called
//! for.

use std::sync::Arc;

use http::{HeaderName, header::HOST};
use portolan_core::{
    compress::{Coding, Compress},
    edit,
    exchange::HeaderLine,
    middleware::{Action, Interest, PatternRedirect, PlanStep, Redirect},
    pattern::{BadOption, Pattern, Rewriting},
    plan::PlanError,
    rule::Predicate,
};

use super::{
    answer::{line, name, reply, status},
    authority::authority,
    predicate::{Fault, predicate},
    throttle,
};
use crate::{
    bindings::middleware_interest::{self as wit, Phases},
    facets::Places,
    guest::{Slot, Slots},
};

/// Why an interest is none.
pub(super) enum Refusal {
    /// The plugin speaks nonsense.
    Nonsense(String),
    /// What somebody wrote for it makes none.
    Option(BadOption),
}

/// An interest that makes sense, without its hooks; or what is wrong with it.
pub(super) fn interest(
    interest: wit::Interest,
    places: &Places,
) -> Result<(Interest, Slots), Refusal> {
    let plan = interest.plan.into_iter().enumerate().map(|(place, step)| {
        plan_step(step).map_err(|error| error.within(&format!("step {place} of the plan")))
    });
    let slots = Slots {
        request: slots(&interest.request_headers)?,
        response: slots(&interest.response_headers)?,
    };
    let converted = Interest {
        plan: plan.collect::<Result<_, _>>()?,
        hooks: None,
        on_request: hook(interest.phases, Phases::REQUEST_HEAD, places.request.is_some())?,
        on_response: hook(interest.phases, Phases::RESPONSE_HEAD, places.response.is_some())?,
        when: when(interest.when)?,
        aside: None,
        retry: None,
    };
    converted.check()?;
    Ok((converted, slots))
}

impl Refusal {
    fn within(self, place: &str) -> Self {
        match self {
            Self::Nonsense(message) => Self::Nonsense(format!("{place}: {message}")),
            Self::Option(_) => self,
        }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::Nonsense(message)
    }
}

impl From<BadOption> for Refusal {
    fn from(bad: BadOption) -> Self {
        Self::Option(bad)
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Option(bad) => Self::Option(bad),
            error => Self::Nonsense(error.to_string()),
        }
    }
}

fn hook(phases: Phases, phase: Phases, is_exported: bool) -> Result<bool, String> {
    match (phases.contains(phase), is_exported) {
        (true, false) if phase == Phases::REQUEST_HEAD => {
            Err("it wants requests, but exports no `request-hook`".to_owned())
        }
        (true, false) => Err("it wants responses, but exports no `response-hook`".to_owned()),
        (wanted, _) => Ok(wanted),
    }
}

fn when(when: Option<crate::bindings::predicate::Predicate>) -> Result<Option<Predicate>, String> {
    when.map(predicate).transpose().map_err(Fault::into_message)
}

fn slots(names: &[String]) -> Result<Vec<Slot>, String> {
    if names.len() > MAX_SLOTS {
        return Err(format!("it numbers more than {MAX_SLOTS} headers"));
    }
    let slot = |name: &String| {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_invalid| format!("`{}` is not the name of a header", name.escape_debug()))?;
        Ok(Slot::new(name))
    };
    names.iter().map(slot).collect()
}

fn plan_step(step: wit::Step) -> Result<PlanStep, Refusal> {
    let actions = step.actions.into_iter().map(action).collect::<Result<_, _>>()?;
    Ok(PlanStep { when: when(step.when)?, actions })
}

fn action(action: wit::Action) -> Result<Action, Refusal> {
    let pair = |make: fn(_) -> Action, header| {
        line(&header).map(|(name, value)| make(HeaderLine::new(name, value)))
    };
    let action = match action {
        // A plan says beforehand which host it sets; a hook has a function of its own for that.
        wit::Action::SetRequestHeader(header) if header.name.eq_ignore_ascii_case("host") => {
            let value = edit::header_value(&header.value);
            value
                .map(|value| Action::SetRequestHeader(HeaderLine::new(HOST, value)))
                .map_err(|error| format!("the header `host`: {error}"))
        }
        wit::Action::SetRequestHeader(header) => pair(Action::SetRequestHeader, header),
        wit::Action::AppendRequestHeader(header) => pair(Action::AppendRequestHeader, header),
        wit::Action::RemoveRequestHeader(text) => name(&text).map(Action::RemoveRequestHeader),
        wit::Action::SetResponseHeader(header) => pair(Action::SetResponseHeader, header),
        wit::Action::AppendResponseHeader(header) => pair(Action::AppendResponseHeader, header),
        wit::Action::RemoveResponseHeader(text) => name(&text).map(Action::RemoveResponseHeader),
        wit::Action::StripPrefix(prefixes) => Ok(Action::StripPrefix(prefixes)),
        wit::Action::AddPrefix(prefix) => Ok(Action::AddPrefix(prefix)),
        wit::Action::StripPrefixPattern(patterns) => {
            Ok(Action::StripPrefixPattern(prefix_patterns(&patterns)?))
        }
        wit::Action::ReplacePath(path) => Ok(Action::ReplacePath(path)),
        wit::Action::RewritePath(it) => Ok(Action::RewritePath(rewriting(&it)?)),
        wit::Action::Redirect(redirect) => Ok(Action::Redirect(Redirect {
            status: status(redirect.status)?,
            scheme: redirect.scheme,
            port: redirect.port,
            host: redirect.host,
        })),
        wit::Action::RedirectPattern(it) => Ok(Action::RedirectPattern(PatternRedirect {
            rewriting: rewriting(&it.rewriting)?,
            permanent: it.permanent,
        })),
        wit::Action::Reply(it) => reply(it).map(Action::Reply),
        wit::Action::ForwardAuth(it) => authority(it),
        wit::Action::RateLimit(limit) => throttle::rate_limit(limit).map(Action::RateLimit),
        wit::Action::InFlight(limit) => throttle::in_flight(limit).map(Action::InFlight),
        wit::Action::Compress(it) => compress(it).map(Action::Compress),
    };
    action.map_err(Refusal::Nonsense)
}

fn rewriting(it: &wit::Rewriting) -> Result<Arc<Rewriting>, BadOption> {
    Rewriting::compile(&it.regex, &it.replacement).map(Arc::new)
}

fn prefix_patterns(patterns: &[String]) -> Result<Arc<[Pattern]>, BadOption> {
    let compiled = |(place, pattern): (usize, &String)| {
        let bad = |message| BadOption { option: format!("/regex/{place}"), message };
        Pattern::compile(pattern).map_err(bad)
    };
    patterns.iter().enumerate().map(compiled).collect()
}

fn compress(compress: wit::Compress) -> Result<Compress, String> {
    let coding = |name: &String| {
        let unknown = || format!("`{}` is not an encoding that is known", name.escape_debug());
        Coding::of(name).ok_or_else(unknown)
    };
    Ok(Compress {
        codings: compress.encodings.iter().map(coding).collect::<Result<_, _>>()?,
        default: compress.default_encoding.as_ref().map(coding).transpose()?,
        min_bytes: compress.min_bytes,
        excluded: compress.excluded_types,
        included: compress.included_types,
    })
}

/// More headers are rather read one by one.
const MAX_SLOTS: usize = 64;
