//! The plan of a configuration, written as lines: what is done, and when.

use portolan_plugin::{Action, Field, Header, Op, Predicate};

use super::*;

#[test]
fn nothing_configured_is_nothing_done() {
    assert_eq!(plan("{}"), "");
}

#[test]
fn custom_headers_are_set_and_an_empty_value_removes() {
    let config = r#"{
        "custom-request-headers": { "x-tenant": "blue", "cookie": "" },
        "custom-response-headers": { "server": "", "x-served-by": "portolan" }
    }"#;
    assert_eq!(
        plan(config),
        "- request cookie\nrequest x-tenant: blue\n- response server\nresponse x-served-by: portolan\n"
    );
}

#[test]
fn security_headers_are_those_of_traefik() {
    let config = r#"{
        "frame-deny": true, "content-type-nosniff": true, "browser-xss-filter": true,
        "referrer-policy": "no-referrer", "permissions-policy": "camera=()",
        "content-security-policy": "default-src 'self'"
    }"#;
    let expected = "response x-frame-options: DENY\nresponse x-content-type-options: nosniff\n\
        response x-xss-protection: 1; mode=block\n\
        response content-security-policy: default-src 'self'\n\
        response referrer-policy: no-referrer\nresponse permissions-policy: camera=()\n";
    assert_eq!(plan(config), expected);
    let custom = r#"{ "frame-deny": true, "custom-frame-options-value": "SAMEORIGIN" }"#;
    assert_eq!(plan(custom), "response x-frame-options: SAMEORIGIN\n");
}

#[test]
fn strict_transport_is_for_https_unless_forced() {
    let config = r#"{ "sts-seconds": 60, "sts-include-subdomains": true, "sts-preload": true }"#;
    assert_eq!(
        plan(config),
        "[https] response strict-transport-security: max-age=60; includeSubDomains; preload\n"
    );
    let forced = r#"{ "sts-seconds": 60, "force-sts-header": true }"#;
    assert_eq!(plan(forced), "response strict-transport-security: max-age=60\n");
    assert_eq!(plan(r#"{ "sts-preload": true }"#), "");
    assert_eq!(plan(r#"{ "sts-seconds": -1, "force-sts-header": true }"#), "");
}

#[test]
fn a_preflight_is_answered_before_anything_else() {
    let config = r#"{
        "access-control-allow-origin-list": ["https://a.example", "https://b.example"],
        "access-control-allow-methods": ["GET", "PUT"],
        "access-control-max-age": 100,
        "custom-response-headers": { "x-a": "1" }
    }"#;
    let expected = "\
        [preflight from https://a.example] reply 200 access-control-allow-methods: GET,PUT \
        access-control-max-age: 100 access-control-allow-origin: https://a.example\n\
        [preflight from https://b.example] reply 200 access-control-allow-methods: GET,PUT \
        access-control-max-age: 100 access-control-allow-origin: https://b.example\n\
        [preflight] reply 200 access-control-allow-methods: GET,PUT access-control-max-age: 100\n\
        response x-a: 1\n\
        [from https://a.example] response access-control-allow-origin: https://a.example\n\
        [from https://b.example] response access-control-allow-origin: https://b.example\n";
    assert_eq!(plan(config), expected);
}

#[test]
fn a_star_allows_all_origins() {
    let config = r#"{ "access-control-allow-origin-list": ["*"], "add-vary-header": true,
        "access-control-allow-credentials": true, "access-control-expose-headers": ["etag"] }"#;
    let expected = "\
        [preflight] reply 200 access-control-allow-credentials: true access-control-max-age: 0 \
        access-control-allow-origin: *\n\
        response access-control-allow-origin: *\n\
        response access-control-allow-credentials: true\n\
        response access-control-expose-headers: etag\n+ response vary: Origin\n";
    assert_eq!(plan(config), expected);
}

#[test]
fn every_bad_header_is_named() {
    let config = r#"{
        "custom-request-headers": { "x/y": "1" },
        "access-control-allow-origin-list-regex": ["a("],
        "custom-response-headers": { "x-a": "one\ntwo" },
        "referrer-policy": "\u0000"
    }"#;
    let config: Config = serde_json::from_str(config).unwrap();
    assert_eq!(
        Headers::new(config).unwrap_err().to_string(),
        "/custom-request-headers/x~1y: `x/y` is no header name\n\
         /custom-response-headers/x-a: a header value cannot hold '\\n'\n\
         /referrer-policy: a header value cannot hold '\\0'\n\
         /access-control-allow-origin-list-regex/0: `a(`: found open group without closing ')'"
    );
}

#[test]
fn browsers_may_be_told_to_remember_no_answer() {
    assert_eq!(
        plan(r#"{ "access-control-max-age": -1 }"#),
        "[preflight] reply 200 access-control-max-age: -1\n"
    );
}

#[test]
fn what_traefik_takes_without_effect_has_none() {
    let config = r#"{ "ssl-redirect": true, "ssl-temporary-redirect": true, "ssl-host": "a",
        "ssl-force-host": true, "feature-policy": "camera 'none'" }"#;
    assert_eq!(plan(config), "");
    assert!(headers(config).interest().is_planned());
}

#[test]
fn the_host_can_be_set_and_headers_of_the_connection_are_left_out() {
    let config = r#"{
        "custom-request-headers": { "Host": "b.example", "Connection": "Upgrade", "Upgrade": "x",
            "Proxy-Authorization": "", "Content-Length": "1" },
        "custom-response-headers": { "Keep-Alive": "1", "Content-Length": "", "Host": "x",
            "Proxy-Authenticate": "" }
    }"#;
    assert_eq!(plan(config), "request Host: b.example\n");
    assert_eq!(plan(r#"{ "custom-request-headers": { "host": "" } }"#), "");
}

#[test]
fn hosts_that_are_not_meant_are_refused() {
    let steps = |config| headers(config).interest().steps().to_vec();
    let found = steps(r#"{ "allowed-hosts": ["a.example:8080", "b.example"] }"#);
    let (own, refusal) = (found[0].0.clone().unwrap(), &found[0].1[0]);
    assert!(matches!(refusal, Action::Reply(reply) if reply.status == 400));
    assert_eq!(
        own,
        Predicate::test(Field::Host, Op::EqualsIgnoreCase, ["a.example", "b.example"]).not()
    );
    let behind = r#"{ "allowed-hosts": ["a"], "hosts-proxy-headers": ["X-Forwarded-Host"] }"#;
    let header = Field::Header("x-forwarded-host".to_owned());
    let said = Predicate::test(header, Op::EqualsIgnoreCase, ["a"]);
    let own = Predicate::test(Field::Host, Op::EqualsIgnoreCase, ["a"]);
    let otherwise = Predicate::has_header("x-forwarded-host").not().and(own);
    assert_eq!(steps(behind)[0].0, Some(Predicate::Any(vec![said, otherwise]).not()));
    assert!(steps(r#"{ "allowed-hosts": ["a"], "is-development": true }"#).is_empty());
}

#[test]
fn many_origins_and_patterns_are_looked_up() {
    let many: Vec<String> = (0..40).map(|n| format!("\"https://{n}.example\"")).collect();
    let many = format!(r#"{{ "access-control-allow-origin-list": [{}] }}"#, many.join(","));
    let called = headers(&many);
    assert!(called.interest().steps().is_empty() && !called.interest().is_planned());
    let origins = called.origins.unwrap();
    assert!(origins.allow(b"https://39.example") && !origins.allow(b"https://40.example"));
    let pattern = r#"{ "access-control-allow-origin-list-regex": ["^https://[a-z]+[.]example$"] }"#;
    let origins = headers(pattern).origins.unwrap();
    assert!(origins.allow(b"https://app.example"));
    assert!(!origins.allow(b"https://app.example.evil") && !origins.allow(b"\xff"));
    assert!(headers(r#"{ "access-control-allow-origin-list": ["a"] }"#).interest().is_planned());
}

/// Origins that are looked up, and what else there is to set.
const LOOKED_UP: &str = r#"{
    "access-control-allow-origin-list-regex": ["^https://a"], "access-control-max-age": 5,
    "access-control-allow-credentials": true, "allowed-hosts": ["b"], "frame-deny": true,
    "custom-request-headers": { "x-a": "1" },
    "custom-response-headers": { "Access-Control-Allow-Origin": "https://else", "x-b": "2" }
}"#;

#[test]
fn a_preflight_that_the_hook_answers_has_no_other_headers() {
    let headers = headers(LOOKED_UP);
    let interest = headers.interest();
    for (when, _) in interest.steps() {
        let others = match when.clone().unwrap() {
            Predicate::All(parts) => parts[0].clone(),
            only => only,
        };
        let Predicate::Not(asked) = others else { panic!("{others:?}") };
        assert_eq!(condition(&asked), "preflight");
    }
    for (origin, told) in [("https://a", " access-control-allow-origin: https://a"), ("b", "")] {
        let Verdict::Reply(reply) = looked_up(&headers, origin, true) else { panic!("{origin}") };
        let lines: Vec<_> = reply.headers.iter().map(line).collect();
        let expected = "access-control-allow-credentials: true access-control-max-age: 5";
        assert_eq!(lines.join(" "), format!("{expected}{told}"));
    }
}

#[test]
fn an_origin_that_is_looked_up_comes_before_a_custom_header() {
    assert_eq!(
        plan(LOOKED_UP),
        "[not preflight not a host] reply 400 content-type: text/plain; charset=utf-8\n\
         [not preflight] request x-a: 1\n\
         [not preflight] response x-frame-options: DENY\n\
         [not preflight] response x-b: 2\n\
         [not preflight not origin] response access-control-allow-origin: https://else\n\
         [not preflight] response access-control-allow-credentials: true\n"
    );
    let check = |custom: &str, origin: &str, expected: Option<Option<&str>>| {
        let headers = headers(&LOOKED_UP.replace("https://else", custom));
        let Verdict::Proceed(proceed) = looked_up(&headers, origin, false) else {
            panic!("{origin}")
        };
        assert!(proceed.response);
        let mut response = Slots::default();
        let request = Slots::new([(ORIGIN, origin.as_bytes())]);
        headers.on_response(proceed.context, &request, &mut response);
        let expected = expected.map(|value| (ORIGIN, value.map(str::as_bytes)));
        assert_eq!(response.changes().next(), expected, "{origin}");
    };
    check("https://else", "https://a", Some(Some("https://a")));
    check("", "https://a", Some(Some("https://a")));
    check("https://else", "https://b", Some(Some("https://else")));
    check("", "https://b", Some(None));
    let none = headers(&LOOKED_UP.replace("Access-Control-Allow-Origin", "x-c"));
    assert_eq!(looked_up(&none, "https://b", false), Verdict::proceed());
}

fn looked_up(headers: &Headers, origin: &str, is_preflight: bool) -> Verdict {
    headers.look_up(headers.origins.as_ref().unwrap(), origin.as_bytes(), is_preflight)
}

fn headers(config: &str) -> Headers {
    Headers::new(serde_json::from_str(config).unwrap()).unwrap()
}

fn plan(config: &str) -> String {
    let headers = headers(config);
    let mut text = String::new();
    for (when, actions) in headers.interest().steps() {
        for action in actions {
            let when = when.as_ref().map(|when| format!("[{}] ", condition(when)));
            text += &format!("{}{}\n", when.unwrap_or_default(), describe(action));
        }
    }
    text
}

fn describe(action: &Action) -> String {
    match action {
        Action::SetRequestHeader(header) => format!("request {}", line(header)),
        Action::RemoveRequestHeader(name) => format!("- request {name}"),
        Action::SetResponseHeader(header) => format!("response {}", line(header)),
        Action::AppendResponseHeader(header) => format!("+ response {}", line(header)),
        Action::RemoveResponseHeader(name) => format!("- response {name}"),
        Action::Reply(reply) => {
            let lines: Vec<_> = reply.headers.iter().map(line).collect();
            format!("reply {} {}", reply.status, lines.join(" "))
        }
        other => panic!("{other:?}"),
    }
}

fn line(header: &Header) -> String {
    format!("{}: {}", header.name, String::from_utf8_lossy(&header.value))
}

fn condition(predicate: &Predicate) -> String {
    match predicate {
        Predicate::All(parts) if parts.len() == 3 => "preflight".to_owned(),
        Predicate::All(parts) => parts.iter().map(condition).collect::<Vec<_>>().join(" "),
        Predicate::Test(Field::Header(name), Op::Equals, values) if name == "origin" => {
            format!("from {}", values[0])
        }
        Predicate::Test(Field::Scheme, _, values) => values[0].clone(),
        Predicate::Test(Field::Host, _, _) => "a host".to_owned(),
        Predicate::Test(Field::Header(name), Op::Exists, _) => name.clone(),
        Predicate::Not(part) => format!("not {}", condition(part)),
        other => panic!("{other:?}"),
    }
}
