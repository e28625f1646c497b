//! The actions of a plan that ask a regular expression.

use std::cell::Cell;

use http::{Method, StatusCode, header::LOCATION};

use super::{check_target, location::location, replace_path};
use crate::{
    exchange::{Exchange, Reply, RequestHead},
    middleware::{Action, PatternRedirect},
    pattern::{BadOption, Pattern, Rewriting},
    target::strip_seen,
};

/// Checks what every request would be refused for.
pub(super) fn check(action: &Action) -> Result<(), BadOption> {
    let bad = |option: &str, message: String| Err(BadOption { option: option.to_owned(), message });
    match action {
        Action::ReplacePath(path) => check_target(path).or_else(|message| bad("/path", message)),
        Action::RewritePath(rewriting) if rewriting.literals().any(has_torn_encoding) => {
            let message = "has a `%` without two hexadecimal digits behind it";
            bad("/replacement", message.to_owned())
        }
        Action::RedirectPattern(redirect) if redirect.rewriting.literals().any(has_control) => {
            bad("/replacement", "has a line break, or something else that no URL has".to_owned())
        }
        _ => Ok(()),
    }
}

fn has_control(text: &str) -> bool {
    text.contains(|it: char| it.is_ascii_control())
}

/// Whether a `%` begins no encoding, whatever stands behind the text.
fn has_torn_encoding(text: &str) -> bool {
    text.match_indices('%').any(|(place, _)| {
        let mut behind = text.bytes().skip(place + 1).take(2);
        !behind.all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Removes what the first of the expressions finds that finds something at the beginning of the path as
/// rules see it.
pub(super) fn strip(request: &mut RequestHead, patterns: &[Pattern]) {
    let prefix = patterns.iter().find_map(|pattern| prefix(request, pattern)).map(str::to_owned);
    if let Some(prefix) = prefix {
        super::strip(request, &prefix);
    }
}

/// What an expression finds, if the path begins with that: as in Traefik, also where it was found further
/// on.
fn prefix<'a>(request: &'a RequestHead, pattern: &Pattern) -> Option<&'a str> {
    let (sent, seen) = (request.uri().path(), request.path());
    let found = pattern.find(seen).filter(|found| !found.is_empty())?;
    seen.strip_prefix(found)?;
    let rest = strip_seen(sent, found)?;
    // `%2F` is one character, though an expression sees three.
    let cut = sent.len() - rest.len();
    let begun = sent.as_bytes().get(cut.saturating_sub(2)..cut).unwrap_or_default();
    (!begun.contains(&b'%')).then_some(found)
}

/// Replaces what is found in the path. What comes out and is no path is answered with 500, as in Traefik.
pub(super) fn rewrite_path(request: &mut RequestHead, rewriting: &Rewriting) -> Option<Reply> {
    let rewritten = rewriting.rewrite(super::sent_path(request))?;
    let replaced = rewritten.is_ok_and(|path| replace_path(request, &path).is_ok());
    (!replaced).then(|| Reply::empty(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Answers where the URL becomes another one. What comes out and is no URL is answered with 502, as in
/// Traefik.
pub(super) fn redirect(exchange: &Exchange, redirect: &PatternRedirect) -> Option<Reply> {
    let rewritten = with_url(exchange, |url| {
        let rewritten = redirect.rewriting.rewrite(url)?;
        (rewritten.as_deref() != Ok(url)).then_some(rewritten)
    })?;
    let location = rewritten.ok().and_then(|url| location(&url));
    let Some(location) = location else { return Some(Reply::empty(StatusCode::BAD_GATEWAY)) };
    // Clients may change the method to GET at 301 and 302. As in Traefik, HEAD is not to.
    let status = match (redirect.permanent, exchange.request.method == Method::GET) {
        (false, true) => StatusCode::FOUND,
        (true, true) => StatusCode::MOVED_PERMANENTLY,
        (false, false) => StatusCode::TEMPORARY_REDIRECT,
        (true, false) => StatusCode::PERMANENT_REDIRECT,
    };
    Some(Reply { headers: vec![(LOCATION, location)], ..Reply::empty(status) })
}

thread_local! {
    /// The URL of the request that is asked about. Nearly none is redirected, so it is not worth an
    /// allocation each time.
    static URL: Cell<String> = const { Cell::new(String::new()) };
}

/// A longer one is not kept.
const KEPT: usize = 8 << 10;

/// Does something with the URL that the client asked for, as the middlewares before left it.
fn with_url<T>(exchange: &Exchange, look: impl FnOnce(&str) -> T) -> T {
    let mut url = URL.take();
    url.clear();
    let request = &exchange.request;
    for piece in [exchange.scheme(), "://", request.authority(), request.target()] {
        url.push_str(piece);
    }
    let seen = look(&url);
    if url.capacity() <= KEPT {
        URL.set(url);
    }
    seen
}
