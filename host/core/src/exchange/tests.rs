//! Canonical hosts and paths, queries and cookies, case by case.

use http::HeaderMap;

use super::*;
use crate::test_util::{exchange, exchange_with};

fn parse(uri: &str, hosts: &[&str]) -> Result<RequestHead, BadTarget> {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
    }
    RequestHead::parse(Method::GET, uri.parse().unwrap(), Version::HTTP_11, headers)
}

#[test]
fn the_host_is_lower_case_without_port_brackets_and_dot() {
    for (uri, hosts, authority, host) in [
        ("/", &["A.Local:8080"][..], "A.Local:8080", "a.local"),
        ("/", &["a.local."], "a.local.", "a.local"),
        ("/", &["[2001:DB8::1]:80"], "[2001:DB8::1]:80", "2001:db8::1"),
        ("/", &[""], "", ""),
        ("/", &[], "", ""),
        // The target has the last word (RFC 9112, 3.2.2).
        ("http://B.local:1/x", &["a.local"], "B.local:1", "b.local"),
        ("http://b.local/", &[], "b.local", "b.local"),
    ] {
        let head = parse(uri, hosts).unwrap();
        assert_eq!((head.authority(), head.host()), (authority, host), "{uri} {hosts:?}");
    }
}

#[test]
fn a_plain_host_is_what_it_is_at_a_closer_look() {
    for (authority, is_plain) in [
        ("a.local", true),
        ("a.local.", true),
        ("a.local:8080", true),
        ("a_b-~.", true),
        ("a.local:1", true),
        (".", true),
        ("", true),
        ("..", true),
        ("A.local", false),
        ("a.local:65535", false),
        ("a.local:", false),
        ("a.local:70000", false),
        ("a.local:8o", false),
        ("a local", false),
        ("a@b", false),
        ("[::1]", false),
        ("ä", false),
    ] {
        let plain = Host::plain(authority.as_bytes());
        assert_eq!(plain.is_some(), is_plain, "{authority}");
        if let Some(plain) = plain {
            let checked = Host::checked(authority).unwrap();
            assert_eq!(format!("{plain:?}"), format!("{checked:?}"), "{authority}");
        }
    }
}

#[test]
fn a_host_that_the_target_overrules_is_gone() {
    let head = parse("http://b.local/", &["a.local"]).unwrap();
    assert!(head.headers.get(HOST).is_none());
    assert_eq!(head.header_values(&HOST).collect::<Vec<_>>(), [b"b.local"]);
}

#[test]
fn bad_targets_are_refused() {
    for (uri, hosts, bad) in [
        ("/", &["a", "a"][..], BadTarget::ManyHosts),
        ("/", &["a b"], BadTarget::Host),
        ("/", &["ä"], BadTarget::Host),
        ("http://u@b.local/", &[], BadTarget::Host),
        ("/%zz", &["a"], BadTarget::Encoding),
        ("/%00", &["a"], BadTarget::Nul),
        ("http://a/%0", &[], BadTarget::Encoding),
    ] {
        assert_eq!(parse(uri, hosts).unwrap_err(), bad, "{uri} {hosts:?}");
    }
}

#[test]
fn semicolons_of_a_query_are_encoded_and_nothing_else_is() {
    for (given, sent, path) in [
        ("/a;b/%20?c;d=%3B;&e", "/a;b/%20?c%3Bd=%3B%3B&e", "/a;b/ "),
        ("http://h/?;", "/?%3B", "/"),
        ("/a;b?c", "/a;b?c", "/a;b"),
        ("*", "*", "*"),
    ] {
        let mut head = parse(given, &[]).unwrap();
        head.encode_query_semicolons();
        assert_eq!((head.target(), head.path()), (sent, path));
    }
}

#[test]
fn what_is_sent_on_is_what_was_routed() {
    let head = parse("http://a.local/x/../b%2f%61?q=%zz", &[]).unwrap();
    assert_eq!(head.uri(), "http://a.local/b%2Fa?q=%zz");
    assert_eq!((head.path(), head.target()), ("/b%2Fa", "/b%2Fa?q=%zz"));
    // The other forms of a target have no path to speak of.
    assert_eq!(parse("*", &["a"]).unwrap().path(), "*");
    assert_eq!(parse("a.local:443", &[]).unwrap().host(), "a.local");
}

#[test]
fn changes_keep_host_and_path_canonical() {
    let mut head = parse("http://a.local/x%20y?q", &[]).unwrap();
    head.set_target(Target::parse("/b%20c/../d".parse().unwrap()).unwrap());
    assert_eq!((head.path(), head.target(), head.query()), ("/d", "/d", None));
    assert_eq!(head.host(), "a.local");
    head.set_authority(Authority::parse(HeaderValue::from_static("C.Local.:81")).unwrap());
    assert_eq!((head.authority(), head.host(), head.path()), ("C.Local.:81", "c.local", "/d"));
    assert_eq!(head.uri(), "/d");
    head.set_authority(Authority::parse(HeaderValue::from_static("d.local")).unwrap());
    assert_eq!(head.host(), "d.local");
}

#[test]
fn query_values_are_decoded() {
    let query = |name: &str| -> Vec<String> {
        let exchange = exchange("GET http://a/?a=1&b=x+y&a=%32&%61=3&e&f=&g=a%3Db=c&=n&u=%ff");
        exchange.request.query_values(name).map(Cow::into_owned).collect()
    };
    assert_eq!(query("a"), ["1", "2", "3"]);
    assert_eq!(query("b"), ["x y"]);
    assert_eq!(query("e"), [""]);
    assert_eq!(query("f"), [""]);
    assert_eq!(query("g"), ["a=b=c"]);
    assert_eq!(query(""), ["n"]);
    assert_eq!(query("u"), ["\u{fffd}"]);
    assert!(query("z").is_empty());
    let plain = exchange("GET http://a/?a=1");
    assert!(matches!(plain.request.query_values("a").next(), Some(Cow::Borrowed("1"))));
    assert_eq!(exchange("GET http://a/").request.query_values("a").count(), 0);
}

#[test]
fn cookies_are_found_in_every_line() {
    let headers = [("cookie", "a=1; b=\"two\";c = 3 ; a=4"), ("cookie", "d=x=y; e")];
    let exchange = exchange_with("GET http://a/", &headers);
    let cookie = |name| exchange.request.cookie_values(name).collect::<Vec<_>>();
    assert_eq!(cookie("a"), ["1", "4"]);
    assert_eq!(cookie("b"), ["two"]);
    assert_eq!(cookie("c"), ["3"]);
    assert_eq!(cookie("d"), ["x=y"]);
    assert!(cookie("e").is_empty());
}

#[test]
fn an_attribute_is_replaced_by_its_key() {
    let mut exchange = exchange("GET http://a/");
    exchange.set_attribute("k".into(), b"1".to_vec());
    exchange.set_attribute("k".into(), b"2".to_vec());
    assert_eq!(exchange.attribute("k"), Some(&b"2"[..]));
    assert_eq!((exchange.attribute("l"), exchange.attributes.len()), (None, 1));
}
