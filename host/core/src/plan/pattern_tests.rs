//! What expressions do to paths and URLs: as Traefik does it, in the uses that people have for it.

use std::sync::Arc;

use super::*;
use crate::{
    middleware::PatternRedirect,
    pattern::{Pattern, Rewriting},
    test_util::{exchange, exchange_with},
};

fn always(actions: Vec<Action>) -> Interest {
    Interest { plan: vec![PlanStep { when: None, actions }], ..Interest::default() }
}

fn patterns(patterns: &[&str]) -> Action {
    let compiled = patterns.iter().map(|pattern| Pattern::compile(pattern).unwrap());
    Action::StripPrefixPattern(compiled.collect())
}

fn rewriting(regex: &str, replacement: &str) -> Arc<Rewriting> {
    Arc::new(Rewriting::compile(regex, replacement).unwrap())
}

fn rewrite(regex: &str, replacement: &str) -> Action {
    Action::RewritePath(rewriting(regex, replacement))
}

fn redirect(regex: &str, replacement: &str, permanent: bool) -> Action {
    Action::RedirectPattern(PatternRedirect { rewriting: rewriting(regex, replacement), permanent })
}

/// What is sent on, what rules see, and the headers that tell what was there; or the status of an answer.
fn path_after(actions: Vec<Action>, target: &str) -> String {
    let interest = always(actions);
    interest.check().unwrap();
    let mut exchange = exchange(&format!("GET http://h{target}"));
    let (_, reply) = interest.plan_at_once(&mut exchange);
    if let Some(reply) = reply {
        return reply.status.as_str().to_owned();
    }
    let request = &exchange.request;
    let mut told = format!("{} {}", request.target(), request.path());
    for name in [X_FORWARDED_PREFIX, X_REPLACED_PATH] {
        for value in request.headers.get_all(&name) {
            told.push_str(&format!(" [{}]", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    told
}

#[test]
fn a_prefix_is_stripped_that_an_expression_finds() {
    let traefik = ["/a/api/", "/b/([a-z0-9]+)/", "/c/[a-z0-9]+/[0-9]+/"];
    for (expressions, target, expected) in [
        // Those of Traefik's own tests.
        (&traefik[..], "/a/test", "/a/test /a/test"),
        (&traefik, "/a/api/", "/  [/a/api/]"),
        (&traefik, "/a/api/test/", "/test/ /test/ [/a/api/]"),
        (&traefik, "/b/api", "/b/api /b/api"),
        (&traefik, "/b/api2/test2", "/test2 /test2 [/b/api2/]"),
        (&traefik, "/c/api/123/test3", "/test3 /test3 [/c/api/123/]"),
        (&traefik, "/c/api/abc/test4", "/c/api/abc/test4 /c/api/abc/test4"),
        (&traefik, "/a/api/a%2Fb", "/a%2Fb /a%2Fb [/a/api/]"),
        (&["/foo/[a-z0-9]+/[0-9]+/"], "/foo/x1/2/bar?q=1", "/bar?q=1 /bar [/foo/x1/2/]"),
        // What is left starts with a slash, and a prefix is at the beginning.
        (&["^/v[0-9]+"], "/v12/a", "/a /a [/v12]"),
        (&["^/v[0-9]+"], "/v1x", "/x /x [/v1]"),
        (&["^/v[0-9]+"], "/v1?a=b", "/?a=b  [/v1]"),
        (&["/api"], "/x/api/y", "/x/api/y /x/api/y"),
        (&["/a$"], "/a/b/a", "/b/a /b/a [/a]"),
        (&["^/x", "/", ".*"], "/a", "/a /a [/]"),
        (&["x*", "^"], "/a", "/a /a"),
        // An expression sees what rules see; what is sent on stays encoded.
        (&["^/a b"], "/a%20b/c%20d", "/c%20d /c d [/a b]"),
        (&["^/[ä-ü]+"], "/%C3%A4%c3%b6/x", "/x /x [/äö]"),
        (&["^/.{2}%2F"], "/ab%2fc", "/c /c [/ab%2F]"),
        // Nothing is cut within an encoding, and no dot segment comes out.
        (&["^/a%2"], "/a%2Fb", "/a%2Fb /a%2Fb"),
        (&["^/a%"], "/a%2Fb", "/a%2Fb /a%2Fb"),
        (&["^/ %"], "/%20%ff", "/%20%FF / %FF"),
        (&["^/ %FF"], "/%20%ff/a", "/a /a [/ %FF]"),
        (&["^/api"], "/api%2e/admin", "/admin /admin [/api]"),
        (&["^/api"], "/api../admin", "/admin /admin [/api]"),
    ] {
        let told = path_after(vec![patterns(expressions)], target);
        assert_eq!(told, expected, "{expressions:?} {target}");
    }
    let then_add = vec![patterns(&["^/v[0-9]+"]), Action::AddPrefix("/api".into())];
    assert_eq!(path_after(then_add, "/v1"), "/api /api [/v1]");
}

#[test]
fn a_path_is_rewritten_by_an_expression() {
    for (regex, replacement, target, expected) in [
        // Those of Traefik's own tests and of its documentation.
        ("^/foo/(.*)", "/bar/$1", "/foo/a/b?q=1", "/bar/a/b?q=1 /bar/a/b [/foo/a/b]"),
        ("/no-match", "/x", "/whoami", "/whoami /whoami"),
        ("/whoami", "/w", "/whoami/and/whoami", "/w/and/w /w/and/w [/whoami/and/whoami]"),
        ("/whoami", "", "/whoami/and/whoami", "/and /and [/whoami/and/whoami]"),
        (
            "^(?i)/downloads/([^/]+)/([^/]+)$",
            "/downloads/$1-$2",
            "/Downloads/src/s.go",
            "/downloads/src-s.go /downloads/src-s.go [/Downloads/src/s.go]",
        ),
        ("/aaa/bbb", "/foo%2Fbar", "/aaa/bbb", "/foo%2Fbar /foo%2Fbar [/aaa/bbb]"),
        ("/aaa%2Fbbb", "/foo/bar", "/aaa%2fbbb", "/foo/bar /foo/bar [/aaa%2Fbbb]"),
        ("/aaa/bbb", "/foo", "/aaa%2Fbbb", "/aaa%2Fbbb /aaa%2Fbbb"),
        ("^/foo/(.*)", "/$1", "/foo/%08bar", "/%08bar /%08bar [/foo/%08bar]"),
        // It is the path as it is sent that is looked at.
        ("^/a b", "/x", "/a%20b", "/a%20b /a b"),
        ("^/a%20b", "/x y/ä", "/a%20b", "/x%20y/%C3%A4 /x y/ä [/a%20b]"),
        // What comes out is a path, in normal form, and never the query.
        ("^/foo/", "", "/foo/a", "/a /a [/foo/a]"),
        (".*", "", "/a?q", "/?q  [/a]"),
        ("^/foo(.*)", "/b/$1", "/foo/a", "/b/a /b/a [/foo/a]"),
        ("^/x/(.*)", "/$1/../c", "/x/a/b", "/a/c /a/c [/x/a/b]"),
        ("^/(.*)$", "/b?p=$1#f", "/a?q", "/b%3Fp=a%23f?q /b%3Fp=a%23f [/a]"),
        (
            "^/(.*)$",
            "https://evil.example/$1",
            "/a",
            "/https:/evil.example/a /https:/evil.example/a [/a]",
        ),
        // What is no path is answered for, as in Traefik.
        ("^/(.*)$", "/%$1", "/zz", "500"),
        ("^/(.*)$", "/%$1", "/00", "500"),
        ("^/(.*)$", "/%$1", "/41", "/A /A [/41]"),
    ] {
        let told = path_after(vec![rewrite(regex, replacement)], target);
        assert_eq!(told, expected, "{regex} {replacement} {target}");
    }
    let long = rewrite("[a-z]", &"$0".repeat(1000));
    assert_eq!(path_after(vec![long], &format!("/{}", "a".repeat(100))), "500");
}

#[test]
fn each_middleware_sees_the_path_that_the_one_before_left() {
    let replace = |path: &str| Action::ReplacePath(path.to_owned());
    for (actions, target, expected) in [
        (vec![replace("/new")], "/a%20b?q=1", "/new?q=1 /new [/a%20b]"),
        (vec![replace("/%41?x")], "/a", "/A%3Fx /A%3Fx [/a]"),
        (vec![replace("/b"), replace("/c")], "/a", "/c /c [/a] [/b]"),
        (vec![patterns(&["^/a"]), rewrite("^/b", "/c")], "/a/b", "/c /c [/a] [/b]"),
        (vec![rewrite("^/a", "/b"), patterns(&["^/b"])], "/a/c", "/c /c [/b] [/a/c]"),
        // Of a path that was stripped to nothing there is nothing, as in Traefik.
        (vec![patterns(&["^/a"]), rewrite("^/$", "/x")], "/a", "/  [/a]"),
        (vec![patterns(&["^/a"]), rewrite("^$", "/x")], "/a", "/x /x [/a] []"),
    ] {
        assert_eq!(path_after(actions, target), expected, "{target}");
    }
}

/// The status and the new URL; or that there is no answer.
fn redirected(actions: Vec<Action>, mut exchange: Exchange) -> String {
    let interest = always(actions);
    interest.check().unwrap();
    let (_, reply) = interest.plan_at_once(&mut exchange);
    let Some(reply) = reply else { return "-".to_owned() };
    let location = reply.headers.iter().find(|(name, _)| *name == LOCATION);
    let location = location.map_or("", |(_, value)| value.to_str().unwrap());
    format!("{} {location}", reply.status.as_u16())
}

#[test]
fn a_url_leads_to_what_an_expression_makes_of_it() {
    let foo = r"^(?:http?:\/\/)(foo)(\.com)(:\d+)(.*)$";
    let to_host = r"^https?://www\.(.+)";
    let dav = "https://(.*)/.well-known/(?:card|cal)dav";
    for (regex, replacement, url, expected) in [
        // Those of Traefik's own tests.
        (foo, "https://${1}bar$2:443$4", "http://foo.com:80", "302 https://foobar.com:443/"),
        (foo, "https://${1}bar$2:443$4", "http://bar.com:80", "-"),
        ("^(.*)$", "http://192.168.0.%31/", "http://foo.com:80", "502 "),
        ("^http://", "https://$1", "http://foo", "302 https://foo/"),
        ("https://foo", "http://foo", "https://foo", "302 http://foo/"),
        ("http://foo:80", "http://foo:88", "http://foo:80", "302 http://foo:88/"),
        // What people use it for.
        (to_host, "https://${1}", "http://www.a.example/x?y=z", "302 https://a.example/x?y=z"),
        (to_host, "https://${1}", "https://a.example/www.x", "-"),
        (
            "^https?://a.example/(.*)",
            "https://www.a.example/${1}",
            "https://a.example/x",
            "302 https://www.a.example/x",
        ),
        ("^(https?://[^/]+/app)$", "${1}/", "https://h:8443/app", "302 https://h:8443/app/"),
        ("^(https?://[^/]+/app)$", "${1}/", "https://h/app/", "-"),
        ("^(https?://[^/]+/app)$", "${1}/", "https://h/app?x", "-"),
        (
            dav,
            "https://${1}/remote.php/dav",
            "https://h/.well-known/carddav",
            "302 https://h/remote.php/dav",
        ),
        (
            dav,
            "https://${1}/remote.php/dav",
            "https://h/.well-known/caldav/x",
            "302 https://h/remote.php/dav/x",
        ),
        ("^https?://[^/]+/old/(.*)", "/new/${1}", "http://h/old/a?b", "302 /new/a?b"),
        (":8080", "", "http://h:8080/a", "302 http://h/a"),
        // The same place is no redirect.
        (".*", "$0", "http://h/a", "-"),
        ("^(https?)://h/", "$1://h/", "http://h/a", "-"),
        // The URL is as it is sent on, with the host as the client writes it.
        ("^http://(.*)", "https://$1", "http://A.Example/%7ex%2fy/../z", "302 https://A.Example/z"),
        ("a b", "c", "http://h/a%20b", "-"),
        ("^http://(.*)", "https://$1", "http://[::1]:80/", "302 https://[::1]:80/"),
        // What a URL cannot hold is encoded.
        (
            "^http://h/(.*)",
            "https://h/ä b/<$1>?q=ü \"#f g",
            "http://h/x",
            "302 https://h/%C3%A4%20b/%3Cx%3E?q=%C3%BC%20%22#f%20g",
        ),
        (
            "^http://h/(.*)",
            "https://müller.example/$1",
            "http://h/x",
            "302 https://m%C3%BCller.example/x",
        ),
        ("^http://h/(.*)", "https://u:p%40@h/$1", "http://h/x", "302 https://u:p%40@h/x"),
        ("^.*$", "mailto:a@h", "http://h/x", "302 mailto:a@h"),
        // What is none is not sent.
        ("^http://h/(.*)", "https://$1.example/", "http://h/a%20b", "502 "),
        ("^http://h/(.*)", "https://a b/", "http://h/x", "502 "),
        ("^http://h/(.*)", "https://h:x/", "http://h/x", "502 "),
        ("^http://h/(.*)", "https://[h]/", "http://h/x", "502 "),
        ("^http://h/(.*)", "https://h[/", "http://h/x", "502 "),
        ("^http://h/(.*)", "/%$1", "http://h/zz", "502 "),
        ("^http://h/(.*)", "/a#%$1", "http://h/zz", "502 "),
        ("^http://h/(.*)", "://$1", "http://h/x", "502 "),
        ("^http://h/(.*)", "1a:b/$1", "http://h/x", "502 "),
        (".*", "", "http://h/x", "502 "),
    ] {
        let exchange = exchange(&format!("GET {url}"));
        let told = redirected(vec![redirect(regex, replacement, false)], exchange);
        assert_eq!(told, expected, "{regex} {replacement} {url}");
    }
}

#[test]
fn nothing_that_is_put_together_ends_the_line_of_a_header() {
    for bad in ["https://h/\r\nset-cookie: a=b", "https://h/\n", "/\t", "/\u{7f}", "\0"] {
        assert_eq!(location::location(bad), None, "{bad:?}");
    }
}

#[test]
fn only_get_may_become_another_method_by_a_redirect() {
    for (method, permanent, status) in [
        ("GET", false, 302),
        ("GET", true, 301),
        ("HEAD", false, 307),
        ("POST", false, 307),
        ("POST", true, 308),
    ] {
        let exchange = exchange(&format!("{method} http://h/"));
        let told = redirected(vec![redirect("^http:", "https:", permanent)], exchange);
        assert_eq!(told, format!("{status} https://h/"), "{method}");
    }
}

#[test]
fn a_redirect_sees_the_scheme_of_the_client_and_what_middlewares_left() {
    let to_https = || vec![redirect("^http://(.*)", "https://$1", false)];
    // Of those who are not trusted the header never gets here.
    let proxied = exchange_with("GET http://h/x", &[("x-forwarded-proto", "https")]);
    assert_eq!(redirected(to_https(), proxied), "-");
    assert_eq!(redirected(to_https(), exchange("GET https://h/x")), "-");
    assert_eq!(redirected(to_https(), exchange("GET http://h/x")), "302 https://h/x");
    // Without a host there is nothing where one should be.
    assert_eq!(redirected(to_https(), exchange("GET /x")), "302 https:///x");
    let stripped = vec![patterns(&["^/a"]), redirect("^http:(.*)", "https:$1", false)];
    assert_eq!(redirected(stripped, exchange("GET http://h/a/b?c")), "302 https://h/b?c");
}

#[test]
fn a_long_url_is_looked_at_as_a_short_one() {
    let long = "a".repeat(20_000);
    for path in [long.as_str(), "x", "y"] {
        let to = vec![redirect("^http://h/(.*)$", "/$1", false)];
        let told = redirected(to, exchange(&format!("GET http://h/{path}")));
        assert_eq!(told, format!("302 /{path}"));
    }
}

#[test]
fn what_every_request_would_be_refused_for_is_told_of_the_option() {
    for (action, message) in [
        (
            Action::ReplacePath("/%zz".into()),
            "/path: `/%zz`: the path has a `%` without two hexadecimal digits behind it",
        ),
        (
            rewrite("a", "/100%/$0"),
            "/replacement: has a `%` without two hexadecimal digits behind it",
        ),
        (
            rewrite("a", "$0%%41"),
            "/replacement: has a `%` without two hexadecimal digits behind it",
        ),
        (
            redirect("a", "https://h/\n", false),
            "/replacement: has a line break, or something else that no URL has",
        ),
    ] {
        assert_eq!(always(vec![action]).check().unwrap_err().to_string(), message);
    }
    for fine in ["/%$0", "/%2$0", "/%2f"] {
        assert_eq!(always(vec![rewrite("a", fine)]).check(), Ok(()), "{fine}");
    }
}

#[test]
fn what_is_perhaps_not_meant_is_remarked() {
    let remarks = |action: Action| {
        let remarks = always(vec![action]).remarks().into_iter();
        remarks.map(|it| format!("{}: {}", it.option, it.message)).collect::<Vec<_>>()
    };
    let query = "a `?` here is part of the path, and is sent as `%3F`";
    assert_eq!(remarks(Action::ReplacePath("/a?b".into())), [format!("/path: {query}")]);
    assert_eq!(remarks(rewrite("a", "/b?$0")), [format!("/replacement: {query}")]);
    assert_eq!(remarks(redirect("a", "/b?$0", false)), [""; 0]);
    assert_eq!(remarks(patterns(&["^/a", "^/b{2}", "}"])), [""; 0]);
    assert_eq!(
        remarks(patterns(&["^/a", "^/proxy-[^/]{1", "}"])),
        ["/regex/1: `^/proxy-[^/]{1` and `}` are two expressions"]
    );
    assert_eq!(
        remarks(redirect("^(.*)$", "$$1", false)),
        ["/replacement: `$$1` stands for the text `$1`, not for what the expression found"]
    );
}
