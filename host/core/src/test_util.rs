//! What tests and benchmarks of all crates are made of: matchers without plugins, requests from
//! one line, routers from a rule.
//!
//! Everything here panics on bad input, with the reason: a test that is written wrongly fails.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header::HOST};

use crate::{
    exchange::{Exchange, Peer, RequestHead},
    figure::TrafficFigures,
    matcher::MatcherSet,
    name::ObjectName,
    port::{MatcherError, MatcherPlugin, Signature},
    router::{Observability, Router},
    rule::{Field, Op, Predicate, Rule, Test},
};

/// Traefik's matchers, natively.
#[derive(Debug)]
pub struct TestMatchers(Vec<Signature>);

impl Default for TestMatchers {
    fn default() -> Self {
        let one = |name| (name, 1, 1);
        let all = [
            one("Host"),
            one("HostRegexp"),
            one("Path"),
            one("PathPrefix"),
            one("PathRegexp"),
            one("Method"),
            ("Header", 2, 2),
            ("HeaderRegexp", 2, 2),
            ("Query", 1, 2),
            ("QueryRegexp", 1, 2),
            one("ClientIP"),
        ];
        let signature = |(name, min_args, max_args): (&str, usize, usize)| Signature {
            name: name.to_owned(),
            min_args,
            max_args,
            doc: String::new(),
        };
        Self(all.into_iter().map(signature).collect())
    }
}

impl MatcherPlugin for TestMatchers {
    fn name(&self) -> &str {
        "test-matchers"
    }

    fn fingerprint(&self) -> &str {
        "test-matchers 1"
    }

    fn signatures(&self) -> &[Signature] {
        &self.0
    }

    fn compile(&self, name: &str, args: &[String]) -> Result<Predicate, MatcherError> {
        let wrong = |arg: usize, message: String| MatcherError { arg: Some(arg), message };
        let header = |name: &String| {
            HeaderName::from_bytes(name.as_bytes())
                .map(Field::Header)
                .map_err(|error| wrong(0, error.to_string()))
        };
        let [first, rest @ ..] = args else { return Err(wrong(0, "is missing".into())) };
        let second = rest.first().cloned();
        let (field, op, value) = match name {
            "Host" => (Field::Host, Op::Wildcard, first.clone()),
            "HostRegexp" => (Field::Host, Op::Regex, first.clone()),
            "Path" | "PathPrefix" if !first.starts_with('/') => {
                return Err(wrong(0, "a path starts with a slash".into()));
            }
            "Path" => (Field::Path, Op::Equals, first.clone()),
            "PathPrefix" => (Field::Path, Op::Prefix, first.clone()),
            "PathRegexp" => (Field::Path, Op::Regex, first.clone()),
            "Method" => (Field::Method, Op::Equals, first.to_ascii_uppercase()),
            "Header" => (header(first)?, Op::Equals, second.unwrap_or_default()),
            "HeaderRegexp" => (header(first)?, Op::Regex, second.unwrap_or_default()),
            "Query" => (Field::Query(first.clone()), Op::Equals, second.unwrap_or_default()),
            "QueryRegexp" => match second {
                Some(regex) => (Field::Query(first.clone()), Op::Regex, regex),
                None => (Field::Query(first.clone()), Op::Equals, String::new()),
            },
            "ClientIP" => (Field::ClientIp, Op::Cidr, first.clone()),
            other => panic!("no such matcher: {other}"),
        };
        let test = Test::new(field, op, vec![value]);
        test.map(Predicate::Test).map_err(|message| wrong(args.len() - 1, message))
    }
}

/// A set of [`TestMatchers`].
pub fn matchers() -> MatcherSet {
    MatcherSet::build(&[Arc::new(TestMatchers::default())], &Arc::default()).0
}

/// What a rule means.
pub fn predicate(rule: &str) -> Predicate {
    let compiled = Rule::parse(rule).and_then(|rule| rule.compile(&matchers()));
    compiled.unwrap_or_else(|error| panic!("{error}\n{}", error.caret(rule)))
}

/// A router `name@test` for a rule, with Traefik's default priority, and nothing behind it.
pub fn router(name: &str, rule: &str) -> Router {
    Router {
        name: ObjectName::new(name, "test"),
        rule: rule.into(),
        predicate: predicate(rule),
        priority: i64::try_from(rule.len()).unwrap_or(i64::MAX),
        entrypoints: vec!["web".into()],
        middlewares: Vec::new(),
        chains: Vec::new(),
        retry: None,
        retries: Vec::new(),
        observability: Observability::default(),
        service: None,
        lack: None,
        is_noop: false,
        tls: false,
        tls_options: None,
        timeouts: None,
        figures: Arc::new(TrafficFigures::default()),
    }
}

/// A request from a line such as `GET http://a.local/path?query`, as HTTP/1.1 would bring it to
/// the entrypoint `web` from 192.0.2.1. `https` makes it an encrypted one; `GET /path` has no
/// host.
pub fn exchange(line: &str) -> Exchange {
    exchange_with(line, &[])
}

/// The same, with headers.
pub fn exchange_with(line: &str, headers: &[(&str, &str)]) -> Exchange {
    let (method, url) = line.split_once(' ').unwrap_or_else(|| panic!("no method in `{line}`"));
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, target) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let mut map = HeaderMap::new();
    if !authority.is_empty() {
        map.append(HOST, value(authority));
    }
    for (name, text) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        map.append(name.unwrap_or_else(|error| panic!("{error}")), value(text));
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let uri: Uri = target.parse().unwrap_or_else(|error| panic!("`{target}`: {error}"));
    let request = RequestHead::parse(method, uri, Version::HTTP_11, map)
        .unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let tls = scheme == "https";
    let sni = tls.then(|| request.host().into());
    let peer = Peer { address: ([192, 0, 2, 1], 40000).into(), tls, sni };
    Exchange::new(request, peer, "web".into())
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// A generator of numbers that is the same on every machine (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Throws that depend on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).unwrap_or_default()
    }

    /// One of them.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.throw(all.len())]
    }
}
