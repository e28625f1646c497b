//! An entrypoint that sends everybody to another one: `http` to `https`, as a rule.
//!
//! **Invariant:** it comes before routing, so that no router can be reached without encryption
//! because its rule is longer; only challenges of certificate authorities come before it. Where the
//! operator gave it a priority, routers of a higher one come before it too.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::LOCATION, uri::Scheme};
use portolan_core::{
    exchange::{RequestHead, ResponseHead},
    router::Router,
};

use super::{
    body::Body,
    config::{RedirectConfig, RedirectTarget},
};

/// Where an entrypoint sends everybody.
#[derive(Debug)]
pub(crate) struct Redirect {
    config: RedirectConfig,
    /// The port of the target. It may change, or be known only when the target is open.
    port: AtomicU16,
}

impl Redirect {
    pub(crate) fn new(config: &RedirectConfig) -> Arc<Self> {
        let port = match &config.to {
            RedirectTarget::Port(port) => *port,
            RedirectTarget::Entrypoint(_) => 0,
        };
        Arc::new(Self { config: config.clone(), port: AtomicU16::new(port) })
    }

    /// Finds the port of its entrypoint.
    pub(crate) fn aim(&self, port_of: impl FnOnce(&str) -> Option<u16>) {
        if let RedirectTarget::Entrypoint(name) = &self.config.to
            && let Some(port) = port_of(name)
        {
            self.port.store(port, Relaxed);
        }
    }

    /// Whether it comes before every router, whichever there are.
    pub(crate) fn is_first(&self) -> bool {
        self.config.priority.is_none()
    }

    /// Whether it comes before the router that would take a request.
    pub(crate) fn is_before(&self, router: Option<&Router>) -> bool {
        let least = self.config.priority;
        router.is_none_or(|router| least.is_none_or(|least| router.priority <= least))
    }

    /// Whether a request that was spoken so is where it is to be, though we see another entrypoint.
    pub(crate) fn is_there(&self, scheme: &str) -> bool {
        self.config.scheme == Scheme::HTTPS && scheme == "https"
    }

    /// The response to a request: the same host and target, with another scheme and port.
    pub(crate) fn answer(&self, request: &RequestHead) -> (ResponseHead, Body) {
        let scheme = &self.config.scheme;
        let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = match self.port.load(Relaxed) {
            0 => String::new(),
            port if port == usual => String::new(),
            port => format!(":{port}"),
        };
        let host = without_port(request.authority());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        // `OPTIONS *` asks about the server (RFC 9112, 3.2.4), and no location can say that.
        let target = if target == "*" { "/" } else { target };
        let location = format!("{scheme}://{host}{port}{target}");
        // As Traefik: old clients turn a POST into a GET on 301 and 302, and know no others.
        let simple = request.method == Method::GET;
        let status = match (self.config.permanent, simple) {
            (true, true) => StatusCode::MOVED_PERMANENTLY,
            (true, false) => StatusCode::PERMANENT_REDIRECT,
            (false, true) => StatusCode::FOUND,
            (false, false) => StatusCode::TEMPORARY_REDIRECT,
        };
        let mut headers = HeaderMap::with_capacity(1);
        // Host and target were parsed: they hold nothing that a header may not.
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        (ResponseHead { status, headers: headers.into(), local: true }, Body::full(Bytes::new()))
    }
}

/// A host as it is written, brackets and all, without its port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    fn location(redirect: &Redirect, method: Method, target: &str, host: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(host).unwrap());
        let uri = target.parse().unwrap();
        let request = RequestHead::parse(method, uri, Version::HTTP_11, headers).unwrap();
        let (head, _) = redirect.answer(&request);
        (head.status.as_u16(), head.headers["location"].to_str().unwrap().to_owned())
    }

    #[test]
    fn host_and_target_stay_and_the_usual_port_is_not_named() {
        let to = RedirectTarget::Entrypoint("websecure".into());
        let config = RedirectConfig { to, scheme: Scheme::HTTPS, permanent: true, priority: None };
        let redirect = Redirect::new(&config);
        redirect.aim(|name| (name == "websecure").then_some(8443));
        for (target, host, expected) in [
            ("/", "a.test", "https://a.test:8443/"),
            ("/a%20b?c=d&e", "a.test:80", "https://a.test:8443/a%20b?c=d&e"),
            ("/", "[::1]:8000", "https://[::1]:8443/"),
            ("http://b.test/x", "b.test", "https://b.test:8443/x"),
        ] {
            assert_eq!(location(&redirect, Method::GET, target, host), (301, expected.to_owned()));
        }
        redirect.aim(|_| Some(443));
        let plain = "https://a.test/".to_owned();
        assert_eq!(location(&redirect, Method::POST, "/", "a.test"), (308, plain.clone()));
        // Nothing else can be said of the whole server.
        assert_eq!(location(&redirect, Method::OPTIONS, "*", "a.test"), (308, plain.clone()));
        let to = RedirectTarget::Port(443);
        let brief = Redirect::new(&RedirectConfig {
            to,
            scheme: Scheme::HTTPS,
            permanent: false,
            priority: None,
        });
        assert_eq!(location(&brief, Method::GET, "/", "a.test"), (302, plain.clone()));
        assert_eq!(location(&brief, Method::HEAD, "/", "a.test"), (307, plain.clone()));
        assert_eq!(location(&brief, Method::PUT, "/", "a.test"), (307, plain));
    }
}
