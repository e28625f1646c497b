//! Runs a plan: the part of a middleware that is done without entering its plugin.
//!
//! **Invariant:** what is done on the way back is decided on the way in: a step whose `when` held
//! for the request as it came does its work on the response, whatever became of the request.

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{HOST, LOCATION},
};

use crate::{
    compress::{Coding, Recoding},
    exchange::{Exchange, Reply, RequestHead, is_of_connection},
    middleware::{Action, Interest, PlanStep, Redirect},
    target::{Authority, BadTarget, Target, bare_host, strip_seen},
};

/// What Traefik's stripPrefix names the prefix in.
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

const HOST_IS_SET: &str = "`host` can be set, but neither added to nor removed";

/// The steps of a plan that have work to do on the way back, and what the client takes, if one of them
/// compresses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Steps {
    places: u64,
    coding: Option<Coding>,
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
                action.check().map_err(|message| PlanError::Action {
                    step,
                    action: place,
                    message,
                })?;
            }
        }
        Ok(())
    }

    /// Does the plan's work on the request, and says which steps have work to do on the way
    /// back: also on the reply, if one of them answers.
    pub fn plan_request(&self, exchange: &mut Exchange) -> (Steps, Option<Reply>) {
        let mut steps = Steps::default();
        for (place, step) in self.plan.iter().enumerate().take(Steps::MAX) {
            if step.when.as_ref().is_some_and(|when| !when.matches(exchange)) {
                continue;
            }
            for action in &step.actions {
                if let Action::Compress(compress) = action {
                    if let Some(coding) = compress.choose(&exchange.request) {
                        steps.insert(place);
                        steps.coding = coding;
                    }
                } else if action.is_for_response() {
                    steps.insert(place);
                } else if let Some(reply) = action.on_request(exchange) {
                    return (steps, Some(reply));
                }
            }
        }
        (steps, None)
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
            Self::StripPrefix(prefixes) => strip_prefix(exchange, prefixes),
            Self::AddPrefix(prefix) => {
                // Of a path that was stripped to nothing no slash is left either, as in Traefik.
                let path = if request.path().is_empty() { "" } else { request.uri().path() };
                let path = [prefix.trim_end_matches('/'), path];
                let target = Target::compose(&path, request.query());
                retarget(request, target);
            }
            Self::ReplacePath(path) => {
                let target = Target::compose(&[path], request.query());
                retarget(request, target);
            }
            Self::Redirect(redirect) => return Some(redirect.reply(exchange)),
            Self::Reply(reply) => return Some(reply.clone()),
            Self::SetResponseHeader(..)
            | Self::AppendResponseHeader(..)
            | Self::RemoveResponseHeader(_)
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
            Self::AddPrefix(path) | Self::ReplacePath(path) => check_path(path),
            Self::Redirect(redirect) => redirect.check(),
            Self::Reply(reply) => check_reply(reply),
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

/// Removes the first prefix that fits; what is left starts with a slash, if anything is. As in Traefik, a prefix
/// need not end at a segment border.
fn strip_prefix(exchange: &mut Exchange, prefixes: &[String]) {
    let request = &mut exchange.request;
    let path = request.uri().path();
    let mut fitting =
        prefixes.iter().filter_map(|prefix| Some((prefix, strip_seen(path, prefix)?)));
    let Some((prefix, rest)) = fitting.next() else { return };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let Ok(target) = Target::compose(&[slash, rest], request.query()) else { return };
    match rest {
        "" => request.empty_path(target),
        _ => request.set_target(target),
    }
    // The check of the plan leaves no prefix that is not a valid value.
    if let Ok(value) = HeaderValue::from_str(prefix) {
        request.headers.add(&X_FORWARDED_PREFIX, &value);
    }
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
