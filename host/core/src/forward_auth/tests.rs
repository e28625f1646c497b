//! Questions and answers, without a socket.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::{
    exchange::{Exchange, Headers, ResponseHead},
    test_util::{exchange, exchange_with},
};

fn name(text: &str) -> HeaderName {
    text.parse().unwrap()
}

fn options() -> Options {
    let address = "http://auth:9091/api/authz/forward-auth?x=1".to_owned();
    Options { address, max_answer: 4096, ..Options::default() }
}

fn made(options: Options) -> ForwardAuth {
    ForwardAuth::new(options).unwrap()
}

fn map(lines: &[(&str, &str)]) -> Headers {
    let lines = lines.iter().map(|(key, value)| (name(key), value.parse().unwrap()));
    let mut map = HeaderMap::new();
    lines.for_each(|(name, value): (_, HeaderValue)| _ = map.append(name, value));
    map.into()
}

fn answered(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
    let status = StatusCode::from_u16(status).unwrap();
    ResponseHead { status, headers: map(lines), local: false }
}

/// Lines in the order of their names, but for those that nobody set here.
fn told(headers: &Headers) -> Vec<String> {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut lines: Vec<_> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn an_authority_is_asked_by_get_about_what_was_seen() {
    let asked = exchange_with(
        "POST http://shop.local:8080/cart?id=1&x=%20",
        &[("cookie", "a=b"), ("content-length", "7"), ("content-type", "text/plain")],
    );
    let question = made(options()).question(&asked);
    assert_eq!(
        (question.method.as_str(), question.target()),
        ("GET", "/api/authz/forward-auth?x=1")
    );
    let peer = asked.peer.address.ip();
    let expected = [
        "content-type: text/plain",
        "cookie: a=b",
        &format!("x-forwarded-for: {peer}"),
        "x-forwarded-host: shop.local:8080",
        "x-forwarded-method: POST",
        "x-forwarded-proto: http",
        "x-forwarded-uri: /cart?id=1&x=%20",
    ];
    assert_eq!(told(&question.headers), expected);
    let preserving = Options { preserve_method: true, ..options() };
    assert_eq!(made(preserving).question(&asked).method, "POST");
}

/// What proxies before us said, and what we would.
fn behind_proxies() -> Exchange {
    exchange_with(
        "GET http://here/b",
        &[
            ("x-forwarded-for", "192.0.2.1, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.local"),
            ("x-forwarded-port", "444"),
            ("x-forwarded-uri", "/a?b"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-prefix", "/p"),
            ("x-real-ip", "192.0.2.1"),
            ("x-forwarded-user", "ada"),
        ],
    )
}

#[test]
fn what_proxies_say_is_told_where_it_is_trusted() {
    let asked = behind_proxies();
    let peer = asked.peer.address.ip();
    let of = |trust| {
        let question = made(Options { trust_forward_header: trust, ..options() }).question(&asked);
        told(&question.headers)
    };
    let trusting = of(Some(true));
    for line in told(&asked.request.headers).iter().filter(|line| !line.starts_with("host")) {
        assert!(trusting.contains(line), "{line} of {trusting:?}");
    }
    let seen = [
        &*format!("x-forwarded-for: {peer}"),
        "x-forwarded-host: here",
        "x-forwarded-method: GET",
        "x-forwarded-port: 444",
        "x-forwarded-prefix: /p",
        "x-forwarded-proto: http",
        "x-forwarded-uri: /b",
        "x-forwarded-user: ada",
        "x-real-ip: 192.0.2.1",
    ];
    assert_eq!(of(None), seen);
    let others = ["port", "prefix", "x-real-ip"];
    let told_only: Vec<_> =
        seen.into_iter().filter(|line| !others.iter().any(|it| line.contains(it))).collect();
    assert_eq!(of(Some(false)), told_only);
}

#[test]
fn what_is_empty_says_nothing_though_it_is_trusted() {
    let asked =
        exchange_with("GET http://here/b", &[("x-forwarded-uri", ""), ("x-forwarded-host", "")]);
    let question = made(Options { trust_forward_header: Some(true), ..options() }).question(&asked);
    assert_eq!(question.headers["x-forwarded-uri"], "/b");
    assert_eq!(question.headers["x-forwarded-host"], "here");
}

#[test]
fn only_the_headers_that_are_named_are_told_and_what_we_say() {
    let request_headers =
        vec![name("cookie"), name("host"), name("accept"), name("x-forwarded-port")];
    let authority = made(Options { request_headers, ..options() });
    let asked = exchange_with(
        "GET http://here/",
        &[("cookie", "a"), ("cookie", "b"), ("authorization", "c"), ("x-forwarded-port", "81")],
    );
    let told = told(&authority.question(&asked).headers);
    let own = told.iter().filter(|line| !line.starts_with("x-forwarded"));
    assert_eq!(own.collect::<Vec<_>>(), ["cookie: a", "cookie: b"]);
    assert!(told.contains(&"x-forwarded-port: 81".to_owned()));
    assert!(told.contains(&"x-forwarded-host: here".to_owned()));
}

fn admitted(
    authority: &ForwardAuth,
    client: &[(&str, &str)],
    said: &[(&str, &str)],
) -> Vec<String> {
    let mut asked = exchange_with("GET http://here/", client);
    authority.admit(&answered(200, said), &mut asked);
    told(&asked.request.headers).into_iter().filter(|line| !line.starts_with("host:")).collect()
}

#[test]
fn what_a_client_says_of_itself_never_reaches_the_backend() {
    let response_headers = vec![name("remote-user"), name("remote-groups"), name("x_own")];
    let authority = made(Options { response_headers, ..options() });
    let forged = [
        ("remote-user", "admin"),
        ("remote-user", "root"),
        ("remote_user", "admin"),
        ("Remote_Groups", "wheel"),
        ("x-own", "1"),
        ("x_own", "1"),
        ("remote-users", "kept"),
        ("accept", "a"),
    ];
    let kept = ["accept: a", "remote-users: kept"];
    assert_eq!(admitted(&authority, &forged, &[]), kept, "where the authority says nothing");
    let said =
        [("Remote-User", "ada"), ("Remote-Groups", "a"), ("Remote-Groups", "b"), ("x-not", "1")];
    let expected = [
        "accept: a",
        "remote-groups: a",
        "remote-groups: b",
        "remote-user: ada",
        "remote-users: kept",
    ];
    assert_eq!(admitted(&authority, &forged, &said), expected);
}

#[test]
fn headers_are_also_named_by_an_expression_in_gos_spelling() {
    let regex =
        |text: &str| made(Options { response_headers_regex: Some(text.to_owned()), ..options() });
    let forged = [
        ("x-auth-user", "admin"),
        ("x_auth_user", "admin"),
        ("x-author", "1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
    ];
    let rest = ["x-author: 1", "x-forwarded-for: 192.0.2.1", "x-real-ip: 192.0.2.1"];
    assert_eq!(admitted(&regex("^X-Auth-"), &forged, &[]), rest);
    assert_eq!(admitted(&regex("^x-auth-"), &forged, &[]).len(), 5, "Go compares `X-Auth-User`");
    let said = [("x-auth-user", "ada"), ("content-length", "9"), ("x-real-ip", "10.0.0.1")];
    assert_eq!(
        admitted(&regex("."), &forged, &said),
        ["x-auth-user: ada", "x-forwarded-for: 192.0.2.1", "x-real-ip: 192.0.2.1"],
        "neither what is of the connection nor what we say of the client"
    );
    let error =
        ForwardAuth::new(Options { response_headers_regex: Some("a(".to_owned()), ..options() });
    assert!(error.unwrap_err().contains("does not compile"));
}

#[test]
fn the_host_and_what_is_of_the_connection_is_not_the_authoritys() {
    let response_headers = vec![name("host"), name("content-length"), name("connection")];
    let authority = made(Options { response_headers, ..options() });
    let mut asked = exchange("GET http://here/");
    authority.admit(&answered(200, &[("host", "there"), ("content-length", "9")]), &mut asked);
    assert_eq!(
        (asked.request.authority(), asked.request.headers.get("content-length")),
        ("here", None)
    );
}

#[test]
fn cookies_of_the_authority_take_the_place_of_the_backends() {
    let authority = made(Options { cookies: vec!["session".into(), "b".into()], ..options() });
    let cookies = |said: &[(&str, &str)]| {
        let mut exchange = exchange("GET http://here/");
        let edit = authority.admit(&answered(200, said), &mut exchange);
        let of_backend = [
            ("set-cookie", "session=old"),
            ("set-cookie", " b = 1; Path=/"),
            ("set-cookie", "c=2"),
        ];
        exchange.response = Some(answered(200, &of_backend));
        edit.into_iter().for_each(|edit| edit.apply(&mut exchange));
        let set = exchange.response.as_ref().unwrap().headers.get_all("set-cookie").iter();
        set.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        cookies(&[("set-cookie", "session=new; HttpOnly"), ("set-cookie", "other=1")]),
        ["c=2", "session=new; HttpOnly"]
    );
    assert_eq!(cookies(&[]).len(), 3, "as in Traefik, an authority without cookies changes none");
}

#[test]
fn a_refusal_is_the_authoritys_own() {
    let refused = |options, location: &str| {
        let said = [("location", location), ("set-cookie", "a=b"), ("www-authenticate", "Basic")];
        let reply = made(options).refusal(&answered(302, &said), "text".into());
        assert_eq!((reply.status.as_u16(), &*reply.body), (302, &b"text"[..]));
        let lines = reply.headers.into_iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines[..2], ["set-cookie: a=b", "www-authenticate: Basic"]);
        lines[2..].concat()
    };
    let url = "https://login.local/?rd=http%3A%2F%2Fa";
    assert_eq!(refused(options(), url), format!("location: {url}"));
    assert_eq!(refused(options(), "/login"), "location: http://auth:9091/login");
    assert_eq!(refused(options(), "login"), "location: http://auth:9091/api/authz/login");
    assert_eq!(refused(options(), ""), "location: ");
    let preserving = Options { preserve_location: true, ..options() };
    assert_eq!(refused(preserving, "/login"), "location: /login");
}

#[test]
fn who_is_not_known_is_sent_to_sign_in_where_there_is_a_place() {
    let sign_in = Some(HeaderValue::from_static("https://auth.local/start"));
    let authority = made(Options { sign_in, ..options() });
    let refused = answered(401, &[("set-cookie", "a=b")]);
    assert!(authority.is_content_needless(&refused));
    let reply = authority.refusal(&refused, Bytes::new());
    assert_eq!(
        (reply.status.as_u16(), &reply.headers[0].1),
        (302, &"https://auth.local/start".parse().unwrap())
    );
    let forbidden = answered(403, &[]);
    assert!(!authority.is_content_needless(&forbidden));
    assert_eq!(authority.refusal(&forbidden, Bytes::new()).status, 403);
}

#[test]
fn a_user_is_named_by_a_header() {
    let authority = made(Options { user: Some(name("remote-user")), ..options() });
    assert_eq!(authority.user(&answered(200, &[("Remote-User", "ada")])), Some(&b"ada"[..]));
    assert_eq!(authority.user(&answered(403, &[("Remote-User", "")])), None);
    assert_eq!(made(options()).user(&answered(200, &[("Remote-User", "ada")])), None);
}

#[test]
fn an_address_is_a_url_of_http() {
    for (address, expected) in [
        ("", "is no URL"),
        ("auth:9091", "neither http nor https"),
        ("ftp://auth", "neither http nor https"),
        ("http://", "is no URL"),
        ("http://user:pass@auth/", "no plain host"),
    ] {
        let error = ForwardAuth::new(Options { address: address.to_owned(), ..options() });
        let error = error.unwrap_err();
        assert!(error.contains(expected), "{address}: {error}");
    }
    let asked = exchange("GET http://here/");
    for (address, backend, target) in [
        ("http://auth", "http://auth", "/"),
        ("https://auth:8443?a=b", "https://auth:8443", "/?a=b"),
        ("http://[::1]:80/a/b/#c", "http://[::1]:80", "/a/b/"),
    ] {
        let authority = made(Options { address: address.to_owned(), ..options() });
        assert_eq!(authority.service().backends[0].url(), backend);
        assert_eq!(authority.question(&asked).target(), target);
    }
}

#[test]
fn a_key_is_shown_to_nobody() {
    let certificate = Some(("certificate".into(), "s3cret".into()));
    let texts = PemTexts { authorities: None, certificate };
    let authority = made(Options { texts, ..options() });
    assert!(!format!("{authority:?}").contains("s3cret"));
    assert!(authority.service().transport.is_some());
    assert!(made(options()).service().transport.is_none(), "the system's trust");
}

#[test]
fn a_header_that_is_named_twice_is_told_once() {
    let twice = || vec![name("remote-user"), name("cookie"), name("remote-user"), name("cookie")];
    let named = Options { response_headers: twice(), request_headers: twice(), ..options() };
    let authority = made(named);
    let mut asked = exchange_with("GET http://a/", &[("cookie", "a=b"), ("remote-user", "root")]);
    let question = authority.question(&asked);
    assert_eq!(question.headers.get_all("cookie").iter().count(), 1);
    authority.admit(&answered(200, &[("remote-user", "alice")]), &mut asked);
    assert_eq!(told(&asked.request.headers), ["host: a", "remote-user: alice"]);
}
