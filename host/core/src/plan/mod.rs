//! Runs a plan: the part of a middleware that is done without entering its plugin.
//!
//! **Invariant:** what is done on the way back is decided on the way in: a step whose `when` held
//! for the request as it came does its work on the response, whatever became of the request.

mod location;
mod pattern;
mod remarks;

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{HOST, LOCATION},
};

use crate::{
    compress::{Coding, Recoding},
    exchange::{Exchange, Reply, RequestHead, is_of_connection},
    middleware::{Action, Interest, PlanStep, Redirect},
    pattern::BadOption,
    target::{Authority, BadTarget, Target, bare_host, strip_seen},
};

/// What Traefik's stripPrefix names the prefix in.
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What Traefik's replacePath names the path in that was there before.
const X_REPLACED_PATH: HeaderName = HeaderName::from_static("x-replaced-path");

const HOST_IS_SET: &str = "`host` can be set, but neither added to nor removed";

/// The steps of a plan that have work to do on the way back, and what the client takes, if one of them
/// compresses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Steps {
    places: u64,
    coding: Option<Coding>,
}

/// Where a plan goes on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    step: usize,
    /// At 0 the condition of the step is still to be asked.
    action: usize,
}

/// How far a plan came on the way in.
#[derive(Debug)]
pub enum Planned<'a> {
    /// To its end.
    Through,
    /// To an answer.
    Reply(Reply),
    /// To an action that takes time. Whoever runs the plan does it, and goes on from this place.
    Pause(&'a Action, Place),
}

/// Why a plan cannot be run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Too many steps.
    #[error("the plan has more than {} steps", Steps::MAX)]
    TooLong,
    /// Two compress.
    #[error("the plan compresses twice")]
    Twice,
    /// An action that makes no sense, or that is the host's own.
    #[error("action {action} of step {step} of the plan: {message}")]
    Action {
        /// Which step, from 0.
        step: usize,
        /// Which action of it, from 0.
        action: usize,
        /// One sentence in lower case, without a full stop.
        message: String,
    },
    /// What somebody wrote for a plugin, and the host reads.
    #[error(transparent)]
    Option(#[from] BadOption),
}

impl Steps {
    /// How many steps a plan may have.
    pub const MAX: usize = 64;

    fn insert(&mut self, place: usize) {
        self.places |= 1 << (place % Self::MAX);
    }

    fn contains(self, place: usize) -> bool {
        self.places & (1 << (place % Self::MAX)) != 0
    }

    /// Whether nothing is to be done on the way back.
    pub fn is_empty(self) -> bool {
        self.places == 0
    }
}

impl Interest {
    /// Checks what can be checked before a request comes.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.plan.len() > Steps::MAX {
            return Err(PlanError::TooLong);
        }
        let actions = self.plan.iter().flat_map(|step| &step.actions);
        if actions.filter(|action| matches!(action, Action::Compress(_))).count() > 1 {
            return Err(PlanError::Twice);
        }
        for (step, PlanStep { actions, .. }) in self.plan.iter().enumerate() {
            for (place, action) in actions.iter().enumerate() {
                pattern::check(action)?;
                action.check().map_err(|message| PlanError::Action {
                    step,
                    action: place,
                    message,
                })?;
            }
        }
        Ok(())
    }

    /// Does the plan's work on the request from some place on, and notes which steps have work to do
    /// on the way back: also on the reply, if one of them answers.
    pub fn plan_request(
        &self,
        from: Place,
        steps: &mut Steps,
        exchange: &mut Exchange,
    ) -> Planned<'_> {
        let mut first = from.action;
        for (place, step) in self.plan.iter().enumerate().take(Steps::MAX).skip(from.step) {
            let done = std::mem::take(&mut first);
            if done == 0 && step.when.as_ref().is_some_and(|when| !when.matches(exchange)) {
                continue;
            }
            for (number, action) in step.actions.iter().enumerate().skip(done) {
                if let Action::Compress(compress) = action {
                    if let Some(coding) = compress.choose(&exchange.request) {
                        steps.insert(place);
                        steps.coding = coding;
                    }
                } else if action.is_for_response() {
                    steps.insert(place);
                } else if action.takes_time() {
                    return Planned::Pause(action, Place { step: place, action: number + 1 });
                } else if let Some(reply) = action.on_request(exchange) {
                    return Planned::Reply(reply);
                }
            }
        }
        Planned::Through
    }

    /// The same at one go, as if every action that takes time had let the request through.
    pub fn plan_at_once(&self, exchange: &mut Exchange) -> (Steps, Option<Reply>) {
        let (mut steps, mut from) = (Steps::default(), Place::default());
        loop {
            match self.plan_request(from, &mut steps, exchange) {
                Planned::Through => return (steps, None),
                Planned::Reply(reply) => return (steps, Some(reply)),
                Planned::Pause(_, place) => from = place,
            }
        }
    }

    /// Does the plan's work on the head of the response, if there is one, and says what is to be done with
    /// its content.
    pub fn plan_response(&self, steps: Steps, exchange: &mut Exchange) -> Option<Recoding> {
        if steps.is_empty() {
            return None;
        }
        let mut recoding = None;
        for (place, step) in self.plan.iter().enumerate().take(Steps::MAX) {
            for action in step.actions.iter().filter(|_| steps.contains(place)) {
                match (action, &mut exchange.response) {
                    (Action::Compress(compress), Some(response)) => {
                        recoding = compress.ask(steps.coding, response);
                    }
                    _ => action.on_response(exchange),
                }
            }
        }
        recoding
    }
}

impl Action {
    /// Whether it cannot be done at once.
    fn takes_time(&self) -> bool {
        matches!(self, Self::ForwardAuth(_) | Self::RateLimit(_) | Self::InFlight(_))
    }

    fn is_for_response(&self) -> bool {
        matches!(
            self,
            Self::SetResponseHeader(..)
                | Self::AppendResponseHeader(..)
                | Self::RemoveResponseHeader(_)
        )
    }

    fn on_request(&self, exchange: &mut Exchange) -> Option<Reply> {
        let request = &mut exchange.request;
        match self {
            Self::SetRequestHeader(line) if *line.name() == HOST => {
                if let Ok(authority) = Authority::parse(line.value().clone()) {
                    request.set_authority(authority);
                }
            }
            Self::SetRequestHeader(line) => request.headers.set_line(line),
            Self::AppendRequestHeader(line) => request.headers.add_line(line),
            Self::RemoveRequestHeader(name) => request.headers.take_out(name),
            Self::StripPrefix(prefixes) => strip_prefix(request, prefixes),
            Self::AddPrefix(prefix) => {
                // Of a path that was stripped to nothing no slash is left either, as in Traefik.
                let path = [prefix.trim_end_matches('/'), sent_path(request)];
                let target = Target::compose(&path, request.query());
                retarget(request, target);
            }
            Self::ReplacePath(path) => {
                // The check of the plan leaves no path that is bad; one that was not checked changes nothing.
                _ = replace_path(request, path);
            }
            Self::StripPrefixPattern(patterns) => pattern::strip(request, patterns),
            Self::RewritePath(rewriting) => return pattern::rewrite_path(request, rewriting),
            Self::Redirect(redirect) => return Some(redirect.reply(exchange)),
            Self::RedirectPattern(redirect) => return pattern::redirect(exchange, redirect),
            Self::Reply(reply) => return Some(reply.clone()),
            Self::SetResponseHeader(..)
            | Self::AppendResponseHeader(..)
            | Self::RemoveResponseHeader(_)
            | Self::ForwardAuth(_)
            | Self::RateLimit(_)
            | Self::InFlight(_)
            | Self::Compress(_) => {}
        }
        None
    }

    fn on_response(&self, exchange: &mut Exchange) {
        let Some(response) = &mut exchange.response else { return };
        let headers = &mut response.headers;
        match self {
            Self::SetResponseHeader(line) => headers.set_line(line),
            Self::AppendResponseHeader(line) => headers.add_line_to_response(line),
            Self::RemoveResponseHeader(name) => headers.take_out(name),
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::SetRequestHeader(line) if *line.name() == HOST => {
                Authority::parse(line.value().clone()).map(drop).map_err(|bad| bad.to_string())
            }
            Self::AppendRequestHeader(line) if *line.name() == HOST => Err(HOST_IS_SET.to_owned()),
            Self::RemoveRequestHeader(name) if *name == HOST => Err(HOST_IS_SET.to_owned()),
            Self::SetRequestHeader(line)
            | Self::AppendRequestHeader(line)
            | Self::SetResponseHeader(line)
            | Self::AppendResponseHeader(line) => check_header(line.name()),
            Self::RemoveRequestHeader(name) | Self::RemoveResponseHeader(name) => {
                check_header(name)
            }
            Self::StripPrefix(prefixes) => {
                prefixes.iter().try_for_each(|prefix| check_prefix(prefix))
            }
            Self::AddPrefix(path) => check_path(path),
            // What is wrong with them is said of options.
            Self::ReplacePath(_)
            | Self::StripPrefixPattern(_)
            | Self::RewritePath(_)
            | Self::RedirectPattern(_) => Ok(()),
            Self::Redirect(redirect) => redirect.check(),
            Self::Reply(reply) => check_reply(reply),
            // It was when it was made.
            Self::ForwardAuth(_) => Ok(()),
            Self::RateLimit(limit) => limit.check(),
            Self::InFlight(limit) => limit.check(),
            Self::Compress(compress) => compress.check(),
        }
    }
}

impl Redirect {
    fn reply(&self, exchange: &Exchange) -> Reply {
        let request = &exchange.request;
        let scheme = self.scheme.as_deref().unwrap_or_else(|| exchange.scheme());
        let host = match &self.host {
            Some(host) => bracketed(host),
            None => bracketed(request.host()),
        };
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = match self.port {
            Some(port) if port != default_port => format!(":{port}"),
            _ => String::new(),
        };
        let target = request.target();
        // Without a host (HTTP/1.0) only a relative reference can be given (RFC 9110, 10.2.2).
        let location = match host.is_empty() {
            true => target.to_owned(),
            false => format!("{scheme}://{host}{port}{target}"),
        };
        match HeaderValue::try_from(location) {
            Ok(location) => {
                Reply { headers: vec![(LOCATION, location)], ..Reply::empty(self.status) }
            }
            Err(_) => Reply::empty(StatusCode::BAD_REQUEST),
        }
    }

    fn check(&self) -> Result<(), String> {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(format!("{} is not the status of a redirect", self.status.as_u16()));
        }
        if let Some(scheme) = self.scheme.as_deref().filter(|scheme| !is_scheme(scheme)) {
            return Err(format!("`{scheme}` is not a scheme"));
        }
        match self.host.as_deref() {
            Some(host) if !is_host(host) => Err(format!("`{host}` is not a host")),
            _ => Ok(()),
        }
    }
}

/// Removes the first prefix that fits. As in Traefik, a prefix need not end at a segment border.
fn strip_prefix(request: &mut RequestHead, prefixes: &[String]) {
    let path = request.uri().path();
    let fitting = prefixes.iter().find(|prefix| strip_seen(path, prefix).is_some());
    if let Some(prefix) = fitting {
        strip(request, prefix);
    }
}

/// Removes a prefix, if it is one; what is left starts with a slash, if anything is.
fn strip(request: &mut RequestHead, prefix: &str) {
    let Some(rest) = strip_seen(request.uri().path(), prefix) else { return };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let Ok(target) = Target::compose(&[slash, rest], request.query()) else { return };
    match rest {
        "" => request.empty_path(target),
        _ => request.set_target(target),
    }
    // Rules see no path with characters that are not valid in a value.
    if let Ok(value) = HeaderValue::from_bytes(prefix.as_bytes()) {
        request.headers.add(&X_FORWARDED_PREFIX, &value);
    }
}

/// The path as it is sent, or nothing where nothing is left of it.
fn sent_path(request: &RequestHead) -> &str {
    if request.path().is_empty() { "" } else { request.uri().path() }
}

/// Puts another path in the place of this one, which is named in a header, as in Traefik. What does not
/// begin with a slash gets one.
fn replace_path(request: &mut RequestHead, path: &str) -> Result<(), BadTarget> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let target = Target::compose(&[slash, path], request.query())?;
    let before = HeaderValue::from_str(sent_path(request));
    match path {
        "" => request.empty_path(target),
        _ => request.set_target(target),
    }
    // A path is sent in ASCII.
    if let Ok(before) = before {
        request.headers.add(&X_REPLACED_PATH, &before);
    }
    Ok(())
}

/// Changes where the request goes. The check of the plan leaves no target that is bad; one that
/// was not checked changes nothing.
fn retarget(request: &mut RequestHead, target: Result<Target, BadTarget>) {
    if let Ok(target) = target {
        request.set_target(target);
    }
}

fn check_header(name: &HeaderName) -> Result<(), String> {
    match is_of_connection(name) {
        true => Err(format!("`{name}` belongs to the connection and cannot be changed")),
        false => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("`{path}` does not start with a slash"));
    }
    if path.contains(['?', '#']) {
        return Err(format!("`{path}` is more than a path"));
    }
    check_target(path)
}

fn check_target(path: &str) -> Result<(), String> {
    Target::compose(&[path], None).map(drop).map_err(|bad| format!("`{path}`: {bad}"))
}

/// A prefix to strip is also sent on, as a header.
fn check_prefix(prefix: &str) -> Result<(), String> {
    match HeaderValue::from_str(prefix) {
        Ok(_) => check_path(prefix),
        Err(_) => Err(format!("`{prefix}` has characters that a header cannot hold")),
    }
}

fn check_reply(reply: &Reply) -> Result<(), String> {
    if !matches!(reply.status.as_u16(), 200..=599) {
        return Err(format!("{} is not the status of an answer", reply.status.as_u16()));
    }
    reply.headers.iter().try_for_each(|(name, _)| check_header(name))
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A host without a port, an IPv6 address with or without brackets.
fn is_host(text: &str) -> bool {
    let bracketed = bracketed(text);
    let authority = HeaderValue::from_str(&bracketed).ok().map(Authority::parse);
    matches!(authority, Some(Ok(_)))
        && !bare_host(&bracketed).is_empty()
        && !bracketed.ends_with(':')
        && (bracketed.starts_with('[') || !bracketed.contains(':'))
}

/// A host as it stands in a URL.
fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod pattern_tests;
