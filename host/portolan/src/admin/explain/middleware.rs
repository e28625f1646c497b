//! What a middleware does, in words.

use std::time::Duration;

use portolan_core::{
    compress::Compress,
    exchange::HeaderLine,
    forward_auth::ForwardAuth,
    middleware::{Action, Middleware, OnFailure, PatternRedirect, PlanStep, Redirect},
    pattern::{Pattern, Rewriting},
    policy::Retries,
};

use super::throttle;
use crate::admin::secret::{HIDDEN, is_secret_header};

/// What a middleware does, in order; empty when it does nothing to any request.
pub(crate) fn does(middleware: &Middleware) -> Vec<String> {
    if middleware.is_closed() {
        return vec!["is missing or not in working order: answers 503".to_owned()];
    }
    let interest = &middleware.interest;
    let mut lines: Vec<String> = interest.plan.iter().flat_map(planned).collect();
    if interest.hooks.is_some() {
        lines.extend(hooks(middleware));
    }
    lines.extend(interest.retry.as_deref().map(tries));
    lines
}

fn tries(retries: &Retries) -> String {
    let mut words = format!("has it tried up to {} times", retries.attempts);
    let codes = retries.statuses.0.iter().map(|range| match range.from == range.to {
        true => range.from.to_string(),
        false => format!("{}-{}", range.from, range.to),
    });
    let codes: Vec<_> = codes.collect();
    match (codes.is_empty(), retries.on_network_error) {
        (true, _) => {}
        (false, true) => words.push_str(&format!(", also on {}", codes.join(", "))),
        (false, false) => words.push_str(&format!(", only on {}", codes.join(", "))),
    }
    if !retries.interval.is_zero() {
        words.push_str(&format!(", {:?} and more apart", retries.interval));
    }
    words
}

/// Whether code of the plugin runs when a request comes.
pub(super) fn runs_code(middleware: &Middleware) -> bool {
    let interest = &middleware.interest;
    interest.hooks.is_some() && (interest.on_request || interest.on_response)
}

fn hooks(middleware: &Middleware) -> Option<String> {
    let interest = &middleware.interest;
    let of = match (interest.on_request, interest.on_response) {
        (true, true) => "the request and the response",
        (true, false) => "the request",
        (false, true) => "the response",
        (false, false) => return None,
    };
    let when = if interest.when.is_some() { "if its condition is true, " } else { "" };
    let failure = match middleware.on_failure {
        OnFailure::Closed => "503 if that fails",
        OnFailure::Open => "goes on if that fails",
    };
    let aside = |limit: Duration| {
        // What was measured has more digits than anybody wants to read.
        let limit = Duration::from_millis(limit.as_millis().try_into().unwrap_or(u64::MAX));
        format!(", for up to {limit:?} beside the threads that serve")
    };
    let aside = interest.aside.map(aside).unwrap_or_default();
    Some(format!("{when}runs `{}` on {of}{aside} ({failure})", middleware.plugin))
}

fn planned(step: &PlanStep) -> impl Iterator<Item = String> {
    let when = if step.when.is_some() { "if its condition is true, " } else { "" };
    step.actions.iter().map(move |action| format!("{when}{}", words(action)))
}

fn words(action: &Action) -> String {
    match action {
        Action::SetRequestHeader(line) => {
            format!("sets the request header `{}: {}`", line.name(), text(line))
        }
        Action::AppendRequestHeader(line) => {
            format!("adds the request header `{}: {}`", line.name(), text(line))
        }
        Action::RemoveRequestHeader(name) => format!("removes the request header `{name}`"),
        Action::SetResponseHeader(line) => {
            format!("sets the response header `{}: {}`", line.name(), text(line))
        }
        Action::AppendResponseHeader(line) => {
            format!("adds the response header `{}: {}`", line.name(), text(line))
        }
        Action::RemoveResponseHeader(name) => format!("removes the response header `{name}`"),
        Action::StripPrefix(prefixes) => format!("strips the prefix `{}`", prefixes.join("` or `")),
        Action::AddPrefix(prefix) => format!("puts `{prefix}` before the path"),
        Action::ReplacePath(path) => format!("replaces the path by `{path}`"),
        Action::StripPrefixPattern(patterns) => {
            let patterns: Vec<_> = patterns.iter().map(Pattern::text).collect();
            format!("strips the prefix that `{}` finds", patterns.join("` or `"))
        }
        Action::RewritePath(rewriting) => format!("replaces {} in the path", by(rewriting)),
        Action::Redirect(redirect) => redirects(redirect),
        Action::RedirectPattern(PatternRedirect { rewriting, permanent }) => {
            let status = if *permanent { "301 or 308" } else { "302 or 307" };
            format!("replaces {} in the URL, and redirects there with {status}", by(rewriting))
        }
        Action::Reply(reply) => format!("answers {}", reply.status),
        Action::ForwardAuth(authority) => asks(authority),
        Action::RateLimit(limit) => throttle::rate(limit),
        Action::InFlight(limit) => throttle::in_flight(limit),
        Action::Compress(compress) => compresses(compress),
    }
}

fn by(rewriting: &Rewriting) -> String {
    let (pattern, replacement) = (rewriting.pattern().text(), rewriting.replacement());
    match replacement {
        "" => format!("what `{pattern}` finds by nothing"),
        _ => format!("what `{pattern}` finds by `{replacement}`"),
    }
}

fn asks(authority: &ForwardAuth) -> String {
    let options = authority.options();
    let method = if options.preserve_method { "by the request's method" } else { "GET" };
    let body = match options.body {
        Some(limit) => format!(", with up to {limit} bytes of the body"),
        None => String::new(),
    };
    let by_pattern = options.response_headers_regex.as_ref();
    let by_pattern = by_pattern.map(|pattern| format!(" and those that fit `{pattern}`"));
    format!(
        "asks {} ({method}{body}), {} headers of its answer are copied{}; 503 if there is none",
        without_query(&options.address),
        options.response_headers.len(),
        by_pattern.unwrap_or_default(),
    )
}

/// There may be secrets in it.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn redirects(redirect: &Redirect) -> String {
    let scheme = redirect.scheme.as_deref().map(|scheme| format!("`{scheme}`"));
    let host = redirect.host.as_deref().map(|host| format!("host `{host}`"));
    let port = redirect.port.map(|port| format!("port {port}"));
    let parts: Vec<String> = [scheme, host, port].into_iter().flatten().collect();
    let to = if parts.is_empty() { "the same place".to_owned() } else { parts.join(", ") };
    format!("redirects to {to} with {}", redirect.status.as_u16())
}

fn compresses(compress: &Compress) -> String {
    let Compress { codings, default, min_bytes, excluded, included } = compress;
    let types = match (excluded.as_slice(), included.as_slice()) {
        ([], []) => String::new(),
        (excluded, []) => format!(", but for `{}`", excluded.join("`, `")),
        (_, included) => format!(", of `{}` alone", included.join("`, `")),
    };
    let otherwise = match default {
        Some(coding) => format!("; with {} for who does not say what it takes", coding.as_str()),
        None => String::new(),
    };
    let names: Vec<&str> = codings.iter().map(|coding| coding.as_str()).collect();
    let names = match names.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        names => names.concat(),
    };
    format!("compresses responses of {min_bytes} bytes and more with {names}{types}{otherwise}")
}

/// Secrets travel in headers; their names tell.
fn text(line: &HeaderLine) -> String {
    let (name, value) = (line.name(), line.value());
    if value.is_sensitive() || is_secret_header(name.as_str()) {
        return HIDDEN.to_owned();
    }
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_secret_in_a_header_is_told_to_nobody() {
        let said = |name: &'static str| {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static("s3cret"));
            let actions = [
                Action::SetRequestHeader(HeaderLine::new(name.clone(), value.clone())),
                Action::AppendResponseHeader(HeaderLine::new(name, value)),
            ];
            actions.each_ref().map(words).join("; ").contains("s3cret")
        };
        for name in ["authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"] {
            assert!(!said(name), "{name}");
        }
        assert!(said("x-served-by"));
    }
}
