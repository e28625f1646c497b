//! What the answer of an authority means for the request.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, LOCATION, SET_COOKIE},
};

use super::{ForwardAuth, canonical, is_ours, location};
use crate::{
    edit::Edit,
    exchange::{Exchange, Headers, Reply, ResponseHead, cookie_set_by},
};

/// What we ourselves say of a client. An expression on names is not meant for these, which it would take away.
const TOLD: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];

impl ForwardAuth {
    /// Whether the authority lets the request pass.
    pub fn lets_pass(head: &ResponseHead) -> bool {
        head.status.is_success()
    }

    /// The user, if the authority names one.
    pub fn user<'a>(&self, head: &'a ResponseHead) -> Option<&'a [u8]> {
        head.headers.first(self.options.user.as_ref()?).filter(|user| !user.is_empty())
    }

    /// Tells the backend what the authority said of a request that it lets pass; answers what is to be
    /// changed of the response when it comes.
    pub fn admit(&self, head: &ResponseHead, exchange: &mut Exchange) -> Option<Edit> {
        let headers = &mut exchange.request.headers;
        for name in self.claimed(headers) {
            headers.take_out(&name);
        }
        for name in &self.options.response_headers {
            for value in head.headers.get_all(name) {
                headers.add(name, value);
            }
        }
        for name in head.headers.keys().filter(|name| self.is_by_pattern(name)) {
            headers.take_out(name);
            for value in head.headers.get_all(name) {
                headers.add(name, value);
            }
        }
        self.cookies(head)
    }

    /// The headers of a request that only the authority may set. Some backends take an underscore for a
    /// hyphen, so who may not say one may not say the other.
    fn claimed(&self, headers: &Headers) -> Vec<HeaderName> {
        let listed = &self.options.response_headers;
        let is_claimed = |name: &&HeaderName| {
            let plain = name.as_str().contains('_').then(|| name.as_str().replace('_', "-"));
            let plain = plain.as_deref().unwrap_or(name.as_str());
            let is_same = |listed: &HeaderName| match listed.as_str().contains('_') {
                true => listed.as_str().replace('_', "-") == plain,
                false => listed == plain,
            };
            listed.iter().any(is_same)
                || self.is_by_pattern(name)
                || plain != name.as_str() && self.fits(plain)
        };
        headers.keys().filter(is_claimed).cloned().collect()
    }

    /// Whether a header is one that the authority may set because of its name.
    fn is_by_pattern(&self, name: &HeaderName) -> bool {
        !is_ours(name) && self.fits(name.as_str())
    }

    fn fits(&self, name: &str) -> bool {
        !TOLD.contains(&name)
            && self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&canonical(name)))
    }

    /// The cookies that it sets for the client, in place of those of the backend.
    fn cookies(&self, head: &ResponseHead) -> Option<Edit> {
        let names = &self.options.cookies;
        if names.is_empty() || head.headers.first(&SET_COOKIE).is_none() {
            return None;
        }
        let lines = head.headers.get_all(SET_COOKIE).iter();
        let is_named =
            |line: &&HeaderValue| names.iter().any(|it| it.as_bytes() == cookie_set_by(line));
        let lines = lines.filter(is_named).cloned().collect();
        Some(Edit::SetCookies(Arc::from(names.as_slice()), lines))
    }

    /// The answer to the client where the authority does not let the request pass: the authority's own.
    pub fn refusal(&self, head: &ResponseHead, body: Bytes) -> Reply {
        if let Some(reply) = self.sign_in(head) {
            return reply;
        }
        let said = head.headers.iter().filter(|(name, _)| **name != LOCATION);
        let mut headers: Vec<_> = said.map(|(name, value)| (name.clone(), value.clone())).collect();
        let location = head.headers.value(&LOCATION);
        headers.extend(location.map(|location| (LOCATION, self.resolved(location))));
        Reply { status: head.status, headers, body }
    }

    /// Whether a client that it does not let pass is sent elsewhere, so that its content is of no use.
    pub fn is_content_needless(&self, head: &ResponseHead) -> bool {
        head.status == StatusCode::UNAUTHORIZED && self.options.sign_in.is_some()
    }

    /// Where a client is sent that it does not know.
    fn sign_in(&self, head: &ResponseHead) -> Option<Reply> {
        let location = self.options.sign_in.clone()?;
        (head.status == StatusCode::UNAUTHORIZED).then(|| Reply {
            headers: vec![
                (LOCATION, location),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
            ..Reply::empty(StatusCode::FOUND)
        })
    }

    /// Where it sends a client: what is not absolute is relative to the authority, as the client knows
    /// nothing of it.
    fn resolved(&self, location: HeaderValue) -> HeaderValue {
        if self.options.preserve_location {
            return location;
        }
        let text = location.to_str().ok();
        let resolved = text.and_then(|text| location::resolve(&self.address, text));
        resolved.and_then(|url| HeaderValue::try_from(url).ok()).unwrap_or(location)
    }
}
