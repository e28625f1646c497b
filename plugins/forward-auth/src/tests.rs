//! Configurations, good and bad.

use portolan_plugin::{Action, ForwardAuth, Middleware as _, Plugin as _};

use super::{Authority, USUAL_BODY};

fn read(config: &str) -> Result<ForwardAuth, String> {
    let config = serde_json::from_str(config).unwrap();
    let authority = Authority::new(config).map_err(|invalid| invalid.to_string())?;
    let interest = authority.interest();
    match interest.steps() {
        [(None, actions)] => match &**actions {
            [Action::ForwardAuth(asked)] => Ok(asked.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_all_that_it_takes() {
    let asked = read(r#"{ "address": "http://authelia:9091/api/authz/forward-auth" }"#).unwrap();
    let expected = ForwardAuth {
        address: "http://authelia:9091/api/authz/forward-auth".to_owned(),
        tls_authorities: None,
        tls_certificate: None,
        insecure_skip_verify: false,
        trust_forward_header: None,
        response_headers: Vec::new(),
        response_headers_regex: None,
        request_headers: Vec::new(),
        cookies: Vec::new(),
        max_body: None,
        max_answer: USUAL_BODY,
        user_header: None,
        preserve_location: false,
        preserve_method: false,
        sign_in: None,
    };
    assert_eq!(asked, expected);
}

#[test]
fn every_option_says_something_to_the_host() {
    let asked = read(
        r#"{ "address": "https://auth/", "trust-forward-header": false,
        "tls": { "ca": "-----BEGIN CERTIFICATE-----", "cert": "-----BEGIN CERTIFICATE-----",
                 "key": "-----BEGIN EC PRIVATE KEY-----", "insecure-skip-verify": true,
                 "ca-optional": true },
        "auth-response-headers": ["Remote-User", " Remote-Groups", ""],
        "auth-response-headers-regex": "^X-", "auth-request-headers": ["Cookie", "Host"],
        "add-auth-cookies-to-response": [" session"], "forward-body": true, "max-body-size": 9,
        "max-response-body-size": 0, "header-field": "Remote-User",
        "preserve-location-header": true, "preserve-request-method": true,
        "auth-signin-url": "https://auth/start" }"#,
    )
    .unwrap();
    assert_eq!(asked.response_headers, ["Remote-User", "Remote-Groups"]);
    assert_eq!(asked.request_headers, ["Cookie", "Host"]);
    assert_eq!(
        (asked.cookies.concat(), asked.max_body, asked.max_answer),
        ("session".into(), Some(9), 0)
    );
    assert!(asked.tls_authorities.is_some() && asked.tls_certificate.is_some());
    assert!(asked.insecure_skip_verify && asked.preserve_location && asked.preserve_method);
    assert_eq!(asked.trust_forward_header, Some(false));
    assert_eq!(asked.response_headers_regex.as_deref(), Some("^X-"));
    assert_eq!(asked.user_header.as_deref(), Some("Remote-User"));
    assert_eq!(asked.sign_in.as_deref(), Some("https://auth/start"));
}

#[test]
fn there_is_no_body_without_a_limit() {
    let read = |sizes: &str| read(&format!(r#"{{ "address": "http://a", {sizes} }}"#)).unwrap();
    let asked = read(r#""forward-body": true, "max-body-size": -1, "max-response-body-size": -1"#);
    assert_eq!((asked.max_body, asked.max_answer), (Some(USUAL_BODY), USUAL_BODY));
    assert_eq!(read(r#""max-body-size": 5"#).max_body, None, "it is given none");
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    for (config, expected) in [
        ("", "/address: the URL of the server that is asked is missing"),
        (r#""address": "authelia:9091""#, "/address: `authelia:9091` is no URL of"),
        (r#""address": "h2c://a""#, "/address: `h2c://a` is no URL of"),
        (r#""address": "http:///auth""#, "/address: `http:///auth` names no server"),
        (r#""address": "http://a b/""#, "/address: `http://a b/` names no server"),
        (r#""address": "http://user:pass@a/""#, "/address: a URL with a user in it"),
        (
            r#""address": "http://a", "auth-response-headers": ["A", "b c"]"#,
            "/auth-response-headers/1: `b c` is no header name",
        ),
        (
            r#""address": "http://a", "auth-request-headers": ["x:y"]"#,
            "/auth-request-headers/0: `x:y` is no header name",
        ),
        (
            r#""address": "http://a", "auth-response-headers-regex": "a(""#,
            "/auth-response-headers-regex: `a(`: found open group",
        ),
        (r#""address": "http://a", "header-field": "a b""#, "/header-field: `a b` is no header"),
        (r#""address": "http://a", "auth-signin-url": "a\nb""#, "/auth-signin-url: a header"),
        (
            r#""address": "http://a", "tls": { "cert": "-----BEGIN CERTIFICATE-----" }"#,
            "/tls/cert: `cert` needs its `key`",
        ),
        (r#""address": "http://a", "tls": { "key": "x" }"#, "/tls/key: `key` needs its `cert`"),
        (r#""address": "http://a", "tls": { "ca": "x" }"#, "/tls/ca: there is no certificate"),
    ] {
        let problems = read(&format!("{{ {config} }}")).unwrap_err();
        assert!(problems.contains(expected), "{config}: {problems}");
        assert!(!problems.contains("pass"), "{problems}");
    }
}
