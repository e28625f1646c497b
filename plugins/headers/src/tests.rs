//! The plan of a configuration, written as lines: what is done, and when.

use portolan_plugin::{Field, Header, Predicate};

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
        "custom-request-headers": { "host": "b.example", "x/y": "1" },
        "custom-response-headers": { "x-a": "one\ntwo" },
        "referrer-policy": "\u0000"
    }"#;
    let config: Config = serde_json::from_str(config).unwrap();
    assert_eq!(
        Headers::new(config).unwrap_err().to_string(),
        "/custom-request-headers/host: `host` is set by Portolan itself\n\
         /custom-request-headers/x~1y: `x/y` is no header name\n\
         /custom-response-headers/x-a: a header value cannot hold '\\n'\n\
         /referrer-policy: a header value cannot hold '\\0'"
    );
}

fn plan(config: &str) -> String {
    let headers = Headers::new(serde_json::from_str(config).unwrap()).unwrap();
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
        Predicate::Test(Field::Header(name), _, values) if name == "origin" => {
            format!("from {}", values[0])
        }
        Predicate::Test(Field::Scheme, _, values) => values[0].clone(),
        other => panic!("{other:?}"),
    }
}
