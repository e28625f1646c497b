//! What the steps of a plan do to a request and its response.

use http::HeaderMap;

use super::*;
use crate::{
    compress::Compress,
    exchange::{HeaderLine, ResponseHead},
    test_util::{exchange, exchange_with, predicate},
};

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn value(value: &'static str) -> HeaderValue {
    HeaderValue::from_static(value)
}

fn always(actions: Vec<Action>) -> Interest {
    Interest { plan: vec![PlanStep { when: None, actions }], ..Interest::default() }
}

fn only(when: &str, actions: Vec<Action>) -> PlanStep {
    PlanStep { when: Some(predicate(when)), actions }
}

/// Runs a plan that changes the path, and shows what is sent on, what rules see, and the prefix.
fn path_after(action: Action, line: &str) -> String {
    let interest = always(vec![action]);
    interest.check().unwrap();
    let mut exchange = exchange(line);
    assert_eq!(interest.plan_at_once(&mut exchange), (Steps::default(), None));
    let request = &exchange.request;
    let prefix = request.headers.get(X_FORWARDED_PREFIX).map_or("-", |p| p.to_str().unwrap());
    format!("{} {} {prefix}", request.target(), request.path())
}

#[test]
fn what_a_client_takes_is_looked_at_on_the_way_in() {
    let compress = || {
        Action::Compress(Compress {
            codings: Coding::ALL.to_vec(),
            default: None,
            min_bytes: 10,
            excluded: Vec::new(),
            included: Vec::new(),
        })
    };
    let interest = always(vec![compress(), Action::RemoveRequestHeader(name("accept-encoding"))]);
    interest.check().unwrap();
    let mut exchange = exchange_with("GET http://h/", &[("accept-encoding", "br")]);
    let (steps, _) = interest.plan_at_once(&mut exchange);
    assert!(!exchange.request.headers.contains_key("accept-encoding"));
    assert_eq!(interest.plan_response(steps, &mut exchange), None, "there is no response");
    exchange.response = Some(ResponseHead {
        status: StatusCode::OK,
        headers: HeaderMap::new().into(),
        local: false,
    });
    let recoding = interest.plan_response(steps, &mut exchange);
    let expected = Recoding { coding: Coding::Brotli, min_bytes: 10, is_live: false };
    assert_eq!(recoding, Some(expected));
    assert_eq!(interest.plan_response(Steps::default(), &mut exchange), None);
    let twice = Interest {
        plan: vec![
            PlanStep { when: None, actions: vec![compress()] },
            only("Path(`/`)", vec![compress()]),
        ],
        ..Interest::default()
    };
    assert_eq!(twice.check(), Err(PlanError::Twice));
}

#[test]
fn a_prefix_is_stripped_as_in_traefik() {
    let strip = |prefixes: &[&str], line: &str| {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        path_after(Action::StripPrefix(prefixes), &format!("GET http://h{line}"))
    };
    assert_eq!(strip(&["/api"], "/api/a?q=1"), "/a?q=1 /a /api");
    assert_eq!(strip(&["/api"], "/api"), "/  /api");
    assert_eq!(strip(&["/api"], "/api?q"), "/?q  /api");
    assert_eq!(strip(&["/api/"], "/api/a"), "/a /a /api/");
    assert_eq!(strip(&["/api"], "/apiary"), "/ary /ary /api");
    assert_eq!(strip(&["/x", "/api", "/api/a"], "/api/a"), "/a /a /api");
    assert_eq!(strip(&["/api"], "/other"), "/other /other -");
    assert_eq!(strip(&["/api"], "/API/a"), "/API/a /API/a -");
    assert_eq!(strip(&["/"], "/a"), "/a /a /");
    // The prefix is written as rules see paths, what is sent on stays encoded.
    assert_eq!(strip(&["/a b"], "/a%20b/c%20d"), "/c%20d /c d /a b");
    assert_eq!(strip(&["/a"], "/a%2Fb"), "/%2Fb /%2Fb /a");
    assert_eq!(strip(&["/a%2Fb"], "/a%2fb/c"), "/c /c /a%2Fb");
    assert_eq!(strip(&["/a/b"], "/a%2fb/c"), "/a%2Fb/c /a%2Fb/c -");
}

#[test]
fn a_prefix_in_the_place_of_another_adds_no_slash() {
    let swap = |line: &str| {
        let actions =
            vec![Action::StripPrefix(vec!["/app".into()]), Action::AddPrefix("/v2".into())];
        let mut exchange = exchange(&format!("GET http://h{line}"));
        always(actions).plan_at_once(&mut exchange);
        format!("{} {}", exchange.request.target(), exchange.request.path())
    };
    assert_eq!(swap("/app"), "/v2 /v2");
    assert_eq!(swap("/app?q=1"), "/v2?q=1 /v2");
    assert_eq!(swap("/app/"), "/v2/ /v2/");
    assert_eq!(swap("/app/a"), "/v2/a /v2/a");
    assert_eq!(swap("/other"), "/v2/other /v2/other");
}

#[test]
fn a_prefix_is_added_and_a_path_replaced() {
    let add = |prefix: &str, line: &str| path_after(Action::AddPrefix(prefix.into()), line);
    assert_eq!(add("/api", "GET http://h/a?q=1"), "/api/a?q=1 /api/a -");
    assert_eq!(add("/api/", "GET http://h/a"), "/api/a /api/a -");
    assert_eq!(add("/a b", "GET http://h/%20"), "/a%20b/%20 /a b/  -");
    assert_eq!(add("/", "GET http://h/a"), "/a /a -");
    let replace = |path: &str, line: &str| path_after(Action::ReplacePath(path.into()), line);
    assert_eq!(replace("/new", "GET http://h/a%20b?q=1"), "/new?q=1 /new -");
    assert_eq!(replace("/ä", "GET http://h/a"), "/%C3%A4 /ä -");
}

#[test]
fn a_redirect_goes_to_the_same_place() {
    let redirect = |scheme: Option<&str>, port, host: Option<&str>| Redirect {
        status: StatusCode::PERMANENT_REDIRECT,
        scheme: scheme.map(Into::into),
        port,
        host: host.map(Into::into),
    };
    let https = Some("https");
    for (redirect, line, location) in [
        (redirect(https, None, None), "GET http://a.local/x?y=1", "https://a.local/x?y=1"),
        (redirect(https, None, None), "GET http://a.local:8000/", "https://a.local/"),
        (redirect(https, Some(443), None), "GET http://a.local/", "https://a.local/"),
        (redirect(https, Some(8443), None), "GET http://a.local:80/", "https://a.local:8443/"),
        (redirect(None, None, Some("b.local")), "GET https://a.local/", "https://b.local/"),
        (redirect(None, Some(80), None), "GET https://a.local/", "https://a.local:80/"),
        (redirect(https, None, None), "GET http://[::1]:80/x%20y", "https://[::1]/x%20y"),
        (redirect(https, None, Some("2001:db8::1")), "GET http://a/", "https://[2001:db8::1]/"),
        (redirect(https, None, None), "GET /x", "/x"),
        (
            redirect(https, None, None),
            "GET http://a.local//evil.example/",
            "https://a.local/evil.example/",
        ),
    ] {
        let interest = always(vec![Action::Redirect(redirect)]);
        interest.check().unwrap();
        let (_, reply) = interest.plan_at_once(&mut exchange(line));
        let reply = reply.expect("a redirect answers");
        assert_eq!(reply.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(reply.headers, [(LOCATION, HeaderValue::from_str(location).unwrap())], "{line}");
    }
}

fn respond(exchange: &mut Exchange) {
    let mut headers = HeaderMap::new();
    headers.insert("server", value("backend"));
    exchange.response =
        Some(ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false });
}

#[test]
fn headers_are_changed_on_both_ways() {
    let interest = always(vec![
        Action::SetRequestHeader(HeaderLine::new(name("x-a"), value("1"))),
        Action::AppendRequestHeader(HeaderLine::new(name("x-a"), value("2"))),
        Action::RemoveRequestHeader(name("cookie")),
        Action::SetResponseHeader(HeaderLine::new(name("x-served-by"), value("portolan"))),
        Action::AppendResponseHeader(HeaderLine::new(name("x-served-by"), value("too"))),
        Action::RemoveResponseHeader(name("server")),
        Action::SetRequestHeader(HeaderLine::new(HOST, value("Inner.Local:81"))),
    ]);
    interest.check().unwrap();
    let mut exchange = exchange_with("GET http://h/", &[("x-a", "0"), ("cookie", "c")]);
    let (steps, reply) = interest.plan_at_once(&mut exchange);
    assert_eq!(reply, None);
    let headers = &exchange.request.headers;
    assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(headers.get("cookie").is_none());
    assert_eq!(exchange.request.authority(), "Inner.Local:81");
    assert_eq!(exchange.request.host(), "inner.local");
    interest.plan_response(steps, &mut exchange);
    assert!(exchange.response.is_none());
    respond(&mut exchange);
    interest.plan_response(steps, &mut exchange);
    let headers = exchange.response.unwrap().headers;
    assert_eq!(headers.get_all("x-served-by").iter().collect::<Vec<_>>(), ["portolan", "too"]);
    assert!(headers.get("server").is_none());
}

#[test]
fn what_held_on_the_way_in_is_done_on_the_way_back() {
    let set = |header| vec![Action::SetResponseHeader(HeaderLine::new(name(header), value("1")))];
    let interest = Interest {
        plan: vec![
            only("PathPrefix(`/api`)", vec![Action::StripPrefix(vec!["/api".into()])]),
            only("Path(`/a`)", set("x-now")),
            only("Path(`/api/a`)", set("x-before")),
            only("Method(`GET`)", set("x-get")),
        ],
        ..Interest::default()
    };
    let mut exchange = exchange("GET http://h/api/a");
    let (steps, _) = interest.plan_at_once(&mut exchange);
    exchange.request.method = http::Method::POST;
    respond(&mut exchange);
    interest.plan_response(steps, &mut exchange);
    let headers = exchange.response.unwrap().headers;
    assert!(headers.contains_key("x-now") && headers.contains_key("x-get"));
    assert!(!headers.contains_key("x-before"));
}

#[test]
fn a_reply_ends_the_plan_but_not_the_way_back() {
    let reply = Reply { body: "no".into(), ..Reply::empty(StatusCode::FORBIDDEN) };
    let interest = Interest {
        plan: vec![
            PlanStep {
                when: None,
                actions: vec![Action::SetResponseHeader(HeaderLine::new(name("x-a"), value("1")))],
            },
            only("!ClientIP(`10.0.0.0/8`)", vec![Action::Reply(reply.clone())]),
            PlanStep {
                when: None,
                actions: vec![
                    Action::SetRequestHeader(HeaderLine::new(name("x-late"), value("1"))),
                    Action::SetResponseHeader(HeaderLine::new(name("x-b"), value("1"))),
                ],
            },
        ],
        ..Interest::default()
    };
    let mut exchange = exchange("GET http://h/");
    let (steps, answer) = interest.plan_at_once(&mut exchange);
    assert_eq!(answer, Some(reply));
    assert!(!exchange.request.headers.contains_key("x-late"));
    respond(&mut exchange);
    interest.plan_response(steps, &mut exchange);
    let headers = exchange.response.unwrap().headers;
    assert!(headers.contains_key("x-a") && !headers.contains_key("x-b"));
}

#[test]
fn plans_without_sense_are_refused() {
    let redirect = |status: u16, scheme: Option<&str>, host: Option<&str>| {
        Action::Redirect(Redirect {
            status: StatusCode::from_u16(status).unwrap(),
            scheme: scheme.map(Into::into),
            port: None,
            host: host.map(Into::into),
        })
    };
    for (action, message) in [
        (
            Action::SetRequestHeader(HeaderLine::new(name("connection"), value("close"))),
            "`connection` belongs to the connection and cannot be changed",
        ),
        (
            Action::RemoveResponseHeader(name("content-length")),
            "`content-length` belongs to the connection and cannot be changed",
        ),
        (
            Action::AppendRequestHeader(HeaderLine::new(HOST, value("a"))),
            "`host` can be set, but neither added to nor removed",
        ),
        (
            Action::SetRequestHeader(HeaderLine::new(HOST, value("a b"))),
            "the host is not a name or address with an optional port",
        ),
        (Action::AddPrefix("api".into()), "`api` does not start with a slash"),
        (Action::StripPrefix(vec!["/a".into(), "b".into()]), "`b` does not start with a slash"),
        (Action::StripPrefix(vec!["/\n".into()]), "`/\n` has characters that a header cannot hold"),
        (Action::AddPrefix("/a?b".into()), "`/a?b` is more than a path"),
        (redirect(200, None, None), "200 is not the status of a redirect"),
        (redirect(301, Some("ht tp"), None), "`ht tp` is not a scheme"),
        (redirect(301, None, Some("a/b")), "`a/b` is not a host"),
        (redirect(301, None, Some("a:80")), "`a:80` is not a host"),
        (redirect(301, None, Some("")), "`` is not a host"),
        (Action::Reply(Reply::empty(StatusCode::CONTINUE)), "100 is not the status of an answer"),
    ] {
        let error = always(vec![action]).check().unwrap_err().to_string();
        assert_eq!(error, format!("action 0 of step 0 of the plan: {message}"));
    }
    let long = Interest {
        plan: vec![PlanStep { when: None, actions: vec![] }; 65],
        ..Interest::default()
    };
    assert_eq!(long.check().unwrap_err().to_string(), "the plan has more than 64 steps");
}

#[test]
fn a_plan_does_not_say_again_what_vary_says() {
    let interest =
        always(vec![Action::AppendResponseHeader(HeaderLine::new(name("vary"), value("Origin")))]);
    for said in ["Origin", "accept-encoding, origin"] {
        let mut exchange = exchange("GET http://h/");
        let (steps, _) = interest.plan_at_once(&mut exchange);
        let headers = HeaderMap::from_iter([(name("vary"), value(said))]).into();
        exchange.response = Some(ResponseHead { status: StatusCode::OK, headers, local: false });
        interest.plan_response(steps, &mut exchange);
        let lines = exchange.response.unwrap().headers.into_map();
        assert_eq!(lines.get_all("vary").iter().collect::<Vec<_>>(), [said]);
    }
}
