//! The cookie that keeps a client where it is, as Traefik writes it.

use std::fmt::Write as _;

use http::HeaderValue;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::{
    exchange::{Headers, cookies},
    policy::{SameSite, Sticky},
};

/// The cookie of one service: its name, its attributes, and what stands for each place.
#[derive(Debug)]
pub struct Cookie {
    name: Box<str>,
    /// What follows the value.
    attributes: Box<str>,
    /// What stands for each place, sorted.
    tokens: Box<[(u64, u32)]>,
}

impl Cookie {
    /// Works out the cookie of a service for what it chooses among: URLs of backends, or names of
    /// services.
    pub fn new(service: &str, sticky: &Sticky, targets: impl Iterator<Item = String>) -> Self {
        let mut tokens: Vec<_> = targets.map(|target| token(&target)).zip(0..).collect();
        tokens.sort_unstable();
        let name = sticky.name.clone().unwrap_or_else(|| default_name(service));
        Self { name: name.into(), attributes: attributes(sticky).into(), tokens: tokens.into() }
    }

    /// The name of the cookie.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place that the client of a request was sent to before, if it still is one.
    pub fn place(&self, headers: &Headers) -> Option<usize> {
        let token = u64::from_str_radix(cookie(headers, &self.name)?, 16).ok()?;
        let at = self.tokens.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        self.tokens.get(at).map(|(_, place)| *place as usize)
    }

    /// What tells the client to come back to a place; `None` if there is no such place.
    pub fn header(&self, place: usize) -> Option<HeaderValue> {
        let place = u32::try_from(place).ok()?;
        let (token, _) = self.tokens.iter().find(|(_, known)| *known == place)?;
        let line = format!("{}={token:016x}{}", self.name, self.attributes);
        HeaderValue::try_from(line).ok()
    }
}

/// The value of a cookie, without quotes (RFC 6265, 4.2).
pub fn cookie<'a>(headers: &'a Headers, name: &'a str) -> Option<&'a str> {
    cookies(headers, name).next().map(|value| value.trim_matches('"'))
}

/// The first 16 hexadecimal digits of its SHA-256.
fn token(target: &str) -> u64 {
    let digest = Sha256::digest(target.as_bytes());
    digest.iter().take(8).fold(0, |token, byte| token << 8 | u64::from(*byte))
}

/// `_` and five hexadecimal digits of a SHA-1.
fn default_name(service: &str) -> String {
    let digest = Sha1::digest(format!("_TRAEFIK_BACKEND_{service}").as_bytes());
    let mut name = String::from("_");
    for byte in digest.iter().take(3) {
        // Writing to text cannot fail.
        let _infallible = write!(name, "{byte:02x}");
    }
    name.truncate(6);
    name
}

fn attributes(sticky: &Sticky) -> String {
    let mut text = format!("; Path={}", sticky.path.as_deref().unwrap_or("/"));
    if let Some(domain) = &sticky.domain {
        text += &format!("; Domain={domain}");
    }
    match sticky.max_age {
        0 => (),
        age => text += &format!("; Max-Age={}", age.max(0)),
    }
    if sticky.http_only {
        text += "; HttpOnly";
    }
    if sticky.secure {
        text += "; Secure";
    }
    text += match sticky.same_site {
        None => "",
        Some(SameSite::None) => "; SameSite=None",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::Strict) => "; SameSite=Strict",
    };
    text
}
