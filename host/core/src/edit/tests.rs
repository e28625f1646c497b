//! Which edits are refused, and what the others do.

use http::{HeaderMap, header};

use super::*;
use crate::{
    exchange::{HeaderLine, ResponseHead},
    test_util::exchange,
};

#[test]
fn headers_of_the_connection_are_the_hosts() {
    for name in [
        "host",
        "Connection",
        "keep-alive",
        "Proxy-Connection",
        "te",
        "trailer",
        "upgrade",
        "transfer-encoding",
        "Content-Length",
    ] {
        assert_eq!(header_name(name.as_bytes()), Err(EditError::Forbidden), "{name}");
    }
    for name in ["", "a b", "x:", "ä"] {
        assert_eq!(header_name(name.as_bytes()), Err(EditError::Invalid), "{name}");
    }
    assert_eq!(header_name(b"X-A").unwrap(), "x-a");
}

#[test]
fn values_are_checked() {
    assert!(header_value("ä b".as_bytes()).is_ok());
    assert_eq!(header_value(b"a\r\nb"), Err(EditError::Invalid));
    assert_eq!(method("CONNECT").unwrap_err(), EditError::Forbidden);
    assert_eq!(method("GE T").unwrap_err(), EditError::Invalid);
    assert_eq!(method("PURGE").unwrap().as_str(), "PURGE");
    for bad in ["", "a b", "a:x", "u@a"] {
        assert_eq!(authority(bad).unwrap_err(), EditError::Invalid, "{bad}");
    }
    for bad in ["", "a", "*", "http://a/", "/%zz", "/a b", "/a#b"] {
        assert_eq!(target(bad).unwrap_err(), EditError::Invalid, "{bad}");
    }
    assert_eq!(target("/a/../b?c").unwrap().sent().as_str(), "/b?c");
    for bad in [0, 100, 101, 199, 600, 1000] {
        assert_eq!(status(bad).unwrap_err(), EditError::Invalid, "{bad}");
    }
    assert_eq!(status(204).unwrap(), StatusCode::NO_CONTENT);
}

#[test]
fn edits_are_applied_in_order() {
    let mut exchange = exchange("GET http://a.local/x");
    let name = |name: &str| header_name(name.as_bytes()).unwrap();
    let value = |value: &str| header_value(value.as_bytes()).unwrap();
    let edits = || {
        vec![
            Edit::SetRequestHeader(name("x-a"), value("1")),
            Edit::AppendRequestHeader(name("x-a"), value("2")),
            Edit::SetRequestHeader(name("x-b"), value("1")),
            Edit::RemoveRequestHeader(name("x-b")),
            Edit::SetMethod(Method::POST),
            Edit::SetAuthority(authority("B.local:1").unwrap()),
            Edit::SetTarget(target("/y/./z?q").unwrap()),
            Edit::SetAttribute("k".into(), b"v".to_vec()),
            Edit::SetStatus(StatusCode::GONE),
            Edit::SetResponseHeader(name("x-c"), value("1")),
            Edit::AppendResponseHeader(name("x-c"), value("2")),
            Edit::RemoveResponseHeader(name("server")),
        ]
    };
    // On the way in there is no response to change.
    apply(edits(), &mut exchange);
    assert!(exchange.response.is_none());
    let request = &exchange.request;
    let values: Vec<_> = request.header_values(&name("x-a")).collect();
    assert_eq!(values, [b"1", b"2"]);
    assert!(request.headers.get("x-b").is_none());
    assert_eq!((request.method.as_str(), request.host()), ("POST", "b.local"));
    assert_eq!((request.path(), request.query()), ("/y/z", Some("q")));
    assert_eq!(exchange.attribute("k"), Some(&b"v"[..]));

    let mut headers = HeaderMap::new();
    headers.insert("server", value("x"));
    exchange.response =
        Some(ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false });
    apply(edits(), &mut exchange);
    let response = exchange.response.unwrap();
    assert_eq!(response.status, StatusCode::GONE);
    assert_eq!(response.headers.get_all("x-c").iter().count(), 2);
    assert!(response.headers.get("server").is_none());
}

#[test]
fn what_vary_says_already_is_not_said_again() {
    let vary = |before: &[&'static str], added: &'static str| {
        let lines = before.iter().map(|line| (header::VARY, HeaderValue::from_static(line)));
        let headers: HeaderMap = lines.collect();
        let mut exchange = exchange("GET http://a.local/");
        exchange.response =
            Some(ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false });
        let mut planned = exchange.response.clone().unwrap().headers;
        let added = HeaderValue::from_static(added);
        planned.add_line_to_response(&HeaderLine::new(header::VARY, added.clone()));
        Edit::AppendResponseHeader(header::VARY, added).apply(&mut exchange);
        let edited = exchange.response.unwrap().headers;
        assert_eq!(planned, edited);
        let lines: Vec<_> = edited.get_all("vary").iter().map(|it| it.to_str().unwrap()).collect();
        lines.join(" | ")
    };
    assert_eq!(vary(&[], "Origin"), "Origin");
    assert_eq!(vary(&["Origin"], "Origin"), "Origin");
    assert_eq!(vary(&["accept-encoding, origin"], "Origin"), "accept-encoding, origin");
    assert_eq!(vary(&["cookie", "*"], "Origin"), "cookie | *");
    assert_eq!(vary(&["x-origin"], "Origin"), "x-origin | Origin");
    assert_eq!(vary(&["Origin"], "Origin, Cookie"), "Origin | Origin, Cookie");
}
